package server_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"testing"
	"time"

	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep/client"
	"understudy.example/understudy/scep/client/craft"
)

// The conformance list has 71 numbered cases about what a SCEP server (RFC
// 8894) must do: package conformance runs it from outside, against any server.
// The tests here keep its numbers and look at what cannot be seen from there:
// the reason in the log, what the depot holds afterwards, memory, the retry
// period. Cases 10, 52 to 55 and 57 to 66 (next CA, renewal, approval, queries)
// have their inner side in package enroll; 26 and 27 are about one-time
// challenges, which are not offered yet.

// A conformanceCase is one case, or a part of one.
type conformanceCase struct {
	number int
	name   string
	shape  ca.Shape // empty: both
	run    func(*testing.T, *world)
}

var conformanceCases = slices.Concat(serverCases, transportCases, messageCases(), flowCases)

func TestConformance(t *testing.T) {
	for _, shape := range []ca.Shape{ca.ShapeChain, ca.ShapeSingle} {
		t.Run(string(shape), func(t *testing.T) {
			w := newWorld(t, worldOptions{shape: shape})
			for _, c := range conformanceCases {
				if c.shape != "" && c.shape != shape {
					continue
				}
				t.Run(fmt.Sprintf("%02d %s", c.number, c.name), func(t *testing.T) { c.run(t, w) })
			}
			w.noPanic(t)
			if problems, err := w.depot.Check(t.Context()); err != nil || len(problems) != 0 {
				t.Errorf("the depot is not consistent: %v %q", err, problems)
			}
		})
	}
}

// TestConformanceIsComplete counts the cases, so that none gets lost.
func TestConformanceIsComplete(t *testing.T) {
	want := map[int]bool{11: true, 53: true, 56: true}
	for n := 1; n <= 51; n++ {
		want[n] = n != 10 && n != 26 && n != 27
	}
	for n := 67; n <= 71; n++ {
		want[n] = true
	}
	have := map[int]bool{}
	for _, c := range conformanceCases {
		have[c.number] = true
		if !want[c.number] {
			t.Errorf("case %d is not one of the list", c.number)
		}
	}
	for n, wanted := range want {
		if wanted && !have[n] {
			t.Errorf("case %d is missing", n)
		}
	}
}

// A verdict is what must come back. The zero verdict is a certificate.
type verdict struct {
	failInfo client.FailInfo // a signed FAILURE
	status   int             // or no CertRep, but this HTTP status
	reason   refusal.Reason  // in the log, when it matters
	text     string          // failInfoText, when it matters
}

var (
	badAlg          = verdict{failInfo: client.BadAlg, reason: refusal.UnsupportedAlgorithm}
	badMessageCheck = verdict{failInfo: client.BadMessageCheck, reason: refusal.BadMessage}
	uniform         = verdict{failInfo: client.BadMessageCheck, reason: refusal.NotDecryptable}
	badRequest      = verdict{failInfo: client.BadRequest}
	notAMessage     = verdict{status: http.StatusBadRequest, reason: refusal.BadMessage}
)

// judge sends a message and holds the answer, the log and the depot to the
// verdict. It returns the CertRep, if there is one.
func (w *world) judge(t *testing.T, configurationName string, r *craft.Request, raw []byte, want verdict) *client.Reply {
	t.Helper()
	before := w.issued(t)
	a := w.post(t, configurationName, raw)
	outcome, reason := w.log.verdict(t)
	if want.reason != "" && reason != string(want.reason) {
		t.Errorf("reason in the log is %q, want %q", reason, want.reason)
	}
	if want.status != 0 {
		if a.status != want.status || len(a.body) > 200 {
			t.Errorf("answer is HTTP %d with %d bytes, want HTTP %d and a short text", a.status, len(a.body), want.status)
		}
		w.expectIssued(t, before)
		return nil
	}
	reply := w.read(t, r, a)
	if want.failInfo == "" {
		w.checkIssued(t, r, reply, before)
		return reply
	}
	if reply.Status != client.Failure || reply.FailInfo != want.failInfo {
		t.Errorf("status %s, failInfo %s; want FAILURE %s; log: %s", reply.Status, reply.FailInfo.Name(), want.failInfo.Name(), w.log.last())
	}
	if want.text != "" && reply.FailInfoText != want.text {
		t.Errorf("failInfoText is %q, want %q", reply.FailInfoText, want.text)
	}
	if want.reason == refusal.NotDecryptable && reply.FailInfoText != "" {
		t.Errorf("the uniform failure says %q", reply.FailInfoText)
	}
	if outcome != "refused" {
		t.Errorf("outcome in the log is %q", outcome)
	}
	w.expectIssued(t, before)
	return reply
}

// checkIssued holds a success to the request: reply in kind, one more
// certificate, of the right device.
func (w *world) checkIssued(t *testing.T, r *craft.Request, reply *client.Reply, before int) {
	t.Helper()
	if reply.Status != client.Success {
		t.Fatalf("status %s, failInfo %s %q; want SUCCESS; log: %s", reply.Status, reply.FailInfo.Name(), reply.FailInfoText, w.log.last())
	}
	if reply.Digest != r.Message.Digest {
		t.Errorf("request is signed with %v, reply with %v", r.Message.Digest, reply.Digest)
	}
	want := opensslName(r.Envelope.Cipher)
	if r.Envelope.Cipher.OID.Equal(craft.DESCBC.OID) {
		want = "AES-128-CBC" // DES must not be used, but its sender reads this
	}
	if got := string(reply.Cipher); got != want {
		t.Errorf("reply is encrypted with %s, want %s", got, want)
	}
	if string(reply.Certificate.RawSubject) != string(r.CSR.Subject) {
		t.Errorf("subject is %v, not the one of the CSR", reply.Certificate.Subject)
	}
	w.expectIssued(t, before+1)
}

func (w *world) expectIssued(t *testing.T, want int) {
	t.Helper()
	if got := w.issued(t); got != want {
		t.Errorf("the depot holds %d certificates, want %d", got, want)
	}
}

func opensslName(c craft.Cipher) string {
	for name, known := range map[string]craft.Cipher{
		"AES-128-CBC": craft.AES128CBC, "AES-256-CBC": craft.AES256CBC, "DES-EDE3-CBC": craft.TripleDESCBC,
	} {
		if known.OID.Equal(c.OID) {
			return name
		}
	}
	return ""
}

// A change makes an honest request odd or wrong.
type change func(*testing.T, *world, *craft.Request)

// oddCase is a case about one PKCSReq.
type oddCase struct {
	number        int
	name          string
	configuration string // empty: default
	change        change
	want          verdict
}

func messageCases() []conformanceCase {
	var all []conformanceCase
	for _, c := range slices.Concat(oddMessages, oddAlgorithms(), oddSigners, oddChallenges()) {
		all = append(all, conformanceCase{c.number, c.name, "", c.run})
	}
	return all
}

func (c oddCase) run(t *testing.T, w *world) {
	r := w.request(t)
	if c.change != nil {
		c.change(t, w, r)
	}
	w.judge(t, c.named(), r, encode(t, r), c.want)
}

func (c oddCase) named() string {
	if c.configuration == "" {
		return "default"
	}
	return c.configuration
}

// oddMessages are about the attributes and the structure.
var oddMessages = []oddCase{
	{24, "wrong challenge", "", func(_ *testing.T, _ *world, r *craft.Request) {
		r.CSR.Challenges = printable("kJ3vQ9xZ1mN7pR5tW2yB8cD4fG6hL0sB")
	}, verdict{failInfo: client.BadRequest, reason: refusal.ChallengeWrong}},
	{25, "no challenge", "", func(_ *testing.T, _ *world, r *craft.Request) { r.CSR.Challenges = nil },
		verdict{failInfo: client.BadRequest, reason: refusal.ChallengeMissing}},
	{28, "CSR with a bad self-signature", "", func(_ *testing.T, _ *world, r *craft.Request) { r.CSR.Signature = flipFirst }, uniform},
	{29, "wrong signature", "", func(_ *testing.T, _ *world, r *craft.Request) { r.Message.Signature = flipFirst }, badMessageCheck},
	{29, "wrong messageDigest", "", wrongDigest, badMessageCheck},
	{34, "no transactionID", "", func(_ *testing.T, _ *world, r *craft.Request) { r.Message.Set(craft.OIDTransactionID) }, notAMessage},
	{34, "no messageType", "", func(_ *testing.T, _ *world, r *craft.Request) { r.Message.Set(craft.OIDMessageType) }, badRequest},
	{35, "no senderNonce", "", func(_ *testing.T, _ *world, r *craft.Request) { r.Message.Set(craft.OIDSenderNonce) }, badRequest},
	{35, "no senderNonce, strict", "strict", func(_ *testing.T, _ *world, r *craft.Request) { r.Message.Set(craft.OIDSenderNonce) }, badRequest},
	{35, "senderNonce of 8 bytes", "", nonceOf(8), verdict{}},
	{35, "senderNonce of 8 bytes, strict", "strict", nonceOf(8), badRequest},
	{36, "messageType 0", "", typed("0"), verdict{failInfo: client.BadRequest, reason: refusal.UnsupportedOperation}},
	{36, "messageType 99", "", typed("99"), verdict{failInfo: client.BadRequest, reason: refusal.UnsupportedOperation}},
	{36, "messageType abc", "", typed("abc"), verdict{failInfo: client.BadRequest, reason: refusal.UnsupportedOperation}},
	{37, "messageType 3", "", typed("3"), badRequest},
	{38, "messageType 18", "", typed("18"), badRequest},
	{39, "eContentType is not id-data", "", func(t *testing.T, _ *world, r *craft.Request) {
		r.Message.ContentType = craft.OIDEnvelopedData
		signContentType(t, r, craft.OIDData)
	}, badMessageCheck},
	{39, "contentType attribute is not id-data", "", otherContentType, badMessageCheck},
	{39, "two SignerInfos", "", func(_ *testing.T, _ *world, r *craft.Request) { r.Message.SignerInfos = 2 }, badMessageCheck},
	{40, "signer certificate not in the message", "", func(t *testing.T, _ *world, r *craft.Request) {
		r.Message.Certificates = [][]byte{signerOf(t, otherKey()).Raw}
	}, notAMessage},
	{40, "no certificate in the message", "", func(_ *testing.T, _ *world, r *craft.Request) {
		r.Message.Certificates, r.Message.NoCertificates = nil, true
	}, notAMessage},
	{41, "signingTime a year off", "", signedAt(opening.AddDate(-1, 0, 0)), verdict{}},
	{41, "signingTime a year off, strict", "strict", signedAt(opening.AddDate(-1, 0, 0)), verdict{failInfo: client.BadTime}},
	{41, "signingTime right, strict", "strict", signedAt(opening), verdict{}},
	{41, "signingTime off and signature wrong", "", func(t *testing.T, w *world, r *craft.Request) {
		signedAt(opening.AddDate(-1, 0, 0))(t, w, r)
		r.Message.Signature = flipFirst
	}, badMessageCheck},
	{42, "signer has another subject than the CSR", "", nil, verdict{}},
	{44, "extra certificates", "", func(t *testing.T, w *world, r *craft.Request) {
		r.Message.Certificates = append(r.Message.Certificates, signerOf(t, otherKey()).Raw, w.authority.Root().Raw)
	}, verdict{}},
	{48, "RSA-1024", "", func(t *testing.T, _ *world, r *craft.Request) {
		r.CSR.Key, r.Message.Key, r.Message.Signer = smallKey(), smallKey(), signerOf(t, smallKey())
		r.Message.Certificates = [][]byte{r.Message.Signer.Raw}
	}, verdict{failInfo: client.BadRequest, reason: refusal.KeyRejected}},
	{48, "RSA-1024 in the CSR only", "", func(_ *testing.T, _ *world, r *craft.Request) { r.CSR.Key = smallKey() },
		verdict{failInfo: client.BadRequest, reason: refusal.KeyRejected}},
	{56, "RenewalReq", "", typed("17"), verdict{
		failInfo: client.BadRequest, reason: refusal.RenewalNotOffered, text: "renewal is not supported: redistribute the profile",
	}},
	{69, "ciphertext is not whole blocks", "", func(_ *testing.T, _ *world, r *craft.Request) {
		r.Envelope.Ciphertext = func(b []byte) []byte { return b[:len(b)-1] }
	}, uniform},
	{69, "padding longer than a block", "", padded(17), uniform},
}

// oddAlgorithms are about ciphers, digests and key transport.
func oddAlgorithms() []oddCase {
	all := []oddCase{
		{30, "envelope for another recipient", "", func(t *testing.T, _ *world, r *craft.Request) {
			r.Envelope.Recipients[0].Certificate = signerOf(t, otherKey())
		}, uniform},
		{30, "content key is noise", "", func(_ *testing.T, _ *world, r *craft.Request) { r.Envelope.EncryptedKey = flipFirst }, uniform},
		{30, "content key has another length", "", func(_ *testing.T, _ *world, r *craft.Request) {
			r.Envelope.ContentKey = func(b []byte) []byte { return b[:8] }
		}, uniform},
		{30, "padding is zero", "", padded(0), uniform},
		{30, "content is no CSR", "", func(_ *testing.T, _ *world, r *craft.Request) { r.Envelope.Content = []byte("hello") }, uniform},
		{31, "cipher DES where it is refused", "modern", func(_ *testing.T, _ *world, r *craft.Request) { r.Envelope.Cipher = craft.DESCBC }, badAlg},
		{31, "cipher DES where it is allowed", "", func(_ *testing.T, _ *world, r *craft.Request) { r.Envelope.Cipher = craft.DESCBC }, verdict{}},
		{32, "MD5", "", digest(crypto.MD5), badAlg},
		{33, "SHA-1 where it is refused", "modern", digest(crypto.SHA1), badAlg},
		{46, "OAEP with SHA-1", "", func(_ *testing.T, _ *world, r *craft.Request) { r.Envelope.OAEP = crypto.SHA1 }, verdict{}},
		{46, "OAEP with SHA-256", "", func(_ *testing.T, _ *world, r *craft.Request) { r.Envelope.OAEP = crypto.SHA256 }, verdict{}},
		{47, "EC client key", "", ecClient, badAlg},
		{47, "EC key in the CSR only", "", func(t *testing.T, _ *world, r *craft.Request) { r.CSR.Key = newECKey(t) }, badAlg},
	}
	for name, c := range map[string]craft.Cipher{
		"AES-192": craft.AES192CBC, "RC2": craft.RC2CBC, "GCM inside EnvelopedData": craft.AES128GCM,
	} {
		all = append(all, oddCase{31, "cipher " + name, "", func(_ *testing.T, _ *world, r *craft.Request) { r.Envelope.Cipher = c }, badAlg})
	}
	all = append(all, oddCase{31, "AuthEnvelopedData", "", authEnveloped, badAlg})
	for _, h := range []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		for _, c := range []craft.Cipher{craft.AES128CBC, craft.AES256CBC, craft.TripleDESCBC} {
			all = append(all, oddCase{33, fmt.Sprintf("%s and %s", digestName(h), opensslName(c)), "", func(_ *testing.T, _ *world, r *craft.Request) {
				r.Message.Digest, r.Envelope.Cipher = h, c
			}, verdict{}})
		}
	}
	return all
}

// oddSigners are about who signs.
var oddSigners = []oddCase{
	{43, "critical authorityKeyIdentifier, as Windows writes", "", windowsSigner, verdict{}},
	{53, "PKCSReq signed with a certificate of ours, good challenge", "", func(t *testing.T, w *world, r *craft.Request) {
		renewing(t, w, r)
	}, verdict{}},
	{53, "PKCSReq signed with a certificate of ours, no challenge", "", func(t *testing.T, w *world, r *craft.Request) {
		renewing(t, w, r)
		r.CSR.Challenges = nil
	}, verdict{failInfo: client.BadRequest, reason: refusal.ChallengeMissing}},
	{53, "signed with the certificate of another device", "", func(t *testing.T, w *world, r *craft.Request) {
		renewing(t, w, r)
		r.CSR.Subject = nameDER(t, "C02ANOTHER00")
	}, verdict{failInfo: client.BadMessageCheck, reason: refusal.SignerNotTrusted}},
}

// oddChallenges are the string types of a challengePassword.
func oddChallenges() []oddCase {
	var all []oddCase
	for name, tag := range map[string]cbasn1.Tag{
		"UTF8String": cbasn1.UTF8String, "PrintableString": cbasn1.PrintableString, "BMPString": craft.BMPString, "T61String": cbasn1.T61String,
	} {
		all = append(all, oddCase{51, "challengePassword as " + name, "", func(_ *testing.T, _ *world, r *craft.Request) {
			r.CSR.Challenges = [][]byte{craft.Text(tag, worldSecret)}
		}, verdict{}})
	}
	return all
}

func printable(text string) [][]byte { return [][]byte{craft.Text(cbasn1.PrintableString, text)} }

func flipFirst(b []byte) []byte {
	b[0] ^= 0x01
	return b
}

func typed(text string) change {
	return func(_ *testing.T, _ *world, r *craft.Request) {
		r.Message.Set(craft.OIDMessageType, craft.Text(cbasn1.PrintableString, text))
	}
}

func nonceOf(n int) change {
	return func(_ *testing.T, _ *world, r *craft.Request) {
		nonce := make([]byte, n)
		_, _ = rand.Read(nonce)
		r.Message.Set(craft.OIDSenderNonce, craft.Octets(nonce))
	}
}

func signedAt(at time.Time) change {
	return func(t *testing.T, _ *world, r *craft.Request) {
		r.Message.Set(craft.OIDSigningTime, marshal(t, at))
	}
}

func digest(h crypto.Hash) change {
	return func(_ *testing.T, _ *world, r *craft.Request) { r.Message.Digest = h }
}

// padded makes the last byte of the padded content say n.
func padded(n byte) change {
	return func(_ *testing.T, _ *world, r *craft.Request) {
		r.Envelope.Padded = func(b []byte) []byte {
			b[len(b)-1] = n
			return b
		}
	}
}

// wrongDigest signs, properly, the digest of something else.
func wrongDigest(t *testing.T, _ *world, r *craft.Request) {
	of := sha256.Sum256([]byte("something else"))
	r.Message.Replace = []craft.Attribute{
		{Type: craft.OIDContentType, Values: [][]byte{marshal(t, craft.OIDData)}},
		{Type: craft.OIDMessageDigest, Values: [][]byte{craft.Octets(of[:])}},
	}
}

func otherContentType(t *testing.T, _ *world, r *craft.Request) {
	signContentType(t, r, craft.OIDSignedData)
}

// signContentType signs, properly, any contentType attribute; that takes
// knowing the content before it is signed.
func signContentType(t *testing.T, r *craft.Request, oid asn1.ObjectIdentifier) {
	t.Helper()
	encodeEnvelope(t, r)
	of := sha256.Sum256(r.Message.Content)
	r.Message.Replace = []craft.Attribute{
		{Type: craft.OIDContentType, Values: [][]byte{marshal(t, oid)}},
		{Type: craft.OIDMessageDigest, Values: [][]byte{craft.Octets(of[:])}},
	}
}

// encodeEnvelope fixes the two inner layers.
func encodeEnvelope(t *testing.T, r *craft.Request) {
	t.Helper()
	csr, err := r.CSR.Encode()
	if err != nil {
		t.Fatal(err)
	}
	envelope := r.Envelope
	envelope.Content = csr
	if r.Message.Content, err = envelope.Encode(); err != nil {
		t.Fatal(err)
	}
}

// authEnveloped renames the envelope to AuthEnvelopedData, whose identifier is
// of another length.
func authEnveloped(t *testing.T, _ *world, r *craft.Request) {
	encodeEnvelope(t, r)
	var info struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue
	}
	if _, err := asn1.Unmarshal(r.Message.Content, &info); err != nil {
		t.Fatal(err)
	}
	info.Type = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 23}
	r.Message.Content = marshal(t, info)
}

func newECKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func ecClient(t *testing.T, _ *world, r *craft.Request) {
	key := newECKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "EC"}, NotBefore: opening, NotAfter: opening.AddDate(0, 0, 1)}
	r.CSR.Key, r.Message.Key, r.Message.Signer = key, key, selfSign(t, template, key)
	r.Message.Certificates = [][]byte{r.Message.Signer.Raw}
}

// selfSign returns the certificate with the fields that craft needs, also when
// crypto/x509 would not parse it.
func selfSign(t *testing.T, template *x509.Certificate, key crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	issuer := marshal(t, template.Subject.ToRDNSequence())
	return &x509.Certificate{Raw: der, RawIssuer: issuer, SerialNumber: template.SerialNumber, PublicKey: key.Public()}
}

func windowsSigner(t *testing.T, _ *world, r *craft.Request) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(4711), Subject: pkix.Name{CommonName: "SCEP Protocol Certificate"},
		NotBefore: opening.Add(-time.Hour), NotAfter: opening.Add(time.Hour),
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 35}, Critical: true, Value: []byte{0x30, 0x04, 0x80, 0x02, 0x01, 0x02}}},
	}
	r.Message.Signer = selfSign(t, template, deviceKey())
	r.Message.Certificates = [][]byte{r.Message.Signer.Raw}
	if _, err := x509.ParseCertificate(r.Message.Signer.Raw); err == nil {
		t.Fatal("crypto/x509 parses the certificate; the case tests nothing")
	}
}

// renewing enrols a device and makes r a second request of the same device for
// a new key, signed with the first certificate.
func renewing(t *testing.T, w *world, r *craft.Request) {
	t.Helper()
	first := w.request(t)
	first.CSR.Subject = r.CSR.Subject
	r.Message.Signer = w.enrolled(t, "default", first)
	r.Message.Certificates = [][]byte{r.Message.Signer.Raw}
	r.CSR.Key = otherKey()
}
