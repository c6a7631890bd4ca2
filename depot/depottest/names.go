package depottest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"understudy.example/understudy/depot"
)

// named returns an issuance whose device has such names, and no others.
func named(n int, names depot.DeviceNames) depot.Issuance {
	i := Issuance(n)
	names.Key = i.Identity.Device.Key
	i.Identity.Device = names
	return i
}

// inBothOrders asserts what a query lists, newest first and by notAfter (in the
// suite's issuances the one is the other backwards), on pages of any size.
func (s *suite) inBothOrders(what string, q depot.IdentityQuery, newest []string) {
	s.Helper()
	byNotAfter := slices.Clone(newest)
	slices.Sort(byNotAfter)
	for _, q.Limit = range []int{0, 1, 2, 3} {
		q.Order = depot.NewestFirst
		s.equal(fmt.Sprintf("%s, newest first, %d a page", what, q.Limit), s.serials(q), newest)
		q.Order = depot.ByNotAfter
		s.equal(fmt.Sprintf("%s, by notAfter, %d a page", what, q.Limit), s.serials(q), byNotAfter)
	}
}

func (s *suite) listNames() {
	long := strings.Repeat("L", 5000)
	for n, names := range []depot.DeviceNames{
		{DeviceSerial: "C02ABC"}, {DeviceSerial: "c02abcd"}, {DeviceSerial: "C02"}, {UDID: "C02ABC"}, {UPN: "Ünal@example.com"},
		{DeviceSerial: "C02ABC", ProfileUUID: "AAAA-1", UDID: "U1", UPN: "a@b"}, {}, {DeviceSerial: "C02ABC\x00"}, {DeviceSerial: "C02ABC\x00\x00\x00\x00\x00\x00\x00\x01"},
		{DeviceSerial: long + "1"}, {DeviceSerial: long + "2"}, {DeviceSerial: "not \xff UTF-8"}, {ProfileUUID: "aaaa-1"}, {ProfileUUID: "aaaa-11"},
	} {
		s.commit(named(n, names))
	}
	for _, test := range []struct {
		kind   depot.NameKind
		name   string
		exact  []string
		prefix []string
	}{
		{depot.NameDeviceSerial, "C02ABC", serialsOf(5, 0), serialsOf(8, 7, 5, 1, 0)},
		{depot.NameDeviceSerial, "c02aBc", serialsOf(5, 0), serialsOf(8, 7, 5, 1, 0)},
		{depot.NameDeviceSerial, "C02", serialsOf(2), serialsOf(8, 7, 5, 2, 1, 0)},
		{depot.NameDeviceSerial, "C02ABCDE", nil, nil},
		{depot.NameDeviceSerial, "C02ABC\x00", serialsOf(7), serialsOf(8, 7)},
		{depot.NameDeviceSerial, long, nil, serialsOf(10, 9)},
		{depot.NameDeviceSerial, long + "2", serialsOf(10), serialsOf(10)},
		{depot.NameDeviceSerial, long[:1024], nil, serialsOf(10, 9)},
		{depot.NameDeviceSerial, "not \xff UTF-8", serialsOf(11), serialsOf(11)},
		{depot.NameUDID, "C02ABC", serialsOf(3), serialsOf(3)},
		{depot.NameUDID, "u", nil, serialsOf(5)},
		{depot.NameUPN, "ünal@EXAMPLE.com", serialsOf(4), serialsOf(4)},
		{depot.NameUPN, "ü", nil, serialsOf(4)},
		{depot.NameProfileUUID, "aaaa-1", serialsOf(12, 5), serialsOf(13, 12, 5)},
		{depot.NameProfileUUID, "AAAA-11", serialsOf(13), serialsOf(13)},
		{depot.NameProfileUUID, "aaaa-2", nil, nil},
	} {
		what := fmt.Sprintf("%s %.20q", test.kind, test.name)
		s.inBothOrders(what, depot.IdentityQuery{NameKind: test.kind, Name: test.name}, test.exact)
		s.inBothOrders("beginning of "+what, depot.IdentityQuery{NameKind: test.kind, Name: test.name, NamePrefix: true}, test.prefix)
	}
	s.inBothOrders("a device and its name", depot.IdentityQuery{ConfigurationID: "rac0", DeviceKey: "device 5", NameKind: depot.NameUPN, Name: "A@B"}, serialsOf(5))
	s.inBothOrders("a device and another's name", depot.IdentityQuery{ConfigurationID: "rac0", DeviceKey: "device 4", NameKind: depot.NameUPN, Name: "A@B"}, nil)
	s.inBothOrders("a name in another configuration", depot.IdentityQuery{ConfigurationID: "rac1", NameKind: depot.NameUPN, Name: "A@B"}, nil)
	for name, q := range map[string]depot.IdentityQuery{
		"name without kind": {Name: "a"}, "kind without name": {NameKind: depot.NameUPN}, "unknown kind": {NameKind: "upnx", Name: "a"},
		"beginning of nothing": {NamePrefix: true}, "empty beginning": {NameKind: depot.NameUPN, NamePrefix: true},
	} {
		_, err := s.d.Identities(s.ctx, q)
		s.wantError(name, err, depot.ErrInvalid)
	}
}

// listNamesStable writes between two pages of names: what was there is listed
// once.
func (s *suite) listNamesStable() {
	name := func(n int) depot.Issuance { return named(n, depot.DeviceNames{DeviceSerial: fmt.Sprint("C02", n%3)}) }
	for n := 10; n < 20; n += 2 {
		s.commit(name(n))
	}
	for _, q := range []depot.IdentityQuery{{NameKind: depot.NameDeviceSerial, Name: "c02", NamePrefix: true, Limit: 2},
		{NameKind: depot.NameDeviceSerial, Name: "c02", NamePrefix: true, Limit: 2, Order: depot.ByNotAfter}} {
		page, err := s.d.Identities(s.ctx, q)
		s.wantError("Identities", err, nil)
		q.Cursor = page.NextCursor
		if q.Order == depot.ByNotAfter {
			s.commit(name(25))
			s.commit(name(3))
			s.equal("the rest by notAfter", s.serials(q), serialsOf(12, 14, 16, 18, 24, 25))
		} else {
			s.commit(name(24))
			s.commit(name(1))
			s.equal("the rest newest first", s.serials(q), serialsOf(14, 12, 10))
		}
	}
}

func (s *suite) listIssued() {
	for n := range 5 {
		s.commit(Issuance(n))
	}
	at := func(n int) time.Time { return Epoch.Add(time.Duration(n) * time.Minute).Local() }
	for _, w := range []struct {
		from, to time.Time
		want     []string
	}{
		{at(1), at(3), serialsOf(2, 1)},
		{at(1).Add(time.Microsecond), time.Time{}, serialsOf(4, 3, 2)},
		{time.Time{}, at(1), serialsOf(0)},
		{at(3), at(1), nil},
	} {
		s.inBothOrders(fmt.Sprintf("issued [%v, %v)", w.from, w.to), depot.IdentityQuery{IssuedFrom: w.from, IssuedTo: w.to}, w.want)
	}
}

func (s *suite) listMatch() {
	for n := range 6 {
		s.commit(Issuance(n))
	}
	var seen []depot.Identity
	q := depot.IdentityQuery{IssuedFrom: Epoch.Add(2 * time.Minute), Limit: 2, Match: func(i depot.Identity, standing depot.Standing) bool {
		if standing != depot.StandingNone {
			s.Errorf("standing %q", standing)
		}
		seen = append(seen, i)
		return i.CertificateSerial != serial(3)
	}}
	s.inBothOrders("what matches", q, serialsOf(5, 4, 2))
	asked := want(Issuance(5), "")
	asked.DER = nil
	for _, i := range seen {
		if i.CertificateSerial == serial(5) {
			s.equal("Match sees", i, asked)
		}
		if i.CertificateSerial == serial(0) || i.CertificateSerial == serial(1) {
			s.Errorf("Match was asked about %s, which the rest of the query does not select", i.CertificateSerial)
		}
	}
	page, err := s.d.Identities(s.ctx, q)
	s.wantError("Identities", err, nil)
	s.equal("what is listed has its certificate", page.Items[0], want(Issuance(5), ""))
}

// listStandings: Match is told how each stands now.
func (s *suite) listStandings() {
	for n := range 3 {
		s.commit(in(Issuance(n), "rac0", fmt.Sprint(n), "device"))
	}
	s.commit(HeldBack(3))
	s.commit(Issuance(4))
	s.revoke(revocation(2, depot.ReasonKeyCompromise))
	_, _, err := s.d.Acknowledge(s.ctx, depot.Acknowledgement{CertificateSerial: serial(4), At: Epoch.Truncate(time.Second)})
	s.wantError("Acknowledge", err, nil)
	for standing, want := range map[depot.Standing][]string{
		depot.StandingNone: serialsOf(3), depot.StandingRevoked: serialsOf(2), depot.StandingSuperseded: serialsOf(0),
		depot.StandingCurrent: serialsOf(1), depot.StandingAcknowledged: serialsOf(4),
	} {
		q := depot.IdentityQuery{WithStanding: true, Match: func(_ depot.Identity, has depot.Standing) bool { return has == standing }}
		s.inBothOrders(fmt.Sprintf("standing %q", standing), q, want)
		q.AsOf = Epoch.Add(24 * time.Hour)
		s.inBothOrders(fmt.Sprintf("standing %q, as of later", standing), q, want)
	}
}

// listAsOf undoes what came later, and only that.
func (s *suite) listAsOf() {
	hour := func(n int) time.Time { return Epoch.Add(time.Duration(n) * time.Hour).Local() }
	i := Issuance(1)
	i.Identity.IssuedAt = hour(1)
	was := s.commit(i)
	unused := was
	s.wantError("MarkUsed", s.d.MarkUsed(s.ctx, serial(1), hour(2)), nil)
	used := was
	used.UsedAt = utc(hour(2))
	renewal := Issuance(2)
	renewal.Identity.IssuedAt, renewal.Supersedes = hour(3), serial(1)
	s.commit(renewal)
	superseded := used
	superseded.SupersededAt, superseded.SupersededBy = utc(hour(3)), serial(2)
	r := revocation(1, depot.ReasonKeyCompromise)
	r.At = hour(4)
	now := s.revoke(r)
	for name, test := range map[string]struct {
		at   time.Time
		want []depot.Identity
	}{
		"before":             {hour(1).Add(-time.Microsecond), nil},
		"at issue":           {hour(1), []depot.Identity{unused}},
		"before the use":     {hour(2).Add(-time.Microsecond), []depot.Identity{unused}},
		"at the use":         {hour(2), []depot.Identity{used}},
		"at the renewal":     {hour(3), []depot.Identity{superseded}},
		"before revocation":  {hour(4).Add(-time.Microsecond), []depot.Identity{superseded}},
		"at the revocation":  {hour(4), []depot.Identity{now}},
		"long after all":     {hour(1000), []depot.Identity{now}},
		"in another century": {hour(-1_000_000), nil},
	} {
		s.asOf(name, test.at, serial(1), test.want)
	}
	held := HeldBack(5)
	held.Identity.IssuedAt = hour(5)
	waiting := s.commit(held)
	void, err := s.d.Void(s.ctx, serial(5), "", hour(6))
	s.wantError("Void", err, nil)
	s.asOf("held back", hour(5), serial(5), []depot.Identity{waiting})
	s.asOf("void", hour(6), serial(5), []depot.Identity{void})
	s.equal("all that was there", s.serials(depot.IdentityQuery{AsOf: hour(3)}), serialsOf(2, 1))
}

// asOf asserts how an identity was, and that Match sees it so.
func (s *suite) asOf(what string, at time.Time, certificateSerial string, want []depot.Identity) {
	s.Helper()
	for _, order := range []depot.Order{depot.NewestFirst, depot.ByNotAfter} {
		var seen []depot.Identity
		page, err := s.d.Identities(s.ctx, depot.IdentityQuery{AsOf: at, Order: order, Match: func(i depot.Identity, _ depot.Standing) bool {
			if i.CertificateSerial == certificateSerial {
				seen = append(seen, i)
			}
			return i.CertificateSerial == certificateSerial
		}})
		s.wantError("Identities", err, nil)
		s.equal(what, page.Items, want)
		for n := range seen {
			seen[n].DER = want[n].DER
		}
		s.equal(what+", as Match sees it", seen, want)
	}
}

func (s *suite) eventFilters() {
	for n := range 4 {
		s.commit(in(Issuance(n), fmt.Sprintf("rac%d", n%2), fmt.Sprint(n), "device"))
		s.revoke(revocation(n, depot.ReasonSuperseded))
	}
	all := s.happened(0)
	for name, test := range map[string]struct {
		q    depot.EventQuery
		want []int
	}{
		"a type":           {depot.EventQuery{Types: []depot.EventType{depot.EventCertificateRevoked}}, []int{1, 3, 5, 7}},
		"two types":        {depot.EventQuery{Types: []depot.EventType{depot.EventCertificateIssued, depot.EventCertificateRevoked}}, []int{0, 1, 2, 3, 4, 5, 6, 7}},
		"no such type":     {depot.EventQuery{Types: []depot.EventType{"x"}}, nil},
		"a configuration":  {depot.EventQuery{ConfigurationID: "rac1"}, []int{2, 3, 6, 7}},
		"both":             {depot.EventQuery{ConfigurationID: "rac1", Types: []depot.EventType{depot.EventCertificateIssued}}, []int{2, 6}},
		"after a sequence": {depot.EventQuery{ConfigurationID: "rac1", After: all[3].Sequence}, []int{6, 7}},
	} {
		var want []depot.Event
		for _, n := range test.want {
			want = append(want, all[n])
		}
		for _, test.q.Limit = range []int{0, 1, 2, 3} {
			s.equal(name, s.eventsOf(test.q), want)
		}
	}
}

// eventsOf lists the events of all pages.
func (s *suite) eventsOf(q depot.EventQuery) (all []depot.Event) {
	s.Helper()
	for range maxPages {
		page, err := s.d.Events(s.ctx, q)
		s.wantError("Events", err, nil)
		all = append(all, page.Items...)
		if page.NextCursor == "" {
			return all
		}
		if _, err := fmt.Sscan(page.NextCursor, &q.After); err != nil {
			s.Fatalf("Events: NextCursor %q: %v", page.NextCursor, err)
		}
	}
	s.Fatalf("Events(%+v) does not end", q)
	return nil
}
