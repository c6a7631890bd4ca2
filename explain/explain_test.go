package explain_test

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/explain"
)

var update = flag.Bool("update", false, "write the golden files anew")

// now is a moment at which the samples are fresh.
var now = time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)

const challenge = "throwawaySecret1234" // of the samples

// options have the keys of the samples, and the certificates of files.
func options(tb testing.TB, files ...string) explain.Options {
	tb.Helper()
	o := explain.Options{Now: now}
	for _, name := range []string{"client", "ra"} {
		keys, err := explain.ReadKeys(sample(tb, "keys/"+name+".key.pem"))
		if err != nil {
			tb.Fatal(err)
		}
		o.Keys = append(o.Keys, keys...)
	}
	for _, name := range files {
		certificates, err := explain.ReadCertificates(sample(tb, name))
		if err != nil {
			tb.Fatal(err)
		}
		o.Certificates = append(o.Certificates, certificates...)
	}
	return o
}

func sample(tb testing.TB, name string) []byte {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// samples are the names of all samples.
func samples(tb testing.TB) []string {
	tb.Helper()
	files, err := os.ReadDir("testdata")
	if err != nil {
		tb.Fatal(err)
	}
	var names []string
	for _, f := range files {
		if !f.IsDir() && f.Name() != "README.md" {
			names = append(names, f.Name())
		}
	}
	if len(names) < 30 {
		tb.Fatalf("only %d samples", len(names))
	}
	return names
}

// known are the certificates with which some samples are judged.
var known = map[string][]string{
	"reply-success.der":      {"getcacert.p7"},
	"reply-micromdm.der":     {"getcacert-micromdm.der"},
	"request-strongswan.der": {"getcacert.p7"},
	"reply-crl.der":          {"chain.pem"},
	"leaf.pem":               {"chain.pem"},
	"crl.pem":                {"chain.pem"},
	"ocsp-response.der":      {"chain.pem"},
	"nextca-by-ca.der":       {"getcacert.p7"},
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s has changed; -update writes it anew. Got:\n%s", path, got)
	}
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestGolden(t *testing.T) {
	for _, name := range samples(t) {
		t.Run(name, func(t *testing.T) {
			d := explain.Explain(sample(t, name), options(t, known[name]...))
			golden(t, name+".txt", []byte(d.Text()))
		})
	}
}

// The JSON of one of each kind: programs read it.
func TestGoldenJSON(t *testing.T) {
	for _, name := range []string{"request-pkcsreq.der", "reply-success.der", "reply-failure.der", "csr.pem", "crl.pem", "leaf.pem", "getcacaps.txt", "odd-cut.der"} {
		t.Run(name, func(t *testing.T) {
			golden(t, name+".json", encode(t, explain.Explain(sample(t, name), options(t, known[name]...))))
		})
	}
}

func TestKinds(t *testing.T) {
	want := map[string]explain.Kind{
		"chain.pem": explain.Certificate, "leaf.pem": explain.Certificate, "windows.pem": explain.Certificate,
		"crl.pem": explain.CRL, "crl.hex": explain.CRL, "csr.pem": explain.CSR, "public.pem": explain.PublicKey,
		"getcacaps.txt": explain.Capabilities, "getcacert.p7": explain.CertsOnly, "nextca-by-ca.der": explain.NextCA,
		"ocsp-request.der": explain.OCSPRequest, "ocsp-response.der": explain.OCSPResponse, "signed.der": explain.SignedData,
		"request-get.url": explain.Request, "request.base64": explain.Request, "reply-success.der": explain.Reply,
		"odd-cut.der": explain.Request, "keys/ra.key.pem": explain.PrivateKey,
	}
	for name, kind := range want {
		d := explain.Explain(sample(t, name), explain.Options{Now: now})
		if len(d.Items) == 0 || d.Items[0].Kind != kind {
			t.Errorf("%s is %+v, want %s", name, d.Items, kind)
		}
	}
}

// finding says whether a document has a finding with these words.
func finding(d explain.Document, level explain.Level, who, text string) bool {
	for _, i := range d.Items {
		for _, f := range i.Findings {
			if f.Level == level && strings.Contains(f.Who, who) && strings.Contains(f.Text, text) {
				return true
			}
		}
	}
	return false
}

func TestFindings(t *testing.T) {
	tests := []struct {
		name, who, text string
		level           explain.Level
		certificates    []string
	}{
		{"reply-micromdm.der", "strongSwan up to 5.9.10", "sha1WithRSAEncryption", explain.Objection, nil},
		{"reply-micromdm.der", "OpenSSL 3", "single DES", explain.Objection, nil},
		{"reply-micromdm.der", "strict", "no fresh one", explain.Objection, nil},
		{"reply-micromdm.der", "Apple", "CFEqual", explain.Objection, []string{"getcacert.p7"}},
		{"request-scepclient.der", "strict", "no NULL parameters", explain.Objection, nil},
		{"request-scepclient.der", "SCEP servers", "none of the certificates", explain.Objection, []string{"getcacert-micromdm.der"}},
		{"getcacaps-micromdm.txt", "strongSwan 5.9.8", "SHA-384 is missing", explain.Objection, nil},
		{"getcacert-no-ra.p7", "Apple", "no certificate has both", explain.Objection, nil},
		{"nextca-by-ca.der", "jscep", "the CA signed it", explain.Objection, []string{"getcacert.p7"}},
		{"nextca-by-ca.der", "jscep", "the CA signed it", explain.Remark, nil},
		{"nextca-by-ra.der", "strict", "an RA signed it", explain.Objection, nil},
		{"windows.pem", "Go programs", "authorityKeyIdentifier is critical", explain.Objection, nil},
		{"csr.pem", "Windows", "PrintableString", explain.Objection, nil},
		{"odd-md5.der", "every server", "MD5", explain.Objection, nil},
		{"odd-md5.der", "understudy", "unsupported_algorithm", explain.Objection, nil},
		{"odd-signature.der", "everybody", "does not hold", explain.Wrong, nil},
		{"odd-signature.der", "understudy", "signature is wrong", explain.Objection, nil},
		{"odd-two-signers.der", "every server", "2 SignerInfos", explain.Objection, nil},
		{"odd-gcm.der", "every server", "AES-128-GCM", explain.Objection, nil},
		{"odd-nonce.der", "strict", "8 octets, not 16", explain.Objection, nil},
		{"odd-bidi.der", "strict", "UTF8String, not a PrintableString", explain.Objection, nil},
		{"request-ber.der", "only DER", "it is BER", explain.Remark, nil},
	}
	for _, tt := range tests {
		d := explain.Explain(sample(t, tt.name), options(t, tt.certificates...))
		text := tt.text
		if text == "CFEqual" {
			text = "only the very certificate"
		}
		if !finding(d, tt.level, tt.who, text) {
			t.Errorf("%s: no %s of %q about %q in\n%s", tt.name, tt.level, tt.who, text, d.Text())
		}
		if tt.level != explain.Remark && !d.Strict() {
			t.Errorf("%s: not strict", tt.name)
		}
	}
}

// What this server writes, nobody objects to.
func TestOurOwnIsClean(t *testing.T) {
	for _, name := range []string{
		"request-pkcsreq.der", "request-get.url", "request-certpoll.der", "request-renewal.der", "reply-success.der", "reply-failure.der",
		"reply-pending.der", "reply-crl.der", "getcacert.p7", "getcacaps.txt", "leaf.pem", "chain.pem",
	} {
		if d := explain.Explain(sample(t, name), options(t, "chain.pem", "getcacert.p7")); d.Strict() {
			t.Errorf("%s:\n%s", name, d.Text())
		}
	}
}

// The challenge comes out only when it is asked for, whatever is damaged.
func TestChallengeStaysSecret(t *testing.T) {
	secrets := map[string]string{"request-pkcsreq.der": challenge, "request-scepclient.der": challenge, "csr.pem": "under_score-Challenge"}
	for name, secret := range secrets {
		o := options(t)
		d := explain.Explain(sample(t, name), o)
		if text := d.Text() + string(encode(t, d)); strings.Contains(text, secret) || !strings.Contains(text, "[secret]") {
			t.Errorf("%s: the challenge is told, or missing:\n%s", name, text)
		}
		o.ShowChallenge = true
		if text := explain.Explain(sample(t, name), o).Text(); !strings.Contains(text, secret) {
			t.Errorf("%s: the challenge is not told although it was asked for:\n%s", name, text)
		}
	}
}

// A CSR that is damaged anywhere does not tell its challenge.
func TestDamageTellsNoChallenge(t *testing.T) {
	d := explain.Explain(sample(t, "csr.pem"), options(t))
	der := unpem(t, sample(t, "csr.pem"))
	if d.Items[0].Bytes != len(der) {
		t.Fatal("not the same CSR")
	}
	const secret = "under_score-Challenge"
	for i := range der {
		odd := bytes.Clone(der)
		odd[i] ^= 1 << (i % 8)
		for _, input := range [][]byte{odd, der[:i]} {
			got := explain.Explain(input, explain.Options{Now: now})
			if text := got.Text() + string(encode(t, got)); strings.Contains(text, secret) {
				t.Fatalf("byte %d:\n%s", i, text)
			}
		}
	}
}

// A message that is cut anywhere is explained as far as it goes.
func TestCut(t *testing.T) {
	whole := sample(t, "request-pkcsreq.der")
	o := explain.Options{Now: now} // without keys, which cost time
	for n := 2; n < len(whole); n += 13 {
		d := explain.Explain(whole[:n], o)
		if len(d.Items) != 1 || d.Items[0].Break == nil {
			t.Fatalf("cut at %d: nothing breaks off: %s", n, d.Text())
		}
		if d.Items[0].Break.Offset > n {
			t.Fatalf("cut at %d breaks off at %d", n, d.Items[0].Break.Offset)
		}
	}
	d := explain.Explain(whole[:len(whole)-300], options(t))
	if text := d.Text(); !strings.Contains(text, "PKCSReq") || !strings.Contains(text, "in short") {
		t.Errorf("a message without its end is not recognised:\n%s", text)
	}
}

// A key that does not fit is said, not guessed.
func TestWrongKey(t *testing.T) {
	o := options(t)
	o.Keys = o.Keys[:1] // the client's
	d := explain.Explain(sample(t, "request-pkcsreq.der"), o)
	if !finding(d, explain.Wrong, "these keys", "encrypted to another key") || finding(d, explain.Objection, "understudy", "") {
		t.Error(d.Text())
	}
	o.Keys = []crypto.PrivateKey{nil}
	if d := explain.Explain(sample(t, "request-pkcsreq.der"), o); !finding(d, explain.Wrong, "these keys", "no RSA key") {
		t.Error(d.Text())
	}
}

func TestCompare(t *testing.T) {
	o := options(t)
	ours := explain.Explain(sample(t, "reply-success.der"), o)
	theirs := explain.Explain(sample(t, "reply-micromdm.der"), o)
	c := explain.Compare(ours, theirs)
	golden(t, "compare.txt", []byte(c.Text()))
	golden(t, "compare.json", encode(t, c))
	if !c.Strict() {
		t.Error("they differ")
	}
	if same := explain.Compare(ours, ours); same.Strict() || !strings.Contains(same.Text(), "say the same") {
		t.Errorf("the same differs from itself: %s", same.Text())
	}
}

// Challenges are compared without being told.
func TestCompareSecrets(t *testing.T) {
	der := unpem(t, sample(t, "csr.pem"))
	other := bytes.Replace(der, []byte("under_score"), []byte("over__score"), 1)
	c := explain.Compare(explain.Explain(der, options(t)), explain.Explain(other, options(t)))
	if text := c.Text(); !strings.Contains(text, "[secret], another one") || strings.Contains(text, "__score") {
		t.Error(text)
	}
}

func TestDetection(t *testing.T) {
	request := sample(t, "request-pkcsreq.der")
	d := explain.Explain(request, options(t))
	sum := d.Items[0].SHA256
	encoded := strings.Join(strings.Fields(string(sample(t, "request.base64"))), "")
	for name, input := range map[string]string{
		"standard base64":       encoded,
		"lines":                 string(sample(t, "request.base64")),
		"URL-safe, no padding":  strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(encoded), "="),
		"percent-escapes":       strings.NewReplacer("+", "%2B", "/", "%2f", "=", "%3D").Replace(encoded),
		"query":                 "operation=PKIOperation&message=" + encoded,
		"URL":                   "http://127.0.0.1:8080/scep/x?operation=PKIOperation&message=" + strings.ReplaceAll(encoded, "+", "%20") + "&x=y",
		"line of an access log": `1.2.3.4 - - [x] "GET /scep?operation=PKIOperation&message=` + encoded + `%0A HTTP/1.1" 200 12`,
		"byte order mark":       "\ufeff" + encoded,
		"PEM":                   "words before\n-----BEGIN CMS-----\n" + string(sample(t, "request.base64")) + "-----END CMS-----\n",
	} {
		got := explain.Explain([]byte(input), options(t))
		if len(got.Items) != 1 || got.Items[0].SHA256 != sum {
			t.Errorf("%s: %v %+v", name, got.Input.Detected, got.Items)
		}
	}
	for _, input := range []string{"", "0", "00", "hello", "message=", "message=%", "-----BEGIN X-----", "30", "3080", "\x30", "\x30\x80", "\xff\xfe"} {
		got := explain.Explain([]byte(input), options(t))
		if got.Known() || !got.Strict() {
			t.Errorf("%q is %s", input, got.Text())
		}
	}
}

func TestDetectsOCSPPath(t *testing.T) {
	der := sample(t, "ocsp-request.der")
	path := strings.ReplaceAll(base64.StdEncoding.EncodeToString(der), "/", "%2F")
	d := explain.Explain([]byte("GET http://127.0.0.1:8080/ocsp/"+path+" HTTP/1.1\n"), options(t))
	if d.Items[0].Kind != explain.OCSPRequest || d.Items[0].Bytes != len(der) {
		t.Error(d.Text())
	}
}

func TestTooLarge(t *testing.T) {
	d := explain.Explain(make([]byte, explain.MaxInput+1), options(t))
	if d.Known() || d.Items[0].Break == nil {
		t.Error(d.Text())
	}
}

func TestHTTPResponse(t *testing.T) {
	for contentType, objection := range map[string]string{
		"application/x-x509-ca-ra-cert":                "",
		"application/x-x509-ca-ra-cert; charset=utf-8": "it has parameters",
		"application/x-x509-ca-cert":                   "not application/x-x509-ca-ra-cert",
	} {
		input := "HTTP/1.1 200 OK\r\nContent-type: " + contentType + "\r\nServer: x\r\n\r\n" + string(sample(t, "getcacert.p7"))
		d := explain.Explain([]byte(input), options(t))
		if d.Items[0].Kind != explain.CertsOnly || d.Strict() != (objection != "") ||
			objection != "" && !finding(d, explain.Objection, "Apple", objection) {
			t.Errorf("%s: %s", contentType, d.Text())
		}
	}
	input := "HTTP/1.1 200 OK\r\nContent-Type: application/x-x509-ca-cert\r\n\r\n" + string(unpem(t, sample(t, "leaf.pem")))
	if d := explain.Explain([]byte(input), options(t)); !finding(d, explain.Objection, "every client", "the only certificate") {
		t.Error(d.Text())
	}
}
