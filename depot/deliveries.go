package depot

import (
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

// Deliveries is the part of a Depot that holds certificates back. Commit with
// Issuance.HoldBack stores one with Identity.HeldBack set; exactly one of
// Deliver and Void ends that.
//
// What is held back is listed like everything else, counts as the device's,
// and answers as its transaction; whoever hands out certificates looks at
// HeldBack and Void first.
type Deliveries interface {
	// Undelivered lists what is held back, the longest first.
	Undelivered(ctx context.Context) ([]Undelivered, error)
	// Deliver says that the device may have the certificate. ErrNotFound;
	// ErrDecided when it is not held back.
	Deliver(ctx context.Context, certificateSerial string, at time.Time) (Identity, error)
	// Void says that the device never got it and never will: the identity is
	// void from then on, and revoked with cessationOfOperation at that time,
	// by "undelivered", with why as the note of the event. ErrNotFound;
	// ErrDecided when it is not held back.
	Void(ctx context.Context, certificateSerial, why string, at time.Time) (Identity, error)
}
