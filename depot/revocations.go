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
	// hold may be given another reason, or be let go with ReasonRemoveFromCRL;
	// ReasonRemoveFromCRL for one that is not on hold is ErrInvalid.
	// ErrNotFound, ErrRevoked.
	Revoke(ctx context.Context, r Revocation) (Identity, error)
	// Revoked lists a page, those on hold included. ErrCursor.
	Revoked(ctx context.Context, q RevokedQuery) (Page[RevokedCertificate], error)
	// TakeCRLNumber returns the number for the next CRL of an issuer and
	// remembers it, also in the ledger: greater than every number that it
	// returned before for that issuer, and at least atLeast.
	TakeCRLNumber(ctx context.Context, issuerSHA256 [32]byte, atLeast uint64) (uint64, error)
	// LastCRLNumber returns the last number that TakeCRLNumber gave for the
	// issuer; 0: none.
	LastCRLNumber(ctx context.Context, issuerSHA256 [32]byte) (uint64, error)

	// MarkUsed notes that the certificate was used, if nobody did so before
	// (Identity.UsedAt keeps the first time). ErrNotFound.
	MarkUsed(ctx context.Context, certificateSerial string, at time.Time) error
	// UnusedSince returns up to limit identities whose RevokeUnusedAt lies at
	// or before the time, that were never used and are not revoked, the
	// longest overdue first.
	UnusedSince(ctx context.Context, at time.Time, limit int) ([]Identity, error)
}
