package scep_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	mozilla "go.mozilla.org/pkcs7"

	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep"
	"understudy.example/understudy/scep/internal/cms"
)

// replyAttributes are the signed attributes of a reply, as raw values.
type replyAttributes map[string]asn1.RawValue

func readReply(tb testing.TB, reply []byte) (*mozilla.PKCS7, replyAttributes) {
	tb.Helper()
	p7, err := mozilla.Parse(reply)
	if err != nil {
		tb.Fatal(err)
	}
	for _, c := range p7.Certificates { // the library compares signingTime with its own clock's time
		c.NotBefore, c.NotAfter = time.Time{}, now.AddDate(100, 0, 0)
	}
	if err := p7.Verify(); err != nil {
		tb.Fatal(err)
	}
	if len(p7.Signers) != 1 || len(p7.Certificates) != 1 {
		tb.Fatalf("%d signers, %d certificates", len(p7.Signers), len(p7.Certificates))
	}
	all := replyAttributes{}
	for n, name := range map[int]string{2: "messageType", 3: "pkiStatus", 4: "failInfo", 5: "senderNonce", 6: "recipientNonce", 7: "transactionID"} {
		var v asn1.RawValue
		if err := p7.UnmarshalSignedAttribute(scepOID(n), &v); err == nil {
			all[name] = v
		}
	}
	var v asn1.RawValue
	if err := p7.UnmarshalSignedAttribute(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 24, 1}, &v); err == nil {
		all["failInfoText"] = v
	}
	return p7, all
}

func (a replyAttributes) want(tb testing.TB, name string, tag int, text string) {
	tb.Helper()
	if v := a[name]; v.Tag != tag || string(v.Bytes) != text {
		tb.Errorf("%s = %q with tag %d, want %q with %d", name, v.Bytes, v.Tag, text, tag)
	}
}

func (a replyAttributes) wantNone(tb testing.TB, names ...string) {
	tb.Helper()
	for _, name := range names {
		if v, ok := a[name]; ok {
			tb.Errorf("%s = %q, want none", name, v.Bytes)
		}
	}
}

// Case 24 and the table of failInfo.
func TestFailure(t *testing.T) {
	r := recipient(t)
	m := decoded(t, nil)
	for _, test := range []struct {
		name  string
		cause error
		info  string
		text  string
	}{
		{"challenge", refusal.New(refusal.ChallengeWrong, "secret detail"), "2", ""},
		{"with text", refusal.WithText(refusal.RenewalNotOffered, "redistribute the profile", "x"), "2", "redistribute the profile"},
		{"algorithm", refusal.WithText(refusal.UnsupportedAlgorithm, "digest MD5 is not supported", "x"), "0", "digest MD5 is not supported"},
		{"signature", refusal.New(refusal.BadMessage, "x"), "1", ""},
		{"decryption", refusal.New(refusal.NotDecryptable, "x"), "1", ""},
		{"decryption never explains itself", refusal.WithText(refusal.NotDecryptable, "padding", "x"), "1", ""},
		{"nor does the binding of the signer", refusal.WithText(refusal.SignerNotTrusted, "signer", "x"), "1", ""},
		{"time", scep.WithFailInfo(refusal.New(refusal.BadMessage, "x"), scep.BadTime), "3", ""},
		{"certificate", scep.WithFailInfo(refusal.New(refusal.Denied, "x"), scep.BadCertID), "4", ""},
		{"internal", errors.New("disk full"), "2", ""},
		{"not UTF-8", refusal.WithText(refusal.Denied, "a\xffb", "x"), "2", "a?b"},
	} {
		t.Run(test.name, func(t *testing.T) {
			reply, err := r.Failure(m, now, test.cause)
			if err != nil {
				t.Fatal(err)
			}
			_, a := readReply(t, reply)
			a.want(t, "pkiStatus", 19, "2")
			a.want(t, "failInfo", 19, test.info)
			a.want(t, "transactionID", 19, "ID-1")
			if test.text == "" {
				a.wantNone(t, "failInfoText")
			} else {
				a.want(t, "failInfoText", 12, test.text)
			}
			wantEmptyContent(t, reply)
			if bytes.Contains(reply, []byte("secret detail")) {
				t.Error("the operator's detail is in the reply")
			}
		})
	}
}

func TestPending(t *testing.T) {
	r := recipient(t)
	reply, err := r.Pending(decoded(t, nil), now)
	if err != nil {
		t.Fatal(err)
	}
	_, a := readReply(t, reply)
	a.want(t, "pkiStatus", 19, "3")
	a.wantNone(t, "failInfo", "failInfoText")
	wantEmptyContent(t, reply)
}

// certmonger and OpenSSL want an OCTET STRING, although it is empty.
func wantEmptyContent(tb testing.TB, reply []byte) {
	tb.Helper()
	if !bytes.Contains(reply, sequence(oid(cms.OIDData...), element(context0, octets("")))) {
		tb.Error("eContent is not an empty OCTET STRING")
	}
}

// What a client sent comes back as it was: transactionID and nonce of every
// allowed form, and no nonce when it had none.
func TestReplyEchoes(t *testing.T) {
	r := recipient(t)
	for _, test := range []struct {
		name    string
		change  func(*forgery)
		tag     int
		id      string
		nonce   string
		refused bool
	}{
		{"base64", transactionID(printTag, "a+b/c="), 19, "a+b/c=", "0123456789abcdef", false},
		{"UTF8String that fits", transactionID(utf8Tag, "ID"), 19, "ID", "0123456789abcdef", false},
		{"UTF8String that does not fit", transactionID(utf8Tag, "a_b@c"), 12, "a_b@c", "0123456789abcdef", false},
		{"PrintableString that is none", transactionID(printTag, "a_b"), 19, "a_b", "0123456789abcdef", false},
		{"nonce of 64 bytes", nonce(64), 19, "ID-1", strings.Repeat("n", 64), false},
		{"nonce of 8 bytes", nonce(8), 19, "ID-1", "nnnnnnnn", false},
		{"nonce of 65 bytes", nonce(65), 19, "ID-1", "", true},
		{"transactionID twice", func(f *forgery) { f.add(oidTransactionID, printableText("ID-2")) }, 19, "ID-1", "0123456789abcdef", true},
		{"two transactionIDs", func(f *forgery) { f.with(oidTransactionID, printableText("first"), printableText("second")) }, 19, "first", "0123456789abcdef", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := forge(t, nil)
			test.change(f)
			m, err := scep.Decode(f.der(t), options())
			if (err != nil) != test.refused {
				t.Fatal(err)
			}
			reply, err := r.Failure(m, now, refusal.New(refusal.Denied, "x"))
			if err != nil {
				t.Fatal(err)
			}
			_, a := readReply(t, reply)
			a.want(t, "transactionID", test.tag, test.id)
			if test.nonce == "" {
				a.wantNone(t, "recipientNonce")
			} else {
				a.want(t, "recipientNonce", 4, test.nonce)
			}
		})
	}
}

// All uniform refusals have the same reply, but for what must differ (case 30,
// A37).
func TestUniformReply(t *testing.T) {
	r := recipient(t)
	good := csr(t, "client")
	mangled := bytes.Clone(good)
	mangled[len(mangled)-1] ^= 1
	var first []byte
	for name, envelope := range map[string][]byte{
		"somebody else's": honestEnvelope(t, scep.Recipient{Certificate: certificate(t, "other", "Other CA", 7)}, cms.AES128CBC),
		"key above":       encryptedKey(t, good, bytes.Repeat([]byte{0xff}, 256)),
		"no CSR":          enveloped(t, []byte("x")),
		"CSR's signature": enveloped(t, mangled),
		"garbage":         []byte("x"),
	} {
		m := decoded(t, envelope)
		_, err := m.Open([]scep.Recipient{r}, options())
		r.Random = bytes.NewReader(make([]byte, 1000))
		reply, err := r.Failure(m, now, err)
		r.Random = nil
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = reply
		}
		if !bytes.Equal(reply, first) {
			t.Errorf("%s: another reply", name)
		}
	}
}

// Case 47: whoever cannot get an envelope gets no certificate either.
func TestCanReplyTo(t *testing.T) {
	r := recipient(t)
	f := forge(t, nil)
	f.signer, f.key = certificate(t, "p256", "EC", 3), loadKey(t, "p256")
	f.certificates = [][]byte{f.signer.Raw}
	m, err := scep.Decode(f.der(t), options())
	wantRefusal(t, err, refusal.UnsupportedAlgorithm, scep.BadAlg)
	wantRefusal(t, scep.CanReplyTo(m), refusal.UnsupportedAlgorithm, scep.BadAlg)
	if _, err := r.Success(m, now, r.Certificate); err == nil {
		t.Error("a SUCCESS for an EC key")
	}
	if err := scep.CanReplyTo(decoded(t, nil)); err != nil {
		t.Error(err)
	}
	if scep.CanReplyTo(new(scep.Message)) == nil {
		t.Error("no signer is good enough")
	}
}

func TestReplyErrors(t *testing.T) {
	r := recipient(t)
	m := decoded(t, nil)
	dry := r
	dry.Random = io.LimitReader(rand.Reader, 0)
	if _, err := dry.Pending(m, now); err == nil {
		t.Error("a reply without a nonce")
	}
	if _, err := dry.Success(m, now, r.Certificate); err == nil {
		t.Error("an envelope without a key")
	}
	if _, err := r.Success(m, now); err == nil {
		t.Error("a SUCCESS without certificates")
	}
	if _, err := r.Success(m, now, slices.Repeat([]*x509.Certificate{r.Certificate}, 30)...); err == nil {
		t.Error("a reply over 16 KiB")
	}
	if _, err := r.Pending(m, time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)); err == nil {
		t.Error("a reply in the year 10000")
	}
	if _, err := r.Pending(m, time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC)); err != nil {
		t.Error(err)
	}
}

// GetCACert: the order is what was given, although a DER SET OF is sorted.
func TestBundle(t *testing.T) {
	certs := []*x509.Certificate{certificate(t, "rsa3072", "A long one", 1), certificate(t, "p256", "B", 2), certificate(t, "ra", "RA", 7)}
	der, err := scep.Bundle(certs)
	if err != nil {
		t.Fatal(err)
	}
	p7, err := mozilla.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.EqualFunc(p7.Certificates, certs, func(a, b *x509.Certificate) bool { return a.Equal(b) }) {
		t.Error("certificates are others, or in another order")
	}
}

func TestCapabilities(t *testing.T) {
	const common = "SHA-512\nSHA-384\nSHA-256\nSHA-1\nDES3\nAES\nSCEPStandard\n"
	for _, test := range []struct {
		renewal, nextCA bool
		want            string
	}{
		{false, false, "POSTPKIOperation\n" + common},
		{true, true, "POSTPKIOperation\nRenewal\n" + common + "GetNextCACert\n"},
	} {
		if got := scep.Capabilities(test.renewal, test.nextCA); got != test.want {
			t.Errorf("capabilities = %q, want %q", got, test.want)
		}
	}
}
