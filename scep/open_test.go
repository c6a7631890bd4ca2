package scep_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep"
	"understudy.example/understudy/scep/internal/cms"
)

// decoded returns the message around an envelope, decoded.
func decoded(tb testing.TB, envelope []byte, changes ...func(*forgery)) *scep.Message {
	tb.Helper()
	f := forge(tb, envelope)
	for _, change := range changes {
		change(f)
	}
	m, err := scep.Decode(f.der(tb), options())
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// enveloped returns an honest envelope around content.
func enveloped(tb testing.TB, content []byte) []byte {
	tb.Helper()
	der, err := cms.Envelope(rand.Reader, content, cms.AES128CBC, recipient(tb).Certificate)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

// Case 33: the ciphers of clients.
func TestOpen(t *testing.T) {
	r := recipient(t)
	for _, c := range []cms.Cipher{cms.AES128CBC, cms.AES256CBC, cms.TripleDESCBC} {
		t.Run(c.String(), func(t *testing.T) {
			m := decoded(t, honestEnvelope(t, r, c))
			e, err := m.Open([]scep.Recipient{r}, options())
			if err != nil {
				t.Fatal(err)
			}
			if e.ChallengePassword.Reveal() != "secret" || !e.SignerKeyIsCSRKey || len(e.Warnings) > 0 {
				t.Errorf("password %q, signer's key %v, warnings %q", e.ChallengePassword.Reveal(), e.SignerKeyIsCSRKey, e.Warnings)
			}
			if e.CSR.Subject.CommonName != "C02TESTSERIAL" || m.Cipher() != c.String() {
				t.Errorf("subject %v, cipher %s", e.CSR.Subject, m.Cipher())
			}
		})
	}
}

// The uniform refusal (cases 30 and 69, A37, A42) and the exceptions to it.
func TestOpenRefuses(t *testing.T) {
	r := recipient(t)
	honestCSR := csr(t, "client", passwordText("secret"))
	padding := pad(cms.AES128CBC, honestCSR)
	forged := func(content, padding []byte, change func(*forgedEnvelope)) []byte {
		f, _ := forgeEnvelope(t, r.Certificate, cms.AES128CBC, content, padding)
		change(f)
		return f.der()
	}
	same := func(*forgedEnvelope) {}
	wrongAlgorithm := func(id ...int) func(*forgedEnvelope) {
		return func(f *forgedEnvelope) { f.cipherOID = id }
	}
	ra := r.Certificate
	badCSR := bytes.Clone(honestCSR)
	badCSR[len(badCSR)-9] ^= 1
	sha256WithRSA := algorithm(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11})
	renamed := algorithm(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 99})
	for _, test := range []struct {
		name     string
		envelope []byte
		reason   refusal.Reason
		info     scep.FailInfo
	}{
		{"nothing", nil, refusal.NotDecryptable, "1"},
		{"garbage", []byte("garbage"), refusal.NotDecryptable, "1"},
		{"nested too deeply", nested(25), refusal.NotDecryptable, "1"},
		{"A30: empty SEQUENCE", sequence(), refusal.NotDecryptable, "1"},
		{"A30: empty EnvelopedData", sequence(oid(cms.OIDEnvelopedData...), element(context0, sequence())), refusal.NotDecryptable, "1"},
		{"A30: no recipients", forged(honestCSR, padding, func(f *forgedEnvelope) { f.recipients = nil }), refusal.NotDecryptable, "1"},
		{"A42: SignedData", forge(t, nil).der(t), refusal.NotDecryptable, "1"},
		{"A42: data", sequence(oid(cms.OIDData...), element(context0, octets("x"))), refusal.NotDecryptable, "1"},
		{"A42: EnvelopedData within", enveloped(t, enveloped(t, honestCSR)), refusal.NotDecryptable, "1"},
		{"encrypted content is not id-data", forged(honestCSR, padding, func(f *forgedEnvelope) { f.innerType = cms.OIDSignedData }), refusal.NotDecryptable, "1"},

		{"A38: five recipients", forged(honestCSR, padding, func(f *forgedEnvelope) { f.recipients = slices.Repeat(f.recipients, 5) }), refusal.NotDecryptable, "1"},
		{"A38: for somebody else", honestEnvelope(t, scep.Recipient{Certificate: certificate(t, "other", "Other CA", 7)}, cms.AES128CBC), refusal.NotDecryptable, "1"},
		{"A38: another serial", honestEnvelope(t, scep.Recipient{Certificate: certificate(t, "ra", "RA", 8)}, cms.AES128CBC), refusal.NotDecryptable, "1"},
		{"our name, another key", honestEnvelope(t, scep.Recipient{Certificate: certificate(t, "other", "RA", 7)}, cms.AES128CBC), refusal.NotDecryptable, "1"},

		{"A37: content key too long", forged(honestCSR, padding, func(f *forgedEnvelope) {
			f.recipients = [][]byte{transport(t, ra, bytes.Repeat([]byte{0x42}, 24))}
		}), refusal.NotDecryptable, "1"},
		{"A37: content key too short", forged(honestCSR, padding, func(f *forgedEnvelope) {
			f.recipients = [][]byte{transport(t, ra, bytes.Repeat([]byte{0x42}, 8))}
		}), refusal.NotDecryptable, "1"},
		{"A37: RSA padding wrong", rsaKey(t, honestCSR, append([]byte{0, 3}, bytes.Repeat([]byte{9}, 254)...)), refusal.NotDecryptable, "1"},
		{"A37: encrypted key empty", encryptedKey(t, honestCSR, nil), refusal.NotDecryptable, "1"},
		{"A37: encrypted key one byte short", encryptedKey(t, honestCSR, make([]byte, 255)), refusal.NotDecryptable, "1"},
		{"A37: encrypted key one byte long", encryptedKey(t, honestCSR, make([]byte, 257)), refusal.NotDecryptable, "1"},
		{"A37: encrypted key above the modulus", encryptedKey(t, honestCSR, bytes.Repeat([]byte{0xff}, 256)), refusal.NotDecryptable, "1"},

		{"case 69: no ciphertext", forged(honestCSR, padding, func(f *forgedEnvelope) { f.ciphertext = nil }), refusal.NotDecryptable, "1"},
		{"case 69: no whole blocks", forged(honestCSR, padding, func(f *forgedEnvelope) { f.ciphertext = f.ciphertext[:len(f.ciphertext)-1] }), refusal.NotDecryptable, "1"},
		{"A37: IV too short", forged(honestCSR, padding, func(f *forgedEnvelope) { f.iv = f.iv[:8] }), refusal.NotDecryptable, "1"},
		{"A37: IV empty", forged(honestCSR, padding, func(f *forgedEnvelope) { f.iv = nil }), refusal.NotDecryptable, "1"},
		{"A37: IV wrong", forged(honestCSR, padding, func(f *forgedEnvelope) { f.iv[0] ^= 0x10 }), refusal.NotDecryptable, "1"},
		{"case 69: padding of 0", forged(csrOfLength(t, 0), make([]byte, 16), same), refusal.NotDecryptable, "1"},
		{"case 69: padding of 17", forged(csrOfLength(t, 15), bytes.Repeat([]byte{17}, 17), same), refusal.NotDecryptable, "1"},
		{"case 69: padding of 32", forged(csrOfLength(t, 0), bytes.Repeat([]byte{32}, 32), same), refusal.NotDecryptable, "1"},
		{"case 69: padding of 255", forged(csrOfLength(t, 0), bytes.Repeat([]byte{255}, 16), same), refusal.NotDecryptable, "1"},
		{"A37: first padding byte differs", forged(csrOfLength(t, 0), differ(16, 0), same), refusal.NotDecryptable, "1"},
		{"A37: last but one padding byte differs", forged(csrOfLength(t, 0), differ(16, 14), same), refusal.NotDecryptable, "1"},
		{"A37: first of two padding bytes differs", forged(csrOfLength(t, 14), differ(2, 0), same), refusal.NotDecryptable, "1"},
		{"A37: nothing but padding", forged(nil, bytes.Repeat([]byte{16}, 16), same), refusal.NotDecryptable, "1"},

		{"A37: content is no ASN.1", enveloped(t, []byte("no ASN.1")), refusal.NotDecryptable, "1"},
		{"content nested too deeply", enveloped(t, nested(25)), refusal.NotDecryptable, "1"},
		{"content with a trailing byte", enveloped(t, append(bytes.Clone(honestCSR), 0)), refusal.NotDecryptable, "1"},
		{"content is a certificate", enveloped(t, ra.Raw), refusal.NotDecryptable, "1"},
		{"case 28, A19: signature of the CSR wrong", enveloped(t, badCSR), refusal.NotDecryptable, "1"},
		{"case 28, A19: CSR signed by another key", enveloped(t, csrSigned(t, "other", "client", 0)), refusal.NotDecryptable, "1"},
		{"A41: RSA 1024, signature wrong", enveloped(t, csrSigned(t, "rsa1024", "client", 0)), refusal.NotDecryptable, "1"},
		{"A41: exponent 3, signature wrong", enveloped(t, csrSigned(t, "exponent3", "client", 0)), refusal.NotDecryptable, "1"},
		{"A41: EC key, signature wrong", enveloped(t, csrSigned(t, "p256", "client", 0)), refusal.NotDecryptable, "1"},
		{"A41: RSA 4097", enveloped(t, bigCSR(t)), refusal.NotDecryptable, "1"},
		{"unknown signature algorithm", enveloped(t, bytes.Replace(honestCSR, sha256WithRSA, renamed, 1)), refusal.NotDecryptable, "1"},
		{"A43: extensions twice", enveloped(t, csr(t, "client", extensions(t), extensions(t))), refusal.NotDecryptable, "1"},

		// What everybody can see.
		{"case 31, A39: DES", forged(honestCSR, padding, wrongAlgorithm(1, 3, 14, 3, 2, 7)), refusal.UnsupportedAlgorithm, "0"},
		{"case 31, A39: RC2", forged(honestCSR, padding, wrongAlgorithm(1, 2, 840, 113549, 3, 2)), refusal.UnsupportedAlgorithm, "0"},
		{"case 31, A39: AES-192", forged(honestCSR, padding, wrongAlgorithm(2, 16, 840, 1, 101, 3, 4, 1, 22)), refusal.UnsupportedAlgorithm, "0"},
		{"A39: GCM", forged(honestCSR, padding, wrongAlgorithm(2, 16, 840, 1, 101, 3, 4, 1, 6)), refusal.UnsupportedAlgorithm, "0"},
		{"A39: unknown", forged(honestCSR, padding, wrongAlgorithm(1, 2, 3)), refusal.UnsupportedAlgorithm, "0"},
		{"case 31: AuthEnvelopedData", forged(honestCSR, padding, func(f *forgedEnvelope) {
			f.contentType = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 23}
		}), refusal.UnsupportedAlgorithm, "0"},
		{"unknown key transport", forged(honestCSR, padding, func(f *forgedEnvelope) {
			f.recipients = [][]byte{recipientInfo(issuerAndSerial(ra), algorithm(asn1.ObjectIdentifier{1, 2, 3}), []byte("x"))}
		}), refusal.UnsupportedAlgorithm, "0"},
		{"A43: as large as may be", enveloped(t, make([]byte, 32<<10-1)), refusal.NotDecryptable, "1"},
		{"A43: one byte larger", enveloped(t, make([]byte, 32<<10)), refusal.BadMessage, "2"},
		{"A43: too large", enveloped(t, csr(t, "client", sequence(oid(1, 2, 3), setOf(octets(strings.Repeat("x", 33<<10)))))), refusal.BadMessage, "2"},

		// What only the sender of the CSR can learn.
		{"A41: EC key", enveloped(t, csr(t, "p256")), refusal.UnsupportedAlgorithm, "0"},
		{"A41: RSA 1024", enveloped(t, csr(t, "rsa1024")), refusal.KeyRejected, "2"},
		{"A41: RSA 3072", enveloped(t, csr(t, "rsa3072")), refusal.KeyRejected, "2"},
		{"A41: exponent 3", enveloped(t, csr(t, "exponent3")), refusal.KeyRejected, "2"},
		{"A43: negative version", enveloped(t, csrSigned(t, "client", "client", -1)), refusal.BadMessage, "2"},
		{"A13: two challenges", enveloped(t, csr(t, "client", passwordText("wrong"), passwordText("secret"))), refusal.BadMessage, "2"},
		{"A13: the same challenge twice", enveloped(t, csr(t, "client", passwordText("secret"), passwordText("secret"))), refusal.BadMessage, "2"},
		{"A13: two values", enveloped(t, csr(t, "client", password(printableText("wrong"), printableText("secret")))), refusal.BadMessage, "2"},
		{"A30: no value", enveloped(t, csr(t, "client", password())), refusal.BadMessage, "2"},
		{"A04: wrong type", enveloped(t, csr(t, "client", password(integer(4711)))), refusal.BadMessage, "2"},
		{"A04: invalid UTF-8", enveloped(t, csr(t, "client", password(element(utf8Tag, []byte{0xff})))), refusal.BadMessage, "2"},
		{"A04: odd BMPString", enveloped(t, csr(t, "client", password(element(cbasn1.Tag(30), []byte("abc"))))), refusal.BadMessage, "2"},
		{"A04: over 8 KiB", enveloped(t, csr(t, "client", passwordText(strings.Repeat("x", 8<<10)))), refusal.BadMessage, "2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := decoded(t, test.envelope)
			e, err := m.Open([]scep.Recipient{r}, options())
			if e != nil {
				t.Error("an enrolment comes with the refusal")
			}
			wantRefusal(t, err, test.reason, test.info)
			if refused, _ := refusal.Of(err); test.reason == refusal.NotDecryptable && refused.Text != "" {
				t.Errorf("the client is told %q", refused.Text)
			}
		})
	}
}

// bigCSR returns a CSR for a key of 4097 bits, which signs nothing.
func bigCSR(tb testing.TB) []byte {
	tb.Helper()
	public := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 4096, 1), E: 65537}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		tb.Fatal(err)
	}
	own, err := x509.MarshalPKIXPublicKey(loadKey(tb, "client").Public())
	if err != nil {
		tb.Fatal(err)
	}
	s := cryptobyte.String(csr(tb, "client"))
	var body, info, rest cryptobyte.String
	s.ReadASN1(&body, cbasn1.SEQUENCE)
	rest = body
	rest.ReadASN1(&info, cbasn1.SEQUENCE)
	return sequence(sequence(bytes.Replace(info, own, spki, 1)), rest)
}

// csrOfLength returns a CSR whose length is this, modulo 16.
func csrOfLength(tb testing.TB, length int) []byte {
	tb.Helper()
	for n := range 16 {
		if der := csr(tb, "client", passwordText(strings.Repeat("x", n))); len(der)%16 == length {
			return der
		}
	}
	tb.Fatal("no CSR has this length")
	return nil
}

// differ returns n bytes of padding, of which one is wrong.
func differ(n, wrong int) []byte {
	padding := bytes.Repeat([]byte{byte(n)}, n)
	padding[wrong] ^= 1
	return padding
}

// The CSRs of the paddings above are good ones: with right padding they are
// accepted.
func TestOpenPadding(t *testing.T) {
	r := recipient(t)
	for length := range 16 {
		content := csrOfLength(t, length)
		f, _ := forgeEnvelope(t, r.Certificate, cms.AES128CBC, content, pad(cms.AES128CBC, content))
		if _, err := decoded(t, f.der()).Open([]scep.Recipient{r}, options()); err != nil {
			t.Errorf("length %d: %v", length, err)
		}
	}
}

// The operator learns what the client does not.
func TestOpenDetail(t *testing.T) {
	r := recipient(t)
	content := csr(t, "client")
	f, _ := forgeEnvelope(t, r.Certificate, cms.AES128CBC, content, pad(cms.AES128CBC, content))
	f.iv = nil
	paddedWrong, _ := forgeEnvelope(t, r.Certificate, cms.AES128CBC, csrOfLength(t, 0), differ(16, 0))
	for want, envelope := range map[string][]byte{
		"for somebody else":    honestEnvelope(t, scep.Recipient{Certificate: certificate(t, "other", "Other CA", 7)}, cms.AES128CBC),
		"IV":                   f.der(),
		"CSR is truncated":     enveloped(t, content[:1]),
		"signature of the CSR": enveloped(t, csrSigned(t, "other", "client", 0)),
		"padding is wrong":     paddedWrong.der(),
		"no EnvelopedData":     forge(t, nil).der(t),
	} {
		_, err := decoded(t, envelope).Open([]scep.Recipient{r}, options())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("refusal = %v, want %q in it", err, want)
		}
	}
}

// encryptedKey returns an envelope with this as the encrypted key.
func encryptedKey(tb testing.TB, content, encrypted []byte) []byte {
	ra := recipient(tb).Certificate
	f, _ := forgeEnvelope(tb, ra, cms.AES128CBC, content, pad(cms.AES128CBC, content))
	f.recipients = [][]byte{recipientInfo(issuerAndSerial(ra), algorithm(cms.OIDRSAEncryption), encrypted)}
	return f.der()
}

// rsaKey returns an envelope whose encrypted key decrypts to this block.
func rsaKey(tb testing.TB, content, block []byte) []byte {
	public := recipient(tb).Certificate.PublicKey.(*rsa.PublicKey)
	c := new(big.Int).Exp(new(big.Int).SetBytes(block), big.NewInt(int64(public.E)), public.N)
	return encryptedKey(tb, content, c.FillBytes(make([]byte, public.Size())))
}

// Case 45: openssl cms -stream and Apple send the ciphertext in pieces.
func TestOpenCiphertextInPieces(t *testing.T) {
	r := recipient(t)
	content := csr(t, "client", passwordText("secret"))
	f, _ := forgeEnvelope(t, r.Certificate, cms.AES128CBC, content, pad(cms.AES128CBC, content))
	whole := element(primitive, f.ciphertext)
	for name, test := range map[string]struct {
		pieces []byte
		ok     bool
	}{
		"definite":   {element(context0, octets(string(f.ciphertext[:7])), octets(string(f.ciphertext[7:]))), true},
		"indefinite": {slices.Concat([]byte{0xa0, 0x80}, octets(string(f.ciphertext[:7])), octets(string(f.ciphertext[7:])), []byte{0, 0}), true},
		"no strings": {element(context0, integer(1)), false},
		"none":       {element(context0), false},
	} {
		inner := sequence(oid(cms.OIDData...), sequence(oid(f.cipherOID...), element(cbasn1.OCTET_STRING, f.iv)), test.pieces)
		envelope := sequence(oid(cms.OIDEnvelopedData...), element(context0, sequence(integer(0), setOf(f.recipients...), inner)))
		if bytes.Contains(envelope, whole) {
			t.Fatal("the ciphertext is whole")
		}
		e, err := decoded(t, envelope).Open([]scep.Recipient{r}, options())
		if !test.ok {
			wantRefusal(t, err, refusal.NotDecryptable, scep.BadMessageCheck)
			continue
		}
		if err != nil || e.ChallengePassword.Reveal() != "secret" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A29, for the envelope: cut and flipped, nothing panics, and nothing but the
// one honest content comes out.
func TestOpenDamaged(t *testing.T) {
	r := recipient(t)
	signer := certificate(t, "client", "client", 1)
	envelope := honestEnvelope(t, r, cms.AES128CBC)
	open := func(envelope []byte) error {
		return scep.OpenContent(scep.PKCSReq, signer, envelope, []scep.Recipient{r}, options())
	}
	for i := range envelope {
		wantRefusal(t, open(envelope[:i]), refusal.NotDecryptable, scep.BadMessageCheck)
	}
	for i := 0; i < len(envelope); i += 5 {
		envelope[i] ^= 0xff
		wantAnswer(t, open(envelope))
		envelope[i] ^= 0xff
	}
}

func TestOpenQuery(t *testing.T) {
	r := recipient(t)
	name, other := rawName(utf8Tag, "CA"), rawName(utf8Tag, "Device")
	for _, test := range []struct {
		messageType string
		content     []byte
		ok          bool
	}{
		{"20", sequence(name, other), true},
		{"20", toIndefinite(t, sequence(name, other)), true},
		{"20", sequence(name), false},
		{"20", sequence(name, integer(5)), false},
		{"21", sequence(name, integer(5)), true},
		{"22", sequence(name, integer(5)), true},
		{"22", sequence(name, other), false},
		{"21", sequence(name, integer(5), integer(6)), false},
		{"21", sequence(), false},
		{"21", []byte("x"), false},
	} {
		t.Run(fmt.Sprintf("%s %x", test.messageType, test.content), func(t *testing.T) {
			m := decoded(t, enveloped(t, test.content), messageType(test.messageType))
			q, err := m.OpenQuery([]scep.Recipient{r}, options())
			if !test.ok && test.messageType == "20" { // its transactionID decides
				if err != nil || q.Issuer != nil || q.Subject != nil || !slices.Contains(m.Warnings, scep.WarnPollUnreadable) {
					t.Errorf("query %+v, warnings %q, %v", q, m.Warnings, err)
				}
				return
			}
			if !test.ok { // like an unknown certificate
				wantRefusal(t, err, refusal.NotDecryptable, scep.BadCertID)
				return
			}
			if err != nil || slices.Contains(m.Warnings, scep.WarnPollUnreadable) {
				t.Fatal(err, m.Warnings)
			}
			if !bytes.Equal(q.Issuer, name) {
				t.Errorf("issuer = %x", q.Issuer)
			}
			if test.messageType == "20" && !bytes.Equal(q.Subject, other) || test.messageType != "20" && q.SerialNumber.Int64() != 5 {
				t.Errorf("query = %+v", q)
			}
		})
	}
}

// Whose request it was that somebody tries out as the content of a query, and
// whether its padding holds, cannot be told from the answer.
func TestOpenQueryTellsNothing(t *testing.T) {
	r := recipient(t)
	name := rawName(utf8Tag, "CA")
	content := sequence(name, integer(5))
	torn, _ := forgeEnvelope(t, r.Certificate, cms.AES128CBC, content, bytes.Repeat([]byte{0}, 16-len(content)%16))
	whole := sequence(name, integer(0x7f)) // which does not end as a padding does
	whole = sequence(rawName(utf8Tag, "CA"+strings.Repeat(".", 16-len(whole)%16)), integer(0x7f))
	unpadded, _ := forgeEnvelope(t, r.Certificate, cms.AES128CBC, whole, nil)
	for what, envelope := range map[string][]byte{
		"no padding": unpadded.der(), "padding wrong": torn.der(), "for somebody else": honestEnvelope(t, scep.Recipient{Certificate: certificate(t, "other", "Other CA", 7)}, cms.AES128CBC),
		"a CSR": honestEnvelope(t, r, cms.AES128CBC), "no envelope": []byte("x"),
	} {
		for _, kind := range []string{"20", "21", "22"} {
			m := decoded(t, envelope, messageType(kind))
			_, err := m.OpenQuery([]scep.Recipient{r}, options())
			if kind == "20" {
				if err != nil || !slices.Contains(m.Warnings, scep.WarnPollUnreadable) {
					t.Errorf("%s in a CertPoll: warnings %q, %v", what, m.Warnings, err)
				}
				continue
			}
			wantRefusal(t, err, refusal.NotDecryptable, scep.BadCertID)
		}
	}
}

// Each message type has its own way of being opened.
func TestOpenOfAnotherType(t *testing.T) {
	r := recipient(t)
	_, err := decoded(t, nil, messageType("20")).Open([]scep.Recipient{r}, options())
	wantRefusal(t, err, refusal.UnsupportedOperation, scep.BadRequest)
	_, err = decoded(t, nil).OpenQuery([]scep.Recipient{r}, options())
	wantRefusal(t, err, refusal.UnsupportedOperation, scep.BadRequest)
}
