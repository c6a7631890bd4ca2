package depottest

import (
	"fmt"
	"strings"
	"time"

	"understudy.example/understudy/depot"
)

// acknowledgement returns one that never stalls, an hour after Epoch.
func acknowledgement(n int) depot.Acknowledgement {
	return depot.Acknowledgement{CertificateSerial: serial(n), At: Epoch.Truncate(time.Second).Add(time.Hour).Local(), By: "a token",
		RequestedBy: "an MDM", RequestedAt: Epoch.Local()}
}

// storedAcknowledgement is an acknowledgement as it comes back.
func storedAcknowledgement(a depot.Acknowledgement) depot.Acknowledgement {
	a.At, a.StallsAt, a.RequestedAt, a.UndoneAt = utc(a.At), utc(a.StallsAt), utc(a.RequestedAt), utc(a.UndoneAt)
	return a
}

// acknowledged makes an acknowledgement that must be taken.
func (s *suite) acknowledged(a depot.Acknowledgement) depot.WindowItem {
	s.Helper()
	i, made, err := s.d.Acknowledge(s.ctx, a)
	if err != nil || !made {
		s.Fatalf("Acknowledge(%s): made %t, %v", a.CertificateSerial, made, err)
	}
	return i
}

func announcement(n int, mark string) depot.Announcement {
	return depot.Announcement{CertificateSerial: serial(n), Type: depot.EventRedistributionMissed, At: expires(n).Local(), Mark: mark}
}

func (s *suite) acknowledge() {
	s.commit(windowed(1, "device", 1))
	s.commit(windowed(2, "device", 2))
	first := acknowledgement(2)
	first.CommandID, first.IdempotencyKey, first.StallsAt = "command 1", "key 1", first.At.Add(time.Hour)
	first.UndoneAt, first.UndoneBy = Epoch, "nobody" // is not the caller's to say
	i := s.acknowledged(first)
	first.UndoneAt, first.UndoneBy = time.Time{}, ""
	first = storedAcknowledgement(first)
	want := want(windowed(2, "device", 2), serial(1))
	event := eventOf(depot.EventRedistributionAcknowledged, first.At, want)
	event.By, event.CommandID, event.RequestID = first.By, first.CommandID, ""
	s.equal("event", s.lastEvents(1), []depot.Event{event})
	want.DER = nil
	s.equal("item", i, depot.WindowItem{Identity: want, Standing: depot.StandingAcknowledged, Acknowledgements: []depot.Acknowledgement{first}, Attempts: 1})
	s.equal("found", s.item(2), i)
	s.d = s.reopen()
	s.equal("found", s.item(2), i)
	s.stands(map[int]depot.Standing{1: depot.StandingSuperseded, 2: depot.StandingAcknowledged})

	repeats := func(what string, change func(*depot.Acknowledgement), want bool) {
		s.Helper()
		again := acknowledgement(2)
		again.At = again.At.Add(time.Minute)
		change(&again)
		before, events := s.item(2), len(s.happened(0))
		got, made, err := s.d.Acknowledge(s.ctx, again)
		if err != nil || made == want {
			s.Errorf("%s: made %t, %v", what, made, err)
		}
		if want {
			s.equal(what, got, before)
			s.equal(what+": events", len(s.happened(0)), events)
		} else {
			s.equal(what, got.Attempts, before.Attempts+1)
		}
	}
	repeats("the same", func(*depot.Acknowledgement) {}, true)
	repeats("the same command", func(a *depot.Acknowledgement) { a.CommandID = "command 1" }, true)
	repeats("the same key and another command", func(a *depot.Acknowledgement) { a.CommandID, a.IdempotencyKey = "command 2", "key 1" }, true)
	repeats("another command", func(a *depot.Acknowledgement) { a.CommandID = "command 2" }, false)
	repeats("the first command", func(a *depot.Acknowledgement) { a.CommandID, a.StallsAt = "command 1", a.At.Add(time.Hour) }, false)
	repeats("just before it stalls", func(a *depot.Acknowledgement) { a.At = a.At.Add(time.Hour - time.Second) }, true)
	repeats("when it stalls", func(a *depot.Acknowledgement) { a.At = a.At.Add(time.Hour) }, false)
	s.equal("attempts", s.item(2).Attempts, 4)

	// The acknowledgement of what was superseded counts again when the
	// successor is gone.
	s.commit(windowed(3, "device", 3))
	s.stands(map[int]depot.Standing{2: depot.StandingSuperseded, 3: depot.StandingCurrent})
	s.revoke(revocation(3, depot.ReasonKeyCompromise))
	s.stands(map[int]depot.Standing{2: depot.StandingAcknowledged, 3: depot.StandingRevoked})
}

func (s *suite) acknowledgeRefused() {
	s.commit(windowed(1, "device", 1))
	s.commit(windowed(2, "device", 2))
	s.commit(windowed(3, "another", 3))
	s.revoke(revocation(3, depot.ReasonCertificateHold))
	held := windowed(4, "third", 4)
	held.HoldBack, held.CSR = true, []byte("CSR")
	s.commit(held)
	events := s.happened(0)
	for name, test := range map[string]struct {
		spoil func(*depot.Acknowledgement)
		want  error
	}{
		"superseded":               {func(a *depot.Acknowledgement) { a.CertificateSerial = serial(1) }, depot.ErrSuperseded},
		"on hold":                  {func(a *depot.Acknowledgement) { a.CertificateSerial = serial(3) }, depot.ErrRevoked},
		"held back":                {func(a *depot.Acknowledgement) { a.CertificateSerial = serial(4) }, depot.ErrNotFound},
		"not there":                {func(a *depot.Acknowledgement) { a.CertificateSerial = serial(5) }, depot.ErrNotFound},
		"upper-case":               {func(a *depot.Acknowledgement) { a.CertificateSerial = "0A000002" }, depot.ErrNotFound},
		"no time":                  {func(a *depot.Acknowledgement) { a.At = time.Time{} }, depot.ErrInvalid},
		"fraction":                 {func(a *depot.Acknowledgement) { a.At = a.At.Add(time.Millisecond) }, depot.ErrInvalid},
		"fraction of stalling":     {func(a *depot.Acknowledgement) { a.StallsAt = a.At.Add(time.Millisecond) }, depot.ErrInvalid},
		"stalls when it expires":   {func(a *depot.Acknowledgement) { a.StallsAt = expires(2) }, depot.ErrInvalid},
		"stalls after it expires":  {func(a *depot.Acknowledgement) { a.StallsAt = expires(3) }, depot.ErrInvalid},
		"superseded and no time":   {func(a *depot.Acknowledgement) { a.CertificateSerial, a.At = serial(1), time.Time{} }, depot.ErrInvalid},
		"superseded and stalls so": {func(a *depot.Acknowledgement) { a.CertificateSerial, a.StallsAt = serial(1), expires(9) }, depot.ErrSuperseded},
	} {
		a := acknowledgement(2)
		test.spoil(&a)
		_, made, err := s.d.Acknowledge(s.ctx, a)
		s.wantError(name, err, test.want)
		if !a.At.IsZero() {
			_, undone, err := s.d.Unacknowledge(s.ctx, a.CertificateSerial, "by", a.At)
			if a.CertificateSerial != serial(2) {
				s.wantError("undo: "+name, err, test.want)
			}
			made = made || undone
		}
		if made {
			s.Errorf("%s: made", name)
		}
	}
	_, _, err := s.d.Unacknowledge(s.ctx, serial(2), "by", time.Time{})
	s.wantError("undo without a time", err, depot.ErrInvalid)
	s.equal("events", s.happened(0), events)
	s.equal("attempts", s.item(2).Attempts, 0)
}

// acknowledgeOften: the last acknowledgements are kept.
func (s *suite) acknowledgeOften() {
	s.commit(windowed(1, "device", 1))
	for n := range depot.MaxAcknowledgements + 3 {
		a := acknowledgement(1)
		a.At, a.CommandID = a.At.Add(time.Duration(n)*time.Minute), fmt.Sprint("command ", n)
		s.acknowledged(a)
	}
	i := s.item(1)
	if n := len(i.Acknowledgements); n != depot.MaxAcknowledgements || i.Attempts != n+3 ||
		i.Acknowledgements[0].CommandID != "command 3" || i.Acknowledgements[n-1].CommandID != fmt.Sprint("command ", n+2) {
		s.Errorf("%d kept of %d: %+v", n, i.Attempts, i.Acknowledgements)
	}
}

func (s *suite) unacknowledge() {
	s.commit(windowed(1, "device", 1))
	undo := func(want bool) depot.WindowItem {
		s.Helper()
		i, made, err := s.d.Unacknowledge(s.ctx, serial(1), "an operator", Epoch.Local())
		if err != nil || made != want {
			s.Errorf("Unacknowledge: made %t, %v", made, err)
		}
		s.equal("found", s.item(1), i)
		return i
	}
	undo(false)
	a := acknowledgement(1)
	a.IdempotencyKey, a.StallsAt = "key", a.At.Add(time.Hour)
	s.acknowledged(a)
	i := undo(true)
	a.UndoneAt, a.UndoneBy = Epoch, "an operator"
	s.equal("undone", i.Acknowledgements, []depot.Acknowledgement{storedAcknowledgement(a)})
	s.equal("standing", i.Standing, depot.StandingCurrent)
	event := eventOf(depot.EventRedistributionUndone, Epoch, want(windowed(1, "device", 1), ""))
	event.By, event.RequestID = "an operator", ""
	s.equal("event", s.lastEvents(1), []depot.Event{event})
	undo(false)
	s.d = s.reopen()
	s.stands(map[int]depot.Standing{1: depot.StandingCurrent})
	_, made, err := s.d.Acknowledge(s.ctx, a) // the same key: what was said then
	if made || err != nil {
		s.Errorf("repeated: made %t, %v", made, err)
	}
	s.acknowledged(acknowledgement(1)) // again
	s.equal("attempts", undo(true).Attempts, 2)
}

func (s *suite) stalls() {
	at := acknowledgement(0).At
	for n, stalls := range []int{0, 3, 1, 2, 2} { // hours; 0: never
		s.commit(windowed(n, fmt.Sprint("device ", n), 5-n))
		a := acknowledgement(n)
		if stalls > 0 {
			a.StallsAt = at.Add(time.Duration(stalls) * time.Hour)
		}
		s.acknowledged(a)
	}
	short := windowed(9, "device 9", 0)
	short.Identity.NotAfter = Epoch.Truncate(time.Second).Add(150 * time.Minute) // half an hour after it stalls
	short.Identity.NotBefore = short.Identity.NotAfter.Add(-year)
	s.commit(short)
	a := acknowledgement(9)
	a.StallsAt = at.Add(time.Hour)
	s.acknowledged(a)
	until := func(after, until time.Time, limit int, want ...int) {
		s.Helper()
		got, err := s.d.StallsUntil(s.ctx, "rac0", after, until, limit)
		s.wantError("StallsUntil", err, nil)
		s.equal("StallsUntil", got, serialsOf(want...))
	}
	hour := func(n int) time.Time { return at.Add(time.Duration(n) * time.Hour) }
	until(time.Time{}, hour(9), 0, 2, 9, 3, 4, 1)
	until(time.Time{}, time.Time{}, 0, 2, 9, 3, 4, 1)
	until(hour(1), hour(3), 0, 3, 4, 1)
	until(hour(1), hour(3).Add(-time.Second), 0, 3, 4)
	until(hour(1).Add(-time.Second), hour(1), 0, 2, 9)
	until(time.Time{}, hour(9), 3, 2, 9, 3)
	got, err := s.d.StallsUntil(s.ctx, "rac", time.Time{}, hour(9), 0)
	s.wantError("StallsUntil", err, nil)
	s.equal("another configuration", got, []string(nil))
	stall := func(which depot.Stall, at time.Time, want ...int) {
		s.Helper()
		r := depot.WindowRange{ConfigurationID: "rac0", Standing: depot.StandingAcknowledged, Stall: which, At: at, After: at}
		for _, limit := range []int{0, 1} {
			s.equal(fmt.Sprint(which, " at ", at), s.inRanges(limit, r), serialsOf(want...))
		}
	}
	stall(depot.StallPassed, hour(1).Add(-time.Second))
	stall(depot.StallWaiting, hour(1).Add(-time.Second), 9, 4, 3, 2, 1, 0)
	stall(depot.StallPassed, hour(1), 9, 2)
	stall(depot.StallWaiting, hour(1), 4, 3, 1, 0)
	stall(depot.StallPassed, hour(2), 4, 3, 2) // 9 has expired
	stall(depot.StallWaiting, hour(2), 1, 0)
	stall(depot.StallPassed, expires(3), 1)
	s.commit(windowed(20, "device 2", 9)) // it enrolled again
	until(time.Time{}, hour(9), 0, 9, 3, 4, 1)
	stall(depot.StallPassed, hour(2), 4, 3)
}

func (s *suite) settle() {
	s.commit(windowed(1, "device", 1))
	s.commit(windowed(2, "device", 2))
	all := []depot.Announcement{announcement(2, "missed"), announcement(2, "due:x"), announcement(2, "missed"), announcement(1, "superseded:x")}
	all[1].Type = depot.EventRedistributionDue
	all[3].Type, all[3].SupersededBy = depot.EventCertificateSuperseded, serial(2)
	n, err := s.d.Settle(s.ctx, depot.Settlement{Announcements: all})
	s.wantError("Settle", err, nil)
	s.equal("events", n, 3)
	var want []depot.Event
	for _, k := range []int{0, 1, 3} {
		i, err := s.d.Identity(s.ctx, all[k].CertificateSerial)
		s.wantError("Identity", err, nil)
		e := eventOf(all[k].Type, all[k].At, i)
		e.RequestID, e.SupersededBy = "", all[k].SupersededBy
		want = append(want, e)
	}
	s.equal("events", s.lastEvents(3), want)
	s.equal("marks", s.item(2).Announced, []string{"due:x", "missed"})
	s.d = s.reopen()
	n, err = s.d.Settle(s.ctx, depot.Settlement{Announcements: append(all, announcement(2, "missed again"))})
	s.wantError("Settle", err, nil)
	s.equal("again", n, 1)
	s.equal("marks", s.item(2).Announced, []string{"due:x", "missed", "missed again"})
	s.equal("events", len(s.happened(0)), 6)

	key := depot.WatermarkKey{ConfigurationID: "rac0", Purpose: "due:x", Lifetime: year}
	line := func(key depot.WatermarkKey, want time.Time) {
		s.Helper()
		got, err := s.d.Watermark(s.ctx, key)
		s.wantError("Watermark", err, nil)
		s.equal("watermark", got, want)
	}
	line(key, time.Time{})
	for _, at := range []time.Time{expires(5), expires(3), {}, expires(4)} { // back, too: a lab moves its clock
		_, err = s.d.Settle(s.ctx, depot.Settlement{Watermarks: []depot.Watermark{{WatermarkKey: key, At: at.Add(time.Millisecond * time.Duration(min(at.Unix(), 1)))}}})
		s.wantError("Settle", err, nil)
		if at.IsZero() {
			continue
		}
		line(key, at)
	}
	s.d = s.reopen()
	line(key, expires(4))
	for _, other := range []depot.WatermarkKey{{ConfigurationID: "rac0", Purpose: "due:x"}, {ConfigurationID: "rac0", Purpose: "due:y", Lifetime: year},
		{ConfigurationID: "rac1", Purpose: "due:x", Lifetime: year}} {
		line(other, time.Time{})
	}
	s.equal("events", len(s.happened(0)), 6)
}

func (s *suite) settleRefused() {
	s.commit(windowed(1, "device", 1))
	s.commit(windowed(2, "device", 2))
	held := windowed(3, "third", 3)
	held.HoldBack, held.CSR = true, []byte("CSR")
	s.commit(held)
	before, events := s.recheck(), len(s.happened(0))
	key := depot.WatermarkKey{ConfigurationID: "rac0", Purpose: "missed"}
	good := depot.Settlement{Announcements: []depot.Announcement{announcement(2, "missed")}, Rechecked: before,
		Watermarks: []depot.Watermark{{WatermarkKey: key, At: expires(1)}}}
	for name, test := range map[string]struct {
		spoil func(*depot.Announcement)
		want  error
	}{
		"not there":      {func(a *depot.Announcement) { a.CertificateSerial = serial(9) }, depot.ErrNotFound},
		"held back":      {func(a *depot.Announcement) { a.CertificateSerial = serial(3) }, depot.ErrNotFound},
		"upper-case":     {func(a *depot.Announcement) { a.CertificateSerial = "0A000001" }, depot.ErrNotFound},
		"no type":        {func(a *depot.Announcement) { a.Type = "" }, depot.ErrInvalid},
		"no news":        {func(a *depot.Announcement) { a.Type = depot.EventRedistributionAcknowledged }, depot.ErrInvalid},
		"issue":          {func(a *depot.Announcement) { a.Type = depot.EventCertificateIssued }, depot.ErrInvalid},
		"no time":        {func(a *depot.Announcement) { a.At = time.Time{} }, depot.ErrInvalid},
		"no mark":        {func(a *depot.Announcement) { a.Mark = "" }, depot.ErrInvalid},
		"too long":       {func(a *depot.Announcement) { a.Mark = strings.Repeat("x", 201) }, depot.ErrInvalid},
		"none but a lot": {nil, depot.ErrInvalid},
		"no purpose":     {nil, depot.ErrInvalid},
	} {
		bad := announcement(1, "missed")
		spoilt := good
		switch {
		case test.spoil != nil:
			test.spoil(&bad)
			spoilt.Announcements = []depot.Announcement{good.Announcements[0], bad}
		case name == "no purpose":
			spoilt.Watermarks = []depot.Watermark{{WatermarkKey: depot.WatermarkKey{ConfigurationID: "rac0"}, At: expires(1)}}
		default:
			spoilt.Announcements = make([]depot.Announcement, depot.MaxAnnouncements+1)
			for n := range spoilt.Announcements {
				spoilt.Announcements[n] = announcement(1, fmt.Sprint("mark ", n))
			}
		}
		_, err := s.d.Settle(s.ctx, spoilt)
		s.wantError(name, err, test.want)
	}
	s.equal("events", len(s.happened(0)), events)
	s.equal("marks", s.item(2).Announced, []string(nil))
	s.equal("rechecks", s.recheck(), before)
	line, err := s.d.Watermark(s.ctx, key)
	s.wantError("Watermark", err, nil)
	s.equal("watermark", line, time.Time{})
	long := announcement(1, strings.Repeat("x", 200))
	n, err := s.d.Settle(s.ctx, depot.Settlement{Announcements: []depot.Announcement{long}})
	s.wantError("Settle", err, nil)
	s.equal("the longest mark", n, 1)
}

// recheck returns what has to be looked at.
func (s *suite) recheck() []depot.Recheck {
	s.Helper()
	all, err := s.d.Rechecks(s.ctx, 0)
	s.wantError("Rechecks", err, nil)
	return all
}

// rechecked asserts what has to be looked at, and settles it.
func (s *suite) rechecked(what string, want ...int) {
	s.Helper()
	all := s.recheck()
	s.equal(what, recheckedSerials(all), serialsOf(want...))
	_, err := s.d.Settle(s.ctx, depot.Settlement{Rechecked: all})
	s.wantError("Settle", err, nil)
	s.equal(what+", settled", s.recheck(), []depot.Recheck(nil))
}

func (s *suite) rechecks() {
	s.commit(windowed(1, "device", 1))
	s.rechecked("the first of its device")
	s.commit(windowed(2, "device", 2))
	s.rechecked("the one before", 1)
	s.acknowledged(acknowledgement(2))
	s.rechecked("acknowledged", 2)
	again := acknowledgement(2)
	again.CommandID = "again"
	s.acknowledged(again)
	s.rechecked("acknowledged again", 2)
	_, _, err := s.d.Unacknowledge(s.ctx, serial(2), "by", Epoch)
	s.wantError("Unacknowledge", err, nil)
	s.rechecked("undone", 2)
	s.revoke(revocation(2, depot.ReasonCertificateHold))
	s.rechecked("on hold, and the one before counts again", 1, 2)
	s.wantError("MarkUsed", s.d.MarkUsed(s.ctx, serial(1), Epoch), nil)
	s.revoke(revocation(2, depot.ReasonKeyCompromise)) // was revoked already
	s.rechecked("nothing that concerns standings")
	s.commit(windowed(3, "device", 3))
	before := s.recheck()
	s.revoke(revocation(3, depot.ReasonKeyCompromise))
	s.equal("once each, at the end", recheckedSerials(s.recheck()), serialsOf(1, 3))
	_, err = s.d.Settle(s.ctx, depot.Settlement{Rechecked: append(before, depot.Recheck{CertificateSerial: "nonsense"}, depot.Recheck{CertificateSerial: serial(3)})})
	s.wantError("Settle", err, nil)
	s.d = s.reopen()
	one, err := s.d.Rechecks(s.ctx, 1)
	s.wantError("Rechecks", err, nil)
	s.equal("the oldest", recheckedSerials(one), serialsOf(1))
	s.commit(windowed(4, "device", 4))
	s.rechecked("noted again since, once", 3, 1)
}

// recheckBehindWatermark: what becomes current where the announcer has looked
// is noted.
func (s *suite) recheckBehindWatermark() {
	set := func(purpose string, lifetime time.Duration, at time.Time) {
		_, err := s.d.Settle(s.ctx, depot.Settlement{Watermarks: []depot.Watermark{
			{WatermarkKey: depot.WatermarkKey{ConfigurationID: "rac0", Purpose: purpose, Lifetime: lifetime}, At: at}}})
		s.wantError("Settle", err, nil)
	}
	set("due:x", year, expires(5))
	set("stalled", 0, expires(9))
	s.commit(windowed(1, "device 1", 6))
	s.rechecked("behind the line")
	s.commit(windowed(2, "device 2", 5))
	s.rechecked("on the line", 2)
	other := windowed(3, "device 3", 3)
	other.Identity.NotBefore = other.Identity.NotBefore.Add(time.Hour)
	s.commit(other)
	s.rechecked("of another lifetime")
	s.commit(in(windowed(4, "device 4", 3), "rac1", "transaction 4", "device 4"))
	s.rechecked("of another configuration")
	set("missed", 0, expires(2))
	other = windowed(5, "device 5", 2)
	other.Identity.NotBefore = other.Identity.NotBefore.Add(time.Hour)
	s.commit(other)
	s.rechecked("of any lifetime", 5)
	held := windowed(6, "device 6", 4)
	held.HoldBack, held.CSR = true, []byte("CSR")
	s.commit(held)
	s.rechecked("what is held back")
	_, err := s.d.Deliver(s.ctx, serial(6), Epoch)
	s.wantError("Deliver", err, nil)
	s.rechecked("delivered", 6)
}

// recheckOvertaken: what became current while the announcer looked is noted
// when it draws its line.
func (s *suite) recheckOvertaken() {
	for n := 1; n <= 4; n++ {
		s.commit(windowed(n, fmt.Sprint("device ", n), n))
	}
	key := depot.WatermarkKey{ConfigurationID: "rac0", Purpose: "due:x", Lifetime: year}
	_, err := s.d.Settle(s.ctx, depot.Settlement{Watermarks: []depot.Watermark{{WatermarkKey: key, At: expires(3)}},
		Announcements: []depot.Announcement{announcement(1, "due:x"), announcement(2, "due:y")}}) // it has not seen 2 and 3
	s.wantError("Settle", err, nil)
	s.rechecked("overtaken", 2, 3)
	_, err = s.d.Settle(s.ctx, depot.Settlement{Watermarks: []depot.Watermark{{WatermarkKey: key, At: expires(4)}},
		Announcements: []depot.Announcement{announcement(4, "due:x")}})
	s.wantError("Settle", err, nil)
	s.rechecked("nothing is between the lines")
}

func (s *suite) acknowledgeRace() {
	for round := range 5 {
		s.commit(windowed(round, fmt.Sprint("device ", round), 1))
		made := make([]bool, racers)
		s.compete(nil, func(r int) (err error) {
			a := acknowledgement(round)
			a.By = fmt.Sprint("racer ", r)
			_, made[r], err = s.d.Acknowledge(s.ctx, a)
			return err
		})
		i := s.item(round)
		for r, made := range made {
			if last, ok := i.InForce(); made != (ok && last.By == fmt.Sprint("racer ", r)) {
				s.Errorf("racer %d: made %t, in force is that of %s", r, made, last.By)
			}
		}
		s.equal("attempts", i.Attempts, 1)
		commands := s.compete(nil, func(r int) error {
			a := acknowledgement(round)
			a.CommandID = fmt.Sprint("command ", r)
			_, made, err := s.d.Acknowledge(s.ctx, a)
			if !made && err == nil {
				s.Errorf("command %d was taken for a repetition", r)
			}
			return err
		})
		s.equal("attempts", s.item(round).Attempts, commands+1)
	}
	s.equal("events", len(s.happened(0)), 5*(1+1+racers))
}

// acknowledgeEnrolRace: whoever comes first, the device's new certificate is
// the current one in the end.
func (s *suite) acknowledgeEnrolRace() {
	for round := range 5 {
		device, first := fmt.Sprint("device ", round), round*100
		s.commit(windowed(first, device, 1))
		s.compete(depot.ErrSuperseded, func(r int) error {
			if r == racers/2 {
				_, err := s.d.Commit(s.ctx, windowed(first+1, device, 2))
				return err
			}
			_, _, err := s.d.Acknowledge(s.ctx, acknowledgement(first))
			return err
		})
		s.stands(map[int]depot.Standing{first: depot.StandingSuperseded, first + 1: depot.StandingCurrent})
	}
}

func (s *suite) settleRace() {
	s.commit(windowed(1, "device", 1))
	made := make([]int, racers)
	s.compete(nil, func(r int) (err error) {
		made[r], err = s.d.Settle(s.ctx, depot.Settlement{Announcements: []depot.Announcement{announcement(1, "missed"), announcement(1, fmt.Sprint("mark ", r%4))}})
		return err
	})
	sum := 0
	for _, n := range made {
		sum += n
	}
	s.equal("events made", sum, 5)
	s.equal("events", len(s.happened(0)), 1+5)
}
