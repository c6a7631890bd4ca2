package depottest

import (
	"fmt"
	"time"

	"understudy.example/understudy/depot"
)

// configuration returns a new configuration, complete and different for each n.
func configuration(n int) depot.Configuration {
	var c depot.Configuration
	Fill(&c, 100+n)
	c.ID, c.Name, c.Revision = fmt.Sprintf("rac%d", n), fmt.Sprintf("name %d", n), 1
	c.RemovedAt = time.Time{}
	return c
}

func utcConfiguration(c depot.Configuration) depot.Configuration {
	c = c.Clone()
	for _, t := range []*time.Time{&c.CreatedAt, &c.ChangedAt, &c.SecretResetAt, &c.RemovedAt} {
		*t = utc(*t)
	}
	return c
}

func (s *suite) add(c depot.Configuration) {
	s.Helper()
	if err := s.d.AddConfiguration(s.ctx, c); err != nil {
		s.Fatalf("AddConfiguration(%s): %v", c.ID, err)
	}
}

// set changes a configuration in a way that must be taken.
func (s *suite) set(c depot.Configuration, cause depot.EventType) {
	s.Helper()
	if err := s.d.SetConfiguration(s.ctx, c, cause); err != nil {
		s.Fatalf("SetConfiguration(%s, %s): %v", c.ID, cause, err)
	}
}

// names asserts which configurations are listed.
func (s *suite) names(want ...string) {
	s.Helper()
	all, err := s.d.Configurations(s.ctx)
	s.wantError("Configurations", err, nil)
	var got []string
	for _, c := range all {
		got = append(got, c.Name)
	}
	s.equal("names", got, want)
}

func (s *suite) stored(want depot.Configuration) {
	s.Helper()
	got, err := s.d.Configuration(s.ctx, want.ID)
	s.wantError("Configuration", err, nil)
	s.equal("Configuration", got, utcConfiguration(want))
}

func (s *suite) configurations() {
	s.names()
	b, a, c := configuration(1), configuration(2), configuration(3)
	b.Name, a.Name, c.Name = "b", "B", "ä"
	for _, one := range []depot.Configuration{b, c, a} {
		s.add(one)
	}
	s.names("B", "b", "ä") // by bytes
	for _, one := range []depot.Configuration{a, b, c} {
		s.stored(one)
	}

	s.configurationsRefused()
	s.names("B", "b", "ä")
	s.configurationsChanged(a, b, c)
}

// configurationsRefused tries to add what must not be added; "b" is taken.
func (s *suite) configurationsRefused() {
	taken := configuration(4)
	taken.Name = "b"
	s.wantError("taken name", s.d.AddConfiguration(s.ctx, taken), depot.ErrExists)
	taken = configuration(1)
	s.wantError("taken id", s.d.AddConfiguration(s.ctx, taken), depot.ErrExists)
	taken = configuration(5)
	taken.ID = ""
	s.wantError("no id", s.d.AddConfiguration(s.ctx, taken), depot.ErrInvalid)
	taken = configuration(5)
	taken.Revision = 2
	s.wantError("revision 2", s.d.AddConfiguration(s.ctx, taken), depot.ErrInvalid)
}

// configurationsChanged renames b, resets its secret key, and looks at the
// events of all that.
func (s *suite) configurationsChanged(a, b, c depot.Configuration) {
	changed := b.Clone()
	Fill(&changed.Policy, 500)
	changed.Revision, changed.Name = 2, "ä"
	s.wantError("renamed to a taken name", s.d.SetConfiguration(s.ctx, changed, depot.EventConfigurationChanged), depot.ErrExists)
	s.stored(b)
	changed.Name = "new"
	s.set(changed, depot.EventConfigurationChanged)
	s.stored(changed)
	s.names("B", "new", "ä")
	d := configuration(6)
	d.Name = "b" // is free again
	s.add(d)

	reset := changed.Clone()
	reset.Revision = 3
	Fill(&reset.Secret, 600)
	s.set(reset, depot.EventSecretReset)
	s.stored(reset)

	var got []depot.Event
	for _, e := range s.happened(2) {
		e.Sequence = 0
		got = append(got, e)
	}
	event := func(c depot.Configuration, cause depot.EventType, at time.Time) depot.Event {
		return depot.Event{Type: cause, At: utc(at), ConfigurationID: c.ID, ConfigurationName: c.Name}
	}
	s.equal("events", got, []depot.Event{
		event(b, depot.EventConfigurationAdded, b.CreatedAt),
		event(c, depot.EventConfigurationAdded, c.CreatedAt),
		event(a, depot.EventConfigurationAdded, a.CreatedAt),
		event(changed, depot.EventConfigurationChanged, changed.ChangedAt),
		event(d, depot.EventConfigurationAdded, d.CreatedAt),
		event(reset, depot.EventSecretReset, reset.SecretResetAt),
	})
	s.d = s.reopen()
	s.stored(reset)
	s.names("B", "b", "new", "ä")
}

func (s *suite) configurationRemoved() {
	c := configuration(1)
	s.add(c)
	s.add(configuration(2))
	gone := c.Clone()
	gone.Revision = 2
	s.wantError("removed without a time", s.d.SetConfiguration(s.ctx, gone, depot.EventConfigurationRemoved), depot.ErrInvalid)
	gone.RemovedAt = Epoch.Local()
	s.wantError("changed with a time of removal", s.d.SetConfiguration(s.ctx, gone, depot.EventConfigurationChanged), depot.ErrInvalid)
	s.wantError("another cause", s.d.SetConfiguration(s.ctx, gone, depot.EventCertificateIssued), depot.ErrInvalid)
	s.stored(c)
	s.set(gone, depot.EventConfigurationRemoved)
	s.stored(gone) // can be read, for the certificates that it issued
	s.names("name 2")
	events := s.happened(0)
	if len(events) != 3 {
		s.Fatalf("%d events, want 3", len(events))
	}
	s.equal("event", events[len(events)-1].At, utc(gone.RemovedAt))

	back := c.Clone()
	s.wantError("used id", s.d.AddConfiguration(s.ctx, back), depot.ErrExists)
	back.Name = "another name"
	s.wantError("used id with another name", s.d.AddConfiguration(s.ctx, back), depot.ErrExists)
	back.Revision = 3
	s.wantError("change of what is removed", s.d.SetConfiguration(s.ctx, back, depot.EventConfigurationChanged), depot.ErrNotFound)

	s.d = s.reopen()
	heir := configuration(3)
	heir.Name = c.Name // the name is free
	s.add(heir)
	s.names("name 1", "name 2")
	_, err := s.d.Configuration(s.ctx, "rac9")
	s.wantError("Configuration", err, depot.ErrNotFound)
}

func (s *suite) configurationRevision() {
	c := configuration(1)
	s.add(c)
	for _, revision := range []uint64{0, 1, 3} {
		other := c.Clone()
		other.Revision, other.Name = revision, "other"
		s.wantError(fmt.Sprintf("revision %d after 1", revision),
			s.d.SetConfiguration(s.ctx, other, depot.EventConfigurationChanged), depot.ErrTransactionConflict)
	}
	s.stored(c)
	s.names("name 1")
	s.equal("events", len(s.happened(0)), 1)
}

func (s *suite) events() {
	s.equal("events of an empty depot", len(s.happened(0)), 0)
	var expected []depot.Event
	s.add(configuration(1))
	for n := range 4 {
		i := Issuance(n)
		s.commit(i)
		expected = append(expected, depot.Event{
			Type: depot.EventCertificateIssued, At: utc(i.Identity.IssuedAt),
			ConfigurationID: i.Identity.ConfigurationID, ConfigurationName: i.Identity.ConfigurationName,
			CertificateSerial: i.Identity.CertificateSerial, DeviceKey: i.Identity.Device.Key, TransactionID: i.Transaction.ID,
		})
	}
	all := s.happened(2)
	s.equal("number of events", len(all), 5)
	var got []depot.Event
	last := uint64(0)
	for _, e := range all {
		if e.Sequence <= last {
			s.Errorf("event %d after %d", e.Sequence, last)
		}
		last = e.Sequence
		e.Sequence = 0
		got = append(got, e)
	}
	s.equal("events of certificates", got[1:], expected)
	t, err := s.d.Transaction(s.ctx, "rac0", "transaction 3")
	s.wantError("Transaction", err, nil)
	s.equal("sequence of event and transaction", last, t.Sequence)

	page, err := s.d.Events(s.ctx, depot.EventQuery{After: all[3].Sequence})
	s.wantError("Events", err, nil)
	s.equal("events after the fourth", page.Items, all[4:])
	page, err = s.d.Events(s.ctx, depot.EventQuery{After: last})
	s.wantError("Events", err, nil)
	s.equal("events after the last", len(page.Items), 0)
}

func (s *suite) authority() {
	a := depot.AuthorityGeneration{At: Epoch, Root: []byte("root"), Issuer: []byte("issuer"), RA: []byte("ra")}
	for range 2 {
		s.wantError("RecordAuthority", s.d.RecordAuthority(s.ctx, a), nil)
	}
	a.RA = []byte("another")
	s.wantError("RecordAuthority", s.d.RecordAuthority(s.ctx, a), nil)
	s.d = s.reopen()
	s.wantError("RecordAuthority", s.d.RecordAuthority(s.ctx, a), nil)
	s.commit(Issuance(1))
	s.nothingButEvents(1)
}
