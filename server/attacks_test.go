package server_test

import (
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"

	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep/client"
	"understudy.example/understudy/scep/client/craft"
)

// The attack list of this project has 64 entries. A28 to A43 concern parsers
// and cryptography; here they come in by HTTP, against a whole server. What
// every single byte does (A29) and what timing tells (A37) is tested and
// measured in package scep. A44 to A48, about transport, follow in
// attacks_transport_test.go. All inputs are the smallest that trip a limit of
// ours.

// An attack is one hostile PKCSReq and its one right answer.
type attack struct {
	id            string
	name          string
	configuration string // empty: default
	change        change
	want          verdict
}

func TestAttacks(t *testing.T) {
	w := newWorld(t, worldOptions{shape: ca.ShapeChain})
	before := settled(t)
	for _, a := range slices.Concat(structureAttacks(), attributeAttacks(), envelopeAttacks(), keyAttacks(), csrAttacks()) {
		t.Run(a.id+" "+a.name, func(t *testing.T) {
			oddCase{0, a.name, a.configuration, a.change, a.want}.run(t, w)
		})
	}
	for name, attack := range bodyAttacks(t, w) {
		t.Run(name, func(t *testing.T) {
			a := w.post(t, "default", attack.body)
			if last := w.log.last(); !strings.Contains(last, attack.detail) {
				t.Errorf("the log does not say %q: %s", attack.detail, last)
			}
			if a.status != http.StatusBadRequest || len(a.body) > 100 {
				t.Errorf("HTTP %d, %.100q; want 400 and a short text", a.status, a.body)
			}
		})
	}
	t.Run("A29 damaged everywhere", func(t *testing.T) { damaged(t, w) })
	t.Run("A37 uniform failure", func(t *testing.T) { uniformFailures(t, w) })
	w.enrolled(t, "default", w.request(t))
	w.noPanic(t)
	w.wholeLines(t)
	w.http.CloseIdleConnections()
	if after := settled(t); after.goroutines > before.goroutines+5 {
		t.Errorf("%d goroutines became %d", before.goroutines, after.goroutines)
	}
}

// wholeLines demands that everything in the log is one JSON object a line, so
// that nobody wrote a line of his own into it.
func (w *world) wholeLines(t *testing.T) {
	t.Helper()
	for line := range strings.Lines(w.log.String()) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil || object["msg"] == nil {
			t.Errorf("line of the log is no JSON: %.200q", line)
		}
		if strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\x00\x1b\r\n") {
			t.Errorf("line of the log has control characters: %.200q", line)
		}
	}
}

// A hostileBody is no SCEP message at all.
type hostileBody struct {
	body   []byte
	detail string // that the log must give
}

// bodyAttacks are A28, A31 and A32.
func bodyAttacks(t *testing.T, w *world) map[string]hostileBody {
	t.Helper()
	noise := make([]byte, 3000)
	_, _ = rand.Read(noise)
	message := encode(t, w.request(t))
	const overrun, deep = "ends after the one around it", "nested too deeply"
	return map[string]hostileBody{
		"A28 empty":         {nil, "empty body"},
		"A28 one byte":      {[]byte{0x30}, "truncated"},
		"A28 noise":         {noise, ""},
		"A28 PEM":           {pem.EncodeToMemory(&pem.Block{Type: "CMS", Bytes: message}), "message"},
		"A28 JSON":          {[]byte(`{"message":"hello"}`), "message"},
		"A28 base64":        {[]byte(base64.StdEncoding.EncodeToString(message)), "message"},
		"A28 compressed":    {compressed(t, message), "message"},
		"A28 trailing byte": {append(slices.Clone(message), 0), "bytes after its end"},

		"A31 high tag":              {[]byte{0x30, 0x03, 0x1f, 0x20, 0x00}, "tag number above 30"},
		"A31 high tag, cut":         {[]byte{0x30, 0x02, 0x3f, 0x81}, "tag number above 30"},
		"A31 length without octets": {[]byte{0x30, 0x02, 0x04, 0x82}, "truncated"},
		"A31 five length octets":    {[]byte{0x30, 0x07, 0x04, 0x85, 0, 0, 0, 0, 1}, "more than four octets"},
		"A31 huge length":           {[]byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff}, overrun},
		"A31 primitive, indefinite": {[]byte{0x30, 0x04, 0x04, 0x80, 0x00, 0x00}, "indefinite length"},

		"A32 nesting":           {nested(25, 0x30), deep},
		"A32 indefinite chain":  {[]byte(strings.Repeat("\x30\x80", 25) + strings.Repeat("\x00\x00", 25)), deep},
		"A32 elements":          {flat(4096, 0x30, []byte{0x05, 0x00}), "too many elements"},
		"A32 fragments":         {flat(4096, 0x24, []byte{0x04, 0x00}), "too many elements"},
		"A32 child past parent": {[]byte{0x30, 0x06, 0x30, 0x05, 0x02, 0x03, 0x00, 0x00, 0x00}, overrun},
		"A32 never closed":      {[]byte(strings.Repeat("\x30\x80", 10)), "truncated"},
	}
}

func compressed(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// nested returns n elements in each other.
func nested(n int, tag byte) []byte {
	var out []byte
	for range n {
		out = append([]byte{tag, byte(len(out))}, out...)
	}
	return out
}

// flat returns one element of n others; with it there are n+1.
func flat(n int, tag byte, element []byte) []byte {
	content := bytes.Repeat(element, n)
	return append([]byte{tag, 0x82, byte(len(content) >> 8), byte(len(content))}, content...)
}

// structureAttacks are A30, A33 and A42: parts that are empty, missing or too
// many.
func structureAttacks() []attack {
	return []attack{
		{"A30", "no recipients", "", func(_ *testing.T, _ *world, r *craft.Request) { r.Envelope.Recipients = nil }, uniform},
		{"A30", "empty list of certificates", "", func(_ *testing.T, _ *world, r *craft.Request) { r.Message.Certificates = nil }, notAMessage},
		{"A30", "empty certificate", "", func(_ *testing.T, _ *world, r *craft.Request) {
			r.Message.Certificates = [][]byte{{0x30, 0x00}}
		}, notAMessage},
		{"A30", "nonce without a value", "", valueless(craft.OIDSenderNonce), badMessageCheck},
		{"A30", "transactionID without a value", "", valueless(craft.OIDTransactionID), notAMessage},
		{"A30", "messageDigest without a value", "", func(t *testing.T, _ *world, r *craft.Request) {
			r.Message.Replace = []craft.Attribute{
				{Type: craft.OIDContentType, Values: [][]byte{marshal(t, craft.OIDData)}}, {Type: craft.OIDMessageDigest},
			}
		}, badMessageCheck},
		{"A33", "no SignerInfo", "", func(_ *testing.T, _ *world, r *craft.Request) { r.Message.SignerInfos = -1 }, notAMessage},
		{"A33", "two SignerInfos", "", func(_ *testing.T, _ *world, r *craft.Request) { r.Message.SignerInfos = 2 }, badMessageCheck},
		{"A33", "four certificates", "", func(t *testing.T, _ *world, r *craft.Request) { moreCertificates(t, r, 3) }, verdict{}},
		{"A33", "five certificates", "", func(t *testing.T, _ *world, r *craft.Request) { moreCertificates(t, r, 4) }, notAMessage},
		{"A33", "the signer twice", "", func(_ *testing.T, _ *world, r *craft.Request) {
			r.Message.Certificates = append(r.Message.Certificates, r.Message.Signer.Raw)
		}, notAMessage},
		{"A33", "two of one issuer and serial number", "", twins, notAMessage},
		{"A33", "signer without a certificate", "", func(t *testing.T, _ *world, r *craft.Request) {
			r.Message.Certificates = [][]byte{signerOf(t, deviceKey()).Raw}
		}, notAMessage},
		{"A42", "EnvelopedData in the envelope", "", func(t *testing.T, _ *world, r *craft.Request) {
			encodeEnvelope(t, r)
			r.Envelope.Content, r.Message.Content = r.Message.Content, nil
		}, uniform},
		{"A42", "SignedData for the envelope", "", func(t *testing.T, _ *world, r *craft.Request) {
			r.Message.Content = encode(t, r)
		}, uniform},
		{"A42", "data for the envelope", "", func(_ *testing.T, _ *world, r *craft.Request) { r.Message.Content = craft.Octets([]byte("x")) }, uniform},
		{"A42", "no content", "", func(_ *testing.T, _ *world, r *craft.Request) { r.Message.NoContent = true }, badMessageCheck},
	}
}

func valueless(oid asn1.ObjectIdentifier) change {
	return func(_ *testing.T, _ *world, r *craft.Request) {
		r.Message.Set(oid)
		r.Message.Attributes = append(r.Message.Attributes, craft.Attribute{Type: oid})
	}
}

func moreCertificates(t *testing.T, r *craft.Request, n int) {
	for range n {
		r.Message.Certificates = append(r.Message.Certificates, signerOf(t, otherKey()).Raw)
	}
}

// twins puts a certificate of the signer's name and serial number before it.
func twins(t *testing.T, _ *world, r *craft.Request) {
	twin := selfSign(t, &x509.Certificate{
		SerialNumber: r.Message.Signer.SerialNumber, Subject: r.Message.Signer.Subject, NotBefore: opening, NotAfter: opening.AddDate(0, 0, 1),
	}, otherKey())
	r.Message.Certificates = [][]byte{twin.Raw, r.Message.Signer.Raw}
}

// attributeAttacks are A34 to A36.
func attributeAttacks() []attack {
	all := []attack{
		{"A34", "no signed attributes", "", func(_ *testing.T, _ *world, r *craft.Request) { r.Message.NoAttributes = true }, notAMessage},
		{"A34", "messageDigest wrong", "", wrongDigest, badMessageCheck},
		{"A34", "contentType wrong", "", otherContentType, badMessageCheck},
		{"A34", "transactionID twice", "", again(craft.OIDTransactionID), badMessageCheck},
		{"A34", "messageType twice", "", again(craft.OIDMessageType), badMessageCheck},
		{"A34", "senderNonce twice", "", again(craft.OIDSenderNonce), badMessageCheck},
		{"A34", "senderNonce with two values", "", func(_ *testing.T, _ *world, r *craft.Request) {
			nonce := r.Message.Get(craft.OIDSenderNonce)
			r.Message.Set(craft.OIDSenderNonce, nonce, nonce)
		}, badMessageCheck},
		{"A36", "path as transactionID", "", named("../../etc/passwd"), verdict{}},
		{"A36", "formula as transactionID", "", named("=cmd|' /C calc'!A0"), verdict{}},
		{"A36", "transactionID of 128 characters", "", named(strings.Repeat("x", 128)), verdict{}},
		{"A36", "transactionID of 129 characters", "", named(strings.Repeat("x", 129)), notAMessage},
		{"A36", "transactionID empty", "", named(""), notAMessage},
		{"A36", "newline in transactionID", "", named("A\nlevel=error"), notAMessage},
		{"A36", "escape in transactionID", "", named("\x1b[31m"), notAMessage},
		{"A36", "transactionID in UTF-16", "", func(_ *testing.T, _ *world, r *craft.Request) {
			r.Message.Set(craft.OIDTransactionID, craft.Text(craft.BMPString, "A"))
		}, notAMessage},
	}
	for n, want := range map[int]verdict{0: badRequest, 1: {}, 16: {}, 17: {}, 64: {}, 65: badRequest} {
		all = append(all, attack{"A35", fmt.Sprintf("senderNonce of %d bytes", n), "", nonceOf(n), want})
	}
	for n, want := range map[int]verdict{1: badRequest, 15: badRequest, 16: {}, 17: badRequest} {
		all = append(all, attack{"A35", fmt.Sprintf("senderNonce of %d bytes, strict", n), "strict", nonceOf(n), want})
	}
	return all
}

// again adds a second attribute of the same type and value.
func again(oid asn1.ObjectIdentifier) change {
	return func(_ *testing.T, _ *world, r *craft.Request) {
		value := r.Message.Get(oid)
		r.Message.Attributes = append(r.Message.Attributes, craft.Attribute{Type: oid, Values: [][]byte{value}})
	}
}

func named(transactionID string) change {
	return func(_ *testing.T, _ *world, r *craft.Request) {
		r.Message.Set(craft.OIDTransactionID, craft.Text(cbasn1.UTF8String, transactionID))
	}
}

// envelopeAttacks are A38 and A39.
func envelopeAttacks() []attack {
	recipients := func(n int) change {
		return func(t *testing.T, _ *world, r *craft.Request) {
			ours := r.Envelope.Recipients[0]
			r.Envelope.Recipients = nil
			for range n - 1 {
				r.Envelope.Recipients = append(r.Envelope.Recipients, craft.Recipient{Certificate: signerOf(t, otherKey())})
			}
			r.Envelope.Recipients = append(r.Envelope.Recipients, ours)
		}
	}
	all := []attack{
		{"A38", "another CA's recipient", "", behindDecryption["other recipient"], uniform},
		{"A38", "recipient by subject key identifier", "", func(_ *testing.T, _ *world, r *craft.Request) {
			r.Envelope.Recipients[0].BySKI = true
		}, verdict{}},
		{"A38", "four recipients, ours the last", "", recipients(4), verdict{}},
		{"A38", "five recipients", "", recipients(5), uniform},
		{"A38", "issuer in other string types", "", reencodedIssuer, verdict{}},
		{"A38", "issuer in other string types, strict", "strict", reencodedIssuer, uniform},
		{"A39", "unknown cipher", "", func(_ *testing.T, _ *world, r *craft.Request) { r.Envelope.Cipher = craft.Unknown }, badAlg},
		{"A39", "OAEP with SHA-512", "", func(_ *testing.T, _ *world, r *craft.Request) { r.Envelope.OAEP = crypto.SHA512 }, badAlg},
		{"A40", "MD5", "", digest(crypto.MD5), badAlg},
		{"A40", "SHA-224", "", digest(crypto.SHA224), badAlg},
		{"A40", "unknown digest", "", func(_ *testing.T, _ *world, r *craft.Request) {
			r.Message.DigestOID = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 32473, 2}
		}, badAlg},
		{"A40", "RSASSA-PSS", "", func(_ *testing.T, _ *world, r *craft.Request) {
			r.Message.SignatureOID = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}
		}, badAlg},
		{"A40", "ECDSA signer", "", ecClient, badAlg},
		{"A40", "Ed25519 signer", "", edClient, badAlg},
	}
	all = append(all, attack{"A39", "single DES where it is refused", "modern", func(_ *testing.T, _ *world, r *craft.Request) {
		r.Envelope.Cipher = craft.DESCBC
	}, badAlg})
	for _, c := range []craft.Cipher{craft.AES192CBC, craft.RC2CBC, craft.AES128GCM} {
		all = append(all, attack{"A39", "cipher " + c.OID.String(), "", func(_ *testing.T, _ *world, r *craft.Request) { r.Envelope.Cipher = c }, badAlg})
	}
	return all
}

// reencodedIssuer turns every PrintableString of the issuer's name into a
// UTF8String and the other way round, which have the same length.
func reencodedIssuer(t *testing.T, _ *world, r *craft.Request) {
	other := bytes.Clone(r.Envelope.Recipients[0].Certificate.RawIssuer)
	var name pkix.RDNSequence
	if _, err := asn1.Unmarshal(other, &name); err != nil {
		t.Fatal(err)
	}
	changed := false
	for at := 0; at+1 < len(other); at++ {
		for _, rdn := range name {
			value, _ := rdn[0].Value.(string)
			if len(value) == int(other[at+1]) && bytes.HasPrefix(other[at+2:], []byte(value)) && (other[at] == 12 || other[at] == 19) {
				other[at] ^= 12 ^ 19
				changed = true
			}
		}
	}
	if !changed {
		t.Fatal("the issuer's name has no string to write otherwise")
	}
	r.Envelope.Recipients[0].Issuer = other
}

func edClient(t *testing.T, _ *world, r *craft.Request) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signWith(t, r, public, private)
	// The signature itself is the RSA key's: nobody gets to see that.
	r.Message.SignatureOID = asn1.ObjectIdentifier{1, 3, 101, 112}
}

// signWith puts a certificate over any public key into the message; the
// message stays signed with the device's key.
func signWith(t *testing.T, r *craft.Request, public crypto.PublicKey, issuerKey crypto.Signer) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(99), Subject: pkix.Name{CommonName: "odd key"}, NotBefore: opening, NotAfter: opening.AddDate(0, 0, 1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, issuerKey)
	if err != nil {
		t.Fatal(err)
	}
	r.Message.Signer = &x509.Certificate{Raw: der, RawIssuer: marshal(t, template.Subject.ToRDNSequence()), SerialNumber: template.SerialNumber, PublicKey: public}
	r.Message.Certificates = [][]byte{der}
}

// keyAttacks are A41: keys of signers that are refused by type, length and
// exponent before anything is computed with them. Nothing about the key of a
// CSR is told before its proof of possession, which nobody has for these; what
// is refused behind it, packages scep and ca test.
func keyAttacks() []attack {
	rejected := verdict{failInfo: client.BadRequest, reason: refusal.KeyRejected}
	all := []attack{
		{"A41", "RSA-3072 where 2048 is asked", "", keyed(strongKey), rejected},
		{"A41", "RSA-3072 where it is allowed", "large", keyed(strongKey), verdict{}},
		{"A41", "EC P-224 signer", "", func(t *testing.T, _ *world, r *craft.Request) {
			key, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			signWith(t, r, key.Public(), deviceKey())
		}, badAlg},
		{"A41", "another key in the CSR than signed it", "", func(t *testing.T, _ *world, r *craft.Request) {
			r.CSR.Public = spki(t, &rsa.PublicKey{N: modulus(2048), E: 65537})
		}, uniform},
	}
	for _, bits := range []int{512, 768, 1024, 2047, 2049, 4097, 16384} {
		all = append(all,
			attack{"A41", fmt.Sprintf("signer of RSA-%d", bits), "", oddSigner(rsaPublic(bits, 65537)), rejected},
			attack{"A41", fmt.Sprintf("CSR for RSA-%d", bits), "", oddCSR(rsaPublic(bits, 65537)), uniform})
	}
	for _, e := range []int{3, 4, 65536, 1<<31 - 1} {
		all = append(all,
			attack{"A41", fmt.Sprintf("signer with exponent %d", e), "", oddSigner(rsaPublic(2048, e)), rejected},
			attack{"A41", fmt.Sprintf("CSR with exponent %d", e), "", oddCSR(rsaPublic(2048, e)), uniform})
	}
	return all
}

func keyed(key func() *rsa.PrivateKey) change {
	return func(t *testing.T, _ *world, r *craft.Request) {
		r.CSR.Key, r.Message.Key, r.Message.Signer = key(), key(), signerOf(t, key())
		r.Message.Certificates = [][]byte{r.Message.Signer.Raw}
	}
}

func oddSigner(public func() crypto.PublicKey) change {
	return func(t *testing.T, _ *world, r *craft.Request) { signWith(t, r, public(), deviceKey()) }
}

func oddCSR(public func() crypto.PublicKey) change {
	return func(t *testing.T, _ *world, r *craft.Request) { r.CSR.Public = spki(t, public()) }
}

func rsaPublic(bits, e int) func() crypto.PublicKey {
	return func() crypto.PublicKey { return &rsa.PublicKey{N: modulus(bits), E: e} }
}

// modulus is an odd number of so many bits.
func modulus(bits int) *big.Int {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	return n.SetBit(n, 0, 1)
}

func spki(t *testing.T, public crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// csrAttacks are A43.
func csrAttacks() []attack {
	unknown := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 32473, 3}
	return []attack{
		{"A43", "100 kB of unknown attributes", "", func(_ *testing.T, _ *world, r *craft.Request) {
			r.CSR.Attributes = []craft.Attribute{{Type: unknown, Values: [][]byte{craft.Octets(make([]byte, 100_000))}}}
		}, badRequest},
		{"A43", "negative version", "", func(_ *testing.T, _ *world, r *craft.Request) { r.CSR.Version = -1 }, badRequest},
		// What does not parse as a CSR is told like everything behind
		// decryption.
		{"A43", "duplicate extensions", "", func(_ *testing.T, _ *world, r *craft.Request) {
			one := pkix.Extension{Id: unknown, Value: []byte{0x05, 0x00}}
			r.CSR.Extensions = []pkix.Extension{one, one}
		}, uniform},
	}
}

// damaged cuts a message and changes bytes of it, in steps that meet every
// layer.
func damaged(t *testing.T, w *world) {
	raw := encode(t, w.request(t))
	const step = 41
	for at := 0; at < len(raw); at += step {
		if a := w.post(t, "default", raw[:at]); a.status != http.StatusBadRequest {
			t.Errorf("cut at %d: HTTP %d", at, a.status)
		}
		flipped := bytes.Clone(raw)
		flipped[at] ^= 0x10
		if a := w.post(t, "default", flipped); a.status != http.StatusBadRequest && (a.status != http.StatusOK || a.contentType != messageType) {
			t.Errorf("changed at %d: HTTP %d, type %q", at, a.status, a.contentType)
		}
	}
}
