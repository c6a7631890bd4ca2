package scep_test

import (
	"bytes"
	"crypto"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep"
	"understudy.example/understudy/scep/internal/cms"
)

// now is the time in all tests.
var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func options() scep.Options {
	return scep.Options{AllowSHA1: true, KeySizes: []int{2048}, Now: now}
}

var loadKey = func() func(tb testing.TB, name string) crypto.Signer {
	var mu sync.Mutex
	keys := map[string]crypto.Signer{}
	return func(tb testing.TB, name string) crypto.Signer {
		tb.Helper()
		mu.Lock()
		defer mu.Unlock()
		if k := keys[name]; k != nil {
			return k
		}
		text, err := os.ReadFile(filepath.Join("testdata", "keys", name+".pem"))
		if err != nil {
			tb.Fatal(err)
		}
		block, _ := pem.Decode(text)
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			tb.Fatal(err)
		}
		keys[name] = key.(crypto.Signer)
		return keys[name]
	}
}()

// certificate returns a self-signed certificate for the named key, the same one
// each time.
var certificate = func() func(tb testing.TB, key, commonName string, serial int64) *x509.Certificate {
	var mu sync.Mutex
	made := map[string]*x509.Certificate{}
	return func(tb testing.TB, key, commonName string, serial int64) *x509.Certificate {
		tb.Helper()
		mu.Lock()
		defer mu.Unlock()
		id := fmt.Sprint(key, "/", commonName, "/", serial)
		if made[id] == nil {
			made[id] = makeCertificate(tb, key, commonName, serial)
		}
		return made[id]
	}
}()

func makeCertificate(tb testing.TB, key, commonName string, serial int64) *x509.Certificate {
	tb.Helper()
	signer := loadKey(tb, key)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: commonName},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(24 * time.Hour),
		SubjectKeyId: []byte(commonName),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// recipient returns our RA.
func recipient(tb testing.TB) scep.Recipient {
	return scep.Recipient{Certificate: certificate(tb, "ra", "RA", 7), Key: loadKey(tb, "ra").(*rsa.PrivateKey)}
}

func element(tag cbasn1.Tag, content ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(bytes.Join(content, nil)) })
	return b.BytesOrPanic()
}

func sequence(content ...[]byte) []byte { return element(cbasn1.SEQUENCE, content...) }
func setOf(content ...[]byte) []byte    { return element(cbasn1.SET, content...) }

func oid(id ...int) []byte {
	der, err := asn1.Marshal(asn1.ObjectIdentifier(id))
	if err != nil {
		panic(err)
	}
	return der
}

func integer(n int64) []byte {
	var b cryptobyte.Builder
	b.AddASN1Int64(n)
	return b.BytesOrPanic()
}

func algorithm(id asn1.ObjectIdentifier) []byte { return sequence(oid(id...), []byte{5, 0}) }

const (
	context0  = cbasn1.Tag(0xa0)
	primitive = cbasn1.Tag(0x80)
	utf8Tag   = cbasn1.UTF8String
	printTag  = cbasn1.PrintableString
)

func scepOID(n int) asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, n}
}

var (
	oidMessageType   = scepOID(2)
	oidSenderNonce   = scepOID(5)
	oidTransactionID = scepOID(7)
	oidMD5           = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 5}
	oidPassword      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 7}
)

// An attribute is a signed attribute with any number of values.
type attribute struct {
	oid    asn1.ObjectIdentifier
	values [][]byte
}

// A forgery is a pkiMessage in which each part can be wrong.
type forgery struct {
	contentType  asn1.ObjectIdentifier
	eContentType asn1.ObjectIdentifier
	content      []byte
	eContent     []byte // overrides the OCTET STRING with the content
	noContent    bool
	certificates [][]byte
	signer       *x509.Certificate
	key          crypto.Signer
	hash         crypto.Hash
	digestOID    asn1.ObjectIdentifier
	signatureOID asn1.ObjectIdentifier
	attributes   []attribute // nil: none at all
	signerInfos  int
	badSignature bool
	unsorted     bool // the attributes come in another order than the signature covers
}

// forge returns an honest PKCSReq around the envelope.
func forge(tb testing.TB, envelope []byte) *forgery {
	signer := certificate(tb, "client", "8b8ad4b0-4ad7-4d0f-9b3f-1b2d7f2a7a11", 1)
	f := &forgery{
		contentType: cms.OIDSignedData, eContentType: cms.OIDData, content: envelope,
		certificates: [][]byte{signer.Raw}, signer: signer, key: loadKey(tb, "client"),
		hash: crypto.SHA256, digestOID: cms.DigestOID(crypto.SHA256), signatureOID: cms.OIDRSAEncryption,
		signerInfos: 1,
	}
	f.attributes = []attribute{
		{cms.OIDContentType, [][]byte{oid(cms.OIDData...)}},
		{cms.OIDMessageDigest, nil}, // filled in when signed
		{oidMessageType, [][]byte{element(printTag, []byte("19"))}},
		{oidSenderNonce, [][]byte{element(cbasn1.OCTET_STRING, []byte("0123456789abcdef"))}},
		{oidTransactionID, [][]byte{element(printTag, []byte("ID-1"))}},
	}
	return f
}

// with replaces the values of an attribute, or adds it.
func (f *forgery) with(id asn1.ObjectIdentifier, values ...[]byte) *forgery {
	for i := range f.attributes {
		if f.attributes[i].oid.Equal(id) {
			f.attributes[i].values = values
			return f
		}
	}
	return f.add(id, values...)
}

// add adds an attribute, which may be there already.
func (f *forgery) add(id asn1.ObjectIdentifier, values ...[]byte) *forgery {
	f.attributes = append(f.attributes, attribute{id, values})
	return f
}

func (f *forgery) without(id asn1.ObjectIdentifier) *forgery {
	f.attributes = slices.DeleteFunc(f.attributes, func(a attribute) bool { return a.oid.Equal(id) })
	return f
}

func (f *forgery) der(tb testing.TB) []byte {
	tb.Helper()
	var attributes [][]byte
	for _, a := range f.attributes {
		if a.oid.Equal(cms.OIDMessageDigest) && a.values == nil {
			h := f.hash.New()
			h.Write(f.content)
			a.values = [][]byte{element(cbasn1.OCTET_STRING, h.Sum(nil))}
		}
		attributes = append(attributes, sequence(oid(a.oid...), setOf(a.values...)))
	}
	slices.SortFunc(attributes, bytes.Compare)
	h := f.hash.New()
	h.Write(setOf(attributes...))
	signature, err := f.key.Sign(rand.Reader, h.Sum(nil), f.hash)
	if err != nil {
		tb.Fatal(err)
	}
	if f.badSignature {
		signature[len(signature)/2] ^= 1
	}
	if f.unsorted {
		slices.Reverse(attributes)
	}
	var signed []byte
	if f.attributes != nil {
		signed = element(context0, attributes...)
	}
	info := sequence(integer(1), issuerAndSerial(f.signer), algorithm(f.digestOID), signed,
		algorithm(f.signatureOID), element(cbasn1.OCTET_STRING, signature))
	eContent := f.eContent
	if eContent == nil && !f.noContent {
		eContent = element(context0, element(cbasn1.OCTET_STRING, f.content))
	}
	return sequence(oid(f.contentType...), element(context0, sequence(
		integer(1), setOf(algorithm(f.digestOID)),
		sequence(oid(f.eContentType...), eContent),
		element(context0, f.certificates...),
		setOf(slices.Repeat([][]byte{info}, f.signerInfos)...),
	)))
}

func issuerAndSerial(c *x509.Certificate) []byte {
	var serial cryptobyte.Builder
	serial.AddASN1BigInt(c.SerialNumber)
	return sequence(c.RawIssuer, serial.BytesOrPanic())
}

// A forgedEnvelope is an EnvelopedData in which each part can be wrong.
type forgedEnvelope struct {
	contentType, innerType asn1.ObjectIdentifier
	recipients             [][]byte
	cipherOID              asn1.ObjectIdentifier
	iv, ciphertext         []byte
}

// forgeEnvelope returns an honest envelope with a fixed key. padding is put
// after the content as it is.
func forgeEnvelope(tb testing.TB, to *x509.Certificate, c cms.Cipher, content, padding []byte) (*forgedEnvelope, []byte) {
	tb.Helper()
	key, iv := bytes.Repeat([]byte{0x42}, c.KeyLen()), bytes.Repeat([]byte{0x17}, c.BlockLen())
	if c == cms.TripleDESCBC {
		copy(key[8:], bytes.Repeat([]byte{0x43}, 8))
	}
	block, err := c.Block(key)
	if err != nil {
		tb.Fatal(err)
	}
	ciphertext := slices.Concat(content, padding)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(ciphertext, ciphertext)
	return &forgedEnvelope{
		contentType: cms.OIDEnvelopedData, innerType: cms.OIDData,
		recipients: [][]byte{transport(tb, to, key)}, cipherOID: c.OID(), iv: iv, ciphertext: ciphertext,
	}, key
}

// pad returns the padding of content.
func pad(c cms.Cipher, content []byte) []byte {
	n := c.BlockLen() - len(content)%c.BlockLen()
	return bytes.Repeat([]byte{byte(n)}, n)
}

func (e *forgedEnvelope) der() []byte {
	return sequence(oid(e.contentType...), element(context0, sequence(
		integer(0), setOf(e.recipients...),
		sequence(oid(e.innerType...),
			sequence(oid(e.cipherOID...), element(cbasn1.OCTET_STRING, e.iv)),
			element(primitive, e.ciphertext)),
	)))
}

// transport returns a KeyTransRecipientInfo with PKCS #1 v1.5.
func transport(tb testing.TB, to *x509.Certificate, key []byte) []byte {
	tb.Helper()
	//lint:ignore SA1019 what SCEP uses
	encrypted, err := rsa.EncryptPKCS1v15(rand.Reader, to.PublicKey.(*rsa.PublicKey), key)
	if err != nil {
		tb.Fatal(err)
	}
	return recipientInfo(issuerAndSerial(to), algorithm(cms.OIDRSAEncryption), encrypted)
}

func recipientInfo(id, algorithm, encrypted []byte) []byte {
	return sequence(integer(0), id, algorithm, element(cbasn1.OCTET_STRING, encrypted))
}

// csr returns a CSR for the named key with these attributes.
func csr(tb testing.TB, key string, attributes ...[]byte) []byte {
	return csrSigned(tb, key, key, 0, attributes...)
}

func csrSigned(tb testing.TB, key, signer string, version int64, attributes ...[]byte) []byte {
	tb.Helper()
	spki, err := x509.MarshalPKIXPublicKey(loadKey(tb, key).Public())
	if err != nil {
		tb.Fatal(err)
	}
	subject, err := asn1.Marshal(pkix.Name{CommonName: "C02TESTSERIAL"}.ToRDNSequence())
	if err != nil {
		tb.Fatal(err)
	}
	info := sequence(integer(version), subject, spki, element(context0, attributes...))
	h := crypto.SHA256.New()
	h.Write(info)
	signature, err := loadKey(tb, signer).Sign(rand.Reader, h.Sum(nil), crypto.SHA256)
	if err != nil {
		tb.Fatal(err)
	}
	signatureOID := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}
	if _, ok := loadKey(tb, signer).(*rsa.PrivateKey); !ok {
		signatureOID = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	}
	return sequence(info, algorithm(signatureOID), element(cbasn1.BIT_STRING, []byte{0}, signature))
}

// password returns a challengePassword attribute.
func password(values ...[]byte) []byte { return sequence(oid(oidPassword...), setOf(values...)) }

func passwordText(text string) []byte { return password(element(printTag, []byte(text))) }

// honestEnvelope returns an envelope to our RA with an honest CSR in it.
func honestEnvelope(tb testing.TB, r scep.Recipient, c cms.Cipher) []byte {
	tb.Helper()
	der, err := cms.Envelope(rand.Reader, csr(tb, "client", passwordText("secret")), c, r.Certificate)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

// honest returns a whole honest PKCSReq.
func honest(tb testing.TB, r scep.Recipient) []byte {
	return forge(tb, honestEnvelope(tb, r, cms.AES128CBC)).der(tb)
}

// wantRefusal fails unless err is a refusal with this reason and failInfo.
func wantRefusal(tb testing.TB, err error, reason refusal.Reason, info scep.FailInfo) {
	tb.Helper()
	r, ok := refusal.Of(err)
	if !ok {
		tb.Fatalf("error = %v, want a refusal", err)
	}
	if r.Reason != reason || scep.FailInfoOf(err) != info {
		tb.Fatalf("refusal = %q, failInfo %s; want %s, failInfo %s", err, scep.FailInfoOf(err), reason, info)
	}
	noPanic(tb, err)
}
