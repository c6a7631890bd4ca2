package ca

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
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
// all that a certificate takes from it. Only Policy.Check makes one that
// Authority.Issue accepts.
type Permit struct {
	at                  time.Time
	notBefore, notAfter time.Time
	subject             []byte // Name in DER, as requested
	publicKey           []byte // SubjectPublicKeyInfo in DER
	marker              bool
	keyAgreement        bool
	requestedSANs       []string
}

// Check judges a certificate request whose proof of possession has been
// verified. It changes nothing. Its errors are refusals (key_rejected,
// unsupported_algorithm, subject_rejected), save for a policy whose purpose is
// unknown, which is an internal error.
//
// Of the request's extensions none reaches the certificate.
func (p *Policy) Check(csr *x509.CertificateRequest, now time.Time) (*Permit, error) {
	if p.Purpose != PurposeDeviceAccess && p.Purpose != PurposeManagementAttestation {
		return nil, fmt.Errorf("check request: there is no purpose %q", p.Purpose)
	}
	if err := p.checkKey(csr); err != nil {
		return nil, err
	}
	if err := checkSubject(csr.RawSubject); err != nil {
		return nil, err
	}
	sans, err := p.checkExtensions(csr.Extensions)
	if err != nil {
		return nil, err
	}
	validity, backdate := p.Validity, p.Backdate
	if validity == 0 {
		validity = DefaultValidity
	}
	if backdate == 0 {
		backdate = DefaultBackdate
	}
	notBefore := now.UTC().Add(-backdate).Truncate(time.Second)
	return &Permit{
		at:            now.UTC(),
		notBefore:     notBefore,
		notAfter:      notBefore.Add(validity).Truncate(time.Second),
		subject:       bytes.Clone(csr.RawSubject),
		publicKey:     bytes.Clone(csr.RawSubjectPublicKeyInfo),
		marker:        p.Purpose == PurposeDeviceAccess,
		keyAgreement:  p.KeyAgreement,
		requestedSANs: sans,
	}, nil
}

// RequestedSANs returns the subjectAltNames that the request asked for and
// that are not in the certificate, by type: "dns:…", "ip:…", "uri:…",
// "email:…", "upn:…", "other:<oid>:…", "dirname:#<hex>", "rid:…". They are
// evidence and never trusted. There are at most 64, each shorter than 400
// octets; what is not printable text is in hex after a "#".
func (p *Permit) RequestedSANs() []string { return slices.Clone(p.requestedSANs) }
