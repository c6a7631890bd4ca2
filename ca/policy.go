package ca

import (
	"crypto/x509"
	"errors"
	"time"
)

// What a certificate is for. Other values are an error in Policy.Check.
const (
	PurposeDeviceAccess          = "device-access"          // has Okta's marker extension
	PurposeManagementAttestation = "management-attestation" // does not
)

// What the zero values of a Policy mean.
const (
	DefaultValidity = 365 * 24 * time.Hour
	DefaultBackdate = 5 * time.Minute
	DefaultKeySize  = 2048
)

// A Policy is what a configuration's certificate requests are held to. It must
// not change once it is in use.
type Policy struct {
	Purpose  string        // PurposeDeviceAccess or PurposeManagementAttestation
	Validity time.Duration // from notBefore to notAfter; 0 means DefaultValidity
	Backdate time.Duration // how long before now notBefore lies; 0 means DefaultBackdate
	KeySizes []int         // bits of RSA keys that are accepted; none means DefaultKeySize
	// KeyAgreement adds keyAgreement to the key usage, as was seen on one real
	// certificate of Okta's.
	KeyAgreement bool
	// StrictKeyChecks runs CheckKeySlow before a permit is given.
	StrictKeyChecks bool
	// StrictExtensions refuses a request for the rights of a CA; otherwise
	// such extensions are dropped like all others.
	StrictExtensions bool
	// DeniedKeys are SHA-256 values of SubjectPublicKeyInfos in DER.
	DeniedKeys map[[32]byte]struct{}
}

// A Permit is the proof that a policy checked a certificate request, and holds
// all that a certificate takes from it.
type Permit struct{}

// Check judges a certificate request whose proof of possession has been
// verified. Its errors are refusals: key_rejected, unsupported_algorithm and
// subject_rejected.
func (p *Policy) Check(csr *x509.CertificateRequest, now time.Time) (*Permit, error) {
	return nil, errors.ErrUnsupported
}

// RequestedSANs returns the subjectAltNames that the request asked for and
// that are not in the certificate, by type: "dns:…", "ip:…", "uri:…",
// "email:…", "upn:…". They are evidence and never trusted.
func (p *Permit) RequestedSANs() []string { return nil }
