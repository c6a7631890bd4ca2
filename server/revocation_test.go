package server_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	xocsp "golang.org/x/crypto/ocsp"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/server"
)

// crlPath is the path of the CRL of an issuer.
func crlPath(issuer *x509.Certificate) string {
	return server.CRLURL("", hex.EncodeToString(issuer.SubjectKeyId))
}

// crl gets the CRL of an issuer and checks its signature.
func (h *house) crl(issuer *x509.Certificate) *x509.RevocationList {
	h.t.Helper()
	a := h.get(crlPath(issuer))
	if a.status != 200 || a.header.Get("Content-Type") != "application/pkix-crl" {
		h.t.Fatalf("CRL: %d %v %s", a.status, a.header, a.body)
	}
	list, err := x509.ParseRevocationList([]byte(a.body))
	if err != nil {
		h.t.Fatal(err)
	}
	if err := list.CheckSignatureFrom(issuer); err != nil {
		h.t.Fatal(err)
	}
	return list
}

// ocspRequest is a request about a certificate, by the independent writer.
func (h *house) ocspRequest(c, issuer *x509.Certificate) []byte {
	h.t.Helper()
	request, err := xocsp.CreateRequest(c, issuer, &xocsp.RequestOptions{Hash: crypto.SHA1})
	if err != nil {
		h.t.Fatal(err)
	}
	return request
}

// ocsp asks by POST and reads the answer with the independent reader, which
// checks the signature and the responder's certificate.
func (h *house) ocsp(c, issuer *x509.Certificate) *xocsp.Response {
	h.t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/ocsp", bytes.NewReader(h.ocspRequest(c, issuer)))
	r.Header.Set("Content-Type", "application/ocsp-request")
	return h.readOCSP(do(h.Public(), r), c, issuer)
}

func (h *house) readOCSP(a reply, c, issuer *x509.Certificate) *xocsp.Response {
	h.t.Helper()
	if a.status != 200 || a.header.Get("Content-Type") != "application/ocsp-response" {
		h.t.Fatalf("OCSP: %d %v %q", a.status, a.header, a.body)
	}
	response, err := xocsp.ParseResponseForCert([]byte(a.body), c, issuer)
	if err != nil {
		h.t.Fatal(err)
	}
	return response
}

func certificatePath(c *x509.Certificate, step string) string {
	return "/api/v1/certificates/" + serialOf(c) + step
}

func TestRevoke(t *testing.T) {
	h := open(t, inMemory)
	issuer := h.authority.Issuer()
	good, held, bad := h.enrol("C02XL0GTJGH5"), h.enrol("C02XL0GTJGH6"), h.enrol("C02XL0GTJGH7")
	before := h.crl(issuer)
	if len(before.RevokedCertificateEntries) != 0 {
		t.Errorf("CRL before: %v", before.RevokedCertificateEntries)
	}
	h.clock.Advance(time.Minute)
	for _, c := range []*x509.Certificate{good, held, bad} {
		if got := h.ocsp(c, issuer); got.Status != xocsp.Good {
			t.Errorf("OCSP before: %d", got.Status)
		}
	}
	item := h.object("POST", certificatePath(bad, "/revoke"), `{"reason":"keyCompromise","note":"lost"}`, 200)
	if item["state"] != "revoked" || item["revocation_reason"] != "keyCompromise" || item["revoked_by"] != "admin" || item["revoked_at"] == nil {
		t.Errorf("revoked: %v", item)
	}
	h.object("POST", certificatePath(held, "/revoke"), `{"reason":"certificateHold"}`, 200)

	after := h.crl(issuer)
	if after.Number.Cmp(before.Number) <= 0 || len(after.RevokedCertificateEntries) != 2 {
		t.Errorf("CRL %v has %d entries, before it was %v", after.Number, len(after.RevokedCertificateEntries), before.Number)
	}
	for _, e := range after.RevokedCertificateEntries {
		if want := map[string]int{serialOf(bad): 1, serialOf(held): 6}[ca.FormatSerial(e.SerialNumber)]; e.ReasonCode != want {
			t.Errorf("%x is listed with reason %d", e.SerialNumber, e.ReasonCode)
		}
	}
	if got := h.ocsp(bad, issuer); got.Status != xocsp.Revoked || got.RevocationReason != 1 || !got.RevokedAt.Equal(h.clock.Now()) {
		t.Errorf("OCSP of the revoked one: %+v", got)
	}
	if got := h.ocsp(good, issuer); got.Status != xocsp.Good {
		t.Errorf("OCSP of the good one: %d", got.Status)
	}

	item = h.object("POST", certificatePath(held, "/revoke"), `{"reason":"removeFromCRL"}`, 200)
	if item["state"] != "valid" || item["revoked_at"] != nil {
		t.Errorf("let go: %v", item)
	}
	if list := h.crl(issuer).RevokedCertificateEntries; len(list) != 1 {
		t.Errorf("CRL after the hold: %v", list)
	}
	shown := h.object("GET", "/api/v1/crls/current", "", 200)
	if items, _ := shown["items"].([]any); len(items) != 1 || items[0].(map[string]any)["certificate_serial"] != serialOf(bad) ||
		items[0].(map[string]any)["reason"] != "keyCompromise" || shown["url"] != baseURL+crlPath(issuer) {
		t.Errorf("CRL in JSON: %v", shown)
	}
	ski := strings.ToUpper(hex.EncodeToString(issuer.SubjectKeyId))
	if a := h.api("GET", "/api/v1/crls/"+ski+".crl", ""); a.body != h.get(crlPath(issuer)).body {
		t.Errorf("CRL of the admin API differs: %d", a.status)
	}
}

func TestRevokeProblems(t *testing.T) {
	h := open(t, inMemory)
	c := h.enrol("C02XL0GTJGH5")
	for _, test := range []struct {
		step, body string
		status     int
		want       string
	}{
		{"/revoke", `{"reason":"removeFromCRL"}`, 409, "not-on-hold"},
		{"/revoke", `{"reason":"boredom"}`, 422, "reason"},
		{"/revoke", `{"reason":7}`, 422, "reason"},
		{"/revoke", `{"note":"` + strings.Repeat("x", 1025) + `"}`, 422, "note"},
		{"/revoke", `{"because":"x"}`, 422, "because"},
		{"/used", `{"at":"yesterday"}`, 422, "at"},
		{"/used", `{"at":"2999-01-01T00:00:00Z"}`, 422, "future"},
		{"/used", `{"when":"x"}`, 422, "when"},
		{"/revoke", ``, 200, "unspecified"},
		{"/revoke", `{}`, 409, "revoked-already"},
	} {
		if a := h.api("POST", certificatePath(c, test.step), test.body); a.status != test.status || !strings.Contains(a.body, test.want) {
			t.Errorf("%s %.40s: %d %s", test.step, test.body, a.status, a.body)
		}
	}
	for _, path := range []string{"/api/v1/certificates/ab/revoke", "/api/v1/certificates/ab/used", "/api/v1/certificates/nonsense/revoke"} {
		if a := h.api("POST", path, "{}"); a.status != 404 {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	if a := h.api("GET", "/api/v1/crls/abcd", ""); a.status != 404 {
		t.Errorf("CRL of nobody: %d", a.status)
	}
}

// A revoked certificate takes no other's place.
func TestRevokedTakesNoPlace(t *testing.T) {
	h := open(t, inMemory)
	first := h.enrol("C02XL0GTJGH5")
	second := h.enrolAgain("C02XL0GTJGH5", "TX-again")
	state := func(c *x509.Certificate) any { return h.object("GET", certificatePath(c, ""), "", 200)["state"] }
	if state(first) != "superseded" || state(second) != "valid" {
		t.Errorf("states %v %v", state(first), state(second))
	}
	h.object("POST", certificatePath(second, "/revoke"), `{}`, 200)
	if state(first) != "valid" || state(second) != "revoked" {
		t.Errorf("states %v %v", state(first), state(second))
	}
	h.object("POST", certificatePath(first, "/revoke"), `{}`, 200)
	if state(first) != "revoked" {
		t.Errorf("state %v", state(first))
	}
}

func TestUsed(t *testing.T) {
	h := open(t, inMemory)
	c := h.enrol("C02XL0GTJGH5")
	if got := h.object("POST", certificatePath(c, "/used"), `{}`, 200)["used_at"]; got != h.clock.Now().UTC().Format(time.RFC3339) {
		t.Errorf("used at %v", got)
	}
	h.clock.Advance(time.Hour)
	if got := h.object("POST", certificatePath(c, "/used"), `{"at":null}`, 200)["used_at"]; got == h.clock.Now().UTC().Format(time.RFC3339) {
		t.Errorf("the second use is kept: %v", got)
	}
}

// After a rollover both issuers answer for what they issued.
func TestRevocationAfterRollover(t *testing.T) {
	for _, shape := range []ca.Shape{ca.ShapeChain, ca.ShapeSingle} {
		h := open(t, inMemory, ownAuthority(shape))
		was := h.authority.Issuer()
		old := h.enrol("C02XL0GTJGH5")
		h.clock.Advance(time.Minute)
		h.object("POST", rolloverPath+"/prepare", "", 200)
		h.object("POST", rolloverPath+"/activate", "", 200)
		now, fresh := h.authority.Issuer(), h.enrol("C02XL0GTJGH6")
		h.clock.Advance(time.Minute)
		h.object("POST", certificatePath(old, "/revoke"), `{}`, 200)
		if got := h.ocsp(old, was); got.Status != xocsp.Revoked {
			t.Errorf("%s: old one: %d", shape, got.Status)
		}
		if got := h.ocsp(fresh, now); got.Status != xocsp.Good {
			t.Errorf("%s: new one: %d", shape, got.Status)
		}
		if a, b := len(h.crl(was).RevokedCertificateEntries), len(h.crl(now).RevokedCertificateEntries); a != 1 || b != 0 {
			t.Errorf("%s: CRLs have %d and %d entries", shape, a, b)
		}
		for _, issuer := range []*x509.Certificate{was, now} {
			if a := h.get(server.IssuerURL("", hex.EncodeToString(issuer.SubjectKeyId))); a.status != 200 || a.body != string(issuer.Raw) {
				t.Errorf("%s: issuer's certificate: %d", shape, a.status)
			}
		}
	}
}

// Caches may keep what is the same for everybody, for a short time.
func TestRevocationCaching(t *testing.T) {
	h := open(t, inMemory)
	c, issuer := h.enrol("C02XL0GTJGH5"), h.authority.Issuer()
	request := h.ocspRequest(c, issuer)
	encoded := base64.StdEncoding.EncodeToString(request)
	for _, target := range []string{crlPath(issuer), "/ocsp/" + url.PathEscape(encoded)} {
		a := h.get(target)
		tag := a.header.Get("ETag")
		if a.status != 200 || tag == "" || a.header.Get("Last-Modified") == "" || a.header.Get("Expires") == "" ||
			!strings.HasPrefix(a.header.Get("Cache-Control"), "max-age=") || !strings.Contains(a.header.Get("Cache-Control"), "public") {
			t.Errorf("%.20s: %d %v", target, a.status, a.header)
		}
	}
	r := httptest.NewRequest("GET", crlPath(issuer), nil)
	tag := h.get(crlPath(issuer)).header.Get("ETag")
	for given, want := range map[string]int{`"other", W/` + tag: 304, "\"other\"\n" + tag: 304, "*": 304, `"other"`: 200, strings.Trim(tag, `"`): 200} {
		r.Header["If-None-Match"] = strings.Split(given, "\n") // one line or several
		if a := do(h.Public(), r); a.status != want || (a.body == "") != (want == 304) || a.header.Get("ETag") != tag {
			t.Errorf("known as %q: %d %d bytes, want %d", given, a.status, len(a.body), want)
		}
	}
	r.Header.Set("If-None-Match", tag)
	h.object("POST", certificatePath(c, "/revoke"), `{}`, 200)
	if a := do(h.Public(), r); a.status != 200 {
		t.Errorf("known, but changed: %d", a.status)
	}
	post := httptest.NewRequest("POST", "/ocsp", bytes.NewReader(request))
	if a := do(h.Public(), post); a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("answer to a POST: %v", a.header)
	}
	// A certificate that nobody issued may be issued in a moment.
	stranger := &x509.Certificate{SerialNumber: c.SerialNumber.Add(c.SerialNumber, c.SerialNumber)}
	a := h.get("/ocsp/" + url.PathEscape(base64.StdEncoding.EncodeToString(h.ocspRequest(stranger, issuer))))
	if got := h.readOCSP(a, stranger, issuer); got.Status != xocsp.Unknown || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("unknown: %d %v", got.Status, a.header)
	}
}

// Clients write the base64 of a GET in more ways than one.
func TestOCSPByGet(t *testing.T) {
	h := open(t, inMemory)
	issuer := h.authority.Issuer()
	seen := map[rune]bool{}
	for i := 0; !seen['/'] || !seen['+']; i++ {
		if i == 100 {
			t.Fatal("no request with both / and + in its base64")
		}
		c := h.enrol("C02XL0GTJG" + string(rune('A'+i%26)) + string(rune('A'+i/26)))
		encoded := base64.StdEncoding.EncodeToString(h.ocspRequest(c, issuer))
		for _, r := range encoded {
			seen[r] = true
		}
		for _, path := range []string{encoded, url.PathEscape(encoded), url.QueryEscape(encoded), strings.TrimRight(encoded, "=")} {
			if got := h.readOCSP(h.get("/ocsp/"+path), c, issuer); got.Status != xocsp.Good {
				t.Errorf("%s: %d", path, got.Status)
			}
		}
	}
}

func TestRevocationPaths(t *testing.T) {
	h := open(t, inMemory)
	good := crlPath(h.authority.Issuer())
	for path, want := range map[string]int{
		good: 200, good + "/": 404, strings.ToUpper(good): 404, strings.TrimSuffix(good, ".crl"): 404,
		"/crl/.crl": 404, "/crl/": 404, "/crl/abcd.crl": 404, "/crl/../crl/x.crl": 404, "/crl/%2e.crl": 404,
		"/issuer/abcd.cer": 404, "/issuer/": 404,
		"/ocsp": 400, "/ocsp/": 400, "/ocsp/!!": 400, "/ocspx": 404,
	} {
		if a := h.get(path); a.status != want || a.body == "" {
			t.Errorf("%s: %d, want %d", path, a.status, want)
		}
	}
	for target, allowed := range map[string]string{good: "GET, HEAD", "/ocsp": "GET, POST"} {
		a := do(h.Public(), httptest.NewRequest("DELETE", target, nil))
		if a.status != 405 || a.header.Get("Allow") != allowed {
			t.Errorf("DELETE %s: %d %q", target, a.status, a.header.Get("Allow"))
		}
	}
	bare := open(t, inMemory, func(h *house) { h.silent = true })
	for _, path := range []string{crlPath(bare.authority.Issuer()), "/ocsp", "/ocsp/MAA="} {
		if a := bare.get(path); a.status != 404 {
			t.Errorf("%s without revocation: %d", path, a.status)
		}
	}
	c := bare.enrol("C02XL0GTJGH5")
	if a := bare.api("POST", certificatePath(c, "/revoke"), "{}"); a.status != 404 {
		t.Errorf("revoke without revocation: %d", a.status)
	}
}

// Everybody may ask, but not for ever: a signature costs more than the
// question.
func TestOCSPLimits(t *testing.T) {
	h := open(t, inMemory, limited(3))
	c, issuer := h.enrol("C02XL0GTJGH5"), h.authority.Issuer()
	target := "/ocsp/" + url.PathEscape(base64.StdEncoding.EncodeToString(h.ocspRequest(c, issuer)))
	codes := map[int]int{}
	for range 5 {
		a := h.get(target)
		codes[a.status]++
		if a.status == 429 && a.header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	if codes[429] != 3 || codes[200] != 2 { // enrolling took one
		t.Errorf("answers %v", codes)
	}
	if got := h.metric(`understudy_ocsp_answers_total{status="successful"}`); got != "2" {
		t.Errorf("metric %q", got)
	}
	if got := h.metric(`understudy_http_requests_total{code="429",operation="OCSP"}`); got != "3" {
		t.Errorf("metric %q", got)
	}
}

// An answer gives back the slot that it took.
func TestOCSPSlotsComeBack(t *testing.T) {
	h := open(t, inMemory, func(h *house) { h.config.MaxInFlight = 1 })
	c, issuer := h.enrol("C02XL0GTJGH5"), h.authority.Issuer()
	for range 3 {
		if got := h.ocsp(c, issuer); got.Status != xocsp.Good {
			t.Errorf("status %d", got.Status)
		}
	}
}
