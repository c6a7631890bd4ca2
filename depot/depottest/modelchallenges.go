package depottest

import (
	"fmt"
	"time"

	"pgregory.net/rapid"
	"understudy.example/understudy/depot"
)

func (m *machine) challengeID(t *rapid.T) string { return m.name("ch", small(t, "challenge", 8)) }

func (m *machine) challengeSHA256(n int) [32]byte { return hashOf("challenge of run", m.run*10+n) }

// give adds one of few challenges.
func (m *machine) give(t *rapid.T) {
	c := Challenge(small(t, "content", 3))
	c.ID, c.ConfigurationID = m.challengeID(t), m.name("rac", small(t, "id", 3))
	c.SHA256 = m.challengeSHA256(small(t, "hash", 8))
	c.CreatedAt = m.deadline(small(t, "created", 4))
	c.ExpiresAt = c.CreatedAt.Add(time.Duration(small(t, "life", 4)) * time.Hour)
	most := small(t, "most", 5)
	m.sameError(t, "AddChallenge", m.d.AddChallenge(m.ctx, c, most), m.model.AddChallenge(m.ctx, c, most))
	m.sameChallenge(t, c.ID)
}

// sameChallenge compares a challenge by its id and one by its hash.
func (m *machine) sameChallenge(t *rapid.T, id string) {
	got, err := m.d.Challenge(m.ctx, id)
	expected, modelErr := m.model.Challenge(m.ctx, id)
	m.sameError(t, "Challenge", err, modelErr)
	m.same(t, "Challenge", got, expected)
	sha256 := m.challengeSHA256(small(t, "hash", 8))
	got, err = m.d.ChallengeBySHA256(m.ctx, sha256)
	expected, modelErr = m.model.ChallengeBySHA256(m.ctx, sha256)
	m.sameError(t, "ChallengeBySHA256", err, modelErr)
	m.same(t, "ChallengeBySHA256", got, expected)
}

func (m *machine) withdraw(t *rapid.T) {
	id, at := m.challengeID(t), m.deadline(small(t, "at", 4))
	m.sameError(t, "WithdrawChallenge", m.d.WithdrawChallenge(m.ctx, id, "by", at), m.model.WithdrawChallenge(m.ctx, id, "by", at))
	m.sameChallenge(t, id)
}

// forget goes no further than the challenges of this run, which expire before
// those of all earlier ones.
func (m *machine) forget(t *rapid.T) {
	before, limit := m.deadline(small(t, "before", 8)).Add(time.Minute), small(t, "limit", 4)
	got, err := m.d.ForgetChallenges(m.ctx, before, limit)
	expected, modelErr := m.model.ForgetChallenges(m.ctx, before, limit)
	m.sameError(t, "ForgetChallenges", err, modelErr)
	m.same(t, "ForgetChallenges", got, expected)
}

func (m *machine) listChallenges(t *rapid.T) {
	q := depot.ChallengeQuery{ConfigurationID: m.name("rac", small(t, "id", 3)), Limit: 1 + small(t, "limit", 3)}
	if small(t, "outstanding", 2) == 1 {
		q.OutstandingAt = m.deadline(small(t, "at", 8))
	}
	ours, theirs := q, q
	for range maxPages {
		got, err := m.d.Challenges(m.ctx, ours)
		expected, modelErr := m.model.Challenges(m.ctx, theirs)
		m.sameError(t, "Challenges", err, modelErr)
		m.same(t, fmt.Sprintf("Challenges(%+v)", q), got.Items, expected.Items)
		m.same(t, "there is another page", got.NextCursor != "", expected.NextCursor != "")
		if ours.Cursor, theirs.Cursor = got.NextCursor, expected.NextCursor; ours.Cursor == "" {
			return
		}
	}
	t.Fatalf("Challenges(%+v) does not end", q)
}

// holdBack lets one of several be held back.
func (m *machine) holdBack(t *rapid.T, i *depot.Issuance) {
	if small(t, "held back", 3) == 0 {
		i.HoldBack, i.CSR = true, []byte("CSR of "+i.Identity.CertificateSerial)
	}
}

func (m *machine) endDelivery(t *rapid.T) {
	which, at := m.drawSerial(t), Epoch.Add(time.Duration(small(t, "at", 4))*time.Hour)
	end := func(d depot.Depot) (depot.Identity, error) { return d.Deliver(m.ctx, which, at) }
	if small(t, "void", 2) == 1 {
		end = func(d depot.Depot) (depot.Identity, error) { return d.Void(m.ctx, which, "why", at) }
	}
	got, err := end(m.d)
	expected, modelErr := end(m.model)
	if m.sameError(t, "end of a delivery", err, modelErr) {
		m.same(t, "end of a delivery", got, expected)
	}
	m.sameIdentity(t, which)
	m.sameUndelivered(t)
}

// sameUndelivered compares what this run left undelivered.
func (m *machine) sameUndelivered(t *rapid.T) {
	all, err := m.d.Undelivered(m.ctx)
	expected, modelErr := m.model.Undelivered(m.ctx)
	m.sameError(t, "Undelivered", err, modelErr)
	var got []depot.Undelivered
	for _, u := range all {
		var run, n int
		if _, err := fmt.Sscanf(u.Identity.ConfigurationID, "rac %d.%d", &run, &n); err == nil && run == m.run {
			got = append(got, u)
		}
	}
	m.same(t, "Undelivered", got, expected)
}
