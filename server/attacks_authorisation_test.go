package server_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	xocsp "golang.org/x/crypto/ocsp"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/scep/client"
)

// A01 to A27 are about who may have a certificate; package enroll tests what
// the flow decides of them. Here are those that only HTTP can get wrong, and
// A62, about OCSP and CRL.

// refusedAs sends a message and demands a signed FAILURE with this reason in
// the log.
func (h *house) refusedAs(request *client.Request, r *http.Request, reason string) {
	h.t.Helper()
	before := len(h.log.lines(h.t, "transaction"))
	got := h.reply(request, do(h.Public(), r))
	lines := h.log.lines(h.t, "transaction")
	if got.Status != client.Failure || got.FailInfo != client.BadRequest || len(lines) != before+1 || lines[before]["reason"] != reason {
		h.t.Errorf("status %v %v, log %v; want badRequest for %s", got.Status, got.FailInfo, lines[len(lines)-1], reason)
	}
}

// issued returns how many certificates there are.
func (h *house) issued() int {
	h.t.Helper()
	page, err := h.depot.Identities(h.t.Context(), depot.IdentityQuery{Limit: 500})
	if err != nil {
		h.t.Fatal(err)
	}
	return len(page.Items)
}

// TestForeignCredentials is A08: what opens one door opens no other.
func TestForeignCredentials(t *testing.T) {
	h := open(t, inMemory)
	own, _ := h.object("POST", "/api/v1/configurations", `{"name":"second"}`, 201)["secret_key"].(string)
	second, _ := h.config.Configurations.ByName("second")
	to := func(target string, request *client.Request) *http.Request {
		r := httptest.NewRequest(http.MethodPost, target, bytes.NewReader(request.Raw))
		r.Header.Set("Authorization", "Bearer "+token)
		r.SetBasicAuth("admin", token)
		return r
	}
	// The admin token is no challenge, and does not stand in for one.
	for _, secret := range []string{token, "", own} {
		reason := "challenge_wrong"
		if secret == "" {
			reason = "challenge_missing"
		}
		request := h.message("C02XL0GTJGH5", secret)
		h.refusedAs(request, to("/scep", request), reason)
	}
	// The secret of one configuration is none for another.
	request := h.message("C02XL0GTJGH5", secretKey)
	for _, target := range []string{h.SCEPAliasURL(second.Record), h.SCEPURL(second.Record)} {
		h.refusedAs(request, to(target, request), "challenge_wrong")
	}
	// Secrets are no admin token.
	for _, secret := range []string{secretKey, own, "Basic " + token, ""} {
		r := httptest.NewRequest(http.MethodGet, "/api/v1/configurations", nil)
		r.Host = "localhost"
		r.Header.Set("Authorization", "Bearer "+secret)
		if a := do(h.Admin(), r); a.status != http.StatusUnauthorized {
			t.Errorf("admin API with %q: %d", secret, a.status)
		}
	}
	// The token opens nothing on the other listener.
	for _, path := range []string{"/api/v1/configurations", "/api/v1/requests", "/metrics"} {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("Authorization", "Bearer "+token)
		if a := do(h.Public(), r); a.status != http.StatusNotFound {
			t.Errorf("public %s: %d", path, a.status)
		}
	}
	if n := h.issued(); n != 0 {
		t.Errorf("%d certificates were issued", n)
	}
}

// TestForgedHeaders is A16: what a stranger says about himself in a header
// counts for nothing.
func TestForgedHeaders(t *testing.T) {
	h := open(t, inMemory)
	trusted := h.enrol("C02XL0GTJGH5")
	escaped := url.QueryEscape(base64.StdEncoding.EncodeToString(trusted.Raw))
	forge := func(r *http.Request) *http.Request {
		r.RemoteAddr = "203.0.113.7:999"
		for name, value := range map[string]string{
			"X-Forwarded-For": "127.0.0.1", "X-Real-Ip": "127.0.0.1", "Forwarded": "for=127.0.0.1", "X-Forwarded-Host": "localhost",
			"X-Client-Cert": escaped, "X-Ssl-Client-Cert": escaped, "X-Forwarded-Client-Cert": "Cert=" + escaped,
			"X-Ssl-Client-Verify": "SUCCESS", "Ssl-Client-S-Dn": "CN=C02XL0GTJGH5", "X-Remote-User": "admin", "Remote-User": "admin",
		} {
			r.Header.Set(name, value)
		}
		return r
	}
	request := h.message("C02XL0GTJGH6", "wrong")
	h.refusedAs(request, forge(post(bytes.NewReader(request.Raw))), "challenge_wrong")
	lines := h.log.lines(t, "transaction")
	if got := lines[len(lines)-1]["remote"]; got != "203.0.113.7" {
		t.Errorf("the log says %v", got)
	}
	good := h.message("C02XL0GTJGH7", secretKey)
	c := h.success(good, do(h.Public(), forge(post(bytes.NewReader(good.Raw)))))
	identity, err := h.depot.Identity(t.Context(), serialOf(c))
	if err != nil || identity.SourceAddress != "203.0.113.7" || identity.SourcePeer != "203.0.113.7" {
		t.Errorf("on record: %q %q, %v", identity.SourceAddress, identity.SourcePeer, err)
	}
	for _, path := range []string{"/api/v1/certificates", "/api/v1/backup"} {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Host = "localhost"
		if a := do(h.Admin(), forge(r)); a.status != http.StatusUnauthorized {
			t.Errorf("admin %s: %d", path, a.status)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		if a := do(h.Admin(), forge(r)); strings.HasSuffix(path, "backup") && a.status != http.StatusForbidden {
			t.Errorf("keys were given to a stranger who says that he is here: %d", a.status)
		}
	}
}

// TestOneKeyManyTransactions is A23: whoever has the static secret and one key
// gets no more certificates than the limit lets through.
func TestOneKeyManyTransactions(t *testing.T) {
	const limit, tries = 4, 12
	synctest.Test(t, func(t *testing.T) { // the time stands still
		h := open(t, inMemory, limited(limit))
		statuses := make(map[int]int)
		for i := range tries {
			request := h.messageIn("C02XL0GTJGH5", secretKey, fmt.Sprintf("TX-%d", i))
			statuses[h.post(string(request.Raw)).status]++
		}
		if statuses[200] != limit || statuses[429] != tries-limit || h.issued() != limit {
			t.Errorf("statuses %v, %d certificates; the limit is %d", statuses, h.issued(), limit)
		}
		// All of them are one device's, and the operator sees them together.
		d := h.object("GET", "/api/v1/devices/serial:C02XL0GTJGH5", "", 200)
		if all, _ := d["certificates"].([]any); len(all) != limit {
			t.Errorf("the device shows %d certificates", len(all))
		}
	})
}

// TestGuessing is A26: guesses at a secret are bounded for one address and for
// one IPv6 network, and other configurations do not feel them. That the memory
// of the limiter is bounded, TestRateLimitIsBounded shows.
func TestGuessing(t *testing.T) {
	const limit = 5
	synctest.Test(t, func(t *testing.T) {
		h := open(t, inMemory, limited(limit))
		h.object("POST", "/api/v1/configurations", `{"name":"other"}`, 201)
		guess := h.message("C02XL0GTJGH5", "guess")
		from := func(address, target string) int {
			r := httptest.NewRequest(http.MethodPost, target, bytes.NewReader(guess.Raw))
			r.RemoteAddr = address
			return do(h.Public(), r).status
		}
		for name, address := range map[string]func(i int) string{
			"one address": func(int) string { return "192.0.2.1:1000" },
			"one network": func(i int) string { return fmt.Sprintf("[2001:db8::%x:1]:1000", i) },
		} {
			answered := 0
			for i := range 10 * limit {
				if from(address(i), "/scep") == http.StatusOK {
					answered++
				}
			}
			if answered != limit {
				t.Errorf("%s: %d guesses were answered, want %d", name, answered, limit)
			}
		}
		for i := range 120 * limit { // many addresses: the configuration's own limit
			from(fmt.Sprintf("198.51.%d.%d:1", 100+i/250, i%250), "/scep")
		}
		if got := from("203.0.113.1:1", "/scep"); got != http.StatusTooManyRequests {
			t.Errorf("after guesses from everywhere: %d", got)
		}
		if got := from("203.0.113.2:1", "/scep/other"); got != http.StatusOK {
			t.Errorf("another configuration: %d", got)
		}
		if h.issued() != 0 {
			t.Error("something was issued")
		}
		time.Sleep(time.Minute)
		if got := from("192.0.2.1:1", "/scep"); got != http.StatusOK {
			t.Errorf("a minute later: %d", got)
		}
	})
}

// The parts of an OCSP request (RFC 6960 section 4.1.1), to write absurd ones.
type (
	ocspRequest struct {
		TBS ocspTBS
	}
	ocspTBS struct {
		List       []ocspSingle
		Extensions []pkix.Extension `asn1:"explicit,tag:2,optional,omitempty"`
	}
	ocspSingle struct {
		ID ocspID
	}
	ocspID struct {
		Hash             pkix.AlgorithmIdentifier
		NameHash, KeyHas []byte
		Serial           *big.Int
	}
)

// absurd writes an OCSP request of n certIDs and a nonce.
func absurd(t *testing.T, issuer *x509.Certificate, n int, nonce []byte) []byte {
	t.Helper()
	h := &house{t: t}
	var one ocspRequest
	if _, err := asn1.Unmarshal(h.ocspRequest(&x509.Certificate{SerialNumber: big.NewInt(77)}, issuer), &one); err != nil {
		t.Fatal(err)
	}
	many := ocspRequest{}
	for range n {
		many.TBS.List = append(many.TBS.List, one.TBS.List[0])
	}
	if nonce != nil {
		many.TBS.Extensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}, Value: marshal(t, nonce)}}
	}
	return marshal(t, many)
}

// TestOCSPAttacks is A62: what cannot be an OCSP request is turned away before
// anybody reads it; what can gets an OCSP answer that says no. Nothing is
// signed for either.
func TestOCSPAttacks(t *testing.T) {
	h := open(t, inMemory)
	issuer := h.authority.Issuer()
	post := func(body []byte) *http.Request {
		r := httptest.NewRequest(http.MethodPost, "/ocsp", bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/ocsp-request")
		return r
	}
	unsized := post(make([]byte, 1<<20))
	unsized.ContentLength = -1
	packed := post(absurd(t, issuer, 1, nil))
	packed.Header.Set("Content-Encoding", "gzip")
	encoded := func(der []byte) string { return url.PathEscape(base64.StdEncoding.EncodeToString(der)) }
	get := func(path string) *http.Request { return httptest.NewRequest(http.MethodGet, "/ocsp/"+path, nil) }
	for name, test := range map[string]struct {
		request *http.Request
		status  int
	}{
		"a megabyte":                 {post(make([]byte, 1<<20)), 413},
		"a megabyte, unannounced":    {unsized, 413},
		"10 000 certIDs":             {post(absurd(t, issuer, 10_000, nil)), 413},
		"nonce of 10 kB":             {post(absurd(t, issuer, 1, make([]byte, 10_000))), 413},
		"compressed":                 {packed, 415},
		"by GET, no base64":          {get("%21%21%21"), 400},
		"by GET, broken escape":      {get("TUE="), 200}, // base64 of what is no request
		"by GET, 300 certIDs":        {get(encoded(absurd(t, issuer, 300, nil))), 414},
		"by GET, a path of 70 kB":    {get(strings.Repeat("A", 70_000)), 400},
		"empty":                      {post(nil), 200},
		"noise":                      {post(bytes.Repeat([]byte{0xa5}, 1000)), 200},
		"17 certIDs":                 {post(absurd(t, issuer, 17, nil)), 200},
		"nonce of 33 octets":         {post(absurd(t, issuer, 1, make([]byte, 33))), 200},
		"empty nonce":                {post(absurd(t, issuer, 1, []byte{})), 200},
		"no certIDs":                 {post(absurd(t, issuer, 0, nil)), 200},
		"another issuer":             {post(absurd(t, h.authority.Root(), 1, nil)), 200},
		"nested":                     {post(nested(60, 0x30)), 200},
		"indefinite length":          {post([]byte{0x30, 0x80, 0x30, 0x80, 0x00, 0x00, 0x00, 0x00}), 200},
		"trailing byte":              {post(append(absurd(t, issuer, 1, nil), 0)), 200},
		"length of 4 GB":             {post([]byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff}), 200},
		"CRL with a query":           {httptest.NewRequest(http.MethodGet, crlPath(issuer)+"?"+strings.Repeat("x", 10_000), nil), 200},
		"CRL with a body":            {httptest.NewRequest(http.MethodGet, crlPath(issuer), nothings(1<<20)), 200},
		"CRL of a name of 70 kB":     {httptest.NewRequest(http.MethodGet, "/crl/"+strings.Repeat("a", 70_000)+".crl", nil), 404},
		"CRL by POST":                {httptest.NewRequest(http.MethodPost, crlPath(issuer), nil), 405},
		"CRL outside of its folder":  {httptest.NewRequest(http.MethodGet, "/crl/..%2f..%2fetc%2fpasswd.crl", nil), 404},
		"the best request there is":  {post(absurd(t, issuer, 16, make([]byte, 32))), 200},
		"by GET, as it should be":    {get(encoded(absurd(t, issuer, 1, nil))), 200},
		"by GET, with another name":  {httptest.NewRequest(http.MethodGet, "/ocsp/../ocsp/", nil), 400},
		"by GET, in the query":       {httptest.NewRequest(http.MethodGet, "/ocsp?"+encoded(absurd(t, issuer, 1, nil)), nil), 400},
		"by POST, with a path after": {httptest.NewRequest(http.MethodPost, "/ocsp/MAA=", bytes.NewReader(absurd(t, issuer, 1, nil))), 400},
	} {
		a := do(h.Public(), test.request)
		if a.status != test.status {
			t.Errorf("%s: %d %.60q, want %d", name, a.status, a.body, test.status)
		}
		if a.header.Get("Content-Type") != "application/ocsp-response" {
			continue
		}
		_, err := xocsp.ParseResponse([]byte(a.body), nil)
		good := strings.HasPrefix(name, "the best") || strings.HasSuffix(name, "should be")
		if _, refused := err.(xocsp.ResponseError); refused == good { //nolint:errorlint // the very type
			t.Errorf("%s: OCSP says %v", name, err)
		}
	}
	if got := h.metric("understudy_panics_total"); got != "0" {
		t.Errorf("%s panics", got)
	}
}
