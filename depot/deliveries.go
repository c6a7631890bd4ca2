package depot

import (
	"bytes"
	"context"
	"time"
)

// Undelivered is a certificate that was signed and stored and that its device
// may not have yet: somebody else must be told of it first, and agree
// (Microsoft Intune's success notification).
type Undelivered struct {
	Identity Identity
	// CSR is the PKCS#10 request in DER as it came, challenge included: it is
	// part of what must be told. It is kept until the delivery ends, in the
	// database only and never in the ledger; after a rebuild it is empty.
	CSR []byte
}

// UndeliveredBy is who revoked what was never delivered.
const UndeliveredBy = "undelivered"

// Clone returns a copy that shares no memory with u.
func (u Undelivered) Clone() Undelivered {
	return Undelivered{Identity: u.Identity.Clone(), CSR: bytes.Clone(u.CSR)}
}

// EndDelivery returns the identity as the end of its delivery leaves it, and the event
// that this is, whose sequence is the depot's to give. It is for depots.
// ErrInvalid, ErrDecided.
func (i Identity) EndDelivery(void bool, at time.Time) (Identity, Event, error) {
	switch {
	case at.IsZero():
		return i, Event{}, invalid("end of the delivery of certificate %s without its time", i.CertificateSerial)
	case !i.HeldBack:
		return i, Event{}, ErrDecided
	}
	i.HeldBack = false
	if !void {
		return i, i.event(EventCertificateDelivered, at), nil
	}
	i.Void = true
	if i.RevokedAt.IsZero() || i.OnHold() {
		i.RevokedAt, i.RevocationReason, i.RevokedBy = at, string(ReasonCessationOfOperation), UndeliveredBy
	}
	return i, i.event(EventCertificateVoid, at), nil
}

// Restored returns the identity as it was before it was superseded by what was
// never delivered. It is for depots.
func (i Identity) Restored() Identity {
	i.SupersededAt, i.SupersededBy = time.Time{}, ""
	return i
}

// Deliveries is the part of a Depot that holds certificates back. Commit with
// Issuance.HoldBack stores one with Identity.HeldBack set; exactly one of
// Deliver and Void ends that.
//
// What is held back is listed like everything else, counts as the device's,
// and answers as its transaction; whoever hands out certificates looks at
// HeldBack and Void first.
type Deliveries interface {
	// Undelivered lists what is held back, in the order in which it was
	// stored.
	Undelivered(ctx context.Context) ([]Undelivered, error)
	// Deliver says that the device may have the certificate. ErrInvalid for
	// the zero time; ErrNotFound; ErrDecided when it is not held back.
	Deliver(ctx context.Context, certificateSerial string, at time.Time) (Identity, error)
	// Void says that the device never got it and never will: the identity is
	// void from then on, and revoked with cessationOfOperation at that time,
	// by "undelivered", with why as the note of it in the ledger. One that is
	// revoked already, and not merely on hold, keeps that revocation. What it
	// superseded is not superseded any more: the device still has that.
	// ErrInvalid for the zero time; ErrNotFound; ErrDecided when it is not held
	// back.
	Void(ctx context.Context, certificateSerial, why string, at time.Time) (Identity, error)
}
