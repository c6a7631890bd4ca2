package depottest

import (
	"fmt"
	"slices"
	"time"

	"understudy.example/understudy/depot"
)

func serial(n int) string { return Issuance(n).Identity.CertificateSerial }

func serialsOf(ns ...int) (all []string) {
	for _, n := range ns {
		all = append(all, serial(n))
	}
	return all
}

func (s *suite) listNewestFirst() {
	for _, n := range []int{3, 1, 4, 2} { // the order of commits, not of times or serials
		s.commit(Issuance(n))
	}
	for _, limit := range []int{0, 1, 2, 3, 4, 5} {
		s.equal(fmt.Sprintf("limit %d", limit), s.serials(depot.IdentityQuery{Limit: limit}), serialsOf(2, 4, 1, 3))
		s.equal("by name", s.serials(depot.IdentityQuery{Limit: limit, Order: depot.NewestFirst}), serialsOf(2, 4, 1, 3))
	}
	page, err := s.d.Identities(s.ctx, depot.IdentityQuery{})
	s.wantError("Identities", err, nil)
	s.equal("item", page.Items[3], want(Issuance(3), ""))
}

func (s *suite) listByNotAfter() {
	for _, n := range []int{3, 1, 4, 2} {
		s.commit(Issuance(n))
	}
	early := Issuance(7) // before 1970 it sorts before, and not behind
	early.Identity.NotAfter = time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC)
	s.commit(early)
	// Fractions of a second count, and so does the zone.
	close1, close2 := Issuance(8), Issuance(9)
	close2.Identity.NotAfter = Epoch.Add(90 * time.Minute).In(time.FixedZone("east", 3600))
	close1.Identity.NotAfter = Epoch.Add(90*time.Minute + time.Microsecond)
	s.commit(close1)
	s.commit(close2)
	for _, limit := range []int{0, 1, 2, 3, 7, 8} {
		s.equal(fmt.Sprintf("limit %d", limit), s.serials(depot.IdentityQuery{Limit: limit, Order: depot.ByNotAfter}),
			serialsOf(7, 1, 9, 8, 2, 3, 4))
	}
}

func (s *suite) listWindow() {
	edges := map[int]time.Duration{1: -time.Second, 2: -time.Microsecond, 3: 0, 4: time.Microsecond, 5: time.Second}
	for n, offset := range edges {
		i := in(Issuance(n), "rac0", fmt.Sprint(n), "device")
		i.Identity.PublicKeySHA256 = hashOf("key", 1)
		i.Identity.NotAfter = Epoch.Add(offset).Local()
		s.commit(i)
	}
	sec, mic := time.Second, time.Microsecond
	for _, w := range []struct {
		from, to *time.Duration
		want     []string
	}{
		{nil, nil, serialsOf(1, 2, 3, 4, 5)},
		{at(0), nil, serialsOf(3, 4, 5)},
		{nil, at(0), serialsOf(1, 2)},
		{at(-mic), at(mic), serialsOf(2, 3)},
		{at(-sec), at(sec), serialsOf(1, 2, 3, 4)},
		{at(mic), at(sec + mic), serialsOf(4, 5)},
		{at(0), at(0), nil},
		{at(sec), at(-sec), nil},
		{at(sec + mic), nil, nil},
	} {
		q := depot.IdentityQuery{Order: depot.ByNotAfter}
		if w.from != nil {
			q.NotAfterFrom = Epoch.Add(*w.from).Local()
		}
		if w.to != nil {
			q.NotAfterTo = Epoch.Add(*w.to).Local()
		}
		name := fmt.Sprintf("[%v, %v)", q.NotAfterFrom, q.NotAfterTo)
		for _, q.Limit = range []int{0, 1, 2} {
			s.equal(name, s.serials(q), w.want)
			ofDevice := q
			ofDevice.ConfigurationID, ofDevice.DeviceKey = "rac0", "device"
			s.equal("of a device "+name, s.serials(ofDevice), w.want)
			newest := q
			newest.Order = depot.NewestFirst
			got := s.serials(newest)
			slices.Sort(got)
			s.equal("newest first "+name, got, w.want)
		}
	}
}

func at(d time.Duration) *time.Duration { return &d }

func (s *suite) listFilters() {
	// Two configurations with the same device and transaction names, and one
	// public key that goes over all.
	for n := range 12 {
		i := in(Issuance(n), fmt.Sprintf("rac%d", n%2), fmt.Sprintf("transaction %d", n%4), fmt.Sprintf("device %d", n%3))
		if n%6 == 0 {
			i.Identity.PublicKeySHA256 = hashOf("key", 1000)
		}
		s.commitAfter(i)
	}
	for _, f := range []struct {
		query depot.IdentityQuery
		want  []string // newest first; the times of Issuance rise
	}{
		{depot.IdentityQuery{ConfigurationID: "rac1"}, serialsOf(11, 9, 7, 5, 3, 1)},
		{depot.IdentityQuery{ConfigurationID: "rac"}, nil},
		{depot.IdentityQuery{ConfigurationID: "rac0", DeviceKey: "device 1"}, serialsOf(10, 4)},
		{depot.IdentityQuery{ConfigurationID: "rac1", DeviceKey: "device 1"}, serialsOf(7, 1)},
		{depot.IdentityQuery{ConfigurationID: "rac1", DeviceKey: "device"}, nil},
		{depot.IdentityQuery{ConfigurationID: "rac0", TransactionID: "transaction 2"}, serialsOf(10, 6, 2)},
		{depot.IdentityQuery{ConfigurationID: "rac0", TransactionID: "transaction 2", DeviceKey: "device 0"}, serialsOf(6)},
		{depot.IdentityQuery{PublicKeySHA256: hashOf("key", 1000)}, serialsOf(6, 0)},
		{depot.IdentityQuery{PublicKeySHA256: hashOf("key", 5)}, serialsOf(5)},
		{depot.IdentityQuery{PublicKeySHA256: hashOf("key", 5), ConfigurationID: "rac0"}, nil},
		{depot.IdentityQuery{PublicKeySHA256: hashOf("key", 99)}, nil},
	} {
		for _, f.query.Limit = range []int{0, 1, 2} {
			s.equal(fmt.Sprintf("%+v", f.query), s.serials(f.query), f.want)
			f.query.Order = depot.ByNotAfter
			got := s.serials(f.query)
			slices.Reverse(got)
			s.equal(fmt.Sprintf("%+v", f.query), got, f.want)
			f.query.Order = ""
		}
	}
}

// listPages asks for every page size over certificates that end at the same
// moment, so that a page can end between two of them.
func (s *suite) listPages() {
	const n = 9
	var byNotAfter, newest []string
	for i := range n {
		issuance := in(Issuance((i*4)%n), "rac0", fmt.Sprint(i), "device")
		issuance.Identity.NotAfter = Epoch.Add(time.Duration((i*4)%n/4) * time.Hour)
		s.commit(issuance)
		byNotAfter = append(byNotAfter, serial(i))
		newest = append(newest, issuance.Identity.CertificateSerial)
	}
	slices.Reverse(newest)
	for limit := 1; limit <= n+1; limit++ {
		for _, device := range []string{"", "device"} {
			q := depot.IdentityQuery{Limit: limit, ConfigurationID: "rac0", DeviceKey: device}
			s.equal(fmt.Sprintf("newest first, %d a page", limit), s.serials(q), newest)
			q.Order = depot.ByNotAfter
			s.equal(fmt.Sprintf("by notAfter, %d a page", limit), s.serials(q), byNotAfter)
		}
	}
	for limit := 1; limit <= n; limit++ {
		page, err := s.d.Identities(s.ctx, depot.IdentityQuery{Limit: limit})
		s.wantError("Identities", err, nil)
		s.equal("items on a page", len(page.Items), limit)
		s.equal("the last page has no cursor", page.NextCursor == "", limit == n)
	}
}

// listStable writes between two pages: what was there is listed once, and the
// write does not wait for the reader.
func (s *suite) listStable() {
	for n := 1; n <= 6; n++ {
		s.commit(Issuance(2 * n))
	}
	newest, err := s.d.Identities(s.ctx, depot.IdentityQuery{Limit: 3})
	s.wantError("Identities", err, nil)
	byNotAfter, err := s.d.Identities(s.ctx, depot.IdentityQuery{Limit: 3, Order: depot.ByNotAfter})
	s.wantError("Identities", err, nil)
	devices, err := s.d.Devices(s.ctx, depot.DeviceQuery{Limit: 3})
	s.wantError("Devices", err, nil)

	s.commit(Issuance(1)) // before the cursor
	s.commit(Issuance(9)) // behind it
	s.equal("newest first", s.serials(depot.IdentityQuery{Limit: 2, Cursor: newest.NextCursor}), serialsOf(6, 4, 2))
	s.equal("by notAfter", s.serials(depot.IdentityQuery{Limit: 2, Order: depot.ByNotAfter, Cursor: byNotAfter.NextCursor}),
		serialsOf(8, 9, 10, 12))
	s.equal("devices", s.deviceKeys(depot.DeviceQuery{Limit: 2, Cursor: devices.NextCursor}),
		[]string{"rac0 device 4", "rac0 device 6", "rac0 device 8", "rac0 device 9"})
}

func (s *suite) listLimits() {
	for n := range 103 {
		s.commit(Issuance(n))
	}
	for limit, expected := range map[int]int{-1: 100, 0: 100, 1: 1, 102: 102, 500: 103, 501: 103, 1 << 40: 103} {
		page, err := s.d.Identities(s.ctx, depot.IdentityQuery{Limit: limit})
		s.wantError("Identities", err, nil)
		s.equal(fmt.Sprintf("certificates with limit %d", limit), len(page.Items), expected)
		devices, err := s.d.Devices(s.ctx, depot.DeviceQuery{Limit: limit})
		s.wantError("Devices", err, nil)
		s.equal(fmt.Sprintf("devices with limit %d", limit), len(devices.Items), expected)
		events, err := s.d.Events(s.ctx, depot.EventQuery{Limit: limit})
		s.wantError("Events", err, nil)
		s.equal(fmt.Sprintf("events with limit %d", limit), len(events.Items), expected)
	}
	s.equal("above the highest limit", depot.PageLimit(501), 500)
}

func (s *suite) cursors() {
	for n := range 4 {
		s.commit(Issuance(n))
	}
	newest, err := s.d.Identities(s.ctx, depot.IdentityQuery{Limit: 2})
	s.wantError("Identities", err, nil)
	byNotAfter, err := s.d.Identities(s.ctx, depot.IdentityQuery{Limit: 2, Order: depot.ByNotAfter})
	s.wantError("Identities", err, nil)
	devices, err := s.d.Devices(s.ctx, depot.DeviceQuery{Limit: 2})
	s.wantError("Devices", err, nil)
	garbage := []string{"x", "AAAA", "!", "0a000001", newest.NextCursor + "A", newest.NextCursor[1:], newest.NextCursor[:len(newest.NextCursor)-2],
		flip(newest.NextCursor), "\x00", "{}"}
	for _, c := range append(garbage, byNotAfter.NextCursor, devices.NextCursor) {
		_, err := s.d.Identities(s.ctx, depot.IdentityQuery{Cursor: c})
		s.wantError("Identities with "+c, err, depot.ErrCursor)
	}
	for _, c := range append(garbage, newest.NextCursor, devices.NextCursor) {
		_, err := s.d.Identities(s.ctx, depot.IdentityQuery{Cursor: c, Order: depot.ByNotAfter})
		s.wantError("Identities by notAfter with "+c, err, depot.ErrCursor)
	}
	for _, c := range append(garbage, newest.NextCursor, byNotAfter.NextCursor) {
		_, err := s.d.Devices(s.ctx, depot.DeviceQuery{Cursor: c})
		s.wantError("Devices with "+c, err, depot.ErrCursor)
	}
}

// flip changes the first letter.
func flip(s string) string {
	if s == "" || s[0] == 'A' {
		return "B" + s[min(len(s), 1):]
	}
	return "A" + s[1:]
}

func (s *suite) devices() {
	first := in(Issuance(5), "rac0", "a", "same")
	s.commit(first)
	s.commit(in(Issuance(6), "rac1", "b", "same")) // another configuration's device is another one
	second := in(Issuance(2), "rac0", "c", "same") // earlier in time, later in the order
	s.equal("second identity", s.commit(second), want(second, first.Identity.CertificateSerial))
	s.commit(in(Issuance(9), "rac0", "d", "another"))

	got, err := s.d.Device(s.ctx, "rac0", "same")
	s.wantError("Device", err, nil)
	expected := depot.Device{
		ConfigurationID: "rac0", Names: second.Identity.Device, FirstSeen: utc(first.Identity.IssuedAt),
		LastSeen: utc(second.Identity.IssuedAt), Certificates: 2, LatestSerial: second.Identity.CertificateSerial,
	}
	s.equal("Device", got, expected)
	page, err := s.d.Devices(s.ctx, depot.DeviceQuery{ConfigurationID: "rac0"})
	s.wantError("Devices", err, nil)
	s.equal("devices of a configuration", len(page.Items), 2)
	s.equal("Devices", page.Items[1], expected)
	s.equal("all devices", s.deviceKeys(depot.DeviceQuery{Limit: 1}), []string{"rac0 another", "rac0 same", "rac1 same"})
	s.d = s.reopen()
	got, err = s.d.Device(s.ctx, "rac0", "same")
	s.wantError("Device after reopening", err, nil)
	s.equal("Device after reopening", got, expected)
}

func (s *suite) deviceOrder() {
	keys := [][2]string{{"rac", "z"}, {"rac0", "Z"}, {"rac0", "a"}, {"rac0", "a b"}, {"rac0", "aa"}, {"rac0", "b"}, {"rac0", "é"}, {"rac00", "a"}, {"rac1", "a"}}
	var expected []string
	for n := range keys {
		k := keys[(n*4)%len(keys)]
		s.commit(in(Issuance(n), k[0], fmt.Sprint(n), k[1]))
		expected = append(expected, keys[n][0]+" "+keys[n][1])
	}
	for limit := range 11 {
		s.equal(fmt.Sprintf("%d a page", limit), s.deviceKeys(depot.DeviceQuery{Limit: limit}), expected)
		s.equal(fmt.Sprintf("of one configuration, %d a page", limit), s.deviceKeys(depot.DeviceQuery{Limit: limit, ConfigurationID: "rac0"}), expected[1:7])
	}
	s.equal("of none", s.deviceKeys(depot.DeviceQuery{ConfigurationID: "ra"}), []string(nil))
}
