package bolt

import (
	"context"
	"fmt"
	"time"

	"understudy.example/understudy/depot"
)

// Acknowledge stores an acknowledgement.
func (d *Depot) Acknowledge(ctx context.Context, a depot.Acknowledgement) (item depot.WindowItem, made bool, err error) {
	if err := a.Validate(); err != nil {
		return item, false, err
	}
	a.UndoneAt, a.UndoneBy = time.Time{}, ""
	normalizeAll(acknowledgementFields(&a))
	err = d.submit(ctx, func(b *batch) error {
		before, serial, err := b.acknowledgeable(a.CertificateSerial)
		if err != nil {
			return err
		}
		if err := a.ValidateFor(before.Identity); err != nil {
			return err
		}
		if item, made = before, false; before.Repeats(a) {
			return nil
		}
		n := b.number()
		if item, err = b.acknowledge(before, serial, a); err != nil {
			return err
		}
		made = true
		return b.record(objectPayload(n, string(depot.EventRedistributionAcknowledged), a.At, "acknowledgement", acknowledgementFields(&a)))
	})
	if err != nil {
		return depot.WindowItem{}, false, fmt.Errorf("acknowledge certificate %q: %w", a.CertificateSerial, err)
	}
	return item, made, nil
}

// acknowledgeable loads an item whose acknowledgement can be made or undone.
func (b *batch) acknowledgeable(certificateSerial string) (depot.WindowItem, []byte, error) {
	i, serial, err := b.windowItem(certificateSerial)
	if err == nil {
		err = i.Refusal()
	}
	return i, serial, err
}

// acknowledge stores an acknowledgement, without the ledger record.
func (b *batch) acknowledge(before depot.WindowItem, serial []byte, a depot.Acknowledgement) (depot.WindowItem, error) {
	after := before.Acknowledge(a)
	after.Standing = depot.StandingAcknowledged
	return after, b.keepItem(before, after, serial, before.Identity.AcknowledgedEvent(a))
}

// keepItem stores what an acknowledgement or its end makes of an item.
func (b *batch) keepItem(before, after depot.WindowItem, serial []byte, e depot.Event) error {
	was, _ := before.InForce()
	is, _ := after.InForce()
	if err := b.keepHistory(serial, after); err != nil {
		return err
	}
	if err := b.move(after.Identity, serial, stance{before.Standing, was.StallsAt}, stance{after.Standing, is.StallsAt}); err != nil {
		return err
	}
	b.changedAt(e.At)
	return b.event(e)
}

// Unacknowledge undoes the acknowledgement in force.
func (d *Depot) Unacknowledge(ctx context.Context, certificateSerial, by string, at time.Time) (item depot.WindowItem, made bool, err error) {
	if at.IsZero() {
		return item, false, fmt.Errorf("%w: end of an acknowledgement without its time", depot.ErrInvalid)
	}
	u := undoing{certificateSerial, by, at}
	normalizeAll(undoingFields(&u))
	err = d.submit(ctx, func(b *batch) error {
		before, serial, err := b.acknowledgeable(certificateSerial)
		if err != nil {
			return err
		}
		if item, made = before, false; before.Standing != depot.StandingAcknowledged {
			return nil
		}
		n := b.number()
		if item, err = b.undo(before, serial, u); err != nil {
			return err
		}
		made = true
		return b.record(objectPayload(n, string(depot.EventRedistributionUndone), u.at, "undoing", undoingFields(&u)))
	})
	if err != nil {
		return depot.WindowItem{}, false, fmt.Errorf("undo acknowledgement of certificate %q: %w", certificateSerial, err)
	}
	return item, made, nil
}

// undo stores the end of an acknowledgement, without the ledger record.
func (b *batch) undo(before depot.WindowItem, serial []byte, u undoing) (depot.WindowItem, error) {
	after := before.Unacknowledge(u.by, u.at)
	after.Standing = depot.StandingCurrent
	return after, b.keepItem(before, after, serial, before.Identity.UndoneEvent(u.by, u.at))
}
