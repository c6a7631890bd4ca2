package enroll

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"slices"
	"time"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/device"
)

// draft is the record of a new certificate, as far as the request tells.
func (f *flow) draft(permit *ca.Permit, auth authorisation) depot.Identity {
	record := f.request.Configuration.Record
	return depot.Identity{
		PublicKeySHA256:   f.publicKeySHA256(),
		CSRSHA256:         f.csrSHA256(),
		Subject:           device.FormatName(f.enrolment.CSR.RawSubject),
		KeyAlgorithm:      f.enrolment.CSR.PublicKeyAlgorithm.String(),
		KeyBits:           keyBits(f.enrolment.CSR.PublicKey),
		ConfigurationID:   record.ID,
		ConfigurationName: record.Name,
		Purpose:           string(record.Purpose),
		Device:            depot.DeviceNames(f.device),
		RequestedSANs:     permit.RequestedSANs(),
		ChallengeMode:     auth.mode,
		ChallengeID:       auth.grant.Spends().ID,
		TransactionID:     f.message.TransactionID,
		MessageType:       string(f.message.Type),
		SignerKeyIsCSRKey: f.enrolment.SignerKeyIsCSRKey,
		SignerSHA256:      sha256.Sum256(f.message.Signer.Raw),
		Digest:            f.message.Digest.String(),
		Cipher:            f.message.Cipher(),
		Warnings:          f.warnings(),
		SourceAddress:     f.request.Source.Address,
		SourcePeer:        f.request.Source.Peer,
		UserAgent:         f.request.Source.UserAgent,
		TLS:               f.request.Source.TLS,
	}
}

// issued completes a draft with what the certificate says and when it was
// issued. The offset of a clock that was moved is never zero: it is in whole
// seconds, away from zero.
func (s *Service) issued(i depot.Identity, certificate *x509.Certificate, at clock.Moment, policy depot.ConfigurationPolicy) depot.Identity {
	i.CertificateSerial = serialOf(certificate)
	i.SHA256 = sha256.Sum256(certificate.Raw)
	i.DER = certificate.Raw
	i.NotBefore, i.NotAfter, i.IssuedAt = certificate.NotBefore, certificate.NotAfter, at.Time
	i.IssuerSHA256 = sha256.Sum256(s.issuerOf(certificate).Raw)
	i.SignatureAlgo = certificate.SignatureAlgorithm.String()
	i.ClockOffset = wholeSeconds(at.Offset)
	if policy.RevokeUnusedAfter > 0 {
		i.RevokeUnusedAt = at.Time.Add(policy.RevokeUnusedAfter)
	}
	return i
}

// wholeSeconds rounds away from zero.
func wholeSeconds(d time.Duration) time.Duration {
	switch whole := d.Truncate(time.Second); {
	case d > whole:
		return whole + time.Second
	case d < whole:
		return whole - time.Second
	default:
		return whole
	}
}

// issuerOf returns the issuer, of whatever generation, of a certificate that
// the authority has just made.
func (s *Service) issuerOf(certificate *x509.Certificate) *x509.Certificate {
	for _, g := range s.authority.Generations() {
		if bytes.Equal(certificate.AuthorityKeyId, g.Issuer.SubjectKeyId) {
			return g.Issuer
		}
	}
	return s.authority.Issuer()
}

// issuerWithHash returns the issuer whose certificate has this SHA-256, or
// another one when none of ours has.
func (s *Service) issuerWithHash(sum [32]byte, other *x509.Certificate) *x509.Certificate {
	for _, g := range s.authority.Generations() {
		if sha256.Sum256(g.Issuer.Raw) == sum {
			return g.Issuer
		}
	}
	return other
}

// warnings are the oddities of the request that were tolerated so far.
func (f *flow) warnings() []string {
	if f.enrolment == nil {
		return slices.Concat(f.message.Warnings, f.odd)
	}
	return slices.Concat(f.message.Warnings, f.enrolment.Warnings, f.odd)
}

func serialOf(certificate *x509.Certificate) string {
	return ca.FormatSerial(certificate.SerialNumber)
}

func keyBits(public any) int {
	if key, ok := public.(*rsa.PublicKey); ok {
		return key.N.BitLen()
	}
	return 0
}
