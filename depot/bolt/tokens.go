package bolt

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	"understudy.example/understudy/depot"
)

// AddToken stores a token.
func (d *Depot) AddToken(ctx context.Context, t depot.Token) error {
	if err := t.Validate(); err != nil {
		return err
	}
	t = t.Clone()
	err := d.submit(ctx, func(b *batch) error {
		if err := b.lookAtToken(t); err != nil {
			return err
		}
		return b.setToken(t)
	})
	if err != nil {
		return fmt.Errorf("add token %s: %w", t.ID, err)
	}
	return nil
}

// lookAtToken decides whether a token can be added. It changes nothing.
func (b *batch) lookAtToken(t depot.Token) error {
	if b.get(bucketTokens, []byte(t.ID)) != nil || b.get(byTokenSHA256, t.SHA256[:]) != nil {
		return depot.ErrExists
	}
	return eachRecord(b.tx, bucketTokens, tokenFields, func(other stored[depot.Token]) error {
		if other.record.Name == t.Name && other.record.RemovedAt.IsZero() {
			return depot.ErrExists
		}
		return nil
	})
}

// setToken stores a token as it is from now on, and the ledger record.
func (b *batch) setToken(t depot.Token) error {
	n, event := b.number(), t.Event()
	if err := b.keepToken(t); err != nil {
		return err
	}
	return b.record(objectPayload(n, string(event.Type), event.At, "token", tokenFields(&t)))
}

// keepToken stores a token and its event, without the ledger record.
func (b *batch) keepToken(t depot.Token) error {
	n := b.number()
	if err := b.put(bucketTokens, []byte(t.ID), encode(withSequence(tokenFields(&t), &n))); err != nil {
		return err
	}
	if err := b.put(byTokenSHA256, t.SHA256[:], []byte(t.ID)); err != nil {
		return err
	}
	return b.event(t.Event())
}

// RemoveToken ends a token.
func (d *Depot) RemoveToken(ctx context.Context, id, by string, at time.Time) (depot.Token, error) {
	var after depot.Token // written by the writer, read when it has answered
	if at.IsZero() {
		return after, fmt.Errorf("%w: removal of token %q without its time", depot.ErrInvalid, id)
	}
	err := d.submit(ctx, func(b *batch) error {
		before, err := load(b.tx, bucketTokens, []byte(id), tokenFields)
		if err != nil {
			return err
		}
		if after, err = before.record.Remove(by, at); err != nil {
			return err
		}
		return b.setToken(after)
	})
	if err != nil {
		return depot.Token{}, fmt.Errorf("remove token %q: %w", id, err)
	}
	normalizeAll(tokenFields(&after))
	return after, nil
}

// Tokens returns those that live. It waits for what the ledger lacks, because
// one that was removed is seen only by its absence.
func (d *Depot) Tokens(ctx context.Context) ([]depot.Token, error) {
	var all []depot.Token
	err := d.viewSettled(ctx, func(tx *bbolt.Tx) error {
		return eachRecord(tx, bucketTokens, tokenFields, func(t stored[depot.Token]) error {
			if t.record.RemovedAt.IsZero() {
				all = append(all, t.record)
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	slices.SortFunc(all, func(a, b depot.Token) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// TokenBySHA256 finds one that lives.
func (d *Depot) TokenBySHA256(ctx context.Context, sha256 [32]byte) (depot.Token, error) {
	var found stored[depot.Token]
	err := d.view(func(tx *bbolt.Tx) (err error) {
		id := tx.Bucket([]byte(byTokenSHA256)).Get(sha256[:])
		if id == nil {
			return depot.ErrNotFound
		}
		found, err = load(tx, bucketTokens, id, tokenFields)
		return dangling(err)
	})
	if err == nil {
		err = d.settled(ctx, found.sequence)
	}
	if err == nil && !found.record.RemovedAt.IsZero() {
		err = depot.ErrNotFound
	}
	if err != nil {
		return depot.Token{}, fmt.Errorf("find token: %w", err)
	}
	return found.record, nil
}

func tokenFields(t *depot.Token) []field {
	return []field{
		{1, "id", &t.ID},
		{2, "name", &t.Name},
		{3, "scopes", &t.Scopes},
		{4, "sha256", &t.SHA256},
		{5, "created_at", &t.CreatedAt},
		{6, "created_by", &t.CreatedBy},
		{7, "expires_at", &t.ExpiresAt},
		{8, "removed_at", &t.RemovedAt},
		{9, "removed_by", &t.RemovedBy},
	}
}

func (e Entry) token() (t depot.Token, err error) {
	err = decodeJSON(e.payload.Token, tokenFields(&t))
	return t, e.wrap(err)
}

// replayToken stores what a record says of a token.
func (b *batch) replayToken(e Entry) error {
	t, err := e.token()
	if err != nil {
		return err
	}
	if e.Type == string(depot.EventTokenAdded) {
		if err := t.Validate(); err != nil {
			return err
		}
		if err := b.lookAtToken(t); err != nil {
			return err
		}
		return b.keepToken(t)
	}
	before, err := load(b.tx, bucketTokens, []byte(t.ID), tokenFields)
	if err != nil {
		return err
	}
	after, err := before.record.Remove(t.RemovedBy, t.RemovedAt)
	if err != nil {
		return err
	}
	return b.keepToken(after)
}

// compareToken holds what the ledger says of a token against the record, which
// says all that it said before.
func compareToken(tx *bbolt.Tx, e Entry) error {
	t, err := e.token()
	if err != nil {
		return errDiffers
	}
	s, err := load(tx, bucketTokens, []byte(t.ID), tokenFields)
	now := s.record
	if e.Type == string(depot.EventTokenAdded) {
		now.RemovedAt, now.RemovedBy = time.Time{}, ""
	}
	if err != nil || s.sequence < e.Number || !sameFields(tokenFields(&now), tokenFields(&t)) {
		return errDiffers
	}
	return nil
}

// tokens looks at whether tokens and their hashes belong together.
func (c *checker) tokens() error {
	err := c.each(bucketTokens, func(id, _ []byte) error {
		t, err := load(c.tx, bucketTokens, id, tokenFields)
		if err != nil || t.record.ID != string(id) {
			return c.found("token %q: it cannot be read or is another: %v", id, err)
		}
		if string(c.tx.Bucket([]byte(byTokenSHA256)).Get(t.record.SHA256[:])) != string(id) {
			return c.found("token %q: no entry in index %s", id, byTokenSHA256)
		}
		if e, err := load(c.tx, bucketEvents, number(t.sequence), eventFields); err != nil || e.record.SubjectID != string(id) {
			return c.found("token %q: no event tells of it", id)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.each(byTokenSHA256, func(sha256, id []byte) error {
		t, err := load(c.tx, bucketTokens, id, tokenFields)
		if err != nil || string(t.record.SHA256[:]) != string(sha256) {
			return c.found("index %s, entry %x: token %q is not there or does not belong there", byTokenSHA256, sha256, id)
		}
		return nil
	})
}
