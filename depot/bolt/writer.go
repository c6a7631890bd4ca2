package bolt

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"understudy.example/understudy/depot"
)

// maxBatch is how many steps share a commit at most. It bounds the memory of a
// batch and the time that the first step of it waits.
const maxBatch = 256

// A step is one change that somebody waits for.
type step struct {
	ctx  context.Context
	do   func(*batch) error
	done chan error
}

// submit hands a step to the writer and waits for it. do runs in the writer:
// it looks first and changes afterwards, and an error before its first change
// refuses only this step. It may run more than once, so it must not remember.
// What it reads of the caller's must be copied before, because submit returns
// early when ctx ends.
func (d *Depot) submit(ctx context.Context, do func(*batch) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s := &step{ctx, do, make(chan error, 1)}
	if err := d.enqueue(s); err != nil {
		return err
	}
	select {
	case err := <-s.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("write to store, outcome not known: %w", ctx.Err())
	}
}

func (d *Depot) enqueue(s *step) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return errClosed
	}
	select {
	case d.steps <- s:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// run is the writer.
func (d *Depot) run() {
	defer close(d.stopped)
	debug.SetPanicOnFault(true) // for this goroutine
	for s := range d.steps {
		// On a busy core the others get to their commits first, so that they
		// share this one; on an idle one nobody is there and it costs nothing.
		runtime.Gosched()
		d.write(d.gather(s))
	}
	d.leave()
}

// gather returns the step and those that queued up behind it.
func (d *Depot) gather(first *step) []*step {
	steps := []*step{first}
	for len(steps) < maxBatch {
		select {
		case s, ok := <-d.steps:
			if !ok {
				return steps
			}
			steps = append(steps, s)
		default:
			return steps
		}
	}
	return steps
}

// write makes the steps true and tells those who wait.
func (d *Depot) write(steps []*step) {
	steps = d.alive(steps)
	if err := d.flush(); err != nil {
		finish(steps, nil, err)
		return
	}
	for len(steps) > 0 {
		refusals := make([]error, len(steps))
		broke, err := d.commit(steps, refusals)
		if err != nil && broke >= 0 { // the others go again without it
			steps[broke].done <- err
			steps = append(steps[:broke], steps[broke+1:]...)
			continue
		}
		if err == nil {
			err = d.flush()
		}
		finish(steps, refusals, err)
		return
	}
}

// alive drops the steps whose callers went away or that a damaged store will
// not take.
func (d *Depot) alive(steps []*step) []*step {
	kept := steps[:0]
	for _, s := range steps {
		if err := s.ctx.Err(); err != nil {
			s.done <- err
		} else if e := d.damage.Load(); e != nil {
			s.done <- e
		} else {
			kept = append(kept, s)
		}
	}
	return kept
}

func finish(steps []*step, refusals []error, err error) {
	for i, s := range steps {
		if err == nil {
			s.done <- refusals[i]
		} else {
			s.done <- err
		}
	}
}

// A batch is a database transaction in the making.
type batch struct {
	tx      *bbolt.Tx
	head    head   // end of the ledger with what the batch has recorded so far
	lines   []byte // what it has recorded so far
	last    uint64 // number of the last event that it stored, 0: none
	dirty   bool
	touched bool             // since the step in hand began
	counts  map[string]int64 // what changes in standing_counters
	latest  time.Time        // see depot.Windows.LatestChange
}

// commit runs the steps in one transaction. Its second result is of the whole
// batch; the first one, if it is not negative, the step to blame for it.
func (d *Depot) commit(steps []*step, refusals []error) (broke int, err error) {
	broke = -1
	tx, err := d.begin()
	if err != nil {
		return broke, err
	}
	defer func() {
		if cause := recover(); cause != nil {
			broke, err = -1, d.damaged(cause)
		}
		d.rollback(tx)
	}()
	b := &batch{tx: tx}
	if b.head, err = readHead(tx); err != nil {
		return broke, d.damaged(err)
	}
	for i, s := range steps {
		b.touched = false
		if refusals[i] = s.do(b); refusals[i] != nil && b.touched {
			return i, refusals[i]
		}
	}
	if !b.dirty {
		return broke, nil
	}
	rode, err := d.rideAlong(b)
	if err != nil {
		return broke, err
	}
	if err := b.close(d.synced.Load()); err != nil {
		return broke, err
	}
	d.behind = true // from here on, whatever Commit says
	if err := d.unavailable(tx.Commit()); err != nil {
		return broke, err
	}
	d.fresh = b
	d.arrived(rode)
	return broke, nil
}

func (d *Depot) begin() (tx *bbolt.Tx, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			d.stuck = true
			err = d.damaged(cause)
		}
	}()
	if tx, err = d.db.Begin(true); err != nil {
		return nil, d.unavailable(err)
	}
	return tx, nil
}

// rollback ends a transaction that was not committed. A page that makes no
// sense can break that too; then bbolt's lock is lost.
func (d *Depot) rollback(tx *bbolt.Tx) {
	defer func() {
		if cause := recover(); cause != nil {
			d.stuck = true
			d.log.Error("cannot roll back", "cause", fmt.Sprint(d.damaged(cause)))
		}
	}()
	if err := tx.Rollback(); err != nil && !errors.Is(err, berrors.ErrTxClosed) {
		d.log.Error("cannot roll back", "error", err)
	}
}

// unavailable notes how a write went and names its failure.
func (d *Depot) unavailable(err error) error {
	if failed := err != nil; d.failing.Swap(failed) != failed {
		if failed {
			d.log.Error("store cannot be written", "dir", d.dir, "error", err)
		} else {
			d.log.Info("store can be written again", "dir", d.dir)
		}
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", depot.ErrUnavailable, err)
}

// flush appends to the ledger what the database has and the ledger lacks.
func (d *Depot) flush() error {
	if !d.behind {
		return nil
	}
	records, end, last, err := d.lacking()
	if err != nil {
		return err
	}
	if d.ledger.end+int64(len(records)) != end.end {
		return d.damaged("records that the ledger lacks are missing from the database")
	}
	if len(records) > 0 {
		if err := d.unavailable(d.ledger.append(records)); err != nil {
			return err
		}
	}
	d.synced.Store(end.number)
	d.behind = false
	d.bell.ring(last)
	return nil
}

// lacking returns what the database has and the ledger lacks, where the ledger
// then ends, and the last event that there then is, 0 for no new one. After a commit that went well nothing else can be in the
// database; after one of which that is not known, and after a ledger that could
// not be written, the database is asked.
func (d *Depot) lacking() (records []byte, end head, last uint64, err error) {
	if b := d.fresh; b != nil {
		d.fresh = nil
		return b.lines, b.head, b.last, nil
	}
	err = d.view(func(tx *bbolt.Tx) (err error) {
		if end, err = readHead(tx); err != nil {
			return err
		}
		c := tx.Bucket([]byte(bucketPending)).Cursor()
		for k, v := c.Seek(number(d.synced.Load() + 1)); k != nil; k, v = c.Next() {
			records = append(records, v...)
		}
		last = lastEvent(tx)
		return nil
	})
	return records, end, last, err
}

// leave forgets the ledger records that were kept for a death, if there was
// none. The first commit may take along progress that the ledger is to be told
// of.
func (d *Depot) leave() {
	if d.damage.Load() != nil || d.flush() != nil {
		return
	}
	forget := &step{do: func(b *batch) error { b.dirty = true; return nil }}
	for !d.tidy {
		_, err := d.commit([]*step{forget}, make([]error, 1))
		if err == nil {
			d.tidy = len(d.fresh.lines) == 0
			err = d.flush()
		}
		if err != nil {
			d.tidy = false
			d.log.Error("cannot tidy the store", "dir", d.dir, "error", err)
			return
		}
	}
}

// put stores one key. The step that calls it has looked at everything it
// wanted to look at.
func (b *batch) put(bucket string, key, value []byte) error {
	b.dirty, b.touched = true, true
	in := b.tx.Bucket([]byte(bucket))
	if growsAtEnd(bucket) {
		in.FillPercent = 0.95
	}
	if err := in.Put(key, value); err != nil {
		return fmt.Errorf("store in bucket %s: %w", bucket, err)
	}
	return nil
}

func (b *batch) remove(bucket string, key []byte) error {
	b.dirty, b.touched = true, true
	if err := b.tx.Bucket([]byte(bucket)).Delete(key); err != nil {
		return fmt.Errorf("remove from bucket %s: %w", bucket, err)
	}
	return nil
}

func (b *batch) get(bucket string, key []byte) []byte {
	return b.tx.Bucket([]byte(bucket)).Get(key)
}

// number is that of the step in hand.
func (b *batch) number() uint64 { return b.head.number + 1 }

// record gives the step its number and its ledger record.
func (b *batch) record(payload []byte) error {
	if len(payload) > maxPayload {
		b.touched = true // whatever the step did before must not stay
		return fmt.Errorf("%w: ledger record of %d bytes", depot.ErrInvalid, len(payload))
	}
	line, after := b.head.next(payload)
	if err := b.put(bucketPending, number(after.number), line); err != nil {
		return err
	}
	b.head = after
	if b.lines == nil {
		b.lines = line // bbolt reads it until the commit, nobody writes
	} else {
		b.lines = append(b.lines, line...)
	}
	return nil
}

// close writes the counters and where the ledger will end, and forgets the records that are
// known to be in it.
func (b *batch) close(synced uint64) error {
	if err := b.settleCounts(); err != nil {
		return err
	}
	c := b.tx.Bucket([]byte(bucketPending)).Cursor()
	for k, _ := c.First(); k != nil && numberOf(k) <= synced; k, _ = c.First() {
		if err := c.Delete(); err != nil {
			return fmt.Errorf("forget ledger records: %w", err)
		}
	}
	return b.put(bucketMeta, []byte(metaHead), b.head.bytes())
}
