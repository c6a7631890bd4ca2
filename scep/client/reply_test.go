package client_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"strings"
	"testing"

	"understudy.example/understudy/scep/client"
	"understudy.example/understudy/scep/client/craft"
	"understudy.example/understudy/scep/internal/cms"
)

// exchangeFor returns a request and a flawless reply to it.
func exchangeFor(t *testing.T, s *server, ca *client.CACertificates) (*client.Request, *response) {
	t.Helper()
	request, err := client.BuildRequest(nil, client.Enrolment{Key: deviceKey()}, ca, today)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.ParseCertificateRequest(request.CSR)
	if err != nil {
		t.Fatal(err)
	}
	return request, &response{
		messageType: "3", status: "0", transactionID: request.TransactionID,
		senderNonce: bytes.Repeat([]byte{7}, 16), recipientNonce: request.SenderNonce,
		certificates: []*x509.Certificate{s.leaf(csr)}, recipient: request.Signer,
		cipher: cms.AES128CBC, digest: crypto.SHA256, signer: s.ra, key: raKey(),
	}
}

func TestReadReplyOpensAFlawlessOne(t *testing.T) {
	s := newServer(t)
	for _, cipher := range []cms.Cipher{cms.AES128CBC, cms.AES256CBC, cms.TripleDESCBC} {
		for _, digest := range []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
			request, response := exchangeFor(t, s, s.certificates())
			response.cipher, response.digest = cipher, digest
			reply, err := request.ReadReply(response.encode(t), today)
			if err != nil {
				t.Fatalf("%v, %v: %v", cipher, digest, err)
			}
			if reply.Status != client.Success || !equalCertificates([]*x509.Certificate{reply.Certificate}, response.certificates) {
				t.Errorf("%v, %v: status %q, certificate %v", cipher, digest, reply.Status, reply.Certificate)
			}
			if reply.Digest != digest || string(reply.Cipher) != cipher.String() || len(reply.Deviations) != 0 {
				t.Errorf("reply is in %v and %v with deviations %v, not in %v and %v", reply.Digest, reply.Cipher, reply.Deviations, digest, cipher)
			}
		}
	}
}

func TestReadReplyTellsFailureAndPending(t *testing.T) {
	s := newServer(t)
	request, response := exchangeFor(t, s, s.certificates())
	response.status, response.failInfo, response.failInfoText = "2", "1", "no such luck"
	reply, err := request.ReadReply(response.encode(t), today)
	if err != nil {
		t.Fatal(err)
	}
	if reply.Status != client.Failure || reply.FailInfo != client.BadMessageCheck ||
		reply.FailInfo.Name() != "badMessageCheck" || reply.FailInfoText != "no such luck" {
		t.Errorf("got %+v", reply)
	}
	response.failInfoText = "\x1b[2Jno\nsuch\u202e " + strings.Repeat("luck", 1<<10)
	reply, err = request.ReadReply(response.encode(t), today)
	if err != nil || !strings.HasPrefix(reply.FailInfoText, "[2Jnosuch luckluck") || len(reply.FailInfoText) > 256 {
		t.Errorf("a terminal is shown %q, %v", reply.FailInfoText, err)
	}
	response.status, response.failInfo, response.failInfoText = "3", "", ""
	reply, err = request.ReadReply(response.encode(t), today)
	if err != nil || reply.Status != client.Pending || reply.Certificate != nil || len(reply.Deviations) != 0 {
		t.Errorf("got %+v, %v", reply, err)
	}
}

func TestReadReplyRefuses(t *testing.T) {
	s := newServer(t)
	ca := s.certificates()
	twin := func(t *testing.T) *x509.Certificate { // an RA of the same name and serial, with another key
		t.Helper()
		der, err := x509.CreateCertificate(rand.Reader, s.ra, s.ca, otherKey().Public(), caKey())
		if err != nil {
			t.Fatal(err)
		}
		return parse(t, der)
	}
	cases := map[string]struct {
		spoil func(*testing.T, *response)
		want  string
	}{
		"nothing": {func(_ *testing.T, p *response) { p.after = func([]byte) []byte { return nil } }, "RFC 8894 §3.2"},
		"text":    {func(_ *testing.T, p *response) { p.after = func([]byte) []byte { return []byte("<html>") } }, "not well-formed"},
		"another signer": {func(t *testing.T, p *response) {
			p.signer, p.key = issue(t, "Stranger", signAndEncrypt, false, otherKey(), caKey(), s.ca), otherKey()
		}, "not signed by"},
		"the CA as signer":           {func(_ *testing.T, p *response) { p.signer, p.key = s.ca, caKey() }, "not signed by"},
		"the RA's name on another":   {func(t *testing.T, p *response) { p.signer, p.key = twin(t), otherKey() }, "signature does not hold"},
		"a changed signature":        {func(_ *testing.T, p *response) { p.after = flipLast }, "signature does not hold"},
		"a changed content":          {func(_ *testing.T, p *response) { p.after = flipEnvelope }, "signature does not hold"},
		"another transaction":        {func(_ *testing.T, p *response) { p.transactionID += "0" }, "§3.2.1.1"},
		"messageType of a request":   {func(_ *testing.T, p *response) { p.messageType = "19" }, "§3.2.1.2"},
		"unknown status":             {func(_ *testing.T, p *response) { p.status = "1" }, "§3.2.1.3"},
		"FAILURE without failInfo":   {func(_ *testing.T, p *response) { p.status = "2" }, "§3.2.1.4"},
		"FAILURE of unknown kind":    {func(_ *testing.T, p *response) { p.status, p.failInfo = "2", "9" }, "§3.2.1.4"},
		"another recipientNonce":     {func(_ *testing.T, p *response) { p.recipientNonce = p.senderNonce }, "§3.2.1.5"},
		"no recipientNonce":          {func(_ *testing.T, p *response) { p.recipientNonce = nil }, "§3.2.1.5"},
		"the transaction twice":      {func(t *testing.T, p *response) { p.more = again(t, 7, p.transactionID) }, "there twice"},
		"SUCCESS without envelope":   {func(_ *testing.T, p *response) { p.content = []byte{} }, "§3.2.2"},
		"envelope for another":       {func(_ *testing.T, p *response) { p.recipient = s.ra }, "cannot be decrypted"},
		"envelope of noise":          {func(_ *testing.T, p *response) { p.content = []byte{0x30, 0x03, 0x02, 0x01, 0x00} }, "no EnvelopedData"},
		"a certificate for somebody": {func(_ *testing.T, p *response) { p.certificates = []*x509.Certificate{s.ra} }, "22008"},
		"the CA certificate first": {func(_ *testing.T, p *response) {
			p.certificates = []*x509.Certificate{s.ca, p.certificates[0]}
		}, "22008"},
		"a certificate of another CA": {func(t *testing.T, p *response) {
			p.certificates = []*x509.Certificate{issue(t, "Stray", signAndEncrypt, false, deviceKey(), nil, nil)}
		}, "does not chain"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			request, response := exchangeFor(t, s, ca)
			c.spoil(t, response)
			reply, err := request.ReadReply(response.encode(t), today)
			wantError(t, err, c.want)
			if reply != nil {
				t.Errorf("a refused reply came with %+v", reply)
			}
		})
	}
}

func TestReadReplyNotesDeviations(t *testing.T) {
	s := newServer(t)
	ca := s.certificates()
	cases := map[string]struct {
		spoil func(*testing.T, *response)
		want  string
	}{
		"our nonce for its own": {func(_ *testing.T, p *response) { p.senderNonce = p.recipientNonce }, "§3.2.1.5"},
		"a nonce of 8 bytes":    {func(_ *testing.T, p *response) { p.senderNonce = p.senderNonce[:8] }, "has 8 bytes"},
		"the CA behind the leaf": {func(_ *testing.T, p *response) {
			p.certificates = append(p.certificates, s.ca)
		}, "2 certificates"},
		"an envelope in PENDING": {func(_ *testing.T, p *response) { p.status, p.content = "3", []byte("x") }, "§3.3.2"},
		"transactionID in UTF-8": {func(t *testing.T, p *response) { p.textTag = "utf8" }, "not a PrintableString"},
		"failInfo in SUCCESS":    {func(_ *testing.T, p *response) { p.failInfo = "2" }, "§3.2.1.4"},
		"no eContent in FAILURE": {func(_ *testing.T, p *response) {
			p.status, p.failInfo, p.after = "2", "2", withoutContent
		}, "RFC 5652"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			request, response := exchangeFor(t, s, ca)
			c.spoil(t, response)
			reply, err := request.ReadReply(response.encode(t), today)
			if err != nil {
				t.Fatal(err)
			}
			if len(reply.Deviations) != 1 {
				t.Fatalf("deviations %v, want one", reply.Deviations)
			}
			wantError(t, reply.Deviations[0], c.want)
		})
	}
}

// TestReadReplyUnderstandsBER reads a reply in indefinite lengths and with its
// content in fragments, as BouncyCastle writes.
func TestReadReplyUnderstandsBER(t *testing.T) {
	s := newServer(t)
	request, response := exchangeFor(t, s, s.certificates())
	response.after = fragmented
	raw := response.encode(t)
	if raw[1] != 0x80 {
		t.Fatalf("the reply is not in BER: % x", raw[:4])
	}
	reply, err := request.ReadReply(raw, today)
	if err != nil || reply.Certificate == nil {
		t.Fatalf("got %+v, %v", reply, err)
	}
}

// TestReadReplySurvivesDamage cuts and flips a reply everywhere: whatever
// comes, it is an error or the very reply, and never a panic.
func TestReadReplySurvivesDamage(t *testing.T) {
	s := newServer(t)
	request, response := exchangeFor(t, s, s.certificates())
	raw := response.encode(t)
	const stride = 7
	for at := 0; at < len(raw); at += stride {
		if _, err := request.ReadReply(raw[:at], today); err == nil {
			t.Fatalf("a reply of %d of %d bytes was taken", at, len(raw))
		}
		damaged := bytes.Clone(raw)
		damaged[at] ^= 0x41
		reply, err := request.ReadReply(damaged, today)
		if err == nil && !equalCertificates([]*x509.Certificate{reply.Certificate}, response.certificates) {
			t.Fatalf("with byte %d flipped another certificate was taken", at)
		}
	}
}

func TestReadReplyBoundsNesting(t *testing.T) {
	s := newServer(t)
	request, _ := exchangeFor(t, s, s.certificates())
	deep := func(levels int) []byte {
		return []byte(strings.Repeat("\x30\x80", levels) + strings.Repeat("\x00\x00", levels))
	}
	_, err := request.ReadReply(deep(33), today)
	wantError(t, err, "nested too deeply")
	_, err = request.ReadReply(deep(32), today)
	wantError(t, err, "no CMS")
	runaway := []byte{0x30, 0x08, 0x30, 0x03, 0x04, 0x04, 0x00, 0x00, 0x00, 0x00}
	_, err = request.ReadReply(runaway, today)
	wantError(t, err, "not well-formed")
	// An element with the tag of an end marker is one thing to who skips it and
	// another to who stops at it: in its content nobody would count levels.
	marker := []byte{0x30, 0x80, 0x30, 0x80, 0x00, 0x02, 0x05, 0x02, 0x00, 0x00, 0x00, 0x00}
	_, err = request.ReadReply(marker, today)
	wantError(t, err, "not well-formed")
}

func again(t *testing.T, n int, value string) []cms.Attribute {
	return []cms.Attribute{{Type: scepOID(n), Value: text(t, value)}}
}

func flipLast(raw []byte) []byte {
	raw[len(raw)-1] ^= 1
	return raw
}

// flipEnvelope changes a byte of the content, which stands in the first third.
func flipEnvelope(raw []byte) []byte {
	raw[len(raw)/3] ^= 1
	return raw
}

// TestReadReplyWantsSignedData takes no signature over another content type:
// it could have been made for another purpose.
func TestReadReplyWantsSignedData(t *testing.T) {
	s := newServer(t)
	request, p := exchangeFor(t, s, s.certificates())
	message := craft.SignedData{
		Digest: crypto.SHA256, Signer: s.ra, Key: raKey(), Certificates: [][]byte{s.ra.Raw},
		Attributes: []craft.Attribute{
			{Type: scepOID(2), Values: [][]byte{text(t, "3")}},
			{Type: scepOID(3), Values: [][]byte{text(t, "3")}},
			{Type: scepOID(5), Values: [][]byte{marshal(t, p.senderNonce)}},
			{Type: scepOID(6), Values: [][]byte{marshal(t, p.recipientNonce)}},
			{Type: scepOID(7), Values: [][]byte{text(t, p.transactionID)}},
		},
	}
	raw, err := message.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := request.ReadReply(raw, today); err != nil {
		t.Fatalf("unchanged: %v", err)
	}
	empty := sha256.Sum256(nil)
	message.Replace = []craft.Attribute{
		{Type: craft.OIDContentType, Values: [][]byte{marshal(t, craft.OIDSignedData)}},
		{Type: craft.OIDMessageDigest, Values: [][]byte{craft.Octets(empty[:])}},
	}
	if raw, err = message.Encode(); err != nil {
		t.Fatal(err)
	}
	_, err = request.ReadReply(raw, today)
	wantError(t, err, "RFC 5652 §11.1")
}
