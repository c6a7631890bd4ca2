package lab

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"time"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/device"
)

// issuer signs made-up certificates.
type issuer struct {
	certificate *x509.Certificate
	sha256      [32]byte
	key         *ecdsa.PrivateKey
}

// newIssuer makes a P-256 key and its certificate. The curve is not for
// authorities here: a signature costs a fortieth of RSA's.
func newIssuer(r *rand.Rand, from, to time.Time) (issuer, error) {
	scalar := make([]byte, 32)
	for i := range scalar {
		scalar[i] = byte(r.Uint32())
	}
	scalar[0] &= 0x7f // below the order of the group
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar)
	if err != nil {
		return issuer{}, fmt.Errorf("make throw-away issuer: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          new(big.Int).SetUint64(r.Uint64()>>1 + 1),
		Subject:               pkix.Name{CommonName: "Throw-away issuer of made-up records", Organization: []string{"Understudy seed - NOT AN AUTHORITY"}},
		NotBefore:             from,
		NotAfter:              to,
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	if err != nil {
		return issuer{}, fmt.Errorf("make throw-away issuer: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	return issuer{certificate, sha256.Sum256(der), key}, err
}

// follows says whether the i-th identity is a device's second or later one,
// and how far away the one before it is.
func (s *seeder) follows(i int) (lag int, ok bool) {
	r := s.random("follows", i)
	if i < s.leastLag || r.Float64() >= renewed {
		return 0, false
	}
	return s.leastLag + r.IntN(i-s.leastLag+1), true
}

// deviceOf returns the number of the device's first identity.
func (s *seeder) deviceOf(i int) int {
	for {
		lag, ok := s.follows(i)
		if !ok {
			return i
		}
		i -= lag
	}
}

// issuedAt spreads the identities over the span, each somewhere in its part.
func (s *seeder) issuedAt(i int) time.Time {
	part := float64(s.options.Span) / float64(s.options.N)
	back := time.Duration(part * (float64(s.options.N-1-i) + s.random("issued", i).Float64()))
	return s.options.Now.Add(-back).Truncate(time.Microsecond)
}

// notBefore is a few minutes before, as the authority has it.
func (s *seeder) notBefore(i int) time.Time {
	return s.issuedAt(i).Add(-5 * time.Minute).Truncate(time.Second)
}

// serial is the certificate serial, of the authority's form: milliseconds and
// then random bits, so that the store grows at its end.
func (s *seeder) serial(i int) string {
	const mark = 1 << 46
	b := binary.BigEndian.AppendUint64(nil, uint64(s.issuedAt(i).UnixMilli()|mark))[2:]
	random := make([]byte, 10)
	_, _ = s.source("serial", i).Read(random) // never fails
	return hex.EncodeToString(append(b, random...))
}

// issuance makes up the i-th identity and its transaction.
func (s *seeder) issuance(i int) (depot.Issuance, error) {
	names := s.random("device", s.deviceOf(i))
	subject, err := asn1.Marshal(subjectOf(names))
	if err != nil {
		return depot.Issuance{}, fmt.Errorf("make subject: %w", err)
	}
	who, err := device.FromSubject(subject)
	if err != nil {
		return depot.Issuance{}, err
	}
	random := s.source("key", i)
	der, public, err := s.certificate(i, subject, random)
	if err != nil {
		return depot.Issuance{}, err
	}
	hash := func() (sum [32]byte) { _, _ = random.Read(sum[:]); return sum }
	transaction := hash()
	how := s.random("request", i)
	digest, cipher, warnings := wire(how)
	id := depot.Identity{
		CertificateSerial: s.serial(i), SHA256: sha256.Sum256(der), PublicKeySHA256: sha256.Sum256(public), CSRSHA256: hash(), DER: der,
		Subject: device.FormatName(subject), NotBefore: s.notBefore(i), NotAfter: s.notBefore(i).Add(s.lifetime), IssuedAt: s.issuedAt(i),
		IssuerSHA256: s.issuer.sha256, KeyAlgorithm: x509.RSA.String(), KeyBits: keyBits, SignatureAlgo: x509.ECDSAWithSHA256.String(),
		ConfigurationID: s.configuration.ID, ConfigurationName: s.configuration.Name, Purpose: string(s.configuration.Purpose),
		Device: depot.DeviceNames(who), ChallengeMode: string(s.configuration.Mode), TransactionID: strings.ToUpper(hex.EncodeToString(transaction[:20])),
		MessageType: "19", SignerKeyIsCSRKey: true, SignerSHA256: hash(), Digest: digest, Cipher: cipher, Warnings: warnings,
		SourceAddress: address(names), UserAgent: pick(how, agents), TLS: how.IntN(2) == 0,
	}
	id.SourcePeer = id.SourceAddress
	return depot.Issuance{Identity: id, Transaction: depot.Transaction{
		ConfigurationID: id.ConfigurationID, ID: id.TransactionID, MessageType: id.MessageType, MessageSHA256: hash(), CSRSHA256: id.CSRSHA256,
		PublicKeySHA256: id.PublicKeySHA256, SignerSHA256: id.SignerSHA256, CertificateSerial: id.CertificateSerial, At: id.IssuedAt,
	}}, nil
}
