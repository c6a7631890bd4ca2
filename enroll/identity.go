package enroll

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"slices"
	"time"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/device"
)

// identity is the record of a new certificate, with everything that can be
// known at issue.
func (f *flow) identity(permit *ca.Permit, certificate *x509.Certificate) depot.Identity {
	record := f.request.Configuration.Record
	issuer, _ := f.service.authority.IssuerOf(certificate) // not Issuer: a rollover may have come in between
	return depot.Identity{
		CertificateSerial: serialOf(certificate),
		SHA256:            sha256.Sum256(certificate.Raw),
		PublicKeySHA256:   f.publicKeySHA256(),
		CSRSHA256:         sha256.Sum256(f.enrolment.CSR.Raw),
		DER:               certificate.Raw,
		Subject:           device.FormatName(certificate.RawSubject),
		NotBefore:         certificate.NotBefore,
		NotAfter:          certificate.NotAfter,
		IssuedAt:          f.now,
		IssuerSHA256:      sha256.Sum256(issuer.Raw),
		KeyAlgorithm:      certificate.PublicKeyAlgorithm.String(),
		KeyBits:           keyBits(certificate),
		SignatureAlgo:     certificate.SignatureAlgorithm.String(),
		ConfigurationID:   record.ID,
		ConfigurationName: record.Name,
		Purpose:           string(record.Purpose),
		Device:            depot.DeviceNames(f.device),
		RequestedSANs:     permit.RequestedSANs(),
		ChallengeMode:     string(record.Mode),
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
		ClockOffset:       f.service.clock.Offset().Truncate(time.Second),
	}
}

// warnings are the oddities of the request that were tolerated so far.
func (f *flow) warnings() []string {
	if f.enrolment == nil {
		return f.message.Warnings
	}
	return slices.Concat(f.message.Warnings, f.enrolment.Warnings)
}

func serialOf(certificate *x509.Certificate) string {
	return ca.FormatSerial(certificate.SerialNumber)
}

func keyBits(certificate *x509.Certificate) int {
	if key, ok := certificate.PublicKey.(*rsa.PublicKey); ok {
		return key.N.BitLen()
	}
	return 0
}
