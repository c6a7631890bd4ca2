package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
	"understudy.example/understudy/depot"
)

// AddChallenge stores a challenge.
//
// The ledger tells of it, with the hash only: a database that is made anew
// knows every challenge that was given out, so that profiles that are under
// way still work and spent ones stay spent. That some were forgotten it does
// not tell; they come back expired and are forgotten again.
func (d *Depot) AddChallenge(ctx context.Context, c depot.Challenge, most int) error {
	if err := c.Validate(); err != nil {
		return err
	}
	c.Sequence = 0
	err := d.submit(ctx, func(b *batch) error {
		of, err := b.lookAtChallenge(c)
		if err != nil {
			return err
		}
		if b.outstanding(c.ConfigurationID, c.CreatedAt, most) >= most {
			return depot.ErrTooMany
		}
		n := b.number()
		if err := b.keepChallenge(c, of); err != nil {
			return err
		}
		return b.record(objectPayload(n, string(depot.EventChallengeIssued), c.CreatedAt, "given", challengeFields(&c)))
	})
	if err != nil {
		return fmt.Errorf("add challenge %s of configuration %s: %w", c.ID, c.ConfigurationID, err)
	}
	return nil
}

// lookAtChallenge decides whether a challenge can be stored, however many
// there are, and returns its configuration. It changes nothing.
func (b *batch) lookAtChallenge(c depot.Challenge) (depot.Configuration, error) {
	of, err := load(b.tx, bucketConfigurations, []byte(c.ConfigurationID), configurationFields)
	switch {
	case err != nil:
		return of.record, err
	case !of.record.RemovedAt.IsZero():
		return of.record, depot.ErrNotFound
	case b.get(bucketChallenges, []byte(c.ID)) != nil, b.get(byGivenID, []byte(c.ID)) != nil, b.get(byGivenSHA256, c.SHA256[:]) != nil:
		return of.record, depot.ErrExists
	}
	return of.record, nil
}

// outstanding counts the challenges of a configuration that could be spent at
// a time, up to a number that is enough to know.
func (b *batch) outstanding(configurationID string, at time.Time, enough int) (count int) {
	prefix := deviceKey(configurationID, "")
	c := b.tx.Bucket([]byte(byOutstanding)).Cursor()
	// All that end at the time or before lie before this key.
	k, _ := c.Seek(append(bytes.Clone(prefix), notAfterKey(at, []byte(maxNumber))...))
	for ; count < enough && bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		count++
	}
	return count
}

// keepChallenge stores a new challenge, without the ledger record.
func (b *batch) keepChallenge(c depot.Challenge, of depot.Configuration) error {
	n := b.number()
	entries := append(challengeEntries(c, n), entry{bucketGiven, number(n), encode(withSequence(challengeFields(&c), &n))})
	for _, e := range entries {
		if err := b.put(e.bucket, e.key, e.value); err != nil {
			return err
		}
	}
	return b.event(c.Event(of))
}

// challengeEntries are the keys under which the challenge of step n can be
// found.
func challengeEntries(c depot.Challenge, n uint64) []entry {
	return append([]entry{
		{byGivenID, []byte(c.ID), number(n)},
		{byGivenSHA256, c.SHA256[:], number(n)},
	}, openEntries(c, n)...)
}

// openEntries are those that a challenge has for what it is now.
func openEntries(c depot.Challenge, n uint64) (entries []entry) {
	end := notAfterKey(c.ExpiresAt, number(n))
	if c.SpentAt.IsZero() {
		entries = append(entries, entry{byUnspent, end, []byte{}})
	}
	if c.SpentAt.IsZero() && c.WithdrawnAt.IsZero() {
		entries = append(entries, entry{byOutstanding, append(deviceKey(c.ConfigurationID, ""), end...), []byte{}})
	}
	return entries
}

// changeChallenge stores a challenge as the step in hand leaves it.
func (b *batch) changeChallenge(before stored[depot.Challenge], after depot.Challenge) error {
	n := b.number()
	for _, e := range openEntries(before.record, before.sequence) {
		if err := b.remove(e.bucket, e.key); err != nil {
			return err
		}
	}
	entries := append(openEntries(after, before.sequence),
		entry{bucketGiven, number(before.sequence), encode(withSteps(challengeFields(&after), &before.sequence, &n))},
		entry{bucketChallenges, []byte(after.ID), number(n)})
	for _, e := range entries {
		if err := b.put(e.bucket, e.key, e.value); err != nil {
			return err
		}
	}
	return nil
}

// spend marks the challenge of an issuance, if this depot gave it out and has
// not forgotten it.
func (b *batch) spend(id string, i depot.Identity) error {
	before, err := challengeWithID(b.tx, id)
	if errors.Is(err, depot.ErrNotFound) {
		return b.put(bucketChallenges, []byte(id), number(b.number()))
	}
	if err != nil {
		return err
	}
	after := before.record
	after.SpentAt, after.CertificateSerial = i.IssuedAt, i.CertificateSerial
	return b.changeChallenge(before, after)
}

// loadChallenge reads the challenge with this number.
func loadChallenge(tx *bbolt.Tx, n uint64) (stored[depot.Challenge], error) {
	s, err := load(tx, bucketGiven, number(n), challengeFields)
	s.record.Sequence = s.sequence
	return s, err
}

func challengeWithID(tx *bbolt.Tx, id string) (stored[depot.Challenge], error) {
	return challengeIn(tx, byGivenID, []byte(id))
}

// challengeIn reads the challenge that a key of an index leads to.
func challengeIn(tx *bbolt.Tx, index string, key []byte) (stored[depot.Challenge], error) {
	in := tx.Bucket([]byte(index))
	if in == nil { // a store of format 1 that is only looked at
		return stored[depot.Challenge]{}, depot.ErrNotFound
	}
	n := in.Get(key)
	if n == nil {
		return stored[depot.Challenge]{}, depot.ErrNotFound
	}
	s, err := loadChallenge(tx, numberOf(n))
	return s, dangling(err)
}

// Challenge finds by id.
func (d *Depot) Challenge(ctx context.Context, id string) (depot.Challenge, error) {
	return d.challenge(ctx, byGivenID, []byte(id))
}

// ChallengeBySHA256 finds by the hash of the text.
func (d *Depot) ChallengeBySHA256(ctx context.Context, sha256 [32]byte) (depot.Challenge, error) {
	return d.challenge(ctx, byGivenSHA256, sha256[:])
}

func (d *Depot) challenge(ctx context.Context, index string, key []byte) (depot.Challenge, error) {
	var found stored[depot.Challenge]
	err := d.view(func(tx *bbolt.Tx) (err error) {
		found, err = challengeIn(tx, index, key)
		return err
	})
	if err == nil {
		err = d.settled(ctx, found.latest())
	}
	if err != nil {
		return depot.Challenge{}, fmt.Errorf("find challenge: %w", err)
	}
	return found.record, nil
}

// Challenges lists a page.
func (d *Depot) Challenges(ctx context.Context, q depot.ChallengeQuery) (depot.Page[depot.Challenge], error) {
	page, err := newest(ctx, d, latestFirst[depot.Challenge]{cursorChallenges, bucketGiven, loadChallenge, q.Selects}, q.Cursor, q.Limit)
	if err != nil {
		return page, fmt.Errorf("list challenges: %w", err)
	}
	return page, nil
}

// WithdrawChallenge makes a challenge worthless.
func (d *Depot) WithdrawChallenge(ctx context.Context, id, by string, at time.Time) error {
	if at.IsZero() {
		return fmt.Errorf("%w: withdrawal without its time", depot.ErrInvalid)
	}
	err := d.submit(ctx, func(b *batch) error {
		n, w := b.number(), withdrawal{id, by, at}
		if err := b.withdraw(w); err != nil {
			return err
		}
		return b.record(objectPayload(n, string(depot.EventChallengeWithdrawn), at, "withdrawal", withdrawalFields(&w)))
	})
	if err != nil {
		return fmt.Errorf("withdraw challenge %q: %w", id, err)
	}
	return nil
}

// withdraw stores a withdrawal, without the ledger record.
func (b *batch) withdraw(w withdrawal) error {
	before, err := challengeWithID(b.tx, w.challengeID)
	if err != nil {
		return err
	}
	after, err := before.record.Withdraw(w.by, w.at)
	if err != nil {
		return err
	}
	of, err := load(b.tx, bucketConfigurations, []byte(after.ConfigurationID), configurationFields)
	if err != nil {
		return dangling(err)
	}
	if err := b.changeChallenge(before, after); err != nil {
		return err
	}
	return b.event(after.Event(of.record))
}

// ForgetChallenges removes what expired.
func (d *Depot) ForgetChallenges(ctx context.Context, expiredBefore time.Time, limit int) (int, error) {
	count := 0 // written by the writer, read when it has answered
	end := notAfterKey(expiredBefore, nil)
	err := d.submit(ctx, func(b *batch) error {
		var gone []stored[depot.Challenge]
		c := b.tx.Bucket([]byte(byUnspent)).Cursor()
		for k, _ := c.First(); k != nil && len(gone) < limit && bytes.Compare(k, end) < 0; k, _ = c.Next() {
			s, err := loadChallenge(b.tx, numberOf(k))
			if err != nil {
				return dangling(err)
			}
			gone = append(gone, s)
		}
		for _, s := range gone {
			if err := b.forget(s); err != nil {
				return err
			}
		}
		count = len(gone)
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("forget challenges: %w", err)
	}
	return count, nil
}

// forget removes a challenge. That it was spent or withdrawn stays known.
func (b *batch) forget(s stored[depot.Challenge]) error {
	for _, e := range append(challengeEntries(s.record, s.sequence), entry{bucket: bucketGiven, key: number(s.sequence)}) {
		if err := b.remove(e.bucket, e.key); err != nil {
			return err
		}
	}
	return nil
}
