package scep

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/refusal"
)

var oidChallengePassword = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 7}

// maxProofBits is the size of the largest RSA key that a proof of possession is
// checked with.
const maxProofBits = 4096

// readCSR reads a PKCS #10 request (RFC 2986) in DER whose signature may be
// checked: its key is none that takes long.
func readCSR(der []byte) (*x509.CertificateRequest, error) {
	if _, err := guard("CSR", der); err != nil {
		return nil, uniform(err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, notDecryptable("parse CSR: " + brief(err))
	}
	if key, ok := csr.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > maxProofBits {
		return nil, notDecryptable(fmt.Sprintf("CSR key has %d bits: its signature is not checked", key.N.BitLen()))
	}
	return csr, nil
}

// checkCSR applies the policy on keys and digests to a genuine CSR.
func checkCSR(csr *x509.CertificateRequest, o Options) error {
	if err := checkKey("CSR", csr.PublicKey, o.KeySizes); err != nil {
		return err
	}
	switch csr.SignatureAlgorithm {
	case x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA:
	case x509.SHA1WithRSA:
		if !o.AllowSHA1 {
			return unsupported("digest SHA-1 is not supported", "CSR is signed with SHA-1")
		}
	default:
		return unsupported("signature algorithm of the CSR is not supported", "CSR is signed with %v", csr.SignatureAlgorithm)
	}
	return nil
}

// newEnrolment reads what a genuine CSR says. Its refusals tell no secret: who
// sent the message knew the plaintext.
func newEnrolment(csr *x509.CertificateRequest, signer *x509.Certificate) (*Enrolment, error) {
	if csr.Version < 0 {
		return nil, badCSR("version of the CSR is negative")
	}
	password, err := challengePassword(csr.RawTBSCertificateRequest)
	if err != nil {
		return nil, err
	}
	e := &Enrolment{CSR: csr, ChallengePassword: password}
	if key, ok := csr.PublicKey.(*rsa.PublicKey); ok {
		e.SignerKeyIsCSRKey = key.Equal(signer.PublicKey)
	}
	if csr.SignatureAlgorithm == x509.SHA1WithRSA {
		e.Warnings = append(e.Warnings, WarnCSRSHA1)
	}
	return e, nil
}

// challengePassword returns the only challengePassword (RFC 2985 §5.4.1) of a
// CertificationRequestInfo, or an empty one when there is none.
func challengePassword(tbs []byte) (Password, error) {
	input := cryptobyte.String(tbs)
	var info, attributes cryptobyte.String
	var hasAttributes bool
	if !input.ReadASN1(&info, cbasn1.SEQUENCE) ||
		!info.SkipASN1(cbasn1.INTEGER) || // version
		!info.SkipASN1(cbasn1.SEQUENCE) || // subject
		!info.SkipASN1(cbasn1.SEQUENCE) || // subjectPKInfo
		!info.ReadOptionalASN1(&attributes, &hasAttributes, context0) {
		return Password{}, badCSR("CSR is malformed")
	}
	var password Password
	found := false
	for !attributes.Empty() {
		var attribute, values cryptobyte.String
		var oid asn1.ObjectIdentifier
		if !attributes.ReadASN1(&attribute, cbasn1.SEQUENCE) || !attribute.ReadASN1ObjectIdentifier(&oid) {
			return Password{}, badCSR("an attribute of the CSR is malformed")
		}
		if !oid.Equal(oidChallengePassword) {
			continue
		}
		if found {
			return Password{}, badCSR("CSR has two challengePassword attributes")
		}
		found = true
		if !attribute.ReadASN1(&values, cbasn1.SET) || !attribute.Empty() {
			return Password{}, badCSR("challengePassword is malformed")
		}
		var err error
		if password, err = onlyPassword(values); err != nil {
			return Password{}, err
		}
	}
	return password, nil
}

// onlyPassword reads the SET OF values of a challengePassword, which must be
// one string.
func onlyPassword(values []byte) (Password, error) {
	if len(values) > maxChallenge {
		return Password{}, badCSR("challengePassword has %d bytes, more than %d", len(values), maxChallenge)
	}
	var value asn1.RawValue
	rest, err := asn1.Unmarshal(values, &value)
	if err != nil || len(rest) > 0 {
		return Password{}, badCSR("challengePassword does not have exactly one value")
	}
	text, ok := decodeText(value)
	if !ok {
		return Password{}, badCSR("challengePassword is not a string that can be read")
	}
	return NewPassword(text), nil
}

func badCSR(format string, args ...any) error {
	return WithFailInfo(refusal.New(refusal.BadMessage, format, args...), BadRequest)
}

// brief returns the text of a parser's error, which may repeat what a client
// sent, in bounded length.
func brief(err error) string {
	const limit = 200
	text := err.Error()
	if len(text) <= limit {
		return text
	}
	return fmt.Sprintf("%s… (%d bytes)", strings.ToValidUTF8(text[:limit], ""), len(text))
}
