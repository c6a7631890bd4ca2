package depot

import (
	"context"
	"errors"
	"time"
)

// ErrRevoked: the certificate is revoked already, and not merely on hold.
// Nothing was changed.
var ErrRevoked = errors.New("certificate is revoked already")

// RevocationReason is why a certificate is revoked, in the words of RFC 5280
// §5.3.1.
type RevocationReason string

// The reasons. ReasonRemoveFromCRL lifts a hold and means nothing else.
const (
	ReasonUnspecified          RevocationReason = "unspecified"
	ReasonKeyCompromise        RevocationReason = "keyCompromise"
	ReasonCACompromise         RevocationReason = "cACompromise"
	ReasonAffiliationChanged   RevocationReason = "affiliationChanged"
	ReasonSuperseded           RevocationReason = "superseded"
	ReasonCessationOfOperation RevocationReason = "cessationOfOperation"
	ReasonCertificateHold      RevocationReason = "certificateHold"
	ReasonRemoveFromCRL        RevocationReason = "removeFromCRL"
	ReasonPrivilegeWithdrawn   RevocationReason = "privilegeWithdrawn"
	ReasonAACompromise         RevocationReason = "aACompromise"
)

// Code returns the number of the reason in a CRL (CRLReason), and whether it
// is one of the reasons.
func (r RevocationReason) Code() (int, bool) {
	switch r {
	case ReasonUnspecified:
		return 0, true
	case ReasonKeyCompromise:
		return 1, true
	case ReasonCACompromise:
		return 2, true
	case ReasonAffiliationChanged:
		return 3, true
	case ReasonSuperseded:
		return 4, true
	case ReasonCessationOfOperation:
		return 5, true
	case ReasonCertificateHold:
		return 6, true
	case ReasonRemoveFromCRL:
		return 8, true
	case ReasonPrivilegeWithdrawn:
		return 9, true
	case ReasonAACompromise:
		return 10, true
	}
	return 0, false
}

// Revocation is a certificate that is to be trusted no longer.
type Revocation struct {
	CertificateSerial string
	Reason            RevocationReason
	At                time.Time
	By                string // who: the name of an admin token, or "policy: …"
	Note              string
}

// OnHold says whether the certificate is revoked for the time being.
func (i Identity) OnHold() bool {
	return !i.RevokedAt.IsZero() && i.RevocationReason == string(ReasonCertificateHold)
}

// Unused says whether it is to be revoked unless it is used.
func (i Identity) Unused() bool {
	return !i.RevokeUnusedAt.IsZero() && i.UsedAt.IsZero() && i.RevokedAt.IsZero()
}

// Revoke returns the identity as the revocation leaves it. It is for depots,
// which have looked at Revocation.Validate. ErrRevoked, ErrInvalid.
func (i Identity) Revoke(r Revocation) (Identity, error) {
	lift := r.Reason == ReasonRemoveFromCRL
	switch {
	case lift && !i.OnHold():
		return i, invalid("certificate %s is not on hold", i.CertificateSerial)
	case lift:
		i.RevokedAt, i.RevocationReason, i.RevokedBy = time.Time{}, "", ""
		return i, nil
	case !i.RevokedAt.IsZero() && (!i.OnHold() || r.Reason == ReasonCertificateHold):
		return i, ErrRevoked
	}
	i.RevokedAt, i.RevocationReason, i.RevokedBy = r.At, string(r.Reason), r.By
	return i, nil
}

// Event returns the event that the revocation of i is. Its sequence is the
// depot's to give.
func (r Revocation) Event(i Identity) Event {
	e := i.event(EventCertificateRevoked, r.At)
	e.By, e.Reason = r.By, string(r.Reason)
	if r.Reason == ReasonRemoveFromCRL {
		e.Type, e.Reason = EventCertificateReleased, ""
	}
	return e
}

// UsedEvent returns the event that the first use is. Its sequence is the
// depot's to give.
func (i Identity) UsedEvent() Event { return i.event(EventCertificateUsed, i.UsedAt) }

func (i Identity) event(what EventType, at time.Time) Event {
	return Event{
		Type: what, At: at,
		ConfigurationID: i.ConfigurationID, ConfigurationName: i.ConfigurationName,
		CertificateSerial: i.CertificateSerial, DeviceKey: i.Device.Key, TransactionID: i.TransactionID,
	}
}

// RevokedCertificate is one line of a CRL.
type RevokedCertificate struct {
	CertificateSerial string
	Reason            RevocationReason
	RevokedAt         time.Time
	NotAfter          time.Time
}

// RevokedQuery selects what a CRL of one issuer lists, in the order of the
// certificate serials' bytes.
type RevokedQuery struct {
	IssuerSHA256 [32]byte // of the issuing certificate
	// NotAfterFrom leaves out certificates that expired before; zero: none.
	NotAfterFrom time.Time
	Limit        int // see PageLimit
	Cursor       string
}

// Revocations is the part of a Depot that keeps what is revoked. A revocation
// is in the ledger, and nothing but lifting a hold takes it back.
type Revocations interface {
	// Revoke marks the identity and returns it as stored. A certificate on
	// hold may be given another reason (and then has RevokedAt of that), or be
	// let go with ReasonRemoveFromCRL; ReasonRemoveFromCRL for one that is not
	// on hold is ErrInvalid, and so are a reason that is none and a missing
	// time. To put on hold what is on hold is ErrRevoked too. ErrNotFound,
	// ErrRevoked.
	Revoke(ctx context.Context, r Revocation) (Identity, error)
	// Revoked lists a page, those on hold included. ErrCursor.
	Revoked(ctx context.Context, q RevokedQuery) (Page[RevokedCertificate], error)
	// TakeCRLNumber returns the number for the next CRL of an issuer and
	// remembers it, also in the ledger: greater than every number that it
	// returned before for that issuer, and at least atLeast. ErrInvalid: there
	// is no greater one.
	TakeCRLNumber(ctx context.Context, issuerSHA256 [32]byte, atLeast uint64) (uint64, error)
	// LastCRLNumber returns the last number that TakeCRLNumber gave for the
	// issuer; 0: none.
	LastCRLNumber(ctx context.Context, issuerSHA256 [32]byte) (uint64, error)

	// MarkUsed notes that the certificate was used, if nobody did so before
	// (Identity.UsedAt keeps what was said first). ErrNotFound; ErrInvalid for
	// the zero time.
	MarkUsed(ctx context.Context, certificateSerial string, at time.Time) error
	// UnusedSince returns up to limit identities (see PageLimit) whose
	// RevokeUnusedAt lies at or before the time, that were never used and are
	// neither revoked nor on hold, the longest overdue first, ties by
	// certificate serial.
	UnusedSince(ctx context.Context, at time.Time, limit int) ([]Identity, error)
}
