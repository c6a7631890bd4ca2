package depottest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"understudy.example/understudy/depot"
)

// windowing are the promises about redistribution.
func windowing() []promise {
	return []promise{
		{"Standings", (*suite).standings},
		{"StandingHeldBack", (*suite).standingHeldBack},
		{"StandingOrder", (*suite).standingOrder},
		{"WindowBounds", (*suite).windowBounds},
		{"WindowPages", (*suite).windowPages},
		{"WindowOfDevice", (*suite).windowOfDevice},
		{"WindowInvalid", (*suite).windowInvalid},
		{"WindowPast", (*suite).windowPast},
		{"LatestChange", (*suite).latestChange},
		{"Acknowledge", (*suite).acknowledge},
		{"AcknowledgeRefused", (*suite).acknowledgeRefused},
		{"AcknowledgeOften", (*suite).acknowledgeOften},
		{"Unacknowledge", (*suite).unacknowledge},
		{"Stalls", (*suite).stalls},
		{"Settle", (*suite).settle},
		{"SettleRefused", (*suite).settleRefused},
		{"Rechecks", (*suite).rechecks},
		{"RecheckBehindWatermark", (*suite).recheckBehindWatermark},
		{"RecheckOvertaken", (*suite).recheckOvertaken},
		{"AcknowledgeRace", (*suite).acknowledgeRace},
		{"AcknowledgeEnrolRace", (*suite).acknowledgeEnrolRace},
		{"SettleRace", (*suite).settleRace},
	}
}

// expires is a whole second; those of one day are a day apart.
func expires(day int) time.Time {
	return time.Date(2027, time.January, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(day) * 24 * time.Hour)
}

const year = 365 * 24 * time.Hour

// windowed returns an issuance to a device of "rac0" whose certificate lives a
// year, until a day.
func windowed(n int, device string, day int) depot.Issuance {
	i := in(Issuance(n), "rac0", fmt.Sprintf("transaction %d", n), device)
	i.Identity.NotAfter = expires(day)
	i.Identity.NotBefore = i.Identity.NotAfter.Add(-year)
	return i
}

// item returns a certificate as redistribution sees it.
func (s *suite) item(n int) depot.WindowItem {
	s.Helper()
	i, err := s.d.WindowItem(s.ctx, serial(n))
	if err != nil {
		s.Fatalf("WindowItem(%s): %v", serial(n), err)
	}
	return i
}

// stands asserts the standings of certificates, and that the lists by standing
// agree.
func (s *suite) stands(want map[int]depot.Standing) {
	s.Helper()
	var numbers []int
	for n := range want {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	got, err := s.d.Places(s.ctx, serialsOf(numbers...), time.Time{})
	s.wantError("Places", err, nil)
	for k, n := range numbers {
		i, err := s.d.WindowItem(s.ctx, serial(n))
		if got[k].Standing != want[n] || got[k] != i.Place() {
			s.Errorf("place of %d: %+v, want %q as in %+v", n, got[k], want[n], i.Place())
		}
		if want[n] == depot.StandingNone {
			s.wantError("WindowItem of what is held back or not there", err, depot.ErrNotFound)
		} else if err != nil || i.Standing != want[n] {
			s.Errorf("WindowItem of %d: %q, %v, want %q", n, i.Standing, err, want[n])
		}
		for _, standing := range []depot.Standing{depot.StandingRevoked, depot.StandingSuperseded, depot.StandingAcknowledged, depot.StandingCurrent} {
			r := depot.WindowRange{ConfigurationID: "rac0", Standing: standing}
			if listed := slices.Contains(s.inRanges(0, r), serial(n)); listed != (standing == want[n]) {
				s.Errorf("%d, which is %q, is listed as %q: %t", n, want[n], standing, listed)
			}
		}
	}
}

// inRanges lists the certificate serials of all pages and asserts that the
// counts agree.
func (s *suite) inRanges(limit int, ranges ...depot.WindowRange) (all []string) {
	s.Helper()
	q := depot.WindowQuery{Ranges: ranges, Limit: limit}
	for range maxPages {
		page, err := s.d.WindowItems(s.ctx, q)
		if err != nil {
			s.Fatalf("WindowItems(%+v): %v", q, err)
		}
		for _, i := range page.Items {
			all = append(all, i.Identity.CertificateSerial)
		}
		if q.Cursor = page.NextCursor; q.Cursor == "" {
			counts, err := s.d.WindowCounts(s.ctx, ranges)
			s.wantError("WindowCounts", err, nil)
			sum := 0
			for _, n := range counts {
				sum += n
			}
			if len(counts) != len(ranges) || sum != len(all) {
				s.Errorf("WindowCounts(%+v): %v, listed are %d", ranges, counts, len(all))
			}
			return all
		}
	}
	s.Fatalf("WindowItems(%+v) does not end", q)
	return nil
}

func (s *suite) standings() {
	for n := 1; n <= 3; n++ {
		s.commit(windowed(n, "device", n))
	}
	s.commit(windowed(9, "another", 1))
	check := func(one, two, three depot.Standing, successors ...int) {
		s.Helper()
		s.stands(map[int]depot.Standing{1: one, 2: two, 3: three, 4: depot.StandingNone, 9: depot.StandingCurrent})
		for n, successor := range successors {
			want := depot.WindowItem{}
			if successor != 0 {
				want.SupersededBy, want.SupersededAt = serial(successor), utc(windowed(successor, "", 0).Identity.IssuedAt)
			}
			got := s.item(n + 1)
			if got.SupersededBy != want.SupersededBy || !got.SupersededAt.Equal(want.SupersededAt) {
				s.Errorf("%d is superseded by %q at %v, want %q at %v", n+1, got.SupersededBy, got.SupersededAt, want.SupersededBy, want.SupersededAt)
			}
		}
	}
	const revoked, superseded, current = depot.StandingRevoked, depot.StandingSuperseded, depot.StandingCurrent
	check(superseded, superseded, current, 2, 3, 0)
	want := want(windowed(3, "device", 3), serial(2))
	want.DER = nil
	s.equal("item", s.item(3), depot.WindowItem{Identity: want, Standing: current})
	s.revoke(revocation(2, depot.ReasonCertificateHold))
	check(superseded, revoked, current, 3, 3, 0)
	s.revoke(revocation(3, depot.ReasonKeyCompromise))
	check(current, revoked, revoked, 0, 0, 0)
	s.d = s.reopen()
	check(current, revoked, revoked, 0, 0, 0)
	s.revoke(revocation(2, depot.ReasonRemoveFromCRL))
	check(superseded, current, revoked, 2, 0, 0)
	s.revoke(revocation(1, depot.ReasonKeyCompromise))
	check(revoked, current, revoked, 2, 0, 0)
	s.revoke(revocation(2, depot.ReasonKeyCompromise))
	check(revoked, revoked, revoked, 0, 0, 0)
	for _, spelling := range []string{"0A000001", "0a0000", "xyz", ""} {
		_, err := s.d.WindowItem(s.ctx, spelling)
		s.wantError("WindowItem "+spelling, err, depot.ErrNotFound)
	}
}

func (s *suite) standingHeldBack() {
	hold := func(n int) {
		i := windowed(n, "device", n)
		i.HoldBack, i.CSR = true, []byte("CSR")
		s.commit(i)
	}
	s.commit(windowed(1, "device", 1))
	hold(2)
	s.commit(windowed(3, "device", 3))
	hold(4)
	s.stands(map[int]depot.Standing{1: depot.StandingSuperseded, 2: depot.StandingNone, 3: depot.StandingCurrent, 4: depot.StandingNone})
	s.equal("superseded by", s.item(1).SupersededBy, serial(3))
	_, err := s.d.Deliver(s.ctx, serial(2), Epoch) // which the device gets after its successor
	s.wantError("Deliver", err, nil)
	s.stands(map[int]depot.Standing{1: depot.StandingSuperseded, 2: depot.StandingSuperseded, 3: depot.StandingCurrent, 4: depot.StandingNone})
	s.equal("superseded by", s.item(1).SupersededBy, serial(2))
	s.revoke(revocation(4, depot.ReasonCertificateHold)) // held back all the same
	s.stands(map[int]depot.Standing{3: depot.StandingCurrent, 4: depot.StandingNone})
	_, err = s.d.Deliver(s.ctx, serial(4), Epoch)
	s.wantError("Deliver", err, nil)
	s.stands(map[int]depot.Standing{3: depot.StandingCurrent, 4: depot.StandingRevoked})
	s.revoke(revocation(4, depot.ReasonRemoveFromCRL))
	s.stands(map[int]depot.Standing{3: depot.StandingSuperseded, 4: depot.StandingCurrent})
	hold(5)
	_, err = s.d.Void(s.ctx, serial(5), "", Epoch)
	s.wantError("Void", err, nil)
	s.stands(map[int]depot.Standing{4: depot.StandingCurrent, 5: depot.StandingRevoked})
}

// standingOrder: what counts is the order of commits, and no clock.
func (s *suite) standingOrder() {
	s.commit(windowed(5, "device", 9))
	s.commit(windowed(2, "device", 1)) // issued earlier, expires earlier, a smaller serial
	s.stands(map[int]depot.Standing{5: depot.StandingSuperseded, 2: depot.StandingCurrent})
	// A certificate for another configuration's device of the same name.
	s.commit(in(windowed(7, "device", 3), "rac1", "transaction", "device"))
	s.stands(map[int]depot.Standing{5: depot.StandingSuperseded, 2: depot.StandingCurrent})
	asked := s.ask(requestIn(Request(3), "rac0", "transaction 3"), 0, "")
	asked.Draft.Device.Key = "device 3"
	s.decide(Approval(asked, 3))
	s.stands(map[int]depot.Standing{3: depot.StandingCurrent})
}

func (s *suite) windowBounds() {
	for n := 1; n <= 5; n++ {
		s.commit(windowed(n, fmt.Sprint("device ", n), n))
	}
	short := windowed(6, "device 6", 3)
	short.Identity.NotBefore = short.Identity.NotAfter.Add(-24 * time.Hour)
	s.commit(short)
	s.commit(in(windowed(7, "device 7", 3), "rac", "transaction", "device 7"))
	s.commit(in(windowed(8, "device 8", 3), "rac00", "transaction", "device 8"))
	far := windowed(10, "device 10", 3)
	far.Identity.NotAfter = time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC)
	far.Identity.NotBefore = far.Identity.NotAfter.Add(-year)
	s.commit(far)
	past := windowed(11, "device 11", 3)
	past.Identity.NotAfter = time.Date(1950, time.January, 1, 0, 0, 0, 0, time.UTC)
	past.Identity.NotBefore = past.Identity.NotAfter.Add(-year)
	s.commit(past)
	current := func(lifetime time.Duration, after, until time.Time) depot.WindowRange {
		return depot.WindowRange{ConfigurationID: "rac0", Standing: depot.StandingCurrent, Lifetime: lifetime, After: after, Until: until}
	}
	second, none := time.Second, time.Time{}
	for name, test := range map[string]struct {
		r    depot.WindowRange
		want []int
	}{
		"all":                   {current(0, none, none), []int{11, 1, 2, 3, 6, 4, 5, 10}},
		"one lifetime":          {current(year, none, none), []int{11, 1, 2, 3, 4, 5, 10}},
		"another":               {current(24*time.Hour, none, none), []int{6}},
		"none of it":            {current(time.Hour, none, none), nil},
		"after is exclusive":    {current(0, expires(3), none), []int{4, 5, 10}},
		"a second before":       {current(0, expires(3).Add(-second), none), []int{3, 6, 4, 5, 10}},
		"fraction after":        {current(0, expires(3).Add(999*time.Millisecond), none), []int{4, 5, 10}},
		"until is inclusive":    {current(0, none, expires(2)), []int{11, 1, 2}},
		"a second less":         {current(0, none, expires(2).Add(-second)), []int{11, 1}},
		"fraction less":         {current(0, none, expires(2).Add(-time.Millisecond)), []int{11, 1}},
		"between":               {current(0, expires(1), expires(3)), []int{2, 3, 6}},
		"between of a lifetime": {current(year, expires(1), expires(3)), []int{2, 3}},
		"local time":            {current(0, expires(1).Local(), expires(2).Local()), []int{2}},
		"empty":                 {current(0, expires(3), expires(3)), nil},
		"upside down":           {current(0, expires(4), expires(2)), nil},
		"before 1970":           {current(0, none, time.Unix(0, 0)), []int{11}},
		"after 9999":            {current(0, far.Identity.NotAfter.Add(-second), none), []int{10}},
		"until 9999":            {current(0, expires(4), far.Identity.NotAfter), []int{5, 10}},
	} {
		for _, limit := range []int{0, 1, 2} {
			s.equal(name, s.inRanges(limit, test.r), serialsOf(test.want...))
		}
	}
	lifetimes, err := s.d.WindowLifetimes(s.ctx, "rac0")
	s.wantError("WindowLifetimes", err, nil)
	s.equal("lifetimes", lifetimes, []time.Duration{24 * time.Hour, year})
	s.commit(windowed(12, "device 6", 3)) // the only short one is superseded
	lifetimes, err = s.d.WindowLifetimes(s.ctx, "rac0")
	s.wantError("WindowLifetimes", err, nil)
	s.equal("lifetimes", lifetimes, []time.Duration{year})
	lifetimes, err = s.d.WindowLifetimes(s.ctx, "rac9")
	s.wantError("WindowLifetimes", err, nil)
	s.equal("lifetimes of nothing", lifetimes, []time.Duration(nil))
}

// windowPages: several ranges of several configurations are one list, whose
// pages neither repeat nor lose anything.
func (s *suite) windowPages() {
	var want []string
	for n := range 30 {
		i := windowed(n, fmt.Sprint("device ", n), 5-n/6) // ties of six, the soonest last
		configuration := fmt.Sprint("rac", n%3)
		s.commit(in(i, configuration, i.Transaction.ID, i.Identity.Device.Key))
		if n%2 == 1 {
			s.revoke(revocation(n, depot.ReasonKeyCompromise))
		}
	}
	for group := 4; group >= 0; group-- {
		for n := group * 6; n < group*6+6; n++ {
			if n%3 != 2 {
				want = append(want, serial(n))
			}
		}
	}
	var ranges []depot.WindowRange
	for _, configuration := range []string{"rac0", "rac1"} {
		for _, standing := range []depot.Standing{depot.StandingRevoked, depot.StandingCurrent} {
			ranges = append(ranges, depot.WindowRange{ConfigurationID: configuration, Standing: standing, Until: expires(3)},
				depot.WindowRange{ConfigurationID: configuration, Standing: standing, After: expires(3)})
		}
	}
	for limit := range 8 {
		s.equal(fmt.Sprint("limit ", limit), s.inRanges(limit, ranges...), want)
	}
	s.equal("no ranges", s.inRanges(0), []string(nil))
	page, err := s.d.WindowItems(s.ctx, depot.WindowQuery{Ranges: ranges, Limit: 5})
	s.wantError("WindowItems", err, nil)
	s.d = s.reopen()
	s.commit(in(windowed(100, "new", -1), "rac0", "transaction", "new")) // before the cursor
	rest, err := s.d.WindowItems(s.ctx, depot.WindowQuery{Ranges: ranges, Limit: 500, Cursor: page.NextCursor})
	s.wantError("WindowItems", err, nil)
	s.equal("the rest", len(rest.Items), len(want)-5)
	for _, cursor := range []string{"x", page.NextCursor + "x"} {
		_, err := s.d.WindowItems(s.ctx, depot.WindowQuery{Cursor: cursor})
		s.wantError("cursor "+cursor, err, depot.ErrCursor)
		_, err = s.d.WindowItemsPast(s.ctx, depot.WindowPastQuery{Cursor: cursor})
		s.wantError("cursor "+cursor, err, depot.ErrCursor)
	}
	_, err = s.d.WindowItemsPast(s.ctx, depot.WindowPastQuery{AsOf: expires(0), Cursor: page.NextCursor})
	s.wantError("cursor of another list", err, depot.ErrCursor)
}

func (s *suite) windowOfDevice() {
	for n := 1; n <= 4; n++ {
		i := windowed(n, "device", 9-n)
		i.Identity.Device.ProfileUUID = "AB-" + fmt.Sprint(n)
		s.commit(i)
	}
	other := windowed(5, "another", 1)
	other.Identity.Device.ProfileUUID = "ab-4"
	s.commit(other)
	s.revoke(revocation(4, depot.ReasonKeyCompromise))
	ranges := []depot.WindowRange{{ConfigurationID: "rac0", Standing: depot.StandingSuperseded}, {ConfigurationID: "rac0", Standing: depot.StandingRevoked},
		{ConfigurationID: "rac0", Standing: depot.StandingCurrent}}
	list := func(q depot.WindowQuery) (all []string) {
		for q.Ranges, q.Limit = ranges, 2; ; {
			page, err := s.d.WindowItems(s.ctx, q)
			s.wantError("WindowItems", err, nil)
			for _, i := range page.Items {
				all = append(all, i.Identity.CertificateSerial)
			}
			if q.Cursor = page.NextCursor; q.Cursor == "" || err != nil {
				return all
			}
		}
	}
	s.equal("device", list(depot.WindowQuery{DeviceKey: "device"}), serialsOf(4, 3, 2, 1))
	s.equal("profile", list(depot.WindowQuery{ProfileUUID: "Ab-4"}), serialsOf(5, 4))
	s.equal("device and profile", list(depot.WindowQuery{DeviceKey: "another", ProfileUUID: "AB-4"}), serialsOf(5))
	s.equal("no such device", list(depot.WindowQuery{DeviceKey: "devic"}), []string(nil))
	s.equal("a long name", list(depot.WindowQuery{DeviceKey: strings.Repeat("x", 70_000)}), []string(nil))
	ranges = ranges[1:2]
	s.equal("revoked ones of the device", list(depot.WindowQuery{DeviceKey: "device"}), serialsOf(4))
}

func (s *suite) windowInvalid() {
	at := expires(1)
	for name, r := range map[string]depot.WindowRange{
		"no configuration":       {Standing: depot.StandingCurrent},
		"no standing":            {ConfigurationID: "rac0"},
		"unknown standing":       {ConfigurationID: "rac0", Standing: "due"},
		"lifetime of superseded": {ConfigurationID: "rac0", Standing: depot.StandingSuperseded, Lifetime: 1},
		"stall of current":       {ConfigurationID: "rac0", Standing: depot.StandingCurrent, Stall: depot.StallPassed, At: at, After: at},
		"unknown stall":          {ConfigurationID: "rac0", Standing: depot.StandingAcknowledged, Stall: "x", At: at, After: at},
		"stall without a time":   {ConfigurationID: "rac0", Standing: depot.StandingAcknowledged, Stall: depot.StallPassed},
		"stall at another time":  {ConfigurationID: "rac0", Standing: depot.StandingAcknowledged, Stall: depot.StallPassed, At: at, After: at.Add(1)},
		"stall until":            {ConfigurationID: "rac0", Standing: depot.StandingAcknowledged, Stall: depot.StallWaiting, At: at, After: at, Until: at},
		"time without a stall":   {ConfigurationID: "rac0", Standing: depot.StandingAcknowledged, At: at},
	} {
		_, err := s.d.WindowItems(s.ctx, depot.WindowQuery{Ranges: []depot.WindowRange{r}})
		s.wantError("WindowItems "+name, err, depot.ErrInvalid)
		_, err = s.d.WindowCounts(s.ctx, []depot.WindowRange{r})
		s.wantError("WindowCounts "+name, err, depot.ErrInvalid)
	}
}

// serialsPast lists what was at a time as "serial standing".
func (s *suite) serialsPast(q depot.WindowPastQuery) (all []string) {
	s.Helper()
	for range maxPages {
		page, err := s.d.WindowItemsPast(s.ctx, q)
		if err != nil {
			s.Fatalf("WindowItemsPast(%+v): %v", q, err)
		}
		for _, i := range page.Items {
			all = append(all, i.Identity.CertificateSerial[6:]+" "+string(i.Standing))
			alone, err := s.d.WindowItemPast(s.ctx, i.Identity.CertificateSerial, q.AsOf)
			s.wantError("WindowItemPast", err, nil)
			s.equal("WindowItemPast", alone, i)
			places, err := s.d.Places(s.ctx, []string{i.Identity.CertificateSerial, "nonsense"}, q.AsOf)
			s.wantError("Places", err, nil)
			s.equal("Places", places, []depot.Place{i.Place(), {}})
		}
		if q.Cursor = page.NextCursor; q.Cursor == "" {
			return all
		}
	}
	s.Fatalf("WindowItemsPast(%+v) does not end", q)
	return nil
}

// wasNotThere asserts that nothing is told of certificates as of a time.
func (s *suite) wasNotThere(asOf time.Time, numbers ...int) {
	s.Helper()
	for _, n := range numbers {
		_, err := s.d.WindowItemPast(s.ctx, serial(n), asOf)
		s.wantError("WindowItemPast of what was not there", err, depot.ErrNotFound)
	}
	places, err := s.d.Places(s.ctx, serialsOf(numbers...), asOf)
	s.wantError("Places", err, nil)
	s.equal("places of what was not there", places, make([]depot.Place, len(numbers)))
}

func (s *suite) windowPast() {
	hour := func(n int) time.Time { return Epoch.Truncate(time.Second).Add(time.Duration(n) * time.Hour) }
	issued := func(n, at int, device string) {
		i := windowed(n, device, n)
		i.Identity.IssuedAt = hour(at)
		s.commit(i)
	}
	issued(1, 1, "device")
	issued(2, 2, "another")
	a := acknowledgement(1)
	a.At = hour(3)
	s.acknowledged(a)
	_, made, err := s.d.Unacknowledge(s.ctx, serial(1), "by", hour(5))
	s.equal("made", made, true)
	s.wantError("Unacknowledge", err, nil)
	issued(3, 6, "device")
	revoke := revocation(3, depot.ReasonKeyCompromise)
	revoke.At = hour(8)
	s.revoke(revoke)
	held := windowed(4, "another", 4)
	held.Identity.IssuedAt, held.HoldBack, held.CSR = hour(1), true, []byte("CSR")
	s.commit(held)
	void := windowed(5, "another", 5)
	void.Identity.IssuedAt, void.HoldBack, void.CSR = hour(1), true, []byte("CSR")
	s.commit(void)
	_, err = s.d.Void(s.ctx, serial(5), "", hour(9))
	s.wantError("Void", err, nil)
	for at, want := range map[int][]string{
		0: nil,
		1: {"01 current"},
		2: {"01 current", "02 current"},
		3: {"01 acknowledged", "02 current"},
		5: {"01 current", "02 current"},
		6: {"01 superseded", "02 current", "03 current"},
		8: {"01 current", "02 current", "03 revoked"},
		9: {"01 current", "02 current", "03 revoked", "05 revoked"},
	} {
		for _, limit := range []int{0, 1} {
			s.equal(fmt.Sprint("hour ", at), s.serialsPast(depot.WindowPastQuery{AsOf: hour(at), Limit: limit}), want)
		}
	}
	s.equal("not after from", s.serialsPast(depot.WindowPastQuery{AsOf: hour(6), NotAfterFrom: expires(2)}), []string{"02 current", "03 current"})
	s.equal("device", s.serialsPast(depot.WindowPastQuery{AsOf: hour(6), DeviceKey: "another"}), []string{"02 current"})
	s.equal("another configuration", s.serialsPast(depot.WindowPastQuery{AsOf: hour(6), ConfigurationIDs: []string{"rac1"}}), []string(nil))
	s.wasNotThere(hour(5), 3, 4, 5, 6)
	current := func(i depot.WindowItem) bool { return i.Standing == depot.StandingCurrent }
	s.equal("match", s.serialsPast(depot.WindowPastQuery{AsOf: hour(6), Match: current, Limit: 1}), []string{"02 current", "03 current"})
	page, err := s.d.WindowItemsPast(s.ctx, depot.WindowPastQuery{AsOf: hour(4)})
	s.wantError("WindowItemsPast", err, nil)
	i := page.Items[0]
	if last, ok := i.InForce(); !ok || i.Attempts != 1 || !last.UndoneAt.IsZero() || i.SupersededBy != "" {
		s.Errorf("as it was: %+v", i)
	}
	page, err = s.d.WindowItemsPast(s.ctx, depot.WindowPastQuery{AsOf: hour(2)})
	s.wantError("WindowItemsPast", err, nil)
	if i := page.Items[0]; i.Attempts != 0 || len(i.Acknowledgements) != 0 {
		s.Errorf("before it was acknowledged: %+v", i)
	}
}

func (s *suite) latestChange() {
	latest := func(want time.Time) {
		s.Helper()
		got, err := s.d.LatestChange(s.ctx)
		s.wantError("LatestChange", err, nil)
		s.equal("LatestChange", got, utc(want))
	}
	latest(time.Time{})
	s.commit(windowed(2, "device", 1))
	latest(windowed(2, "device", 1).Identity.IssuedAt)
	s.commit(windowed(1, "device", 1)) // issued earlier
	latest(windowed(2, "device", 1).Identity.IssuedAt)
	s.d = s.reopen()
	latest(windowed(2, "device", 1).Identity.IssuedAt)
	at := Epoch.Truncate(time.Second)
	step := func() time.Time { at = at.Add(time.Hour); return at }
	r := revocation(2, depot.ReasonCertificateHold)
	r.At = step()
	s.revoke(r)
	latest(at)
	r.Reason, r.At = depot.ReasonRemoveFromCRL, step()
	s.revoke(r)
	latest(at)
	a := acknowledgement(1)
	a.At = step()
	s.acknowledged(a)
	latest(at)
	_, _, err := s.d.Unacknowledge(s.ctx, serial(1), "by", step())
	s.wantError("Unacknowledge", err, nil)
	latest(at)
	held := windowed(4, "another", 4)
	held.HoldBack, held.CSR = true, []byte("CSR")
	s.commit(held)
	_, err = s.d.Deliver(s.ctx, serial(4), step())
	s.wantError("Deliver", err, nil)
	latest(at)
	s.wantError("MarkUsed", s.d.MarkUsed(s.ctx, serial(4), at.Add(time.Hour)), nil)
	_, err = s.d.Settle(s.ctx, depot.Settlement{Announcements: []depot.Announcement{announcement(1, "missed")}})
	s.wantError("Settle", err, nil)
	latest(at) // which neither changes
}
