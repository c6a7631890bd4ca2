package enroll

import (
	"context"
	"fmt"
	"sync"
	"time"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/refusal"
)

// How many requests of a configuration may wait for a decision. Strangers,
// whose requests had no challenge to judge, may fill the first part only, so
// that they do not keep out the devices that have one.
const (
	maxPendingStrangers = 1000
	maxPending          = 2000
)

// countAgain is how long a count that says "full" is believed: requests expire
// without telling.
const countAgain = 10 * time.Second

// backlog counts the requests that wait, so that nobody can fill the store
// with them. It counts those that expired as well, until it is full and counts
// anew. Its zero value has counted nothing.
type backlog struct {
	mu     sync.Mutex
	counts map[string]*pendingCount // by configuration
}

type pendingCount struct {
	pending int
	at      time.Time // when it was counted in the depot
}

// add counts one more request, or refuses it (busy).
func (b *backlog) add(ctx context.Context, d depot.Requests, configurationID string, now time.Time, stranger bool) error {
	limit := maxPending
	if stranger {
		limit = maxPendingStrangers
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.counts[configurationID]
	if c == nil || c.pending >= limit && now.Sub(c.at).Abs() >= countAgain {
		pending, err := countPending(ctx, d, configurationID, now)
		if err != nil {
			return err
		}
		if b.counts == nil {
			b.counts = make(map[string]*pendingCount)
		}
		c = &pendingCount{pending, now}
		b.counts[configurationID] = c
	}
	if c.pending >= limit {
		return refusal.WithText(refusal.Busy, "too many requests wait for approval: try again later",
			"%d requests wait for approval, and a stranger's is let in among %d, others among %d", c.pending, maxPendingStrangers, maxPending)
	}
	c.pending++
	return nil
}

// remove counts one less.
func (b *backlog) remove(configurationID string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.counts[configurationID]; c != nil && c.pending > 0 {
		c.pending--
	}
}

// countPending counts in the depot, no further than what matters.
func countPending(ctx context.Context, d depot.Requests, configurationID string, now time.Time) (int, error) {
	q := depot.RequestQuery{ConfigurationID: configurationID, State: depot.RequestPending, Now: now, Limit: depot.PageLimit(maxPending)}
	n := 0
	for n < maxPending {
		page, err := d.Requests(ctx, q)
		if err != nil {
			return 0, fmt.Errorf("count requests that wait: %w", err)
		}
		n += len(page.Items)
		if page.NextCursor == "" {
			break
		}
		q.Cursor = page.NextCursor
	}
	return n, nil
}
