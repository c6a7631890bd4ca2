package client_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	smallscep "github.com/smallstep/scep"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/scep/client"
	"understudy.example/understudy/scep/internal/cms"
)

var enrolment = client.Enrolment{
	Subject:   pkix.Name{CommonName: "C02XL0GTJGH5", OrganizationalUnit: []string{"Macs"}},
	Challenge: "abcdefghijklmnop",
}

func enrol() client.Enrolment {
	e := enrolment
	e.Key = deviceKey()
	return e
}

// TestEnrolAtSmallstep enrols where smallstep/scep reads the request and
// writes the reply, which breaks two rules: single DES, and our nonce as its
// own.
func TestEnrolAtSmallstep(t *testing.T) {
	s := newServer(t)
	var seen *smallscep.PKIMessage
	s.reply = func(m *smallscep.PKIMessage, _ []byte) []byte {
		seen = m
		return s.success(m)
	}
	c := s.client()
	c.CAIdentifier = "Device Management"
	c.UserAgent = "test/1"
	_, err := c.Enrol(t.Context(), enrol())
	wantError(t, err, "single DES", "senderNonce is the request's own", s.URL)

	c.Tolerant = true
	result, err := c.Enrol(t.Context(), enrol())
	if err != nil {
		t.Fatal(err)
	}
	if result.Status != client.Success || !deviceKey().PublicKey.Equal(result.Certificate.PublicKey) {
		t.Errorf("got status %q and certificate %v", result.Status, result.Certificate)
	}
	if len(result.Warnings) != 2 {
		t.Errorf("warnings %q, want two", result.Warnings)
	}
	if seen.MessageType != smallscep.PKCSReq || seen.ChallengePassword != string(enrolment.Challenge) {
		t.Errorf("server saw type %s and challenge %q", seen.MessageType, seen.ChallengePassword)
	}
	if err := seen.CSR.CheckSignature(); err != nil || seen.CSR.Subject.CommonName != enrolment.Subject.CommonName {
		t.Errorf("server saw subject %v, signature %v", seen.CSR.Subject, err)
	}
	spki, err := x509.MarshalPKIXPublicKey(deviceKey().Public())
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%X", sha1.Sum(spki)); string(seen.TransactionID) != want || result.TransactionID != want {
		t.Errorf("transactionID %q, want %q", seen.TransactionID, want)
	}
	var operations []string
	for _, r := range s.requests[3:] {
		operations = append(operations, r.Method+" "+r.URL.Query().Get("operation")+" "+r.URL.Query().Get("message")+" "+r.UserAgent())
	}
	if want := []string{
		"GET GetCACert Device Management test/1", "GET GetCACaps Device Management test/1", "POST PKIOperation  test/1",
	}; !slices.Equal(operations, want) {
		t.Errorf("requests %q, want %q", operations, want)
	}
}

func TestFailureOfSmallstep(t *testing.T) {
	s := newServer(t)
	s.reply = func(m *smallscep.PKIMessage, _ []byte) []byte {
		reply, err := m.Fail(s.ra, raKey(), smallscep.BadTime)
		if err != nil {
			t.Error(err)
			return nil
		}
		return reply.Raw
	}
	c := s.client()
	c.Tolerant = true
	result, err := c.Enrol(t.Context(), enrol())
	if err != nil || result.Status != client.Failure || result.FailInfo != client.BadTime || result.Certificate != nil {
		t.Errorf("got %+v, %v", result, err)
	}
}

// TestAlgorithms follows the capabilities as Apple does, and lets the caller
// overrule them.
func TestAlgorithms(t *testing.T) {
	s := newServer(t)
	cases := map[string]struct {
		capabilities string
		method       client.Method
		cipher       client.Cipher
		digest       crypto.Hash
		wantMethod   string
		wantCipher   cms.Cipher
		wantDigest   crypto.Hash
	}{
		"none":         {"", client.Auto, "", 0, "GET", cms.TripleDESCBC, crypto.SHA1},
		"all":          {"AES\nDES3\nSHA-1\r\nSHA-256\r\nSHA-384\nSHA-512\nPOSTPKIOperation", client.Auto, "", 0, "POST", cms.AES128CBC, crypto.SHA512},
		"standard":     {"SCEPStandard\n", client.Auto, "", 0, "POST", cms.AES128CBC, crypto.SHA256},
		"other case":   {"aes\nSHA-1\npostpkioperation", client.Auto, "", 0, "GET", cms.TripleDESCBC, crypto.SHA1},
		"by the user":  {"SHA-1", client.POST, client.AES256CBC, crypto.SHA384, "POST", cms.AES256CBC, crypto.SHA384},
		"GET demanded": {"SCEPStandard", client.GET, "", 0, "GET", cms.AES128CBC, crypto.SHA256},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s.capabilities, s.requests, s.messages = c.capabilities, nil, nil
			user := s.client()
			user.Tolerant, user.Method = true, c.method
			e := enrol()
			e.Cipher, e.Digest = c.cipher, c.digest
			if _, err := user.Enrol(t.Context(), e); err != nil {
				t.Fatal(err)
			}
			if got := s.requests[len(s.requests)-1].Method; got != c.wantMethod {
				t.Errorf("message came by %s, want %s", got, c.wantMethod)
			}
			// Both identifiers stand in the message as they are.
			for what, oid := range map[string]asn1.ObjectIdentifier{"cipher": c.wantCipher.OID(), "digest": cms.DigestOID(c.wantDigest)} {
				if !bytes.Contains(s.messages[0], marshal(t, oid)) {
					t.Errorf("message is not in %s %v", what, oid)
				}
			}
		})
	}
	s.capabilities = "AES\nPOSTPKIOperation"
	_, err := s.client().Enrol(t.Context(), enrol())
	wantError(t, err, "no digest", "§3.5.2")
}

func TestSignerIsAppleLike(t *testing.T) {
	s := newServer(t)
	request, err := client.BuildRequest(nil, enrol(), s.certificates(), today)
	if err != nil {
		t.Fatal(err)
	}
	c := request.Signer
	if got := c.Subject.String(); len(got) != len("CN=00000000-0000-4000-8000-000000000000") || got[17] != '4' {
		t.Errorf("signer is %q, want CN=<random UUID>", got)
	}
	if c.KeyUsage != signAndEncrypt {
		t.Errorf("signer's key usage is %b", c.KeyUsage)
	}
	if err := c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature); err != nil || c.Issuer.String() != c.Subject.String() {
		t.Errorf("signer is not self-signed: issuer %v, %v", c.Issuer, err)
	}
	again, err := client.BuildRequest(nil, enrol(), s.certificates(), today)
	if err != nil || again.Signer.Subject.String() == c.Subject.String() || bytes.Equal(again.SenderNonce, request.SenderNonce) {
		t.Error("two requests share signer or nonce")
	}
}

// TestRequestOfARenewal signs with an old certificate and key.
func TestRequestOfARenewal(t *testing.T) {
	s := newServer(t)
	old := issue(t, "old", signAndEncrypt, false, otherKey(), caKey(), s.ca)
	var seen *smallscep.PKIMessage
	s.reply = func(m *smallscep.PKIMessage, _ []byte) []byte {
		seen = m
		return s.success(m)
	}
	c := s.client()
	c.Tolerant = true
	e := enrol()
	e.Type, e.Signer, e.SignerKey, e.TransactionID = client.RenewalReq, old, otherKey(), "renewal_1"
	result, err := c.Enrol(t.Context(), e)
	if err != nil || !deviceKey().PublicKey.Equal(result.Certificate.PublicKey) {
		t.Fatalf("got %+v, %v", result, err)
	}
	if seen.MessageType != smallscep.RenewalReq || seen.TransactionID != "renewal_1" {
		t.Errorf("server saw type %q and transaction %q", string(seen.MessageType), seen.TransactionID)
	}
	if !bytes.Contains(s.messages[0], old.Raw) {
		t.Error("the old certificate is not in the message")
	}
	e.SignerKey = nil
	_, err = c.Enrol(t.Context(), e)
	wantError(t, err, "both")
}

func TestRequestedNames(t *testing.T) {
	s := newServer(t)
	e := enrol()
	e.RawSubject = marshal(t, pkix.RDNSequence{{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "raw"}}})
	e.Challenge = "naïve=challenge"
	e.SubjectAltNames = client.SubjectAltNames{
		Email: []string{"a@example.com"}, DNS: []string{"a.example.com"},
		URI: []string{"urn:uuid:x"}, NTPrincipalName: []string{"user@example.com"},
	}
	e.Extensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Value: []byte{0x30, 0}}}
	request, err := client.BuildRequest(nil, e, s.certificates(), today)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.ParseCertificateRequest(request.CSR)
	if err != nil {
		t.Fatal(err)
	}
	if err := csr.CheckSignature(); err != nil {
		t.Error(err)
	}
	if csr.Subject.String() != "CN=raw" || !slices.Equal(csr.EmailAddresses, e.SubjectAltNames.Email) ||
		!slices.Equal(csr.DNSNames, e.SubjectAltNames.DNS) || len(csr.URIs) != 1 || len(csr.Extensions) != 2 {
		t.Errorf("request asks for %v, %v, %v, %v, %d extensions", csr.Subject, csr.EmailAddresses, csr.DNSNames, csr.URIs, len(csr.Extensions))
	}
	for _, part := range [][]byte{utf8(t, "user@example.com"), utf8(t, "naïve=challenge")} {
		if !bytes.Contains(request.CSR, part) {
			t.Errorf("request does not hold %q as a UTF8String", part)
		}
	}
	e.SubjectAltNames.DNS = []string{"ä.example"}
	_, err = client.BuildRequest(nil, e, s.certificates(), today)
	wantError(t, err, "ASCII")
}

// TestPoll asks again for the same transaction, with a nonce of its own.
func TestPoll(t *testing.T) {
	s := newServer(t)
	request, response := exchangeFor(t, s, s.certificates())
	poll, err := request.Poll(nil)
	if err != nil {
		t.Fatal(err)
	}
	if poll.TransactionID != request.TransactionID || poll.Type != client.CertPoll || bytes.Equal(poll.SenderNonce, request.SenderNonce) {
		t.Errorf("poll %+v does not belong to %+v", poll, request)
	}
	response.recipientNonce = poll.SenderNonce
	if reply, err := poll.ReadReply(response.encode(t), today); err != nil || reply.Certificate == nil {
		t.Errorf("reply to the poll: %+v, %v", reply, err)
	}
}

// pendingServer answers PENDING so often, then SUCCESS. It knows the nonce
// from the message's bytes, since smallstep/scep cannot read a CertPoll.
func pendingServer(t *testing.T, times int) *server {
	s := newServer(t)
	var csr *x509.CertificateRequest
	var signer *x509.Certificate
	s.reply = func(m *smallscep.PKIMessage, raw []byte) []byte {
		if m != nil {
			s.decrypt(m)
			csr = m.CSR
			signer = signerOf(t, raw)
		}
		p := &response{
			messageType: "3", status: "3", transactionID: transactionOf(t, raw),
			senderNonce: bytes.Repeat([]byte{9}, 16), recipientNonce: nonceOf(t, raw),
			digest: crypto.SHA256, signer: s.ra, key: raKey(),
		}
		if times--; times < 0 {
			p.status, p.cipher, p.recipient = "0", cms.AES128CBC, signer
			p.certificates = []*x509.Certificate{s.leaf(csr)}
		}
		return p.encode(t)
	}
	return s
}

func TestEnrolPollsUntilApproved(t *testing.T) {
	s := pendingServer(t, 3)
	var waits []time.Duration
	e := enrol()
	e.Poll = client.Poll{Interval: time.Minute, MaxTime: time.Hour, Wait: func(_ context.Context, d time.Duration) error {
		waits = append(waits, d)
		return nil
	}}
	result, err := s.client().Enrol(t.Context(), e)
	if err != nil || result.Status != client.Success || result.Certificate == nil {
		t.Fatalf("got %+v, %v", result, err)
	}
	if !slices.Equal(waits, []time.Duration{time.Minute, time.Minute, time.Minute}) {
		t.Errorf("waited %v", waits)
	}
}

func TestEnrolStopsPolling(t *testing.T) {
	s := pendingServer(t, 1000)
	polls := 0
	e := enrol()
	e.Poll = client.Poll{Interval: 20 * time.Second, MaxTime: time.Minute, Wait: func(context.Context, time.Duration) error {
		polls++
		return nil
	}}
	result, err := s.client().Enrol(t.Context(), e)
	if err != nil || result.Status != client.Pending || polls != 3 {
		t.Errorf("got %+v, %v after %d polls; want PENDING after 3", result, err, polls)
	}
	e.Poll = client.Poll{}
	if result, err := s.client().Enrol(t.Context(), e); err != nil || result.Status != client.Pending {
		t.Errorf("without a policy: %+v, %v", result, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	e.Poll = client.Poll{Interval: time.Hour, MaxTime: time.Hour, Wait: func(ctx context.Context, _ time.Duration) error {
		cancel()
		return ctx.Err()
	}}
	if _, err := s.client().Enrol(ctx, e); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled wait gave %v", err)
	}
}

func TestFingerprint(t *testing.T) {
	s := newServer(t)
	long, short := sha256.Sum256(s.ca.Raw), sha1.Sum(s.ca.Raw)
	ofRA := sha256.Sum256(s.ra.Raw)
	stranger := issue(t, "Stranger", x509.KeyUsageCertSign, true, otherKey(), nil, nil)
	for _, good := range []string{
		hex.EncodeToString(long[:]), strings.ToUpper(hex.EncodeToString(short[:])),
		strings.ReplaceAll(fmt.Sprintf("% X", long), " ", ":"), hex.EncodeToString(ofRA[:]), "",
	} {
		c := s.client()
		c.CAFingerprint = good
		if _, err := c.CACertificates(t.Context()); err != nil {
			t.Errorf("fingerprint %q: %v", good, err)
		}
	}
	c := s.client()
	foreign := sha256.Sum256(stranger.Raw)
	c.CAFingerprint = hex.EncodeToString(foreign[:])
	_, err := c.CACertificates(t.Context())
	wantError(t, err, c.CAFingerprint, "no certificate has the fingerprint", s.URL)
	c.CAFingerprint = "abc"
	_, err = c.CACertificates(t.Context())
	wantError(t, err, "not a SHA-256 or SHA-1")
}

// TestFingerprintOfABystander gives the attacker's RA beside the genuine CA:
// its presence in the bundle must not be enough.
func TestFingerprintOfABystander(t *testing.T) {
	genuine := issue(t, "Genuine", x509.KeyUsageCertSign, true, caKey(), nil, nil)
	attacker := issue(t, "Attacker", signAndEncrypt, true, otherKey(), nil, nil)
	server := answering(t, "application/x-x509-ca-ra-cert", bundle(t, attacker, genuine))
	sum := sha256.Sum256(genuine.Raw)
	c := &client.Client{URL: server, CAFingerprint: hex.EncodeToString(sum[:]), Clock: clock.NewManual(today)}
	_, err := c.CACertificates(t.Context())
	wantError(t, err, "does not chain to the CA")
}

// TestFingerprintOfHalfAnRA gives the attacker's certificate for encryption
// beside the genuine CA and its certificate for signing: requests would be
// encrypted to the attacker, challenge and all.
func TestFingerprintOfHalfAnRA(t *testing.T) {
	genuine := issue(t, "Genuine", x509.KeyUsageCertSign, true, caKey(), nil, nil)
	signing := issue(t, "Signing", x509.KeyUsageDigitalSignature, false, raKey(), caKey(), genuine)
	attacker := issue(t, "Attacker", x509.KeyUsageKeyEncipherment, false, otherKey(), nil, nil)
	sum := sha256.Sum256(genuine.Raw)
	c := &client.Client{
		URL:           answering(t, "application/x-x509-ca-ra-cert", bundle(t, signing, attacker, genuine)),
		CAFingerprint: hex.EncodeToString(sum[:]), Clock: clock.NewManual(today),
	}
	_, err := c.CACertificates(t.Context())
	wantError(t, err, `"CN=Attacker" does not chain to the CA`)
}

// TestFingerprintAnchors has a certificate chain to the CA with the wanted
// fingerprint, and to no other that is beside it.
func TestFingerprintAnchors(t *testing.T) {
	genuine := issue(t, "Genuine", x509.KeyUsageCertSign, true, caKey(), nil, nil)
	beside := issue(t, "Beside", x509.KeyUsageCertSign, true, otherKey(), nil, nil)
	ra := issue(t, "RA", signAndEncrypt, false, raKey(), caKey(), genuine)
	for _, anchor := range []*x509.Certificate{genuine, ra} {
		sum := sha256.Sum256(anchor.Raw)
		c := &client.Client{
			URL:           answering(t, "application/x-x509-ca-ra-cert", bundle(t, ra, genuine, beside)),
			CAFingerprint: hex.EncodeToString(sum[:]), Clock: clock.NewManual(today),
		}
		found, err := c.CACertificates(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := []*x509.Certificate{genuine}
		if anchor == ra { // which is no CA, and vouches for the whole answer
			want = []*x509.Certificate{genuine, beside}
		}
		if !equalCertificates(found.Anchors, want) {
			t.Errorf("with the fingerprint of %v the anchors are %d certificates", anchor.Subject, len(found.Anchors))
		}
	}
}

func TestCACertificates(t *testing.T) {
	root := issue(t, "Root", x509.KeyUsageCertSign, true, caKey(), nil, nil)
	both := issue(t, "Both", signAndEncrypt, false, raKey(), caKey(), root)
	signing := issue(t, "Signing", x509.KeyUsageDigitalSignature, false, raKey(), caKey(), root)
	encryption := issue(t, "Encryption", x509.KeyUsageKeyEncipherment, false, otherKey(), caKey(), root)
	vast := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 8192, 1), E: 65537}}
	slow := issue(t, "Slow", signAndEncrypt, false, vast, caKey(), root)
	const one, several = "application/x-x509-ca-cert", "application/x-x509-ca-ra-cert"
	cases := map[string]struct {
		contentType         string
		body                []byte
		encryption, signing *x509.Certificate
		want                string
	}{
		"RA first":            {several, bundle(t, both, root), both, both, ""},
		"RA last":             {several, bundle(t, root, both), both, both, ""},
		"RA in two parts":     {several, bundle(t, root, signing, encryption), encryption, signing, ""},
		"single":              {one, root.Raw, root, root, ""},
		"no usable one":       {several, bundle(t, root, signing), nil, nil, "§2.1.2"},
		"with a charset":      {one + "; charset=utf-8", root.Raw, nil, nil, "not exactly"},
		"type of the other":   {one, bundle(t, both, root), nil, nil, "§4.2.1.1"},
		"single in a bundle":  {several, root.Raw, nil, nil, "§3.4"},
		"empty":               {several, nil, nil, nil, "§3.4"},
		"HTML":                {"text/html", []byte("<html>"), nil, nil, "§4.2.1"},
		"a key too large":     {one, slow.Raw, nil, nil, "8193 bits"},
		"one key too large":   {several, bundle(t, both, root, slow), nil, nil, "8193 bits"},
		"signed, with no use": {several, signedMessage(t, both), nil, nil, "signers or content"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			user := &client.Client{URL: answering(t, c.contentType, c.body), Clock: clock.NewManual(today)}
			found, err := user.CACertificates(t.Context())
			if c.want != "" {
				wantError(t, err, c.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if found.Encryption.Subject.String() != c.encryption.Subject.String() || found.Signing.Subject.String() != c.signing.Subject.String() {
				t.Errorf("encrypts to %v, believes %v", found.Encryption.Subject, found.Signing.Subject)
			}
			if found.Issuer.Subject.CommonName != "Root" {
				t.Errorf("issuer is %v", found.Issuer.Subject)
			}
		})
	}
}

func TestExpiredRA(t *testing.T) {
	s := newServer(t)
	c := s.client()
	c.Clock = clock.NewManual(today.Add(48 * time.Hour))
	_, err := c.CACertificates(t.Context())
	wantError(t, err, "expired")
}

func TestHTTPFaults(t *testing.T) {
	cases := map[string]struct {
		handler http.HandlerFunc
		want    []string
	}{
		"404": {http.NotFound, []string{"HTTP 404", "check the SCEP URL"}},
		"503": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusServiceUnavailable)
		}, []string{"HTTP 503", "in 7 s"}},
		"503 until a day": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "Wed, 21 Oct 2026 07:28:00 GMT")
			w.WriteHeader(http.StatusServiceUnavailable)
		}, []string{"HTTP 503", "try again later"}},
		"500": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "out of \x1b[31mluck", http.StatusInternalServerError)
		}, []string{"HTTP 500", `"out of [31mluck"`}},
		"endless": {func(w http.ResponseWriter, _ *http.Request) {
			for range client.MaxReply/1024 + 1 {
				_, _ = w.Write(make([]byte, 1024))
			}
		}, []string{"longer than 1048576 bytes"}},
		"no longer than allowed": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(make([]byte, client.MaxReply))
		}, []string{"Content-Type is"}},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
		}, []string{"no answer"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(c.handler)
			defer server.Close()
			user, err := client.New(server.URL + "/scep")
			if err != nil {
				t.Fatal(err)
			}
			_, err = user.CACertificates(t.Context())
			wantError(t, err, append(c.want, "GetCACert at "+server.URL+"/scep")...)
			if strings.Contains(err.Error(), "operation=") {
				t.Errorf("error shows the query: %v", err)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	const nobody = "http://127.0.0.1:1" // that of a server which closed may be somebody else's by now
	user := &client.Client{URL: nobody}
	_, err := user.Enrol(t.Context(), enrol())
	var u *client.UnreachableError
	if !errors.As(err, &u) || u.Operation != "GetCACert" {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := user.Capabilities(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// A password in the URL is for the server, not for logs.
func TestPasswordInURL(t *testing.T) {
	long := answering(t, "text/plain", make([]byte, client.MaxReply+1))
	refusing := httptest.NewServer(http.NotFoundHandler())
	defer refusing.Close()
	for _, at := range []string{"127.0.0.1:1", strings.TrimPrefix(long, "http://"), strings.TrimPrefix(refusing.URL, "http://")} {
		user := &client.Client{URL: "http://mdm:hunter2@" + at + "/scep"}
		if _, err := user.CACertificates(t.Context()); err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "mdm:xxxxx@") {
			t.Errorf("%s: %v", at, err)
		}
	}
	for _, url := range []string{"ftp://mdm:hunter2@127.0.0.1/", "http://mdm:hunter2@127.0.0.1/?operation=x", "http://mdm:hunter2@[::1"} {
		if _, err := client.New(url); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Error(err)
		}
	}
}

func TestReplyMustBeTyped(t *testing.T) {
	user := &client.Client{URL: answering(t, "application/x-pki-message; charset=x", []byte{0x30, 0})}
	_, err := user.Send(t.Context(), []byte{1}, client.POST)
	wantError(t, err, "not exactly", "§4.3.1")
}

func TestOldServerHasNoCapabilities(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	user := &client.Client{URL: server.URL}
	capabilities, err := user.Capabilities(t.Context())
	if err != nil || len(capabilities) != 0 || capabilities.POST() || capabilities.Renewal() {
		t.Errorf("got %v, %v", capabilities, err)
	}
}

func TestNewRefusesOtherURLs(t *testing.T) {
	for _, bad := range []string{"", "host/scep", "ftp://host/", "http:///x", "http://h/?operation=x", "http://h/#x", "http://h/%zz"} {
		if _, err := client.New(bad); err == nil {
			t.Errorf("URL %q was taken", bad)
		}
		if _, err := (&client.Client{URL: bad}).CACertificates(t.Context()); err == nil {
			t.Errorf("URL %q was called", bad)
		}
	}
}

func TestPasswordHides(t *testing.T) {
	const challenge = client.Password("hunter2hunter2")
	e := client.Enrolment{Challenge: challenge}
	out, err := json.Marshal(map[string]client.Password{"c": challenge})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		fmt.Sprint(challenge), fmt.Sprintf("%v %+v %#v %q %x %d", challenge, challenge, challenge, challenge, challenge, challenge),
		fmt.Sprintf("%+v", e), fmt.Sprintf("%#v", e), string(out), challenge.LogValue().String(),
	} {
		if strings.Contains(text, "hunter2") || strings.Contains(text, "68756e74657232") {
			t.Errorf("%q shows the challenge", text)
		}
	}
}

func TestBuildRequestSaysWhatIsMissing(t *testing.T) {
	s := newServer(t)
	ca := s.certificates()
	for want, change := range map[string]func(*client.Enrolment){
		"no key":      func(e *client.Enrolment) { e.Key = nil },
		"cipher":      func(e *client.Enrolment) { e.Cipher = "DES-CBC" },
		"digest":      func(e *client.Enrolment) { e.Digest = crypto.MD5 },
		"certificate": func(e *client.Enrolment) { e.CSR = []byte{1} },
	} {
		e := enrol()
		change(&e)
		_, err := client.BuildRequest(nil, e, ca, today)
		wantError(t, err, want, "build SCEP request")
	}
}

// answering starts a server that has one answer for everything.
func answering(t *testing.T, contentType string, body []byte) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write(body)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func bundle(t *testing.T, certs ...*x509.Certificate) []byte {
	t.Helper()
	der, err := cms.Bundle(certs, nil)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func signedMessage(t *testing.T, signer *x509.Certificate) []byte {
	t.Helper()
	return (&response{digest: crypto.SHA256, signer: signer, key: raKey()}).encode(t)
}
