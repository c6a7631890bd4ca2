package server_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.mozilla.org/pkcs7"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep/client"
	"understudy.example/understudy/scep/client/craft"
)

// serverCases are about what the server says of itself.
var serverCases = []conformanceCase{
	{1, "GetCACaps answers whole words in lines", "", func(t *testing.T, w *world) {
		a := w.exchange(t, http.MethodGet, "/scep/default?operation=GetCACaps", "", nil)
		if a.status != http.StatusOK || a.contentType != "text/plain" {
			t.Errorf("HTTP %d, type %q", a.status, a.contentType)
		}
		const want = "POSTPKIOperation\nSHA-512\nSHA-384\nSHA-256\nSHA-1\nDES3\nAES\nSCEPStandard\n"
		if string(a.body) != want {
			t.Errorf("answer is %q, want %q", a.body, want)
		}
	}},
	{2, "GetCACaps with any message", "", func(t *testing.T, w *world) {
		want := w.exchange(t, http.MethodGet, "/scep/default?operation=GetCACaps", "", nil)
		for _, query := range []string{"message=CA", "message=Device%20Management%20CA", "message=", "message=%"} {
			a := w.exchange(t, http.MethodGet, "/scep/default?operation=GetCACaps&"+query, "", nil)
			if a.status != want.status || !bytes.Equal(a.body, want.body) {
				t.Errorf("%s: HTTP %d, %q", query, a.status, a.body)
			}
		}
	}},
	{3, "SCEPStandard holds: AES, SHA-256 and POST", "", enrolsAs(client.POST, client.AES128CBC, crypto.SHA256)},
	{4, "what is offered works", "", offersWork},
	{5, "GetCACert of a single CA", ca.ShapeSingle, func(t *testing.T, w *world) {
		a := w.exchange(t, http.MethodGet, "/scep/default?operation=GetCACert", "", nil)
		if a.status != http.StatusOK || a.contentType != "application/x-x509-ca-cert" || !bytes.Equal(a.body, w.authority.Root().Raw) {
			t.Errorf("HTTP %d, type %q, %d bytes; want the CA's DER", a.status, a.contentType, len(a.body))
		}
	}},
	{6, "GetCACert of a chain: RA, issuer, root", ca.ShapeChain, certificateBundle},
	{7, "GetCACert with any message", "", func(t *testing.T, w *world) {
		want := w.exchange(t, http.MethodGet, "/scep/default?operation=GetCACert", "", nil)
		for _, query := range []string{"message=0", "message=My%20CA", "message=My+CA", "message=a&other=b"} {
			a := w.exchange(t, http.MethodGet, "/scep/default?operation=GetCACert&"+query, "", nil)
			if a.status != want.status || a.contentType != want.contentType || !bytes.Equal(a.body, want.body) {
				t.Errorf("%s: HTTP %d, %q", query, a.status, a.contentType)
			}
		}
	}},
	{8, "the SCEP certificate may sign and decrypt", "", func(t *testing.T, w *world) {
		const both = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
		if got := w.ca.Encryption; got.KeyUsage&both != both || !got.Equal(w.ca.Signing) {
			t.Errorf("%v has key usage %b", got.Subject, got.KeyUsage)
		}
		if w.shape == ca.ShapeChain && w.ca.Issuer.KeyUsage&x509.KeyUsageKeyEncipherment != 0 {
			t.Error("the issuer may decrypt, so Apple would take it for the RA when it stands first")
		}
	}},
	{9, "paths that clients append to", "", func(t *testing.T, w *world) {
		live, ok := w.set.ByName("default")
		if !ok {
			t.Fatal("no default configuration")
		}
		okta := strings.TrimPrefix(w.server.SCEPURL(live.Record), w.base)
		for _, path := range []string{
			"/scep", "/scep/", "/scep/pkiclient.exe", "/cgi-bin/pkiclient.exe", "/scep/default", "/scep/default/",
			"/scep/default/pkiclient.exe", "/scep/default/pkiclient.exe/", okta, okta + "/", okta + "/pkiclient.exe",
		} {
			r := w.request(t)
			a := w.exchange(t, http.MethodPost, path+"?operation=PKIOperation", messageType, bytes.NewReader(encode(t, r)))
			if reply := w.read(t, r, a); reply.Status != client.Success {
				t.Errorf("%s: status %s", path, reply.Status)
			}
		}
	}},
	{11, "no next CA", "", func(t *testing.T, w *world) {
		a := w.exchange(t, http.MethodGet, "/scep/default?operation=GetNextCACert", "", nil)
		if a.status < 400 || a.status > 499 {
			t.Errorf("HTTP %d, want 4xx", a.status)
		}
		if caps, err := w.device("default").Capabilities(t.Context()); err != nil || caps.Has("GetNextCACert") {
			t.Errorf("capabilities %v, %v", caps, err)
		}
	}},
}

// certificateBundle reads the answer with the other CMS library.
func certificateBundle(t *testing.T, w *world) {
	a := w.exchange(t, http.MethodGet, "/scep/default?operation=GetCACert", "", nil)
	if a.status != http.StatusOK || a.contentType != "application/x-x509-ca-ra-cert" {
		t.Fatalf("HTTP %d, type %q", a.status, a.contentType)
	}
	bundle, err := pkcs7.Parse(a.body)
	if err != nil {
		t.Fatal(err)
	}
	ra, _ := w.authority.RA()
	want := []*x509.Certificate{ra, w.authority.Issuer(), w.authority.Root()}
	if !slices.EqualFunc(bundle.Certificates, want, (*x509.Certificate).Equal) {
		t.Errorf("certificates are not RA, issuer, root but %d others", len(bundle.Certificates))
	}
	if len(bundle.Signers) != 0 || len(bundle.Content) != 0 || len(bundle.CRLs) != 0 {
		t.Error("the bundle has signers, content or CRLs")
	}
}

// enrolsAs enrols with our own client from the beginning.
func enrolsAs(m client.Method, c client.Cipher, h crypto.Hash) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		device := w.device("default")
		device.Method = m
		sum := sha256.Sum256(w.authority.Root().Raw)
		device.CAFingerprint = hex.EncodeToString(sum[:])
		result, err := device.Enrol(t.Context(), client.Enrolment{
			Key: deviceKey(), Subject: pkix.Name{CommonName: "C02ENROLSAS0"}, Challenge: worldSecret,
			Cipher: c, Digest: h,
		})
		if err != nil {
			t.Fatal(err)
		}
		if result.Status != client.Success || result.Cipher != c || result.Digest != h {
			t.Errorf("status %s in %s and %v, want SUCCESS in %s and %v", result.Status, result.Cipher, result.Digest, c, h)
		}
	}
}

func offersWork(t *testing.T, w *world) {
	for _, name := range []string{"default", "modern"} {
		caps, err := w.device(name).Capabilities(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ciphers := map[string]craft.Cipher{"AES": craft.AES128CBC, "DES3": craft.TripleDESCBC}
		digests := map[string]crypto.Hash{"SHA-1": crypto.SHA1, "SHA-256": crypto.SHA256, "SHA-384": crypto.SHA384, "SHA-512": crypto.SHA512}
		for _, word := range caps {
			r := w.request(t)
			if c, ok := ciphers[word]; ok {
				r.Envelope.Cipher = c
			}
			if h, ok := digests[word]; ok {
				r.Message.Digest = h
			}
			if word == "Renewal" || word == "GetNextCACert" {
				t.Errorf("%s offers %s, which it does not have", name, word)
			}
			w.enrolled(t, name, r)
		}
	}
	if caps, err := w.device("modern").Capabilities(t.Context()); err != nil || caps.Has("SHA-1") {
		t.Errorf("a configuration that refuses SHA-1 offers %v, %v", caps, err)
	}
}

// flowCases are about more than one message.
var flowCases = []conformanceCase{
	{21, "valid challenge", "", func(t *testing.T, w *world) {
		r := w.request(t)
		reply := w.judge(t, "default", r, encode(t, r), verdict{})
		if len(reply.Bundle) != 1 || !deviceKey().PublicKey.Equal(reply.Certificate.PublicKey) {
			t.Errorf("the bundle holds %d certificates", len(reply.Bundle))
		}
		roots := x509.NewCertPool()
		roots.AddCert(w.authority.Root())
		between := x509.NewCertPool()
		between.AddCert(w.authority.Issuer())
		if _, err := reply.Certificate.Verify(x509.VerifyOptions{
			Roots: roots, Intermediates: between, CurrentTime: w.clock.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}); err != nil {
			t.Errorf("certificate does not verify for clientAuth up to the root: %v", err)
		}
	}},
	{22, "attributes of the reply", "", func(t *testing.T, w *world) {
		// Our client compares transactionID, recipientNonce, messageType,
		// string types and the freshness of senderNonce, and reports
		// deviations, which read does not forgive.
		r := w.request(t)
		id := "Zm9v+YmFy/abc=(1)"
		r.Message.Set(craft.OIDTransactionID, craft.Text(cbasn1.UTF8String, id))
		first := w.read(t, r, w.post(t, "default", encode(t, r)))
		if first.Status != client.Success {
			t.Fatalf("status %s", first.Status)
		}
		nonceOf(16)(t, w, r)
		second := w.read(t, r, w.post(t, "default", encode(t, r)))
		if bytes.Equal(first.SenderNonce, second.SenderNonce) {
			t.Error("two replies have the same senderNonce")
		}
		if first.SigningTime.IsZero() || first.SignatureAlgorithm.String() != "1.2.840.113549.1.1.1" {
			t.Errorf("signingTime %v, signature algorithm %v; want rsaEncryption", first.SigningTime, first.SignatureAlgorithm)
		}
	}},
	{23, "the envelope is the signer's alone", "", func(t *testing.T, w *world) {
		r := w.request(t)
		r.Message.Certificates = append(r.Message.Certificates, signerOf(t, otherKey()).Raw)
		r.Envelope.Cipher = craft.AES256CBC
		a := w.post(t, "default", encode(t, r))
		if reply := w.read(t, r, a); reply.Cipher != client.AES256CBC { // read counts the recipients
			t.Errorf("reply is in %s", reply.Cipher)
		}
		stranger := w.expectation(r)
		stranger.SignerKey = otherKey()
		if _, err := stranger.ReadReply(a.body, w.clock.Now()); err == nil {
			t.Error("another key opens the reply")
		}
	}},
	{24, "a FAILURE has an empty content and no envelope", "", func(t *testing.T, w *world) {
		r := w.request(t)
		r.CSR.Challenges = printable(strings.Repeat("x", 32))
		a := w.post(t, "default", encode(t, r))
		w.read(t, r, a) // has seen to it that eContent is there and empty
		if len(a.body) == 0 || bytes.Contains(a.body, marshal(t, craft.OIDEnvelopedData)) {
			t.Error("the FAILURE holds an EnvelopedData")
		}
	}},
	{30, "one FAILURE for everything in and behind decryption", "", uniformFailures},
	{45, "BER with indefinite lengths and strings in pieces", "", func(t *testing.T, w *world) {
		r := w.request(t)
		encodeEnvelope(t, r)
		var err error
		if r.Message.Content, err = craft.Indefinite(r.Message.Content); err != nil {
			t.Fatal(err)
		}
		raw, err := craft.Indefinite(encode(t, r))
		if err != nil {
			t.Fatal(err)
		}
		w.judge(t, "default", r, raw, verdict{})
	}},
	{49, "the same bytes twice", "", func(t *testing.T, w *world) {
		r := w.request(t)
		raw := encode(t, r)
		first := w.judge(t, "default", r, raw, verdict{})
		before := w.issued(t)
		second := w.read(t, r, w.post(t, "default", raw))
		if second.Status != client.Success || !second.Certificate.Equal(first.Certificate) {
			t.Errorf("second answer is %s with another certificate", second.Status)
		}
		if outcome, _ := w.log.verdict(t); outcome != "repeated" {
			t.Errorf("outcome is %q", outcome)
		}
		w.expectIssued(t, before)
	}},
	{49, "the same bytes after the retry period", "", func(t *testing.T, w *world) {
		r := w.request(t)
		raw := encode(t, r)
		w.judge(t, "default", r, raw, verdict{})
		live, _ := w.set.ByName("default")
		w.clock.Advance(live.RetryPeriod())
		w.judge(t, "default", r, raw, verdict{failInfo: client.BadRequest, reason: refusal.Replayed})
	}},
	{49, "same transactionID and key, another CSR", "", func(t *testing.T, w *world) {
		r := w.request(t)
		first := w.judge(t, "default", r, encode(t, r), verdict{})
		r.CSR.Subject = nameDER(t, "C02RENAMED00")
		if second := w.judge(t, "default", r, encode(t, r), verdict{}); second.Certificate.Equal(first.Certificate) {
			t.Error("another CSR got the first one's certificate")
		}
	}},
	{50, "same transactionID, another key", "", func(t *testing.T, w *world) {
		r := w.request(t)
		raw := encode(t, r)
		first := w.judge(t, "default", r, raw, verdict{})
		thief := w.request(t)
		thief.Message.Set(craft.OIDTransactionID, r.Message.Get(craft.OIDTransactionID))
		thief.CSR.Key, thief.Message.Key, thief.Message.Signer = otherKey(), otherKey(), signerOf(t, otherKey())
		thief.Message.Certificates = [][]byte{thief.Message.Signer.Raw}
		w.judge(t, "default", thief, encode(t, thief), verdict{failInfo: client.BadRequest, reason: refusal.TransactionConflict})
		if again := w.read(t, r, w.post(t, "default", raw)); !again.Certificate.Equal(first.Certificate) {
			t.Error("the first transaction did not stay as it was")
		}
	}},
	{50, "same transactionID, signer of another key", "", func(t *testing.T, w *world) {
		r := w.request(t)
		w.judge(t, "default", r, encode(t, r), verdict{})
		r.Message.Key, r.Message.Signer = otherKey(), signerOf(t, otherKey())
		r.Message.Certificates = [][]byte{r.Message.Signer.Raw}
		w.judge(t, "default", r, encode(t, r), verdict{failInfo: client.BadMessageCheck, reason: refusal.SignerNotTrusted})
	}},
	{56, "Renewal is not offered", "", func(t *testing.T, w *world) {
		caps, err := w.device("default").Capabilities(context.Background())
		if err != nil || caps.Renewal() {
			t.Errorf("capabilities %v, %v", caps, err)
		}
		r := w.request(t)
		renewing(t, w, r)
		r.CSR.Challenges = nil
		typed("17")(t, w, r)
		w.judge(t, "default", r, encode(t, r), verdict{failInfo: client.BadRequest, reason: refusal.RenewalNotOffered})
	}},
}

// behindDecryption are the ways to fail that nobody outside may tell apart.
var behindDecryption = map[string]change{
	"other recipient": func(t *testing.T, _ *world, r *craft.Request) {
		r.Envelope.Recipients[0].Certificate = signerOf(t, otherKey())
	},
	"RSA padding":   func(_ *testing.T, _ *world, r *craft.Request) { r.Envelope.EncryptedKey = flipFirst },
	"no RSA number": func(_ *testing.T, _ *world, r *craft.Request) { r.Envelope.EncryptedKey = filled(0xff) },
	"key too short": func(_ *testing.T, _ *world, r *craft.Request) {
		r.Envelope.ContentKey = func(b []byte) []byte { return b[:8] }
	},
	"padding zero": padded(0),
	"padding long": padded(17),
	"padding torn": func(_ *testing.T, _ *world, r *craft.Request) {
		r.Envelope.Padded = func(b []byte) []byte { // two blocks of which the last says 16 and is not
			b = append(b, bytes.Repeat([]byte{16}, 16)...)
			b[len(b)-2] = 15
			return b
		}
	},
	"IV wrong":      func(_ *testing.T, _ *world, r *craft.Request) { r.Envelope.IV = flipFirst },
	"IV short":      func(_ *testing.T, _ *world, r *craft.Request) { r.Envelope.IV = func(b []byte) []byte { return b[:8] } },
	"partial block": func(_ *testing.T, _ *world, r *craft.Request) { r.Envelope.Ciphertext = dropLast },
	"no ciphertext": func(_ *testing.T, _ *world, r *craft.Request) {
		r.Envelope.Ciphertext = func([]byte) []byte { return nil }
	},
	"content no ASN.1": func(_ *testing.T, _ *world, r *craft.Request) { r.Envelope.Content = []byte("not a CSR at all") },
	"content empty":    func(_ *testing.T, _ *world, r *craft.Request) { r.Envelope.Content = []byte{} },
	"CSR signature":    func(_ *testing.T, _ *world, r *craft.Request) { r.CSR.Signature = flipFirst },
	"signer not bound": func(_ *testing.T, _ *world, r *craft.Request) { r.CSR.Key = otherKey() },
	"content is signed": func(_ *testing.T, _ *world, r *craft.Request) {
		r.Message.Content = []byte{0x30, 0x03, 0x02, 0x01, 0x05}
	},
}

func filled(with byte) func([]byte) []byte {
	return func(b []byte) []byte { return bytes.Repeat([]byte{with}, len(b)) }
}

func dropLast(b []byte) []byte { return b[:len(b)-1] }

// uniformFailures wants replies of one length and one content, save for what
// must differ: nonces, signingTime and signature.
func uniformFailures(t *testing.T, w *world) {
	length := 0
	for name, spoil := range behindDecryption {
		r := w.request(t)
		r.Message.Set(craft.OIDTransactionID, craft.Text(cbasn1.PrintableString, "uniform"))
		spoil(t, w, r)
		before := w.issued(t)
		a := w.post(t, "default", encode(t, r))
		reply := w.read(t, r, a)
		if reply.Status != client.Failure || reply.FailInfo != client.BadMessageCheck || reply.FailInfoText != "" {
			t.Errorf("%s: status %s, failInfo %s, text %q", name, reply.Status, reply.FailInfo.Name(), reply.FailInfoText)
		}
		if length == 0 {
			length = len(a.body)
		}
		if len(a.body) != length {
			t.Errorf("%s: reply has %d bytes, others %d", name, len(a.body), length)
		}
		w.expectIssued(t, before)
	}
}
