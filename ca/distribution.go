package ca

import (
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"net/url"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Distribution gives the URLs that device certificates carry, each from the
// issuer's subject key identifier in lower-case hex. A nil function or an empty
// URL leaves its part out. The functions are called when an authority is opened
// and when a rollover is prepared, not at every certificate, so they must give
// the same URL each time.
type Distribution struct {
	CRL    func(issuerSKI string) string // CRL distribution point (RFC 5280 §4.2.1.13)
	OCSP   func(issuerSKI string) string // OCSP responder (§4.2.2.1)
	Issuer func(issuerSKI string) string // the issuer's certificate in DER (§4.2.2.1, caIssuers)
}

var (
	oidCRLDistributionPoints = asn1.ObjectIdentifier{2, 5, 29, 31}
	oidAuthorityInfoAccess   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 1}
	oidAccessOCSP            = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1}
	oidAccessIssuers         = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 2}
)

const urlLimit = 1024 // octets

// extensions returns the Extensions of a generation's device certificates, one
// after the other; nothing when there are no URLs.
func (d Distribution) extensions(issuerSKI []byte) ([]byte, error) {
	ski := hex.EncodeToString(issuerSKI)
	crl, err := urlOf(d.CRL, ski)
	if err != nil {
		return nil, err
	}
	ocsp, err := urlOf(d.OCSP, ski)
	if err != nil {
		return nil, err
	}
	certificate, err := urlOf(d.Issuer, ski)
	if err != nil {
		return nil, err
	}
	var all []byte
	if crl != "" {
		e, err := extension(oidCRLDistributionPoints, false, distributionPoint(crl))
		if err != nil {
			return nil, err
		}
		all = append(all, e...)
	}
	if ocsp != "" || certificate != "" {
		e, err := extension(oidAuthorityInfoAccess, false, informationAccess(ocsp, certificate))
		if err != nil {
			return nil, err
		}
		all = append(all, e...)
	}
	return all, nil
}

// urlOf returns a URL, or "", or says why it cannot be in a certificate. It
// goes into an IA5String, and relying parties fetch it, so it is absolute and
// plain.
func urlOf(of func(string) string, ski string) (string, error) {
	if of == nil {
		return "", nil
	}
	text := of(ski)
	if text == "" {
		return "", nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("%q cannot be in a certificate: use an absolute URL with http or https", text)
	}
	for _, c := range []byte(text) {
		if c <= ' ' || c >= 0x7f {
			return "", fmt.Errorf("%q cannot be in a certificate: use ASCII, and percent-escapes for the rest", text)
		}
	}
	if len(text) > urlLimit {
		return "", fmt.Errorf("a URL of %d octets cannot be in a certificate: use at most %d", len(text), urlLimit)
	}
	return text, nil
}

// distributionPoint is CRLDistributionPoints with one full name.
func distributionPoint(crl string) func(*cryptobyte.Builder) {
	explicit := cryptobyte_asn1.Tag(0).ContextSpecific().Constructed()
	return func(b *cryptobyte.Builder) {
		b.AddASN1(cryptobyte_asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(cryptobyte_asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(explicit, func(b *cryptobyte.Builder) { // distributionPoint
					b.AddASN1(explicit, func(b *cryptobyte.Builder) { addURI(b, crl) }) // fullName
				})
			})
		})
	}
}

// informationAccess is AuthorityInfoAccessSyntax.
func informationAccess(ocsp, certificate string) func(*cryptobyte.Builder) {
	return func(b *cryptobyte.Builder) {
		b.AddASN1(cryptobyte_asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, access := range []struct {
				method asn1.ObjectIdentifier
				url    string
			}{{oidAccessOCSP, ocsp}, {oidAccessIssuers, certificate}} {
				if access.url == "" {
					continue
				}
				b.AddASN1(cryptobyte_asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier(access.method)
					addURI(b, access.url)
				})
			}
		})
	}
}

// addURI adds a uniformResourceIdentifier (RFC 5280 §4.2.1.6).
func addURI(b *cryptobyte.Builder, uri string) {
	b.AddASN1(tagURI, func(b *cryptobyte.Builder) { b.AddBytes([]byte(uri)) })
}
