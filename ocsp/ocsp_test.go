package ocsp_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
	reader "golang.org/x/crypto/ocsp"

	"understudy.example/understudy/ocsp"
)

// now has a fraction of a second and is not in UTC.
var now = time.Date(2026, 3, 1, 14, 0, 0, 987654321, time.FixedZone("east", 2*60*60))

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// A party is a certificate and its key.
type party struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

func newKey(tb testing.TB, algorithm string) crypto.Signer {
	tb.Helper()
	if algorithm == "RSA" {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		must(tb, err)
		return key
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(tb, err)
	return key
}

// newIssuer makes a self-signed issuer.
func newIssuer(tb testing.TB, name string, key crypto.Signer) party {
	tb.Helper()
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: now.AddDate(-6, 0, 0), NotAfter: now.AddDate(50, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}
	return signed(tb, t, party{t, key}, key)
}

// newResponder makes the responder of an issuer.
func newResponder(tb testing.TB, issuer party, key crypto.Signer) party {
	tb.Helper()
	t := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "responder"}, NotBefore: now.AddDate(-6, 0, 0), NotAfter: now.AddDate(50, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning},
	}
	return signed(tb, t, issuer, key)
}

func signed(tb testing.TB, template *x509.Certificate, parent party, key crypto.Signer) party {
	tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent.certificate, key.Public(), parent.key)
	must(tb, err)
	c, err := x509.ParseCertificate(der)
	must(tb, err)
	return party{c, key}
}

// Building blocks of requests, honest or not.

func element(tag cbasn1.Tag, parts ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(tag, func(b *cryptobyte.Builder) {
		for _, part := range parts {
			b.AddBytes(part)
		}
	})
	return b.BytesOrPanic()
}

func sequence(parts ...[]byte) []byte { return element(cbasn1.SEQUENCE, parts...) }

func octets(content []byte) []byte { return element(cbasn1.OCTET_STRING, content) }

func wrap(number uint8, parts ...[]byte) []byte {
	return element(cbasn1.Tag(number).ContextSpecific().Constructed(), parts...)
}

func oid(dotted string) []byte {
	var b cryptobyte.Builder
	numbers := asn1.ObjectIdentifier{}
	for part := range strings.SplitSeq(dotted, ".") {
		n, _ := new(big.Int).SetString(part, 10)
		numbers = append(numbers, int(n.Int64()))
	}
	b.AddASN1ObjectIdentifier(numbers)
	return b.BytesOrPanic()
}

func integer(n int64) []byte {
	var b cryptobyte.Builder
	b.AddASN1Int64(n)
	return b.BytesOrPanic()
}

const (
	sha1OID  = "1.3.14.3.2.26"
	md5OID   = "1.2.840.113549.2.5"
	nonceOID = "1.3.6.1.5.5.7.48.1.2"
	otherOID = "1.3.6.1.5.5.7.48.1.7" // service locator
)

var (
	null     = element(cbasn1.NULL)
	critical = element(cbasn1.BOOLEAN, []byte{0xff})
)

// certID names certificate n of an issuer that does not exist.
func certID(n int64) []byte {
	return sequence(sequence(oid(sha1OID), null), octets(make([]byte, 20)), octets(make([]byte, 20)), integer(n))
}

func extension(name string, value []byte) []byte { return sequence(oid(name), octets(value)) }

func nonce(length int) []byte {
	return extension(nonceOID, octets([]byte(strings.Repeat("n", length))))
}

// request puts the parts of a TBSRequest together.
func request(parts ...[]byte) []byte { return sequence(sequence(parts...)) }

// plain is a request for one certificate with extensions.
func plain(extensions ...[]byte) []byte {
	list := sequence(sequence(certID(7)))
	if len(extensions) == 0 {
		return request(list)
	}
	return request(list, wrap(2, sequence(extensions...)))
}

// many returns n copies of an element.
func many(n int, e []byte) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = e
	}
	return all
}

func TestParseRequest(t *testing.T) {
	key := newKey(t, "ECDSA")
	issuer := newIssuer(t, "issuer", key)
	namesake := newIssuer(t, "issuer", newKey(t, "ECDSA"))
	renamed := newIssuer(t, "another", key)
	leaf := &x509.Certificate{SerialNumber: new(big.Int).Lsh(big.NewInt(0x7001), 100)}
	for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		t.Run(hash.String(), func(t *testing.T) {
			der, err := reader.CreateRequest(leaf, issuer.certificate, &reader.RequestOptions{Hash: hash})
			must(t, err)
			r, err := ocsp.ParseRequest(der)
			must(t, err)
			if len(r.CertIDs) != 1 || r.Nonce != nil {
				t.Fatalf("got %+v", r)
			}
			id := r.CertIDs[0]
			if id.Hash != hash || id.Serial.Cmp(leaf.SerialNumber) != 0 {
				t.Errorf("got %v and serial %x", id.Hash, id.Serial)
			}
			if !id.IssuedBy(issuer.certificate) {
				t.Error("the issuer is not recognised")
			}
			if intermediate := newResponder(t, issuer, newKey(t, "ECDSA")); !namedBy(t, intermediate, hash) {
				t.Error("an issuer that another one signed is not recognised")
			}
			if id.IssuedBy(namesake.certificate) || id.IssuedBy(renamed.certificate) {
				t.Error("an issuer with only the name or only the key is taken for it")
			}
		})
	}
}

// namedBy says whether a client's name for an issuer is recognised.
func namedBy(t *testing.T, issuer party, hash crypto.Hash) bool {
	t.Helper()
	der, err := reader.CreateRequest(&x509.Certificate{SerialNumber: big.NewInt(7)}, issuer.certificate, &reader.RequestOptions{Hash: hash})
	must(t, err)
	r, err := ocsp.ParseRequest(der)
	must(t, err)
	return r.CertIDs[0].IssuedBy(issuer.certificate)
}

func TestParseTolerant(t *testing.T) {
	list := sequence(sequence(certID(7)))
	for name, test := range map[string]struct {
		der   []byte
		ids   int
		nonce int
	}{
		"plain":                      {plain(), 1, 0},
		"version written out":        {request(wrap(0, integer(0)), list), 1, 0},
		"requestor's name":           {request(wrap(1, wrap(4, sequence())), list), 1, 0},
		"signed":                     {sequence(sequence(list), wrap(0, sequence(sequence(), octets(nil)))), 1, 0},
		"without parameters":         {request(sequence(sequence(sequence(sequence(oid(sha1OID)), octets(make([]byte, 20)), octets(make([]byte, 20)), integer(-7))))), 1, 0},
		"as many as may be":          {request(sequence(many(ocsp.MaxCertIDs, sequence(certID(7)))...)), ocsp.MaxCertIDs, 0},
		"shortest nonce":             {plain(nonce(1)), 1, 1},
		"longest nonce":              {plain(nonce(32)), 1, 32},
		"critical nonce":             {plain(sequence(oid(nonceOID), critical, octets(octets([]byte("nonce"))))), 1, 5},
		"another extension":          {plain(extension(otherOID, nil), nonce(16)), 1, 16},
		"extension of one request":   {request(sequence(sequence(certID(7), wrap(0, sequence(extension(otherOID, nil)))))), 1, 0},
		"as many extensions as may":  {plain(many(16, extension(otherOID, nil))...), 1, 0},
		"nonce of one request":       {request(sequence(sequence(certID(7), wrap(0, sequence(nonce(16)))))), 1, 0},
		"serial of many octets":      {request(sequence(sequence(sequence(sequence(oid(sha1OID)), octets(make([]byte, 20)), octets(make([]byte, 20)), element(cbasn1.INTEGER, []byte(strings.Repeat("s", 4000))))))), 1, 0},
		"hash function nobody knows": {request(sequence(sequence(sequence(sequence(oid(md5OID), null), octets(nil), octets(nil), integer(7))))), 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := ocsp.ParseRequest(test.der)
			must(t, err)
			if len(r.CertIDs) != test.ids || len(r.Nonce) != test.nonce {
				t.Errorf("got %d certIDs and a nonce of %d, want %d and %d", len(r.CertIDs), len(r.Nonce), test.ids, test.nonce)
			}
			if id := r.CertIDs[0]; (id.Hash == 0) != strings.Contains(name, "nobody knows") {
				t.Errorf("hash function %v", id.Hash)
			}
		})
	}
	unknown, err := ocsp.ParseRequest(request(sequence(sequence(sequence(sequence(oid(md5OID), null), octets(nil), octets(nil), integer(7))))))
	must(t, err)
	if unknown.CertIDs[0].IssuedBy(newIssuer(t, "issuer", newKey(t, "ECDSA")).certificate) {
		t.Error("a hash function that nobody knows names an issuer")
	}
}

func TestParseMalformed(t *testing.T) {
	list := sequence(sequence(certID(7)))
	hashes := octets(make([]byte, 20))
	for name, test := range map[string]struct {
		der  []byte
		text string
	}{
		"nothing":               {nil, "not an OCSPRequest"},
		"no sequence":           {octets(nil), "not an OCSPRequest"},
		"cut short":             {plain()[:40], "not an OCSPRequest"},
		"octets after it":       {append(plain(), 0), "not an OCSPRequest"},
		"element after it":      {sequence(sequence(list), wrap(0), null), "not an OCSPRequest"},
		"indefinite length":     {append(append([]byte{0x30, 0x80}, sequence(list)...), 0, 0), "not an OCSPRequest"},
		"long form of a length": {append([]byte{0x30, 0x81}, plain()[1:]...), "not an OCSPRequest"},
		"a megabyte":            {sequence(make([]byte, 1<<20)), "more than 8192"},
		"one octet too many":    {sequence(make([]byte, ocsp.MaxRequest-3)), "more than 8192"},
		"version 2":             {request(wrap(0, integer(1)), list), "version is not 1"},
		"empty version":         {request(wrap(0), list), "version is not 1"},
		"no list":               {request(), "not a TBSRequest"},
		"empty list":            {request(sequence()), "no certificate"},
		"element after list":    {request(list, null), "not a TBSRequest"},
		"one certificate more":  {request(sequence(many(ocsp.MaxCertIDs+1, sequence(certID(7)))...)), "more than 16 certificates"},
		"ten thousand":          {request(sequence(many(10_000, sequence(certID(7)))...)), "more than 8192"},
		"request is no request": {request(sequence(null)), "request 1"},
		"something after ID":    {request(sequence(sequence(certID(7), null))), "request 1"},
		"empty ID":              {request(sequence(sequence(sequence()))), "not a CertID"},
		"ID without serial":     {request(sequence(sequence(sequence(sequence(oid(sha1OID)), hashes, hashes)))), "not a CertID"},
		"ID with more":          {request(sequence(sequence(sequence(sequence(oid(sha1OID)), hashes, hashes, integer(7), null)))), "not a CertID"},
		"serial not minimal":    {request(sequence(sequence(sequence(sequence(oid(sha1OID)), hashes, hashes, element(cbasn1.INTEGER, []byte{0, 7}))))), "not a CertID"},
		"short name hash":       {request(sequence(sequence(sequence(sequence(oid(sha1OID)), octets(make([]byte, 19)), hashes, integer(7))))), "hashes of 19 and 20"},
		"long key hash":         {request(sequence(sequence(sequence(sequence(oid(sha1OID)), hashes, octets(make([]byte, 32)), integer(7))))), "hashes of 20 and 32"},
		"parameters":            {request(sequence(sequence(sequence(sequence(oid(sha1OID), sequence()), hashes, hashes, integer(7))))), "parameters"},
		"empty nonce":           {plain(nonce(0)), "nonce of 0"},
		"nonce of 33":           {plain(nonce(33)), "nonce of 33"},
		"nonce of 10 kB":        {plain(nonce(10_000)), "more than 8192"},
		"nonce of 5 kB":         {plain(nonce(5_000)), "nonce of 5000"},
		"bare nonce":            {plain(extension(nonceOID, []byte("bare octets"))), "not an OCTET STRING"},
		"nonce and more":        {plain(extension(nonceOID, append(octets([]byte("n")), 0))), "not an OCTET STRING"},
		"two nonces":            {plain(nonce(16), nonce(16)), "two nonces"},
		"critical extension":    {plain(sequence(oid(otherOID), critical, octets(nil))), "unknown critical extension"},
		"critical for one":      {request(sequence(sequence(certID(7), wrap(0, sequence(sequence(oid(otherOID), critical, octets(nil))))))), "unknown critical extension"},
		"critical nonce of one": {request(sequence(sequence(certID(7), wrap(0, sequence(sequence(oid(nonceOID), critical, octets(octets([]byte("n"))))))))), "unknown critical extension"},
		"no extensions":         {request(list, wrap(2, sequence())), "list of extensions"},
		"extensions and more":   {request(list, wrap(2, sequence(nonce(16)), null)), "list of extensions"},
		"extension of nothing":  {plain(sequence()), "not an extension"},
		"FALSE written out":     {plain(sequence(oid(otherOID), element(cbasn1.BOOLEAN, []byte{1}), octets(nil))), "not an extension"},
		"17 extensions":         {plain(many(17, extension(otherOID, nil))...), "more than 16 extensions"},
		"17 extensions in all":  {request(sequence(many(16, sequence(certID(7), wrap(0, sequence(extension(otherOID, nil)))))...), wrap(2, sequence(nonce(16)))), "more than 16 extensions"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := ocsp.ParseRequest(test.der)
			if !errors.Is(err, ocsp.ErrMalformed) || !strings.Contains(err.Error(), test.text) {
				t.Fatalf("got %v, %v, want an error with %q", r, err, test.text)
			}
		})
	}
}

func TestFailure(t *testing.T) {
	for status, name := range map[ocsp.Status]string{
		ocsp.MalformedRequest: "malformedRequest", ocsp.InternalError: "internalError", ocsp.TryLater: "tryLater",
		ocsp.SigRequired: "sigRequired", ocsp.Unauthorized: "unauthorized",
	} {
		_, err := reader.ParseResponse(ocsp.Failure(status), nil)
		if e, ok := errors.AsType[reader.ResponseError](err); !ok || int(e.Status) != int(status) {
			t.Errorf("%v reads as %v", status, err)
		}
		if status.String() != name {
			t.Errorf("%d is called %v", int(status), status)
		}
	}
	if s := ocsp.Successful.String() + " " + ocsp.Status(9).String(); s != "successful status 9" {
		t.Error(s)
	}
}
