package client

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"unicode"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// A Password is a challenge. It prints as [secret] with every verb, in logs
// and in JSON.
type Password string

// Format writes "[secret]" whatever the verb.
func (Password) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalText returns "[secret]", for JSON and other encoders.
func (Password) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// LogValue returns "[secret]", for log/slog.
func (Password) LogValue() slog.Value { return slog.StringValue(hidden) }

const hidden = "[secret]"

// SubjectAltNames are the names that an Apple SCEP payload can ask for.
type SubjectAltNames struct {
	Email           []string // rfc822Name
	DNS             []string // dNSName
	URI             []string // uniformResourceIdentifier
	NTPrincipalName []string // otherName, a user principal name
}

var (
	oidChallengePassword = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 7}
	oidExtensionRequest  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 14}
	oidSubjectAltName    = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidNTPrincipalName   = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}
	oidSHA256WithRSA     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}
)

const context0 = cbasn1.Tag(0x80 | 0x20) // [0], constructed

// buildCSR returns a PKCS #10 request (RFC 2986), signed with SHA-256. It is
// assembled here because crypto/x509 cannot write a challengePassword, and
// adding one afterwards would cost a second RSA signature.
func buildCSR(random io.Reader, e *Enrolment) ([]byte, error) {
	subject := e.RawSubject
	if subject == nil {
		var err error
		if subject, err = asn1.Marshal(e.Subject.ToRDNSequence()); err != nil {
			return nil, fmt.Errorf("encode subject: %w", err)
		}
	}
	public, err := x509.MarshalPKIXPublicKey(e.Key.Public())
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	extensions, err := e.extensions()
	if err != nil {
		return nil, err
	}
	var info cryptobyte.Builder
	info.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(0)
		b.AddBytes(subject)
		b.AddBytes(public)
		b.AddASN1(context0, func(b *cryptobyte.Builder) {
			addExtensionRequest(b, extensions)
			addChallenge(b, e.Challenge)
		})
	})
	return signCSR(random, &info, e.Key)
}

func signCSR(random io.Reader, info *cryptobyte.Builder, key *rsa.PrivateKey) ([]byte, error) {
	der, err := info.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encode certificate request: %w", err)
	}
	digest := sha256.Sum256(der)
	signature, err := key.Sign(random, digest[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("sign certificate request: %w", err)
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(der)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oidSHA256WithRSA)
			b.AddASN1NULL()
		})
		b.AddASN1BitString(signature)
	})
	return b.Bytes()
}

func addExtensionRequest(b *cryptobyte.Builder, extensions []pkix.Extension) {
	if len(extensions) == 0 {
		return
	}
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidExtensionRequest)
		b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) {
			b.MarshalASN1(extensions)
		})
	})
}

// addChallenge writes a PrintableString where it can, else a UTF8String, as
// RFC 2985 §5.4.1 prefers.
func addChallenge(b *cryptobyte.Builder, challenge Password) {
	if challenge == "" {
		return
	}
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidChallengePassword)
		b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) {
			b.AddASN1(stringTag(string(challenge)), func(b *cryptobyte.Builder) { b.AddBytes([]byte(challenge)) })
		})
	})
}

// stringTag is PrintableString where it can be, else UTF8String.
func stringTag(text string) cbasn1.Tag {
	if strings.ContainsFunc(text, notPrintableString) {
		return cbasn1.UTF8String
	}
	return cbasn1.PrintableString
}

func notPrintableString(r rune) bool {
	return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(" '()+,-./:=?", r)
}

// extensions returns what the request asks for: subject alternative names,
// then the caller's own.
func (e *Enrolment) extensions() ([]pkix.Extension, error) {
	names := e.SubjectAltNames
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, upn := range names.NTPrincipalName {
			b.AddASN1(context0, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(oidNTPrincipalName)
				b.AddASN1(context0, func(b *cryptobyte.Builder) {
					b.AddASN1(cbasn1.UTF8String, func(b *cryptobyte.Builder) { b.AddBytes([]byte(upn)) })
				})
			})
		}
		addIA5Names(b, 1, names.Email)
		addIA5Names(b, 2, names.DNS)
		addIA5Names(b, 6, names.URI)
	})
	value, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encode subject alternative names: %w", err)
	}
	const emptySequence = 2
	if len(value) == emptySequence {
		return e.Extensions, nil
	}
	return append([]pkix.Extension{{Id: oidSubjectAltName, Value: value}}, e.Extensions...), nil
}

func addIA5Names(b *cryptobyte.Builder, tag uint8, names []string) {
	for _, name := range names {
		if strings.ContainsFunc(name, func(r rune) bool { return r > unicode.MaxASCII }) {
			b.SetError(errors.New("a name has characters outside ASCII"))
			return
		}
		b.AddASN1(cbasn1.Tag(tag).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes([]byte(name)) })
	}
}
