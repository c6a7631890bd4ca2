package server_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"go.mozilla.org/pkcs7"

	"understudy.example/understudy/ca"
)

func TestCapabilities(t *testing.T) {
	h := open(t)
	const want = "POSTPKIOperation\nSHA-512\nSHA-384\nSHA-256\nSHA-1\nDES3\nAES\nSCEPStandard\n"
	for _, target := range []string{
		"/scep?operation=GetCACaps",
		"/scep?operation=GetCACaps&message=",
		"/scep?operation=GetCACaps&message=some%20CA",
		"/scep?message=x&operation=GetCACaps&other=1&other=2",
	} {
		a := h.get(target)
		if a.status != http.StatusOK || a.body != want {
			t.Errorf("%s: %d %q", target, a.status, a.body)
		}
		if got := a.header.Get("Content-Type"); got != "text/plain" {
			t.Errorf("%s: Content-Type %q, want exactly text/plain", target, got)
		}
	}
}

// Renewal is offered where it is served, and nowhere else.
func TestCapabilitiesWithRenewal(t *testing.T) {
	h := open(t, inMemory)
	h.object("POST", "/api/v1/configurations", `{"name":"renewing","renewal":true}`, http.StatusCreated)
	for target, want := range map[string]bool{"/scep/renewing": true, "/scep/default": false} {
		words := strings.Fields(h.get(target + "?operation=GetCACaps").body)
		if slices.Contains(words, "Renewal") != want || slices.Contains(words, "GetNextCACert") {
			t.Errorf("%s: %q", target, words)
		}
	}
}

// What is offered must not be refused.
func TestCapabilitiesWithoutSHA1(t *testing.T) {
	h := open(t)
	h.object("PATCH", "/api/v1/configurations/default", `{"sha1":"refuse"}`, http.StatusOK)
	body := h.get("/scep?operation=GetCACaps").body
	if strings.Contains(body, "SHA-1\n") || strings.Contains(body, "\n\n") || !strings.Contains(body, "SHA-512\n") {
		t.Errorf("got %q", body)
	}
}

func TestPaths(t *testing.T) {
	h := open(t)
	pki := "/pki/" + h.authority.ID() + "/scep/" + h.live.Record.ID
	other := strings.Repeat("0", 40)
	for path, want := range map[string]int{
		pki: 200, pki + "/": 200, pki + "/pkiclient.exe": 200, pki + "/pkiclient.exe/": 200,
		"/scep/default": 200, "/scep/default/": 200, "/scep/default/pkiclient.exe": 200, "/scep/default/pkiclient.exe/": 200,
		"/scep": 200, "/scep/": 200, "/scep/pkiclient.exe": 200, "/scep/pkiclient.exe/": 200,
		"/cgi-bin/pkiclient.exe": 200, "/cgi-bin/pkiclient.exe/": 200,

		"/pki/" + other + "/scep/" + h.live.Record.ID:             404,
		"/pki/" + h.authority.ID() + "/scep/default":              404, // by id only
		"/pki/" + h.authority.ID() + "/scep/rac00000000000000000": 404,
		"/pki/" + h.authority.ID() + "/scep/":                     404,
		"/pki//scep/" + h.live.Record.ID:                          404,
		"/scep/nobody":                                            404,
		"/scep/" + h.live.Record.ID:                               404, // by name only
		"/scep/default/pkiclient.exe/pkiclient.exe":               404,
		"/scep/default/x":                                         404,
		"/scep/x/../default":                                      404,
		"/scep//default":                                          404,
		"//scep/default":                                          404,
		"/scep/./default":                                         404,
		"/scep/%2e%2e/scep/default":                               404,
		"/scep/%64efault":                                         404,
		"/cgi-bin":                                                404,
		"/":                                                       404,
		"/api/v1/configurations":                                  404, // belongs to the other listener
		"/metrics":                                                404,
		"/" + strings.Repeat("x", 10_000):                         404,
		"/scep/" + strings.Repeat("default/", 1000):               404,
	} {
		a := h.get(path + "?operation=GetCACaps")
		if a.status != want {
			t.Errorf("%.80s: %d, want %d", path, a.status, want)
		}
		if a.header.Get("Location") != "" {
			t.Errorf("%.80s: redirects to %q", path, a.header.Get("Location"))
		}
		if a.body == "" {
			t.Errorf("%.80s: empty body", path)
		}
	}
}

func TestMethods(t *testing.T) {
	h := open(t)
	for _, method := range []string{"HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"} {
		a := do(h.Public(), httptest.NewRequest(method, "/scep?operation=GetCACaps", nil))
		if a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != "GET, POST" {
			t.Errorf("%s: %d, Allow %q", method, a.status, a.header.Get("Allow"))
		}
	}
	for method, want := range map[string]int{"GET": 200, "HEAD": 200, "POST": 405, "PUT": 405} {
		a := do(h.Public(), httptest.NewRequest(method, "/ca.cer", nil))
		if a.status != want || (want == 405) != (a.header.Get("Allow") == "GET, HEAD") {
			t.Errorf("%s /ca.cer: %d, Allow %q", method, a.status, a.header.Get("Allow"))
		}
	}
}

func TestOperations(t *testing.T) {
	h := open(t)
	for _, test := range []struct {
		method, query string
		status        int
	}{
		{"GET", "", 400},
		{"GET", "operation=", 400},
		{"GET", "operation=pkioperation", 400},
		{"GET", "operation=PKIOperation%20", 400},
		{"GET", "operation=GetCACaps%", 400},
		{"GET", "Operation=GetCACaps", 400},
		{"GET", "operation=GetCACaps&operation=GetCACaps", 400},
		{"GET", "operation=GetCACaps&message=1&message=2", 400},
		{"GET", "operation=GetCACaps;message=1", 400},
		{"GET", "operation=GetNextCACert", 404},
		{"GET", "operation=PKIOperation", 400},
		{"POST", "operation=GetCACaps", 400},
		{"POST", "operation=GetCACert", 400},
		{"GET", "operation=GetCACap%73", 200},
	} {
		a := do(h.Public(), httptest.NewRequest(test.method, "/scep?"+test.query, nil))
		if a.status != test.status {
			t.Errorf("%s %s: %d, want %d", test.method, test.query, a.status, test.status)
		}
	}
}

func TestCACertificates(t *testing.T) {
	chain, single := shared.chain, shared.single()
	for _, test := range []struct {
		name        string
		authority   *ca.Authority
		settings    string
		contentType string
		want        []*x509.Certificate
	}{
		{"chain", chain, `{}`, "application/x-x509-ca-ra-cert", chain.Chain(false)},
		{"chain without root", chain, `{"chain":"no-root"}`, "application/x-x509-ca-ra-cert", chain.Chain(false)[:2]},
		{"single", single, `{}`, "application/x-x509-ca-cert", []*x509.Certificate{single.Root()}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := open(t, func(h *house) { h.authority = test.authority })
			h.object("PATCH", "/api/v1/configurations/default", test.settings, http.StatusOK)
			for range 2 { // made, and from the cache
				a := h.get("/scep?operation=GetCACert&message=some%20name")
				if a.status != http.StatusOK || a.header.Get("Content-Type") != test.contentType {
					t.Fatalf("%d %v", a.status, a.header)
				}
				if got := certificates(t, a); !equal(got, test.want) {
					t.Errorf("%d certificates, want %d in the order RA, issuer, root", len(got), len(test.want))
				}
			}
		})
	}
}

// certificates reads an answer to GetCACert.
func certificates(t *testing.T, a reply) []*x509.Certificate {
	t.Helper()
	if a.header.Get("Content-Type") == "application/x-x509-ca-cert" {
		c, err := x509.ParseCertificate([]byte(a.body))
		if err != nil {
			t.Fatal(err)
		}
		return []*x509.Certificate{c}
	}
	p, err := pkcs7.Parse([]byte(a.body))
	if err != nil {
		t.Fatal(err)
	}
	return p.Certificates
}

func equal(a, b []*x509.Certificate) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !a[i].Equal(b[i]) {
			return false
		}
	}
	return true
}

// A new RA must be in the next answer, not what was encoded before.
func TestCACertificatesAfterRotation(t *testing.T) {
	authority := newRotatingAuthority(t)
	h := open(t, func(h *house) { h.authority = authority.Authority })
	before := h.get("/scep?operation=GetCACert").body
	authority.rotate()
	after := h.get("/scep?operation=GetCACert")
	if after.body == before {
		t.Fatal("GetCACert still answers with the RA that was replaced")
	}
	if got := certificates(t, after); !equal(got, authority.Chain(false)) {
		t.Error("GetCACert does not answer with the new chain")
	}
}

func TestFiles(t *testing.T) {
	h := open(t)
	root, issuer := h.authority.Root(), h.authority.Issuer()
	for path, want := range map[string][]*x509.Certificate{
		"/ca.cer": {issuer}, "/root.cer": {root}, "/ca.pem": {issuer}, "/root.pem": {root}, "/chain.pem": {issuer, root},
	} {
		a := h.get(path)
		var got []*x509.Certificate
		if strings.HasSuffix(path, ".cer") {
			c, err := x509.ParseCertificate([]byte(a.body))
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			got = append(got, c)
		}
		for rest := []byte(a.body); strings.HasSuffix(path, ".pem") && len(bytes.TrimSpace(rest)) > 0; {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				t.Fatalf("%s: not PEM", path)
			}
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			got = append(got, c)
		}
		if a.status != http.StatusOK || !equal(got, want) {
			t.Errorf("%s: %d with %d certificates", path, a.status, len(got))
		}
	}
	alone := open(t, func(h *house) { h.authority = shared.single() })
	if n := strings.Count(alone.get("/chain.pem").body, "BEGIN CERTIFICATE"); n != 1 {
		t.Errorf("/chain.pem of a single CA has %d certificates", n)
	}
}
