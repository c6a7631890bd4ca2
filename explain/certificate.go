package explain

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // profiles name certificates by it
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// A cert is a certificate, as much of it as others have to know.
type cert struct {
	der             []byte
	subject, issuer []byte // DER of the Names
	serial          *big.Int
	public          crypto.PublicKey // nil when it cannot be read
	spki            []byte
	usage           x509.KeyUsage
	isCA            bool
	purposes        []string // object identifiers of extKeyUsage
	keyID           []byte
	notBefore       time.Time
	notAfter        time.Time
	given           bool // by the caller
}

// The usages of an RA (RFC 8894 §2.1.2).
const raUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment

func (c *cert) selfIssued() bool { return bytes.Equal(c.subject, c.issuer) }

func (c *cert) hasKey(public crypto.PublicKey) bool {
	key, ok := c.public.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(public)
}

// title names a certificate in a sentence.
func (c *cert) title() string { return name(reparse(c.subject)) }

// reparse reads DER that was read before.
func reparse(der []byte) *node {
	left := maxElements
	n, _, _ := parse(der, &left)
	return n
}

// know remembers certificates of the caller.
func (x *explainer) know(given []*x509.Certificate) {
	for _, c := range given {
		if n := reparse(c.Raw); n != nil {
			k := newCert(n)
			k.given = true
			x.known = append(x.known, k)
		}
	}
}

// newCert reads a certificate as far as it goes (RFC 5280 §4.1). crypto/x509 is
// not asked: it refuses certificates of Windows clients.
func newCert(n *node) *cert {
	c := &cert{der: n.der(), serial: new(big.Int)}
	tbs := n.kid(0)
	i := 0
	if tbs.kid(0).is(context0 | constructed) {
		i = 1
	}
	c.serial = integer(tbs.kid(i))
	c.issuer, c.subject, c.spki = tbs.kid(i+2).der(), tbs.kid(i+4).der(), tbs.kid(i+5).der()
	c.notBefore, _ = timeOf(tbs.kid(i + 3).kid(0))
	c.notAfter, _ = timeOf(tbs.kid(i + 3).kid(1))
	c.public, _ = x509.ParsePKIXPublicKey(c.spki)
	for j := i + 6; tbs.kid(j) != nil; j++ {
		if tbs.kid(j).is(context0 | constructed | 3) {
			c.readExtensions(tbs.kid(j).kid(0))
		}
	}
	return c
}

// certificateItem explains an item that is a certificate.
func (x *explainer) certificateItem(n *node) {
	c := newCert(n)
	x.only = c
	x.is(Certificate, "certificate of %s", name(n.kid(0).kid(subjectAt(n))))
	root := &Field{}
	x.certificate(n, root, true)
	x.item.Fields = append(x.item.Fields, root.Fields...)
	if c.selfIssued() && c.isCA && c.usage&raUsage != raUsage {
		x.find(Remark, "every client", "RFC 8894 §2.1.2", "keyUsage",
			"as the only answer to GetCACert, without an RA, it would need digitalSignature and keyEncipherment")
	}
}

func subjectAt(n *node) int {
	if n.kid(0).kid(0).is(context0 | constructed) {
		return 5
	}
	return 4
}

// certificate adds the fields of a certificate (RFC 5280 §4.1) and returns what
// others have to know of it. whole says that the signature is judged too.
func (x *explainer) certificate(n *node, f *Field, whole bool) *cert {
	c := newCert(n)
	x.remember(c)
	where := "certificate " + c.title()
	outer := x.list("Certificate", n)
	tbs := x.list("TBSCertificate", outer.take(tagSequence, "tbsCertificate"))
	version := 1
	if v := tbs.maybe(context0 | constructed); v != nil {
		version = int(integer(v.kid(0)).Int64()) + 1
	}
	f.add("version", fmt.Sprint(version))
	number := tbs.take(tagInteger, "serialNumber")
	f.add("serialNumber", serial(number)).anew()
	x.judgeSerial(number, c, where)
	algorithm := tbs.take(tagSequence, "signature")
	issuer := tbs.take(tagSequence, "issuer")
	f.add("issuer", name(issuer))
	x.validity(f, tbs.take(tagSequence, "validity"), c)
	subject := tbs.take(tagSequence, "subject")
	f.add("subject", name(subject))
	if !c.isCA && !c.isResponder() && c.usage&x509.KeyUsageKeyEncipherment == 0 {
		f.device(subject)
	}
	if spki := tbs.take(tagSequence, "subjectPublicKeyInfo"); spki != nil {
		x.publicKey(spki, f.add("subjectPublicKeyInfo", ""))
	}
	tbs.maybe(context0 | 1)
	tbs.maybe(context0 | 2)
	if extensions := tbs.maybe(context0 | constructed | 3); extensions != nil {
		x.extensions(f.add("extensions", ""), extensions.kid(0), where)
	} else if version == 3 {
		f.add("extensions", "none")
	}
	tbs.done()
	x.certificateSignature(outer, f, c, n.kid(0), algorithm, whole)
	f.fingerprints(c)
	if _, err := x509.ParseCertificate(c.der); err != nil && n.kid(2) != nil {
		x.find(Objection, "Go programs", "crypto/x509", where, "Go refuses to read it: %s", brief(err))
	}
	return c
}

func (c *cert) isResponder() bool { return slices.Contains(c.purposes, oidOCSPSigning) }

// remember makes a certificate known, once.
func (x *explainer) remember(c *cert) {
	if len(x.known) == 2*maxCertificates {
		return
	}
	for _, k := range x.known {
		if bytes.Equal(k.der, c.der) {
			return
		}
	}
	x.known = append(x.known, c)
}

func (x *explainer) judgeSerial(n *node, c *cert, where string) {
	if n == nil {
		return
	}
	const rule = "RFC 5280 §4.1.2.2"
	switch {
	case integer(n).Sign() <= 0:
		x.find(Objection, strict, rule, where, "the certificate serial is not positive")
	case len(n.body) <= 20:
	case c.selfIssued() && !c.isCA:
		x.find(Remark, strict, rule, where, "the certificate serial has %d octets, more than 20, as strongSwan and certmonger give to the signer of a request", len(n.body))
	default:
		x.find(Objection, strict, rule, where, "the certificate serial has %d octets, more than 20", len(n.body))
	}
}

func (x *explainer) validity(f *Field, n *node, c *cert) {
	from, until := f.add("notBefore", value(n.kid(0))).anew(), f.add("notAfter", value(n.kid(1))).anew()
	switch now := x.o.Now; {
	case now.IsZero() || c.notAfter.IsZero():
	case now.Before(c.notBefore):
		from.note("not yet valid")
	case now.After(c.notAfter):
		until.note("expired")
	}
}

func (x *explainer) certificateSignature(outer *list, f *Field, c *cert, tbs, inner *node, whole bool) {
	algorithm := outer.take(tagSequence, "signatureAlgorithm")
	signed := outer.take(tagBitString, "signatureValue")
	outer.done()
	if signed == nil {
		return
	}
	where := "certificate " + c.title()
	f.algorithm("signatureAlgorithm", algorithm)
	if !bytes.Equal(algorithm.der(), inner.der()) {
		x.find(Objection, strict, "RFC 5280 §4.1.1.2", where, "the signature algorithm inside and outside is not the same")
	}
	if !c.selfIssued() { // nobody trusts what signs itself for its signature
		x.judgeDigest(oidOf(algorithm.kid(0)), where)
	}
	s := f.add("signatureValue", octets(bits(signed))).anew()
	if !whole {
		return
	}
	by, ok, err := x.issued(c.issuer, algorithm, tbs.der(), bits(signed))
	switch {
	case !ok:
		s.note("not checked: the issuer's certificate is not here; --cert gives it")
	case c.selfIssued() && bytes.Equal(by.der, c.der):
		x.signature(s, where, err).note("self-signed")
	case err != nil && c.selfIssued():
		s.note("made by another key than its own")
	default:
		x.signature(s, where, err)
	}
}

// judgeDigest objects to signatures with digests that were broken.
func (x *explainer) judgeDigest(oid, where string) {
	switch signatures[oid] {
	case crypto.MD5:
		x.find(Objection, "OpenSSL 3, Go, Apple", "RFC 8894 §2.9", where, "it is signed with MD5, which can be forged")
	case crypto.SHA1:
		x.find(Objection, "Go, Apple", "SHA-1 signatures are not trusted", where, "it is signed with SHA-1")
	}
}

// publicKey adds the fields of a SubjectPublicKeyInfo.
func (x *explainer) publicKey(n *node, f *Field) {
	algorithm := n.kid(0)
	f.Value = nameOf(oidOf(algorithm.kid(0)))
	f.OID = oidOf(algorithm.kid(0))
	public, err := x509.ParsePKIXPublicKey(n.der())
	switch key := public.(type) {
	case *rsa.PublicKey:
		f.Value = fmt.Sprintf("RSA, %d bits", key.N.BitLen())
		if key.E != 65537 {
			f.add("publicExponent", fmt.Sprint(key.E))
			x.find(Objection, "understudy", "key policy", "public key", "the RSA exponent is %d, not 65537", key.E)
		}
		if key.N.BitLen() < 2048 {
			x.find(Objection, "understudy, Apple", "key policy", "public key",
				"the RSA key has %d bits, fewer than 2048; Apple's SCEP payload asks for 1024 when it has no Keysize", key.N.BitLen())
		}
	case *ecdsa.PublicKey:
		f.Value = "EC, " + key.Params().Name
		x.find(Remark, "SCEP servers", "RFC 8894 §3.1", "public key", "an EC key cannot open an envelope; only a password could (pwri), and few servers do that")
	case ed25519.PublicKey:
		f.Value = "Ed25519"
	default:
		if err != nil {
			f.note("Go cannot read it: %s", brief(err))
		}
	}
	sum := sha256.Sum256(n.der())
	f.add("SHA-256", hex.EncodeToString(sum[:])).note("of the subjectPublicKeyInfo: equal keys have equal ones")
}

// fingerprints adds what people compare certificates by.
func (f *Field) fingerprints(c *cert) {
	long, short := sha256.Sum256(c.der), sha1.Sum(c.der) //nolint:gosec // see the import
	f.add("SHA-256", hex.EncodeToString(long[:])).anew()
	line := f.add("SHA-1", hex.EncodeToString(short[:])).anew()
	if c.isCA {
		line.note("what profiles call CAFingerprint or thumbprint")
	}
}

// algorithm adds an AlgorithmIdentifier.
func (f *Field) algorithm(field string, n *node) *Field {
	oid := oidOf(n.kid(0))
	return f.add(field, nameOf(oid)).oid(oid)
}

// privateKey says of what type a private key is and which certificate of those
// given fits.
func (x *explainer) privateKey(n *node) {
	key, err := ParseKey(n.der())
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		x.add("algorithm", "encrypted, of no known type, or too large")
		return
	}
	spki, err := x509.MarshalPKIXPublicKey(signer.Public())
	if err != nil {
		return
	}
	x.publicKey(reparse(spki), x.add("public key of it", ""))
	for _, c := range x.known {
		if c.hasKey(signer.Public()) {
			x.add("fits", c.title())
		}
	}
}

// brief is the text of a parser's error, in bounded length.
func brief(err error) string {
	const limit = 160
	if text := err.Error(); len(text) > limit {
		return text[:limit] + "…"
	}
	return err.Error()
}

// keyHash is the SHA-1 of the public key, without its algorithm.
func (c *cert) keyHash() []byte {
	sum := sha1.Sum(bits(reparse(c.spki).kid(1))) //nolint:gosec // OCSP names keys by it
	return sum[:]
}
