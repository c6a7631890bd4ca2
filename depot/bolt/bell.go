package bolt

import (
	"context"
	"sync"
	"sync/atomic"

	"go.etcd.io/bbolt"
)

// A bell wakes those who wait for events. Ringing it while nobody waits costs
// a lock that nobody holds.
type bell struct {
	last atomic.Uint64 // number of the last event that can be read

	mu   sync.Mutex
	next chan struct{} // closed when last rises; nil: nobody waits
}

// ring says that everything up to an event can be read.
func (b *bell) ring(last uint64) {
	if last <= b.last.Load() { // only the writer rings
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last.Store(last)
	if b.next != nil {
		close(b.next)
		b.next = nil
	}
}

// listen returns a channel that the next ring closes.
func (b *bell) listen() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == nil {
		b.next = make(chan struct{})
	}
	return b.next
}

// lastEvent is the number of the last event in the database, 0 if there is
// none.
func lastEvent(tx *bbolt.Tx) uint64 {
	k, _ := tx.Bucket([]byte(bucketEvents)).Cursor().Last()
	return numberOf(k)
}

// Await returns when a later event can be read.
func (d *Depot) Await(ctx context.Context, after uint64) error {
	for {
		rung := d.bell.listen() // before looking, so that no event is missed
		last, err := d.LastEvent(ctx)
		if err != nil || last > after {
			return err
		}
		select {
		case <-ctx.Done():
		case <-d.stopped:
		case <-rung:
		}
	}
}

// LastEvent returns the number of the last event that can be read.
func (d *Depot) LastEvent(ctx context.Context) (uint64, error) {
	select {
	case <-d.stopped:
		return 0, errClosed
	default:
		return d.bell.last.Load(), ctx.Err()
	}
}
