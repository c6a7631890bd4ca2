package conformance

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/scep/client"
	"understudy.example/understudy/scep/client/craft"
)

// A keyring holds the keys of the devices. Making an RSA key takes longer than
// an enrolment, so two of them serve all requests.
type keyring struct {
	device, other, small *rsa.PrivateKey
}

const keyBits = 2048

// key returns the device's key, or a new one when each request has its own.
func (s *session) key() (*rsa.PrivateKey, error) {
	if s.o.FreshKeys {
		return rsa.GenerateKey(rand.Reader, keyBits)
	}
	return cached(&s.keys.device, keyBits)
}

// otherKey returns a key that is never the device's.
func (s *session) otherKey() (*rsa.PrivateKey, error) {
	if s.o.FreshKeys {
		return rsa.GenerateKey(rand.Reader, keyBits)
	}
	return cached(&s.keys.other, keyBits)
}

// smallKey returns a key that is too short for 2048 bits to be a rule.
func (s *session) smallKey() (*rsa.PrivateKey, error) {
	const bits = 1024
	return cached(&s.keys.small, bits)
}

func cached(slot **rsa.PrivateKey, bits int) (*rsa.PrivateKey, error) {
	if *slot == nil {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			return nil, err
		}
		*slot = key
	}
	return *slot, nil
}

// id returns a name that no device of this run or another has.
func (s *session) id() string {
	s.count++
	return fmt.Sprintf("CONF%s%04d", s.run, s.count)
}

func transactionID() string {
	id := make([]byte, 20)
	_, _ = rand.Read(id) // never fails
	return strings.ToUpper(hex.EncodeToString(id))
}

func (s *session) subject(id string) ([]byte, error) {
	if s.o.Subject != nil {
		return s.o.Subject(id)
	}
	return asn1.Marshal(pkix.Name{CommonName: id}.ToRDNSequence())
}

// challenge returns a challenge for an honest request; empty when there is
// none to give.
func (t *trial) challenge() client.Password {
	if t.o.Challenge != "" || t.o.Operator.NewChallenge == nil {
		return t.o.Challenge
	}
	return t.newChallenge()
}

func (t *trial) newChallenge() client.Password {
	challenge, err := t.o.Operator.NewChallenge(t.ctx)
	t.must("a new challenge", err)
	return challenge
}

// request returns an honest request of a new device. The case does not apply
// when the server has no certificate to encrypt to, or refuses even an honest
// request: everything would seem to be refused for the right reason.
func (t *trial) request() *craft.Request {
	t.needServer()
	t.probe()
	if !t.base.is(client.Success) && !t.base.is(client.Pending) {
		if len(t.o.Only) > 0 && !contains(t.o.Only, 21) { // nobody else would say so
			t.check("an honest request, to begin with", "SUCCESS or PENDING", t.base.String(), false)
			panic(ended{})
		}
		t.notApplicable("an honest request is not accepted, see case 21")
	}
	return t.honest()
}

// needServer ends the case when requests cannot be encrypted.
func (t *trial) needServer() {
	if t.ca == nil {
		t.notApplicable("GetCACert cannot be used, see cases 5, 6 and 8")
	}
}

// probe finds out once what the server does with an honest request.
func (t *trial) probe() {
	if t.base != nil {
		return
	}
	r := t.honest()
	a := t.send(r)
	if approve := t.o.Operator.Approve; a.is(client.Pending) && approve != nil {
		if err := approve(t.ctx, waiting(t.expectation(r))); err != nil {
			a = answer{unread: fmt.Errorf("PENDING, and --approve failed: %w", err)}
		}
	}
	t.base = &a
}

// certifies says whether an honest request leads to a certificate.
func (t *trial) certifies() bool {
	return t.base.is(client.Success) || t.base.is(client.Pending) && t.o.Operator.Approve != nil
}

// honest returns an honest request without asking whether such are accepted.
func (t *trial) honest() *craft.Request {
	key, err := t.key()
	t.must("a key", err)
	subject, err := t.subject(t.id())
	t.must("a subject", err)
	r, err := craft.NewRequest(t.ca.Encryption, t.signer(key), key, key, subject, "", transactionID())
	t.must("a request", err)
	if challenge := string(t.challenge()); challenge != "" {
		r.CSR.Challenges = [][]byte{craft.Text(textTag(challenge), challenge)}
	}
	r.Envelope.Cipher, r.Message.Digest = t.algorithms()
	return r
}

// algorithms are what the server offers of the modern ones.
func (s *session) algorithms() (craft.Cipher, crypto.Hash) {
	c, h := craft.AES128CBC, crypto.SHA256
	if s.words.Cipher() == client.TripleDESCBC {
		c = craft.TripleDESCBC
	}
	if !s.words.Has("SHA-256") && !s.words.Standard() {
		if offered, err := s.words.Digest(); err == nil {
			h = offered
		}
	}
	return c, h
}

func textTag(text string) cbasn1.Tag {
	if printableString(text) {
		return cbasn1.PrintableString
	}
	return cbasn1.UTF8String
}

func printableString(text string) bool {
	const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 '()+,-./:=?"
	return strings.Trim(text, allowed) == "" && !strings.ContainsFunc(text, func(r rune) bool { return !strings.ContainsRune(allowed, r) })
}

// signer returns a new self-signed certificate over a key, as devices make it.
func (t *trial) signer(key *rsa.PrivateKey) *x509.Certificate {
	c, err := client.SelfSigned(rand.Reader, key, time.Now())
	t.must("a signer", err)
	return c
}

// signWith makes somebody else sign a request.
func signWith(r *craft.Request, c *x509.Certificate, key crypto.Signer) {
	r.Message.Signer, r.Message.Key, r.Message.Certificates = c, key, [][]byte{c.Raw}
}

func (t *trial) encode(r *craft.Request) []byte {
	raw, err := r.Encode()
	t.must("a request", err)
	return raw
}

// send delivers a request and reads the reply.
func (t *trial) send(r *craft.Request) answer { return t.sendRaw(r, t.encode(r)) }

// sendRaw delivers bytes that stand for a request.
func (t *trial) sendRaw(r *craft.Request, raw []byte) answer {
	return t.read(r, t.post(raw))
}

// post delivers a message the way that the server prefers.
func (s *trial) post(raw []byte) answer { return s.deliver(s.ctx, raw) }

// deliver posts a message, or sends it by GET where POST is not offered.
func (s *session) deliver(ctx context.Context, raw []byte) answer {
	if len(s.words) > 0 && !s.words.POST() {
		return s.exchange(ctx, request{query: "operation=PKIOperation&message=" + url.QueryEscape(base64.StdEncoding.EncodeToString(raw))})
	}
	return s.exchange(ctx, request{method: http.MethodPost, query: "operation=PKIOperation", contentType: typeMessage, body: raw})
}

// read takes an answer for the reply to a request.
func (t *trial) read(r *craft.Request, a answer) answer { return readReply(t.expectation(r), a) }

func readReply(r *client.Request, a answer) answer {
	a.message = true
	if a.err != nil || a.status != http.StatusOK {
		return a
	}
	if a.contentType != typeMessage {
		a.unread = fmt.Errorf("HTTP 200, but Content-Type is %q, not exactly %q", a.contentType, typeMessage)
		return a
	}
	if len(a.body) == 0 {
		a.unread = errors.New("HTTP 200 with an empty body")
		return a
	}
	a.reply, a.unread = r.ReadReply(a.body, time.Now())
	if a.unread != nil {
		a.reply = nil
	}
	return a
}

// expectation is what the reply to a request is compared with.
func (t *trial) expectation(r *craft.Request) *client.Request {
	const longestEchoed = 64
	e := &client.Request{
		CA: t.ca, Signer: r.Message.Signer, PublicKey: r.CSR.Key.Public(), Subject: r.CSR.Subject,
		TransactionID: string(valueOf(r.Message.Get(craft.OIDTransactionID))),
		Cipher:        client.AES128CBC, Digest: crypto.SHA256,
	}
	if nonce := valueOf(r.Message.Get(craft.OIDSenderNonce)); len(nonce) > 0 && len(nonce) <= longestEchoed {
		e.SenderNonce = nonce
	}
	e.SignerKey, _ = r.Message.Key.(*rsa.PrivateKey)
	if name := cipherName(r.Envelope.Cipher); name != "" {
		e.Cipher = name
	}
	if slices.Contains(digests, r.Message.Digest) {
		e.Digest = r.Message.Digest
	}
	return e
}

// valueOf returns the content of a DER element, nil if there is none.
func valueOf(der []byte) []byte {
	var v asn1.RawValue
	if _, err := asn1.Unmarshal(der, &v); err != nil {
		return nil
	}
	return v.Bytes
}

func cipherName(c craft.Cipher) client.Cipher {
	for _, known := range ciphers {
		if known.cipher.OID.Equal(c.OID) {
			return known.name
		}
	}
	return ""
}

// enrol sends a request and, when it must be approved and somebody is there to
// do it, has it approved and asks for the certificate.
func (t *trial) enrol(r *craft.Request) answer { return t.settle(r, t.send(r)) }

// settle is enrol for a request that was sent already.
func (t *trial) settle(r *craft.Request, a answer) answer {
	if !a.is(client.Pending) || t.o.Operator.Approve == nil {
		return a
	}
	t.must("--approve", t.o.Operator.Approve(t.ctx, waiting(t.expectation(r))))
	return t.pollUntilDecided(t.expectation(r))
}

func waiting(r *client.Request) Waiting {
	var name pkix.RDNSequence
	_, _ = asn1.Unmarshal(r.Subject, &name)
	return Waiting{TransactionID: r.TransactionID, Subject: name.String()}
}

// pollUntilDecided sends CertPolls for a while: an approval may take effect
// late.
func (t *trial) pollUntilDecided(r *client.Request) (a answer) {
	const tries, interval = 10, 500 * time.Millisecond
	for n := range tries {
		if n > 0 {
			t.must("waiting for the decision", t.wait(t.ctx, interval))
		}
		if a = t.poll(r); !a.is(client.Pending) {
			break
		}
	}
	return a
}

// poll sends one CertPoll for the transaction of a request.
func (t *trial) poll(r *client.Request) answer {
	poll, err := r.Poll(nil)
	t.must("a CertPoll", err)
	return readReply(poll, t.post(poll.Raw))
}

func (s *session) wait(ctx context.Context, d time.Duration) error {
	if s.o.Wait != nil {
		return s.o.Wait(ctx, d)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// enrols expects that a request is accepted, and returns the answer.
func (t *trial) enrols(name string, r *craft.Request) answer {
	a := t.enrol(r)
	t.expect(name, a, t.accepted())
	return a
}

// refuses expects an answer that is no certificate, and that none was made.
func (t *trial) refuses(name string, r *craft.Request, want expectation) answer {
	return t.refusesRaw(name, r, t.encode(r), want)
}

func (t *trial) refusesRaw(name string, r *craft.Request, raw []byte, want expectation) answer {
	a := t.sendRaw(r, raw)
	id := t.expectation(r).TransactionID
	if want.holds(a) && t.o.Operator.Issued != nil && id != "" {
		n, err := t.o.Operator.Issued(t.ctx, id)
		t.must("the list of certificates", err)
		t.check(name, want.text+", and no certificate is made", fmt.Sprintf("%v, and %d made", a, n), n == 0)
		return a
	}
	t.expect(name, a, want)
	return a
}

// alive expects that the server still takes honest requests.
func (t *trial) alive() { t.enrols("afterwards, an honest request", t.honest()) }

// A holder is a device that has a certificate of the server.
type holder struct {
	certificate *x509.Certificate
	key         *rsa.PrivateKey
}

// holder enrols a device. The case does not apply when that takes an approval
// that nobody gives.
func (t *trial) holder() holder {
	r := t.request()
	a := t.enrol(r)
	switch {
	case a.is(client.Pending):
		t.notApplicable("it takes a certificate, requests wait for an approval, and there is no --approve")
	case !a.is(client.Success):
		t.check("a certificate to begin with", success.text, a.String(), false)
		panic(ended{})
	}
	key, ok := r.CSR.Key.(*rsa.PrivateKey)
	if !ok {
		t.giveUp("a certificate to begin with", errors.New("its key is not RSA"))
	}
	return holder{a.reply.Certificate, key}
}

// renewal returns a RenewalReq of a holder for a new key, without a challenge.
func (t *trial) renewal(h holder) *craft.Request {
	r := t.request()
	key, err := t.otherKey()
	t.must("a key", err)
	r.CSR.Key, r.CSR.Subject, r.CSR.Challenges = key, h.certificate.RawSubject, nil
	signWith(r, h.certificate, h.key)
	typed(r, string(client.RenewalReq))
	return r
}

// typed sets the messageType.
func typed(r *craft.Request, text string) {
	r.Message.Set(craft.OIDMessageType, craft.Text(cbasn1.PrintableString, text))
}

// query asks for a certificate or a CRL.
func (t *trial) query(kind client.MessageType, issuer []byte, serial *big.Int, by holder) answer {
	c, h := t.algorithms()
	q, err := client.BuildQuery(nil, client.Query{
		Type: kind, Issuer: issuer, CertificateSerial: serial, Signer: by.certificate, SignerKey: by.key,
		Cipher: cipherName(c), Digest: h,
	}, t.ca)
	t.must("a query", err)
	return readReply(q, t.post(q.Raw))
}

// changed returns a hook of package craft that flips a bit.
func changed(b []byte) []byte {
	b = bytes.Clone(b)
	b[0] ^= 0x01
	return b
}
