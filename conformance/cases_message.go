package conformance

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"fmt"
	"time"

	"understudy.example/understudy/scep/client"
	"understudy.example/understudy/scep/client/craft"
)

// messageCases are about one pkiMessage that is odd or wrong.
func messageCases() []Case {
	return []Case{
		{Number: 28, Section: "3.3.1, 7.6", Title: "a CSR with a bad signature is FAILURE badMessageCheck or badRequest", run: each(failure(client.BadMessageCheck, client.BadRequest), []oddity{
			{"signature of the CSR", func(_ *trial, r *craft.Request) { r.CSR.Signature = changed }},
		})},
		{Number: 29, Section: "3.2.1.4", Title: "a wrong signature or messageDigest is FAILURE badMessageCheck", run: each(badMessage, []oddity{
			{"signature", func(_ *trial, r *craft.Request) { r.Message.Signature = changed }},
			{"messageDigest", wrongDigest},
		})},
		{Number: 30, Section: "3.2.2", Title: "whatever cannot be decrypted gets one and the same FAILURE", run: uniformFailures},
		{Number: 31, Section: "2.9, 3.2.1.4", Title: "a cipher that is not allowed is FAILURE badAlg", run: refusedCiphers},
		{Number: 32, Section: "2.9", Title: "MD5 is FAILURE badAlg", run: each(badAlg, []oddity{
			{"MD5", func(_ *trial, r *craft.Request) { r.Message.Digest = crypto.MD5 }},
		})},
		{Number: 33, Section: "2.9, 3.5.2", Title: "every digest and cipher works, and is answered in kind", run: everyAlgorithm},
		{Number: 34, Section: "3.2.1", Title: "no transactionID or messageType is FAILURE badRequest, or HTTP 400", run: each(either(badRequest, http400), []oddity{
			{"no transactionID", func(_ *trial, r *craft.Request) { r.Message.Set(craft.OIDTransactionID) }},
			{"no messageType", func(_ *trial, r *craft.Request) { r.Message.Set(craft.OIDMessageType) }},
		})},
		{Number: 35, Section: "3.2.1.5", Title: "no senderNonce is FAILURE badRequest, one of 8 bytes is echoed", run: nonces},
		{Number: 36, late: 1, Section: "3.2.1.2", Title: "an unknown messageType is FAILURE badRequest", run: each(badRequest, []oddity{
			ofType("0"), ofType("99"), ofType("abc"),
		})},
		{Number: 37, Section: "3.2.1.2", Title: "messageType 3 (CertRep) is FAILURE badRequest", run: each(badRequest, []oddity{ofType("3")})},
		{Number: 38, Section: "3.2.1.2", Title: "messageType 18 (UpdateReq of old drafts) is FAILURE badRequest", run: each(badRequest, []oddity{ofType("18")})},
		{Number: 39, Section: "3.2", Title: "another content type, or two signers, is FAILURE badMessageCheck", run: each(badMessage, []oddity{
			{"eContentType envelopedData", otherContent},
			{"two SignerInfos", func(_ *trial, r *craft.Request) { r.Message.SignerInfos = 2 }},
		})},
		{Number: 40, Section: "2.3", Title: "no signer certificate is FAILURE badMessageCheck, or HTTP 400", run: each(either(badMessage, http400), []oddity{
			{"another one", otherCertificate},
			{"none", func(_ *trial, r *craft.Request) { r.Message.Certificates, r.Message.NoCertificates = nil, true }},
		})},
		{Number: 41, Section: "3.2.1.4", Title: "a signingTime far off is accepted, or FAILURE badTime", run: signingTime},
	}
}

// An oddity makes an honest request odd or wrong.
type oddity struct {
	name string
	make func(*trial, *craft.Request)
}

// each sends one request for every oddity, and wants them refused.
func each(want expectation, oddities []oddity) func(*trial) {
	return func(t *trial) {
		for _, odd := range oddities {
			r := t.request()
			odd.make(t, r)
			t.refuses(odd.name, r, want)
		}
	}
}

func ofType(text string) oddity {
	return oddity{fmt.Sprintf("messageType %q", text), func(_ *trial, r *craft.Request) { typed(r, text) }}
}

// wrongDigest signs, properly, the digest of something else.
func wrongDigest(_ *trial, r *craft.Request) {
	of := sha256.Sum256([]byte("something else"))
	r.Message.Digest = crypto.SHA256
	r.Message.Replace = []craft.Attribute{
		{Type: craft.OIDContentType, Values: [][]byte{marshal(craft.OIDData)}},
		{Type: craft.OIDMessageDigest, Values: [][]byte{craft.Octets(of[:])}},
	}
}

// otherContent says that the content is not id-data, and signs that it is.
func otherContent(t *trial, r *craft.Request) {
	t.sealEnvelope(r)
	of := sha256.Sum256(r.Message.Content)
	r.Message.Digest = crypto.SHA256
	r.Message.ContentType = craft.OIDEnvelopedData
	r.Message.Replace = []craft.Attribute{
		{Type: craft.OIDContentType, Values: [][]byte{marshal(craft.OIDData)}},
		{Type: craft.OIDMessageDigest, Values: [][]byte{craft.Octets(of[:])}},
	}
}

func otherCertificate(t *trial, r *craft.Request) {
	key, err := t.otherKey()
	t.must("a key", err)
	r.Message.Certificates = [][]byte{t.signer(key).Raw}
}

// undecryptable are the ways to fail that nobody outside may tell apart.
var undecryptable = []oddity{
	{"for another recipient", func(t *trial, r *craft.Request) {
		key, err := t.otherKey()
		t.must("a key", err)
		r.Envelope.Recipients[0].Certificate = t.signer(key)
	}},
	{"content key damaged", func(_ *trial, r *craft.Request) { r.Envelope.EncryptedKey = changed }},
	{"content key of another length", func(_ *trial, r *craft.Request) {
		r.Envelope.ContentKey = func(b []byte) []byte { return b[:8] }
	}},
	{"padding of zero", func(_ *trial, r *craft.Request) { r.Envelope.Padded = lastByte(0) }},
	{"padding longer than a block", func(_ *trial, r *craft.Request) { r.Envelope.Padded = lastByte(17) }},
	{"padding torn", func(_ *trial, r *craft.Request) {
		r.Envelope.Padded = func(b []byte) []byte { // a block more, of which all but one byte are right
			const block = 16
			b = append(b, bytes.Repeat([]byte{block}, block)...)
			b[len(b)-2]--
			return b
		}
	}},
	{"content that is no ASN.1", func(_ *trial, r *craft.Request) { r.Envelope.Content = []byte("not a CSR at all") }},
}

func lastByte(n byte) func([]byte) []byte {
	return func(b []byte) []byte {
		b[len(b)-1] = n
		return b
	}
}

// uniformFailures wants answers that differ in nothing but what must differ:
// nonces, signingTime and signature.
func uniformFailures(t *trial) {
	var first answer
	for _, odd := range undecryptable {
		r := t.request()
		odd.make(t, r)
		a := t.send(r)
		if !t.expect(odd.name, a, anyFailure) {
			continue
		}
		if first.reply == nil {
			first = a
			continue
		}
		same := a.String() == first.String() && len(a.body) == len(first.body)
		t.check(odd.name+", compared", fmt.Sprintf("%v, %d bytes", first, len(first.body)), fmt.Sprintf("%v, %d bytes", a, len(a.body)), same)
	}
}

func refusedCiphers(t *trial) {
	des := t.request()
	des.Envelope.Cipher = craft.DESCBC
	a := t.enrol(des)
	t.expect("DES", a, either(badAlg, t.accepted()))
	if a.is(client.Success) {
		t.deviations("DES, the reply", "not in DES", a.reply, "RFC 8894 §2.9")
	}
	each(badAlg, []oddity{
		{"RC2", func(_ *trial, r *craft.Request) { r.Envelope.Cipher = craft.RC2CBC }},
		{"AES-192", func(_ *trial, r *craft.Request) { r.Envelope.Cipher = craft.AES192CBC }},
		{"GCM inside EnvelopedData", func(_ *trial, r *craft.Request) { r.Envelope.Cipher = craft.AES128GCM }},
		{"AuthEnvelopedData", authEnveloped},
	})(t)
}

// authEnveloped renames the envelope.
func authEnveloped(t *trial, r *craft.Request) {
	t.sealEnvelope(r)
	var info struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue
	}
	_, err := asn1.Unmarshal(r.Message.Content, &info)
	t.must("an envelope", err)
	info.Type = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 23}
	r.Message.Content = marshal(info)
}

// everyAlgorithm tries the digests with one cipher and the ciphers with one
// digest. SHA-1 and Triple DES may be refused by a server that does not offer
// them.
func everyAlgorithm(t *trial) {
	for _, h := range digests {
		for _, c := range ciphers {
			r := t.request()
			r.Message.Digest, r.Envelope.Cipher = h, c.cipher
			want := t.accepted()
			if old := h == crypto.SHA1 && !t.words.Has("SHA-1") || c.name == client.TripleDESCBC && !t.words.Has("DES3"); old && len(t.words) > 0 {
				want = either(want, badAlg)
			}
			name := fmt.Sprintf("%v and %s", h, c.name)
			a := t.enrol(r)
			if t.expect(name, a, want) && a.is(client.Success) {
				t.check(name+", the reply", name, fmt.Sprintf("%v and %s", a.reply.Digest, a.reply.Cipher), a.reply.Digest == h && a.reply.Cipher == c.name)
			}
		}
	}
}

func nonces(t *trial) {
	each(badRequest, []oddity{
		{"no senderNonce", func(_ *trial, r *craft.Request) { r.Message.Set(craft.OIDSenderNonce) }},
	})(t)
	r := t.request()
	nonce := make([]byte, 8)
	_, _ = rand.Read(nonce) // never fails
	r.Message.Set(craft.OIDSenderNonce, craft.Octets(nonce))
	t.expect("8 bytes (old Cisco)", t.send(r), either(success, pending))
}

func signingTime(t *trial) {
	for _, off := range []struct {
		name string
		by   int // years
	}{{"a year ago", -1}, {"in a year", 1}} {
		r := t.request()
		r.Message.Set(craft.OIDSigningTime, marshal(time.Now().UTC().AddDate(off.by, 0, 0)))
		t.expect(off.name, t.enrol(r), either(t.accepted(), failure(client.BadTime)))
	}
	r := t.request()
	r.Message.Set(craft.OIDSigningTime, marshal(time.Now().UTC().AddDate(-1, 0, 0)))
	r.Message.Signature = changed
	t.refuses("a year ago, and the signature wrong", r, failure(client.BadMessageCheck, client.BadTime))
}
