package conformance

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
	"unicode"

	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/scep/client"
	"understudy.example/understudy/scep/client/craft"
)

func enrolmentCases() []Case {
	return slices.Concat([]Case{
		{Number: 21, Section: "3.3.2.1, 4.3.1", Title: "a good request gets SUCCESS with exactly the issued certificate", run: honestEnrolment},
		{Number: 22, Section: "3.2.1, 3.2.1.5", Title: "the reply's attributes answer the request's, with a fresh senderNonce", run: replyAttributes},
		{Number: 23, Section: "2.3, 2.9", Title: "the reply's envelope is for the signer alone, in an allowed cipher", run: replyEnvelope},
		{Number: 24, Section: "3.3.2.2, 3.2.1.4", Title: "a wrong challenge is FAILURE badRequest, with empty content", run: wrongChallenge},
		{Number: 25, Section: "2.4, 3.3.2.3", Title: "no challenge is FAILURE badRequest, or PENDING", run: noChallenge},
		{Number: 26, Section: "2.4, 7.3", Title: "a one-time challenge works once", run: usedChallenge},
		{Number: 27, Section: "7.3, 3.2.1.4", Title: "an expired challenge is FAILURE badRequest", run: expiredChallenge},
	}, messageCases(), []Case{
		{Number: 42, Section: "2.3", Title: "a self-signed signer with another subject is accepted (Apple)", run: appleSigner},
		{Number: 43, Title: "a signer with a critical authorityKeyIdentifier is accepted (Windows)", run: windowsSigner},
		{Number: 44, Section: "2.3", Title: "extra certificates in the message do no harm", run: extraCertificates},
		{Number: 45, Title: "BER with indefinite lengths, in message and envelope, is understood", run: indefiniteLengths},
		{Number: 46, Title: "OAEP key transport is SUCCESS or FAILURE badAlg", run: oaep},
		{Number: 47, Section: "3.1", Title: "an EC client key is FAILURE badAlg, or gets an envelope for a password", run: ecClient},
		{Number: 48, Title: "an RSA key of 1024 bits is FAILURE badRequest", run: smallKey},
		{Number: 49, Section: "3.2.1.1, 5.2, 7.4", Title: "the same bytes twice give the same certificate", run: sameBytes},
		{Number: 50, Section: "3.2.1.1", Title: "the same transactionID with another key is FAILURE badRequest", run: otherKeySameTransaction},
		{Number: 51, Title: "a challengePassword is understood in every string type", run: challengeTypes},
	})
}

// deviations checks that a reply breaks none of some rules.
func (t *trial) deviations(name, expected string, p *client.Reply, rules ...string) {
	var seen []string
	for _, d := range p.Deviations {
		if v, ok := d.(*client.Violation); ok && slices.Contains(rules, v.Rule) { //nolint:errorlint // deviations are not wrapped
			seen = append(seen, v.Detail)
		}
	}
	t.check(name, expected, cmpOr(strings.Join(seen, "; "), "so it is"), len(seen) == 0)
}

func honestEnrolment(t *trial) {
	t.needServer()
	t.probe()
	r := t.honest()
	a := t.enrol(r)
	t.expect("an honest request", a, t.accepted())
	if a.is(client.Success) {
		t.deviations("bundle", "the issued certificate and no other", a.reply, "RFC 8894 §3.3.2.1")
	}
}

func replyAttributes(t *trial) {
	const expected = "transactionID, recipientNonce, messageType as in the request, PrintableStrings, a fresh senderNonce of 16 bytes"
	rules := []string{"RFC 8894 §3.2.1", "RFC 8894 §3.2.1.4", "RFC 8894 §3.2.1.5"}
	r := t.request()
	first := t.send(r)
	if !t.expect("an honest request", first, either(success, pending)) {
		return
	}
	t.deviations("attributes", expected, first.reply, rules...)
	odd := t.request()
	odd.Message.Set(craft.OIDTransactionID, craft.Text(cbasn1.UTF8String, "Zm9v+YmFy/"+t.id()+"=="))
	second := t.send(odd)
	if !t.expect("a transactionID in base64, as scepclient has it", second, either(success, pending)) {
		return
	}
	t.deviations("its attributes", expected, second.reply, rules...)
	fresh := !bytes.Equal(first.reply.SenderNonce, second.reply.SenderNonce)
	t.check("two replies", "two senderNonces", fmt.Sprintf("%x and %x", first.reply.SenderNonce, second.reply.SenderNonce), fresh)
}

func replyEnvelope(t *trial) {
	r := t.request()
	a := t.enrol(r)
	if a.is(client.Pending) {
		t.notApplicable("requests wait for an approval, and there is no --approve")
	}
	if !t.expect("an honest request", a, success) {
		return
	}
	t.deviations("recipients and cipher", "one recipient, no single DES", a.reply, "RFC 8894 §3.2.2", "RFC 8894 §2.9")
	sent := cipherName(r.Envelope.Cipher)
	expected := string(sent) + ", as in the request"
	if sent != client.AES128CBC {
		expected += ", or AES-128-CBC"
	}
	t.check("cipher", expected, string(a.reply.Cipher),
		a.reply.Cipher == sent || a.reply.Cipher == client.AES128CBC)
	other, err := t.otherKey()
	t.must("a key", err)
	stranger := t.expectation(r)
	stranger.SignerKey = other
	_, err = stranger.ReadReply(a.body, time.Now())
	t.check("another key", "cannot open the envelope", fmt.Sprintf("opens it: %v", err == nil), err != nil)
}

// withoutEnvelope checks the content of a FAILURE or PENDING.
func (t *trial) withoutEnvelope(a answer) {
	if a.reply != nil {
		t.deviations("content", "no envelope, but an empty OCTET STRING, which certmonger and OpenSSL need", a.reply, "RFC 8894 §3.3.2", "RFC 5652 §5.2")
	}
}

func wrongChallenge(t *trial) {
	r := t.request()
	if len(r.CSR.Challenges) == 0 {
		t.notApplicable("no challenge is given, so none is wrong")
	}
	r.CSR.Challenges = [][]byte{craft.Text(cbasn1.PrintableString, "kJ3vQ9xZ1mN7pR5tW2yB8cD4fG6hL0sB")}
	t.withoutEnvelope(t.refuses("a challenge that nobody gave out", r, badRequest))
}

func noChallenge(t *trial) {
	r := t.request()
	if len(r.CSR.Challenges) == 0 && t.base.is(client.Success) {
		t.notApplicable("no challenge is given, and the server asks for none")
	}
	r.CSR.Challenges = nil
	t.refuses("no challenge", r, either(badRequest, pending))
}

func usedChallenge(t *trial) {
	if t.o.Operator.NewChallenge == nil {
		t.notApplicable("there is no --new-challenge, which gives out one-time challenges")
	}
	challenge := string(t.newChallenge())
	text := [][]byte{craft.Text(textTag(challenge), challenge)}
	first, second := t.request(), t.request()
	first.CSR.Challenges, second.CSR.Challenges = text, text
	t.enrols("the first use", first)
	t.refuses("the second use", second, badRequest)
}

func expiredChallenge(t *trial) {
	if t.o.Operator.ExpiredChallenge == nil {
		t.notApplicable("there is no --expired-challenge, which gives out challenges whose time ran out")
	}
	r := t.request()
	challenge, err := t.o.Operator.ExpiredChallenge(t.ctx)
	t.must("--expired-challenge", err)
	r.CSR.Challenges = [][]byte{craft.Text(textTag(string(challenge)), string(challenge))}
	t.refuses("an expired challenge", r, badRequest)
}

func appleSigner(t *trial) {
	r := t.request() // is signed so
	t.enrols(fmt.Sprintf("signer %s", r.Message.Signer.Subject), r)
}

// windowsSigner signs with a certificate that crypto/x509 does not parse.
func windowsSigner(t *trial) {
	r := t.request()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "SCEP Protocol Certificate"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 35}, Critical: true, Value: []byte{0x30, 0x04, 0x80, 0x02, 0x01, 0x02}}},
	}
	signWith(r, t.selfSign(template, r.Message.Key), r.Message.Key)
	t.enrols("critical authorityKeyIdentifier", r)
}

// selfSign returns a certificate with the fields that craft needs, also when
// crypto/x509 would not parse it.
func (t *trial) selfSign(template *x509.Certificate, key crypto.Signer) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	t.must("a signer", err)
	return &x509.Certificate{
		Raw: der, RawIssuer: marshal(template.Subject.ToRDNSequence()), SerialNumber: template.SerialNumber, PublicKey: key.Public(),
	}
}

func extraCertificates(t *trial) {
	r := t.request()
	other, err := t.otherKey()
	t.must("a key", err)
	r.Message.Certificates = append(r.Message.Certificates, t.signer(other).Raw, t.ca.Issuer.Raw)
	a := t.enrols("three certificates, the signer's first", r)
	if a.is(client.Success) {
		t.deviations("envelope of the reply", "one recipient", a.reply, "RFC 8894 §3.2.2")
	}
}

func indefiniteLengths(t *trial) {
	r := t.request()
	t.sealEnvelope(r)
	var err error
	r.Message.Content, err = craft.Indefinite(r.Message.Content)
	t.must("an envelope in BER", err)
	raw, err := craft.Indefinite(t.encode(r))
	t.must("a message in BER", err)
	t.expect("indefinite lengths, strings in pieces", t.settle(r, t.sendRaw(r, raw)), t.accepted())
}

// sealEnvelope fixes the two inner layers of a request.
func (t *trial) sealEnvelope(r *craft.Request) {
	csr, err := r.CSR.Encode()
	t.must("a CSR", err)
	envelope := r.Envelope
	envelope.Content = csr
	r.Message.Content, err = envelope.Encode()
	t.must("an envelope", err)
}

func oaep(t *trial) {
	for _, h := range []crypto.Hash{crypto.SHA1, crypto.SHA256} {
		r := t.request()
		r.Envelope.OAEP = h
		t.expect("OAEP with "+h.String(), t.enrol(r), either(t.accepted(), badAlg))
	}
}

func ecClient(t *trial) {
	r := t.request()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	t.must("a key", err)
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "EC"}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 0, 1)}
	r.CSR.Key = key
	signWith(r, t.selfSign(template, key), key)
	a := t.send(r)
	if a.unread != nil && bytes.Contains(a.body, marshal(craft.OIDEnvelopedData)) {
		t.expect("a P-256 key that asks and signs", a, passwordEnvelope)
		return
	}
	t.refuses("a P-256 key that asks and signs", r, badAlg)
}

var passwordEnvelope = expectation{"FAILURE badAlg, or SUCCESS in an envelope for a password", func(a answer) bool {
	return a.unread != nil && strings.Contains(a.unread.Error(), client.ErrPasswordEnvelope.Error())
}}

func smallKey(t *trial) {
	key, err := t.smallKey()
	t.must("a key", err)
	r := t.request()
	r.CSR.Key = key
	signWith(r, t.signer(key), key)
	t.refuses("RSA-1024", r, badRequest)
}

func sameBytes(t *trial) {
	r := t.request()
	raw := t.encode(r)
	first := t.settle(r, t.sendRaw(r, raw))
	if first.is(client.Pending) {
		t.notApplicable("requests wait for an approval, and there is no --approve; see case 61")
	}
	if !t.expect("the first time", first, success) {
		return
	}
	second := t.sendRaw(r, raw)
	if t.expect("the second time", second, success) {
		t.check("its certificate", serial(first), serial(second), second.reply.Certificate.Equal(first.reply.Certificate))
	}
}

func serial(a answer) string {
	return fmt.Sprintf("certificate serial %x", a.reply.Certificate.SerialNumber)
}

func otherKeySameTransaction(t *trial) {
	r := t.request()
	raw := t.encode(r)
	first := t.settle(r, t.sendRaw(r, raw))
	if !t.expect("the first request", first, t.accepted()) {
		return
	}
	thief := t.request()
	key, err := t.otherKey()
	t.must("a key", err)
	thief.Message.Set(craft.OIDTransactionID, r.Message.Get(craft.OIDTransactionID))
	thief.CSR.Key = key
	signWith(thief, t.signer(key), key)
	t.expect("the same transactionID, another key", t.send(thief), badRequest)
}

func challengeTypes(t *trial) {
	r := t.request()
	if len(r.CSR.Challenges) == 0 {
		t.notApplicable("no challenge is given")
	}
	for _, way := range []struct {
		name    string
		tag     cbasn1.Tag
		carries func(string) bool
	}{
		{"UTF8String", cbasn1.UTF8String, func(string) bool { return true }},
		{"PrintableString", cbasn1.PrintableString, printableString},
		{"BMPString", craft.BMPString, func(string) bool { return true }},
		{"T61String", cbasn1.T61String, isASCII},
	} {
		challenge := string(t.challenge())
		if !way.carries(challenge) {
			continue
		}
		r := t.request()
		r.CSR.Challenges = [][]byte{craft.Text(way.tag, challenge)}
		t.enrols(way.name, r)
	}
}

func isASCII(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxASCII })
}
