package depottest

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
	"understudy.example/understudy/depot"
)

// agreesWithModel sends the same random calls to the depot and to a Memory,
// and compares every answer. One depot serves all runs, because opening and
// syncing cost time; the run's number is in front of every name.
func (s *suite) agreesWithModel() {
	run := 0
	rapid.Check(s, func(t *rapid.T) {
		run++
		m := &machine{suite: s, t: t, model: NewMemory(), run: run, after: map[string][2]uint64{}, began: s.lastEvent()}
		m.drain()
		t.Repeat(map[string]func(*rapid.T){
			"commit":            m.commit,
			"commit again":      m.commit, // twice as often as the others
			"list":              m.list,
			"devices":           m.devices,
			"configuration":     m.configure,
			"request":           m.ask,
			"request again":     m.ask,
			"decide":            m.decideOne,
			"decide again":      m.decideOne,
			"requests":          m.listRequests,
			"revoke":            m.revokeOne,
			"use":               m.useOne,
			"revoked":           m.listRevoked,
			"unused":            m.listUnused,
			"CRL number":        m.number,
			"device list":       m.listDevices,
			"challenge":         m.give,
			"withdraw":          m.withdraw,
			"challenges":        m.listChallenges,
			"forget":            m.forget,
			"delivery":          m.endDelivery,
			"acknowledge":       m.acknowledge,
			"acknowledge again": m.acknowledge,
			"unacknowledge":     m.unacknowledge,
			"settle":            m.settle,
			"windows":           m.listWindows,
			"windows again":     m.listWindows,
			"past windows":      m.listPast,
			"token":             m.token,
			"webhook":           m.webhook,
			"progress":          m.progress,
			"":                  func(*rapid.T) {},
		})
	})
}

type machine struct {
	*suite
	t      *rapid.T
	model  *Memory
	run    int
	serial int
	asked  int                  // requests
	after  map[string][2]uint64 // what the caller saw: the depot's sequence and the model's
	began  uint64               // the last event of the run before
}

func (m *machine) name(what string, n int) string { return fmt.Sprintf("%s %d.%d", what, m.run, n) }

func small(t *rapid.T, what string, n int) int { return rapid.IntRange(0, n-1).Draw(t, what) }

// sameError asserts that both refused, and with the same error.
func (m *machine) sameError(t *rapid.T, what string, got, want error) bool {
	for _, e := range []error{depot.ErrExists, depot.ErrNotFound, depot.ErrTransactionConflict, depot.ErrChallengeSpent,
		depot.ErrInvalid, depot.ErrDecided, depot.ErrRevoked, depot.ErrTooMany, depot.ErrSuperseded} {
		if errors.Is(got, e) != errors.Is(want, e) {
			t.Fatalf("%s: error %v, the model has %v", what, got, want)
		}
	}
	if (got == nil) != (want == nil) {
		t.Fatalf("%s: error %v, the model has %v", what, got, want)
	}
	return got == nil
}

func (m *machine) same(t *rapid.T, what string, got, want any) {
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), sameTime(), cmpopts.IgnoreFields(depot.Transaction{}, "Sequence"),
		cmpopts.IgnoreFields(depot.Request{}, "Sequence"), cmpopts.IgnoreFields(depot.Challenge{}, "Sequence")); diff != "" {
		t.Fatalf("%s (-model +depot):\n%s", what, diff)
	}
}

func (m *machine) commit(t *rapid.T) {
	m.serial++
	n := m.run*1000 + m.serial
	i := in(Issuance(n), m.name("rac", small(t, "configuration", 2)), fmt.Sprint("transaction ", small(t, "transaction", 4)),
		fmt.Sprint("device ", small(t, "device", 3)))
	m.nameOne(t, &i)
	i.Identity.NotAfter = Epoch.Add(time.Duration(small(t, "notAfter", 4)) * time.Hour)
	i.Identity.NotBefore = i.Identity.NotAfter.Add(-time.Duration(1+small(t, "lifetime", 2)) * lifetime)
	i.Identity.PublicKeySHA256 = hashOf("run", m.run*10+small(t, "key", 3))
	i.Identity.IssuerSHA256 = m.issuer(small(t, "issuer", 2))
	if small(t, "has deadline", 2) == 1 {
		i.Identity.RevokeUnusedAt = m.deadline(small(t, "deadline", 3))
	}
	if small(t, "has challenge", 2) == 1 {
		i.Challenge.ID = m.name("ch", small(t, "challenge", 8))
	}
	if small(t, "renews", 4) == 0 {
		i.Supersedes = m.drawSerial(t)
	}
	if m.serial > 1 && small(t, "repeat message", 8) == 0 {
		i.Transaction.MessageSHA256 = hashOf("message", n-1)
	}
	m.holdBack(t, &i)
	key := i.Transaction.ConfigurationID + i.Transaction.ID
	seen := m.after[key]
	if small(t, "forget what was seen", 6) == 0 {
		seen = [2]uint64{}
	}
	i.After = seen[0]
	got, err := m.d.Commit(m.ctx, i)
	i.After = seen[1]
	expected, modelErr := m.model.Commit(m.ctx, i)
	if m.sameError(t, "Commit", err, modelErr) {
		m.same(t, "Commit", got, expected)
	}
	m.see(t, i.Transaction)
	if i.Supersedes != "" {
		m.sameIdentity(t, i.Supersedes)
	}
}

// see compares a transaction and remembers how far it came.
func (m *machine) see(t *rapid.T, seen depot.Transaction) {
	a, err := m.d.Transaction(m.ctx, seen.ConfigurationID, seen.ID)
	b, modelErr := m.model.Transaction(m.ctx, seen.ConfigurationID, seen.ID)
	m.sameError(t, "Transaction", err, modelErr)
	m.same(t, "Transaction", a, b)
	m.after[seen.ConfigurationID+seen.ID] = [2]uint64{a.Sequence, b.Sequence}
}

// list draws a query and follows the pages of both to the end.
func (m *machine) list(t *rapid.T) {
	q := depot.IdentityQuery{
		ConfigurationID: m.name("rac", small(t, "configuration", 2)),
		Limit:           1 + small(t, "limit", 4),
		Order:           rapid.SampledFrom([]depot.Order{"", depot.NewestFirst, depot.ByNotAfter}).Draw(t, "order"),
	}
	switch small(t, "index", 5) {
	case 0:
		q.DeviceKey = fmt.Sprint("device ", small(t, "device", 3))
	case 1:
		q.TransactionID = fmt.Sprint("transaction ", small(t, "transaction", 4))
	case 2:
		q.PublicKeySHA256 = hashOf("run", m.run*10+small(t, "key", 3))
	}
	if small(t, "from", 2) == 1 {
		q.NotAfterFrom = Epoch.Add(time.Duration(small(t, "not after from", 5)) * time.Hour)
	}
	if small(t, "to", 2) == 1 {
		q.NotAfterTo = Epoch.Add(time.Duration(small(t, "not after to", 5)) * time.Hour)
	}
	m.narrow(t, &q)
	ours, theirs := q, q
	for range maxPages {
		got, err := m.d.Identities(m.ctx, ours)
		expected, modelErr := m.model.Identities(m.ctx, theirs)
		m.sameError(t, "Identities", err, modelErr)
		m.same(t, fmt.Sprintf("Identities(%+v)", q), got.Items, expected.Items)
		m.same(t, "there is another page", got.NextCursor != "", expected.NextCursor != "")
		if ours.Cursor, theirs.Cursor = got.NextCursor, expected.NextCursor; ours.Cursor == "" {
			return
		}
	}
	t.Fatalf("Identities(%+v) does not end", q)
}

func (m *machine) devices(t *rapid.T) {
	q := depot.DeviceQuery{ConfigurationID: m.name("rac", small(t, "configuration", 2)), Limit: 1 + small(t, "limit", 3)}
	ours, theirs := q, q
	for range maxPages {
		got, err := m.d.Devices(m.ctx, ours)
		expected, modelErr := m.model.Devices(m.ctx, theirs)
		m.sameError(t, "Devices", err, modelErr)
		m.same(t, "Devices", got.Items, expected.Items)
		m.same(t, "there is another page", got.NextCursor != "", expected.NextCursor != "")
		if ours.Cursor, theirs.Cursor = got.NextCursor, expected.NextCursor; ours.Cursor == "" {
			return
		}
	}
	t.Fatalf("Devices(%+v) does not end", q)
}

// configure adds, changes and removes configurations of few ids and names.
func (m *machine) configure(t *rapid.T) {
	c := configuration(small(t, "id", 3))
	c.ID, c.Name = m.name("rac", small(t, "id", 3)), m.name("name", small(t, "name", 3))
	stored, err := m.model.Configuration(m.ctx, c.ID)
	cause := rapid.SampledFrom([]depot.EventType{depot.EventConfigurationChanged, depot.EventConfigurationChanged,
		depot.EventSecretReset, depot.EventConfigurationRemoved}).Draw(t, "cause")
	if err != nil || small(t, "add", 4) == 0 {
		m.sameError(t, "AddConfiguration", m.d.AddConfiguration(m.ctx, c), m.model.AddConfiguration(m.ctx, c))
	} else {
		c.Revision = stored.Revision + 1 - uint64(small(t, "old revision", 4)/3)
		if cause == depot.EventConfigurationRemoved {
			c.RemovedAt = Epoch
		}
		m.sameError(t, "SetConfiguration", m.d.SetConfiguration(m.ctx, c, cause), m.model.SetConfiguration(m.ctx, c, cause))
	}
	got, err := m.d.Configuration(m.ctx, c.ID)
	expected, modelErr := m.model.Configuration(m.ctx, c.ID)
	m.sameError(t, "Configuration", err, modelErr)
	m.same(t, "Configuration", got, expected)
	m.sameNames(t)
}

// sameNames compares the configurations of this run; the depot has those of
// others too.
func (m *machine) sameNames(t *rapid.T) {
	all, err := m.d.Configurations(m.ctx)
	expected, modelErr := m.model.Configurations(m.ctx)
	m.sameError(t, "Configurations", err, modelErr)
	var got []depot.Configuration
	for _, c := range all {
		var run, n int
		if _, err := fmt.Sscanf(c.ID, "rac %d.%d", &run, &n); err == nil && run == m.run {
			got = append(got, c)
		}
	}
	m.same(t, "Configurations", got, expected)
}
