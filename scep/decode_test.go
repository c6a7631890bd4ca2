package scep_test

import (
	"crypto"
	"crypto/sha256"
	"encoding/asn1"
	"slices"
	"strings"
	"testing"
	"time"

	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep"
	"understudy.example/understudy/scep/internal/cms"
)

func TestDecode(t *testing.T) {
	raw := forge(t, []byte("envelope")).with(cms.OIDSigningTime, utcTime(now)).der(t)
	m, err := scep.Decode(raw, options())
	if err != nil {
		t.Fatal(err)
	}
	if m.Type != scep.PKCSReq || m.TransactionID != "ID-1" || string(m.SenderNonce) != "0123456789abcdef" {
		t.Errorf("type %s, transactionID %q, nonce %q", string(m.Type), m.TransactionID, m.SenderNonce)
	}
	if !m.SigningTime.Equal(now) {
		t.Errorf("signingTime = %v, want %v", m.SigningTime, now)
	}
	if m.SHA256 != sha256.Sum256(raw) || m.Digest != crypto.SHA256 || m.Cipher() != "" {
		t.Errorf("SHA256 %x, digest %v, cipher %q", m.SHA256, m.Digest, m.Cipher())
	}
	if len(m.Warnings) > 0 {
		t.Errorf("warnings = %q, want none", m.Warnings)
	}
}

func utcTime(at time.Time) []byte {
	return element(cbasn1.UTCTime, []byte(at.UTC().Format("060102150405Z")))
}

func octets(s string) []byte { return element(cbasn1.OCTET_STRING, []byte(s)) }
func printableText(s string) []byte {
	return element(printTag, []byte(s))
}

// The answers that Decode gives. A want of "" means that the message is
// accepted; reply says that a signed FAILURE can be made.
func TestDecodeAnswers(t *testing.T) {
	strict := options()
	strict.Strict = true
	noSHA1 := options()
	noSHA1.AllowSHA1 = false
	with3072 := options()
	with3072.KeySizes = []int{2048, 3072}
	other := certificate(t, "other", "Other", 2)
	const bad, alg, op, key = refusal.BadMessage, refusal.UnsupportedAlgorithm, refusal.UnsupportedOperation, refusal.KeyRejected
	digest := func(h crypto.Hash) func(*forgery) {
		return func(f *forgery) { f.hash, f.digestOID = h, cms.DigestOID(h) }
	}
	signedBy := func(key string) func(*forgery) {
		return func(f *forgery) {
			f.signer, f.key = certificate(t, key, "signer "+key, 3), loadKey(t, key)
			f.certificates = [][]byte{f.signer.Raw}
		}
	}
	for _, test := range []struct {
		name    string
		change  func(*forgery)
		options scep.Options
		want    refusal.Reason
		info    scep.FailInfo
		reply   bool
		warning string
	}{
		{name: "case 21: honest", change: func(*forgery) {}},

		// Structure.
		{"A28: no SignedData", func(f *forgery) { f.contentType = cms.OIDEnvelopedData }, options(), bad, "1", false, ""},
		{"case 39: eContentType is not id-data", func(f *forgery) { f.eContentType = cms.OIDSignedData }, options(), bad, "1", true, ""},
		{"case 39: two SignerInfos", func(f *forgery) { f.signerInfos = 2 }, options(), bad, "1", true, ""},
		{"A33: no SignerInfo", func(f *forgery) { f.signerInfos = 0 }, options(), bad, "1", false, ""},
		{"A33: no certificates", func(f *forgery) { f.certificates = nil }, options(), bad, "1", false, ""},
		{"case 40: signer not in the message", func(f *forgery) { f.certificates = [][]byte{other.Raw} }, options(), bad, "1", false, ""},
		{"A33: a certificate twice", func(f *forgery) { f.certificates = append(f.certificates, f.signer.Raw) }, options(), bad, "1", false, ""},
		{"A33: same issuer and serial, another key", func(f *forgery) {
			f.certificates = append(f.certificates, certificate(t, "other", f.signer.Subject.CommonName, 1).Raw)
		}, options(), bad, "1", false, ""},
		{"case 44: four certificates", extraCertificates(t, 3), options(), "", "", true, ""},
		{"A33: five certificates", extraCertificates(t, 4), options(), bad, "1", false, ""},
		{"no content", func(f *forgery) { f.noContent, f.content = true, nil }, options(), bad, "1", true, ""},
		{"content is no OCTET STRING", func(f *forgery) { f.eContent = element(context0, sequence(integer(1))) }, options(), bad, "1", true, ""},

		// Signature.
		{"case 29: signature wrong", func(f *forgery) { f.badSignature = true }, options(), bad, "1", true, ""},
		{"case 29: messageDigest wrong", func(f *forgery) { f.with(cms.OIDMessageDigest, octets(strings.Repeat("x", 32))) }, options(), bad, "1", true, ""},
		{"case 29: signed by another key", func(f *forgery) { f.key = loadKey(t, "other") }, options(), bad, "1", true, ""},
		{"case 42: Apple's signer", func(*forgery) {}, options(), "", "", true, ""},
		{"signature algorithm names the digest", func(f *forgery) { f.signatureOID = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11} }, options(), "", "", true, ""},
		{"signature algorithm names another digest", func(f *forgery) { f.signatureOID = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 12} }, options(), bad, "1", true, ""},
		{"case 33: SHA-1", digest(crypto.SHA1), options(), "", "", true, scep.WarnSHA1},
		{"case 33: SHA-384", digest(crypto.SHA384), options(), "", "", true, ""},
		{"case 33: SHA-512", digest(crypto.SHA512), options(), "", "", true, ""},
		{"A40: SHA-1, not allowed", digest(crypto.SHA1), noSHA1, alg, "0", true, ""},
		{"case 32: MD5", func(f *forgery) { f.digestOID = oidMD5 }, options(), alg, "0", true, ""},
		{"A40: SHA-224", func(f *forgery) { f.digestOID = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 4} }, options(), alg, "0", true, ""},
		{"A40: unknown digest", func(f *forgery) { f.digestOID = asn1.ObjectIdentifier{1, 2, 3} }, options(), alg, "0", true, ""},
		{"A40: RSASSA-PSS", func(f *forgery) { f.signatureOID = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10} }, options(), alg, "0", true, ""},
		{"A40: Ed25519", func(f *forgery) { f.signatureOID = asn1.ObjectIdentifier{1, 3, 101, 112} }, options(), alg, "0", true, ""},

		// Keys.
		{"case 47: EC signer", signedBy("p256"), options(), alg, "0", true, ""},
		{"case 48: RSA 1024", signedBy("rsa1024"), options(), key, "2", true, ""},
		{"A41: RSA 3072, not allowed", signedBy("rsa3072"), options(), key, "2", true, ""},
		{"A41: RSA 3072, allowed", signedBy("rsa3072"), with3072, "", "", true, ""},
		{"A41: exponent 3", signedBy("exponent3"), options(), key, "2", true, ""},
		{"A41: another certificate with RSA 1024", func(f *forgery) {
			f.certificates = append(f.certificates, certificate(t, "rsa1024", "x", 9).Raw)
		}, options(), key, "2", true, ""},
		{"A41: another certificate with exponent 3", func(f *forgery) {
			f.certificates = append(f.certificates, certificate(t, "exponent3", "x", 9).Raw)
		}, options(), key, "2", true, ""},
		{"another certificate with RSA 3072", func(f *forgery) {
			f.certificates = append(f.certificates, certificate(t, "rsa3072", "x", 9).Raw)
		}, options(), "", "", true, ""},
		{"another certificate with an EC key", func(f *forgery) {
			f.certificates = append(f.certificates, certificate(t, "p256", "x", 9).Raw)
		}, options(), "", "", true, ""},

		// Attributes.
		{"A34: no signed attributes", func(f *forgery) { f.attributes = nil }, options(), bad, "1", false, ""},
		{"A34: contentType absent", func(f *forgery) { f.without(cms.OIDContentType) }, options(), bad, "1", true, ""},
		{"A34: contentType wrong", func(f *forgery) { f.with(cms.OIDContentType, oid(1, 2, 3)) }, options(), bad, "1", true, ""},
		{"A34: messageDigest absent", func(f *forgery) { f.without(cms.OIDMessageDigest) }, options(), bad, "1", true, ""},
		{"A34: messageDigest twice", func(f *forgery) { f.add(cms.OIDMessageDigest) }, options(), bad, "1", true, ""},
		{"A34: transactionID twice", func(f *forgery) { f.add(oidTransactionID, printableText("ID-2")) }, options(), bad, "1", true, ""},
		{"A34: messageType twice", func(f *forgery) { f.add(oidMessageType, printableText("19")) }, options(), bad, "1", true, ""},
		{"A34: senderNonce twice", func(f *forgery) { f.add(oidSenderNonce, octets("0123456789abcdef")) }, options(), bad, "1", true, ""},
		{"A34: two transactionIDs in one attribute", func(f *forgery) { f.with(oidTransactionID, printableText("a"), printableText("b")) }, options(), bad, "1", true, ""},
		{"A34: no transactionID in the attribute", func(f *forgery) { f.with(oidTransactionID) }, options(), bad, "1", false, ""},
		{"A34: two message types in one attribute", func(f *forgery) { f.with(oidMessageType, printableText("17"), printableText("19")) }, options(), bad, "1", true, ""},
		{"A34: no message type in the attribute", func(f *forgery) { f.with(oidMessageType) }, options(), bad, "1", true, ""},
		{"A34: no nonce in the attribute", func(f *forgery) { f.with(oidSenderNonce) }, options(), bad, "1", true, ""},
		{"a foreign attribute twice", func(f *forgery) { f.add(asn1.ObjectIdentifier{1, 2, 3}).add(asn1.ObjectIdentifier{1, 2, 3}) }, options(), "", "", true, ""},

		// messageType.
		{"case 34: messageType missing", func(f *forgery) { f.without(oidMessageType) }, options(), op, "2", true, ""},
		{"RenewalReq", messageType("17"), options(), "", "", true, ""},
		{"CertPoll", messageType("20"), options(), "", "", true, ""},
		{"GetCert", messageType("21"), options(), "", "", true, ""},
		{"GetCRL", messageType("22"), options(), "", "", true, ""},
		{"case 36: 0", messageType("0"), options(), op, "2", true, ""},
		{"case 36: 99", messageType("99"), options(), op, "2", true, ""},
		{"case 36: abc", messageType("abc"), options(), op, "2", true, ""},
		{"case 37: CertRep", messageType("3"), options(), op, "2", true, ""},
		{"case 38, A05: UpdateReq", messageType("18"), options(), op, "2", true, ""},
		{"A07: empty", messageType(""), options(), op, "2", true, ""},
		{"A07: 019", messageType("019"), options(), op, "2", true, ""},
		{"A07: trailing space", messageType("19 "), options(), op, "2", true, ""},
		{"A07: very long", messageType(strings.Repeat("19", 5000)), options(), op, "2", true, ""},
		{"A07: INTEGER", func(f *forgery) { f.with(oidMessageType, integer(19)) }, options(), op, "2", true, ""},

		// transactionID.
		{"case 34: transactionID missing", func(f *forgery) { f.without(oidTransactionID) }, options(), bad, "1", false, ""},
		{"A36: 128 characters", transactionID(printTag, strings.Repeat("x", 128)), options(), "", "", true, ""},
		{"A36: 129 characters", transactionID(printTag, strings.Repeat("x", 129)), options(), bad, "1", false, ""},
		{"A36: empty", transactionID(printTag, ""), options(), bad, "1", false, ""},
		{"A36: newline", transactionID(utf8Tag, "A\nlevel=error"), options(), bad, "1", false, ""},
		{"A36: escape", transactionID(utf8Tag, "\x1b[31m"), options(), bad, "1", false, ""},
		{"A36: path", transactionID(printTag, "../../etc/passwd"), options(), "", "", true, ""},
		{"A36: formula", transactionID(utf8Tag, "=cmd|' /C calc'!A0"), options(), "", "", true, scep.WarnIDEncoding},
		{"A36: UTF-16", func(f *forgery) { f.with(oidTransactionID, element(cbasn1.Tag(30), []byte("\x00a\x00b"))) }, options(), bad, "1", false, ""},
		{"A36: UTF-8 beyond ASCII", transactionID(utf8Tag, "ü"), options(), bad, "1", false, ""},
		{"UTF8String", transactionID(utf8Tag, "ID-1"), options(), "", "", true, scep.WarnIDEncoding},
		{"IA5String", transactionID(cbasn1.IA5String, "ID-1"), options(), "", "", true, scep.WarnIDEncoding},
		{"scepclient's base64", transactionID(printTag, "a+b/c8BJW4OIc1fA1OZ4Mw0lGf0="), options(), "", "", true, ""},

		// senderNonce.
		{"case 35, A35: absent", func(f *forgery) { f.without(oidSenderNonce) }, options(), bad, "2", true, ""},
		{"A35: 0 bytes", nonce(0), options(), bad, "2", true, ""},
		{"A35: 1 byte", nonce(1), options(), "", "", true, scep.WarnNonceLength},
		{"case 35: 8 bytes", nonce(8), options(), "", "", true, scep.WarnNonceLength},
		{"A35: 16 bytes, strict", nonce(16), strict, "", "", true, ""},
		{"A35: 17 bytes", nonce(17), options(), "", "", true, scep.WarnNonceLength},
		{"A35: 17 bytes, strict", nonce(17), strict, bad, "2", true, ""},
		{"A35: 64 bytes", nonce(64), options(), "", "", true, scep.WarnNonceLength},
		{"A35: 65 bytes", nonce(65), options(), bad, "2", true, ""},
		{"nonce is no OCTET STRING", func(f *forgery) { f.with(oidSenderNonce, printableText("0123456789abcdef")) }, options(), bad, "2", true, ""},

		// signingTime.
		{"case 41: an hour early", signingTimeAt(now.Add(-time.Hour)), options(), "", "", true, scep.WarnSigningTimeOff},
		{"case 41: an hour early, strict", signingTimeAt(now.Add(-time.Hour)), strict, bad, "3", true, ""},
		{"case 41: outside the signer's validity", signingTimeAt(now.AddDate(-10, 0, 0)), options(), "", "", true, scep.WarnSigningTimeSigner},
		{"case 41: outside the signer's validity, strict", signingTimeAt(now.AddDate(-10, 0, 0)), strict, bad, "3", true, ""},
		{"sixteen minutes early, strict", signingTimeAt(now.Add(-16 * time.Minute)), strict, bad, "3", true, ""},
		{"sixteen minutes late, strict", signingTimeAt(now.Add(16 * time.Minute)), strict, bad, "3", true, ""},
		{"fifteen minutes early, strict", signingTimeAt(now.Add(-15 * time.Minute)), strict, "", "", true, ""},
		{"unreadable", func(f *forgery) { f.with(cms.OIDSigningTime, integer(1)) }, options(), "", "", true, scep.WarnSigningTimeBad},
		{"GeneralizedTime", func(f *forgery) {
			f.with(cms.OIDSigningTime, element(cbasn1.GeneralizedTime, []byte("20260304050607Z")))
		}, strict, "", "", true, ""},
		{"signingTime off and signature wrong", func(f *forgery) {
			signingTimeAt(now.AddDate(-10, 0, 0))(f)
			f.badSignature = true
		}, options(), bad, "1", true, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := forge(t, []byte("envelope"))
			test.change(f)
			o := test.options
			if o.Now.IsZero() {
				o = options()
			}
			m, err := scep.Decode(f.der(t), o)
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if test.warning == "" && len(m.Warnings) > 0 || test.warning != "" && !slices.Equal(m.Warnings, []string{test.warning}) {
					t.Errorf("warnings = %q, want %q", m.Warnings, test.warning)
				}
				if !m.Signer.Equal(f.signer) || m.Digest != f.hash {
					t.Errorf("signer %v, digest %v", m.Signer.Subject, m.Digest)
				}
				return
			}
			wantRefusal(t, err, test.want, test.info)
			if (m != nil) != test.reply {
				t.Fatalf("message = %v, want one: %v", m, test.reply)
			}
			if m == nil {
				return
			}
			if _, err := recipient(t).Failure(m, now, err); err != nil {
				t.Errorf("no FAILURE can be made: %v", err)
			}
		})
	}
}

func extraCertificates(tb testing.TB, n int) func(*forgery) {
	return func(f *forgery) {
		for i := range n {
			f.certificates = append(f.certificates, certificate(tb, "other", "Extra", int64(100+i)).Raw)
		}
	}
}

func messageType(text string) func(*forgery) {
	return func(f *forgery) { f.with(oidMessageType, printableText(text)) }
}

func transactionID(tag cbasn1.Tag, text string) func(*forgery) {
	return func(f *forgery) { f.with(oidTransactionID, element(tag, []byte(text))) }
}

func nonce(n int) func(*forgery) {
	return func(f *forgery) { f.with(oidSenderNonce, octets(strings.Repeat("n", n))) }
}

func signingTimeAt(at time.Time) func(*forgery) {
	return func(f *forgery) { f.with(cms.OIDSigningTime, utcTime(at)) }
}
