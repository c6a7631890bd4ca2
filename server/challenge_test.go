package server_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf16"

	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/scep/client"
	"understudy.example/understudy/scep/client/craft"
)

// dynamic adds a dynamic configuration and returns it with the password of its
// challenge page.
func (w *world) dynamic(t *testing.T, name string, change ...func(*configuration.Settings)) (*configuration.Live, string) {
	t.Helper()
	settings := configuration.Defaults()
	settings.Name, settings.Mode = name, depot.ModeDynamic
	for _, c := range change {
		c(&settings)
	}
	live, password, err := w.set.Add(t.Context(), settings, nil)
	if err != nil {
		t.Fatal(err)
	}
	return live, password.Reveal()
}

// ask asks for a challenge.
func (w *world) ask(t *testing.T, method, path, user, password, body string) (*http.Response, []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, w.base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		request.SetBasicAuth(user, password)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := w.http.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var content bytes.Buffer
	if _, err := content.ReadFrom(response.Body); err != nil {
		t.Fatal(err)
	}
	return response, content.Bytes()
}

var challengeOnPage = regexp.MustCompile(`challenge password is: <B> ([A-F0-9]{16,32}) </B>`)

// challenge takes one from the page, as a program does that reads UTF-8.
func (w *world) challenge(t *testing.T, name, password string) string {
	t.Helper()
	response, body := w.ask(t, "GET", "/scep/"+name+"/challenge", name, password, "")
	found := challengeOnPage.FindSubmatch(body)
	if response.StatusCode != http.StatusOK || found == nil {
		t.Fatalf("challenge page: status %d: %s", response.StatusCode, body)
	}
	return string(found[1])
}

// requestWith returns an honest request with another challenge.
func (w *world) requestWith(t testing.TB, challenge, cn string) *craft.Request {
	t.Helper()
	r, err := craft.NewRequest(w.ca.Encryption, signerOf(t, deviceKey()), deviceKey(), deviceKey(), nameDER(t, cn), challenge,
		fmt.Sprintf("tx-%d", w.transactions.Add(1)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The programs that read challenge pages, with their own expressions: how each
// decodes a body, and what it looks for.
var pageReaders = map[string]struct {
	decode  func([]byte) string
	pattern string
	reads   map[string]bool // forms that it can read
}{
	"Fleet, older": {asUTF16LE, `(?i)The enrollment challenge password is: <B> (?P<password>\S*)`, map[string]bool{"ndes": true}},
	"Fleet, newer": {asEither, `(?i)The enrollment challenge password is: <B> (?P<password>\S*)`, map[string]bool{"okta": true, "ndes": true}},
	"Zentral Okta": {asBytes, `challenge password is: <B> ([a-zA-Z0-9_\-]+) </B>`, map[string]bool{"okta": true}},
	"Zentral NDES": {asUTF16LE, `challenge password is: <B> ([A-Z0-9]{16,32}) </B>`, map[string]bool{"ndes": true}},
	"plain string": {asBytes, `(?i)is: <b> ([A-F0-9]+) </b> </p><p> this`, map[string]bool{"okta": true}},
}

func asBytes(b []byte) string { return string(b) }

func asUTF16LE(b []byte) string {
	if bytes.HasPrefix(b, []byte{0xef, 0xbb, 0xbf}) { // a mark decides
		return string(b[3:])
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = uint16(b[2*i]) | uint16(b[2*i+1])<<8
	}
	return string(utf16.Decode(units))
}

// asEither looks for the zero bytes of UTF-16.
func asEither(b []byte) string {
	if bytes.Count(b[:min(len(b), 100)], []byte{0}) > 20 {
		return asUTF16LE(b)
	}
	return string(b)
}

// TestChallengePage is the readability matrix: each program reads the forms
// that it reads from the originals, and takes the challenge out of them.
func TestChallengePage(t *testing.T) {
	w := newWorld(t, worldOptions{})
	for _, form := range []string{"okta", "ndes"} {
		name := "page-" + form
		live, password := w.dynamic(t, name, func(s *configuration.Settings) { s.Page = form })
		path := strings.TrimPrefix(w.server.ChallengeURL(live.Record), w.base)
		response, body := w.ask(t, "GET", path, name, password, "")
		if response.StatusCode != http.StatusOK || response.Header.Get("Cache-Control") != "no-store" {
			t.Fatalf("%s: status %d, Cache-Control %q", form, response.StatusCode, response.Header.Get("Cache-Control"))
		}
		if form == "okta" && response.Header.Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("content type %q", response.Header.Get("Content-Type"))
		}
		for reader, r := range pageReaders {
			found := regexp.MustCompile(r.pattern).FindStringSubmatch(r.decode(body))
			if (found != nil) != r.reads[form] {
				t.Errorf("%s reads the page of form %s: %v", reader, form, found != nil)
				continue
			}
			if found != nil {
				w.enrolled(t, name, w.requestWith(t, w.fresh(t, name, password, found[1]), "C02XLPAGE001"))
			}
		}
	}
}

// fresh gives back the challenge that was read, the first time, and after that
// another one: each is good once.
func (w *world) fresh(t *testing.T, name, password, read string) string {
	t.Helper()
	page, err := w.depot.Challenges(t.Context(), depot.ChallengeQuery{OutstandingAt: w.clock.Now(), Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Items) == 1 {
		return read
	}
	_, body := w.ask(t, "GET", "/scep/"+name+"/challenge", name, password, "")
	found := regexp.MustCompile(`challenge password is: <B> ([A-F0-9]{16,32}) </B>`).FindStringSubmatch(asEither(body))
	if found == nil {
		t.Fatalf("no challenge on %q", body)
	}
	return found[1]
}

// TestChallengePageTexts are the sentences that programs look for.
func TestChallengePageTexts(t *testing.T) {
	w := newWorld(t, worldOptions{})
	_, password := w.dynamic(t, "one-time", func(s *configuration.Settings) { s.MaxOutstanding = 1 })
	_, body := w.ask(t, "GET", "/scep/one-time/challenge", "one-time", password, "")
	for _, want := range []string{
		"<Title>Network Device Enrollment Service</Title>", "The thumbprint (hash value) for the CA certificate is: <B> ",
		"This password can be used only once and will expire within 60 minutes.",
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("the page does not say %q:\n%s", want, body)
		}
	}
	response, body := w.ask(t, "GET", "/scep/one-time/challenge", "one-time", password, "")
	if response.StatusCode != http.StatusOK || !strings.Contains(string(body), "The password cache is full.") {
		t.Errorf("a second challenge of one: status %d: %s", response.StatusCode, body)
	}
	response, _ = w.ask(t, "POST", "/scep/one-time/challenge", "one-time", password, "{}")
	if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
		t.Errorf("the same for a webhook: status %d", response.StatusCode)
	}
	w.clock.Advance(time.Hour)
	w.challenge(t, "one-time", password)
}

// TestChallengePageIsClosed: no challenge without user and password, and
// always the header that makes clients try Basic.
func TestChallengePageIsClosed(t *testing.T) {
	w := newWorld(t, worldOptions{})
	live, password := w.dynamic(t, "one-time")
	_, other := w.dynamic(t, "other")
	okta := strings.TrimPrefix(w.server.ChallengeURL(live.Record), w.base)
	for what, credentials := range map[string][2]string{
		"none": {"", ""}, "wrong password": {"one-time", "wrong"}, "wrong user": {"admin", password},
		"the admin token": {"one-time", worldToken}, "no password": {"one-time", ""},
	} {
		response, body := w.ask(t, "GET", okta, credentials[0], credentials[1], "")
		if response.StatusCode != http.StatusUnauthorized || !strings.HasPrefix(response.Header.Get("WWW-Authenticate"), `Basic realm=`) ||
			challengeOnPage.Match(body) {
			t.Errorf("%s: status %d, %q: %s", what, response.StatusCode, response.Header.Get("WWW-Authenticate"), body)
		}
	}
	if response, body := w.ask(t, "GET", okta, "other", other, ""); response.StatusCode != http.StatusOK || challengeOnPage.Match(body) ||
		!strings.Contains(string(body), "You do not have sufficient permission to enroll with SCEP.  Please contact your system administrator.") {
		t.Errorf("the user of another configuration: status %d: %s", response.StatusCode, body)
	}
	for _, path := range []string{okta, "/scep/one-time/challenge", "/scep/one-time/v1/challenge", "/scep/one-time/webhook"} {
		response, body := w.ask(t, "POST", path, "other", other, "{}") // which would take a page for the challenge
		if response.StatusCode != http.StatusForbidden || strings.Contains(string(body), "<") {
			t.Errorf("POST %s by the user of another configuration: status %d: %s", path, response.StatusCode, body)
		}
	}
	if !strings.Contains(w.log.String(), "user name and password are another configuration's") {
		t.Error("the log does not say why")
	}
	for _, path := range []string{"/scep/default/challenge", "/scep/nobody/challenge", "/scep/challenge", strings.Replace(okta, live.Record.ID, "rac00000000000000000", 1)} {
		if response, _ := w.ask(t, "GET", path, "one-time", password, ""); response.StatusCode != http.StatusNotFound {
			t.Errorf("%s: status %d", path, response.StatusCode)
		}
	}
	if response, _ := w.ask(t, "PUT", okta, "one-time", password, ""); response.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("PUT: status %d", response.StatusCode)
	}
	if strings.Contains(w.log.String(), password) {
		t.Error("the log holds the password")
	}
}

// TestWebhooks are the other ways to a challenge.
func TestWebhooks(t *testing.T) {
	w := newWorld(t, worldOptions{})
	_, password := w.dynamic(t, "one-time")
	jamf := `{"webhook":{"id":1,"name":"SCEPChallenge","webhookEvent":"SCEPChallenge","eventTimestamp":1700000000000},
		"event":{"scepServerUrl":"https://scep.example/","payloadIdentifier":"x","payloadTypes":["com.apple.security.scep"],"targetDevice":{}}}`
	response, body := w.ask(t, "POST", "/scep/one-time/challenge", "one-time", password, jamf)
	if response.StatusCode != 200 || response.Header.Get("Content-Type") != "text/plain; charset=utf-8" || !regexp.MustCompile(`^[A-F0-9]{32}$`).Match(body) {
		t.Fatalf("Jamf's webhook: status %d: %q", response.StatusCode, body)
	}
	w.enrolled(t, "one-time", w.requestWith(t, string(body), "C02XLJAMF001"))

	response, body = w.ask(t, "POST", "/scep/one-time/v1/challenge", "one-time", password, "{}")
	var micromdm map[string]string
	if err := json.Unmarshal(body, &micromdm); err != nil || response.StatusCode != 200 {
		t.Fatalf("micromdm's: status %d: %q", response.StatusCode, body)
	}
	w.enrolled(t, "one-time", w.requestWith(t, micromdm["string"], "C02XLMDM0001"))

	for body, status := range map[string]int{"{": 400, `"` + strings.Repeat("x", 70<<10) + `"`: 413} {
		if response, _ := w.ask(t, "POST", "/scep/one-time/challenge", "one-time", password, body); response.StatusCode != status {
			t.Errorf("a body of %d bytes: status %d, want %d", len(body), response.StatusCode, status)
		}
	}
}

// TestOneChallengeOneCertificate: A24. Of 16 requests at once with one
// challenge exactly one has a certificate, and nothing else was stored.
func TestOneChallengeOneCertificate(t *testing.T) {
	w := newWorld(t, worldOptions{})
	_, password := w.dynamic(t, "one-time")
	text := w.challenge(t, "one-time", password)
	var messages []*craft.Request
	for i := range 16 {
		messages = append(messages, w.requestWith(t, text, fmt.Sprintf("C02XLRACE%03d", i)))
	}
	var won atomic.Int64
	var all sync.WaitGroup
	for _, m := range messages {
		raw := encode(t, m)
		all.Go(func() {
			if w.read(t, m, w.post(t, "one-time", raw)).Status == client.Success {
				won.Add(1)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 || w.issued(t) != 1 {
		t.Errorf("%d requests succeeded and %d certificates are stored, want one", won.Load(), w.issued(t))
	}
}

// TestBadChallengesLookAlike: A02, A03, A25 and case 27. What is wrong with a
// challenge is in the log; to the client every refusal is the same.
func TestBadChallengesLookAlike(t *testing.T) {
	w := newWorld(t, worldOptions{})
	live, password := w.dynamic(t, "one-time")
	_, foreignPassword := w.dynamic(t, "other")
	bound, _, err := live.NewChallenge(t.Context(), w.clock.Now(), 0, depot.DeviceNames{DeviceSerial: "C02XLBOUND01"}, "test")
	if err != nil {
		t.Fatal(err)
	}
	expired := w.challenge(t, "one-time", password)
	w.clock.Advance(time.Hour)
	used := w.challenge(t, "one-time", password)
	w.enrolled(t, "one-time", w.requestWith(t, used, "C02XLUSED001"))
	boundNow, _, err := live.NewChallenge(t.Context(), w.clock.Now(), 0, depot.DeviceNames{DeviceSerial: "C02XLBOUND01"}, "test")
	if err != nil {
		t.Fatal(err)
	}
	withdrawn, record, err := live.NewChallenge(t.Context(), w.clock.Now(), 0, depot.DeviceNames{}, "test")
	if err == nil {
		err = w.depot.WithdrawChallenge(t.Context(), record.ID, "test", w.clock.Now())
	}
	if err != nil {
		t.Fatal(err)
	}
	sizes := map[int][]string{}
	for what, c := range map[string]struct{ challenge, reason string }{
		"unknown":          {strings.Repeat("A", 32), "challenge_wrong"},
		"used":             {used, "challenge_used"},
		"expired by 0 s":   {expired, "challenge_expired"},
		"bound, expired":   {bound.Reveal(), "challenge_expired"},
		"bound to another": {boundNow.Reveal(), "challenge_foreign"},
		"withdrawn":        {withdrawn.Reveal(), "challenge_wrong"},
		"foreign":          {w.challenge(t, "other", foreignPassword), "challenge_foreign"},
		"lower case":       {strings.ToLower(strings.Repeat("A", 32)), "challenge_wrong"},
	} {
		r := w.requestWith(t, c.challenge, "C02XLBAD0001")
		answer := w.post(t, "one-time", encode(t, r))
		reply := w.read(t, r, answer)
		if reply.Status != client.Failure || reply.FailInfo.Name() != "badRequest" || reply.FailInfoText != "" {
			t.Errorf("%s: status %s, %s %q", what, reply.Status, reply.FailInfo.Name(), reply.FailInfoText)
		}
		if _, reason := w.log.verdict(t); reason != c.reason {
			t.Errorf("%s: the log says %s, want %s", what, reason, c.reason)
		}
		sizes[len(answer.body)-len(r.Message.Get(craft.OIDTransactionID))] = append(sizes[len(answer.body)-len(r.Message.Get(craft.OIDTransactionID))], what)
	}
	if len(sizes) != 1 {
		t.Errorf("the replies differ in length: %v", sizes)
	}
	// None of that spent the challenge that is bound.
	w.enrolled(t, "one-time", w.requestWith(t, boundNow.Reveal(), "C02XLBOUND01"))
}

// TestChallengeAPI makes, lists, shows and withdraws challenges.
func TestChallengeAPI(t *testing.T) {
	h := open(t)
	h.object("POST", "/api/v1/configurations", `{"name":"one-time","mode":"dynamic"}`, 201)
	made := h.object("POST", "/api/v1/challenges", `{"configuration":"one-time","device_serial":"C02XL0GTJGH5","ttl_seconds":60}`, 201)
	if text, ok := made["challenge"].(string); !ok || !regexp.MustCompile(`^[A-F0-9]{32}$`).MatchString(text) {
		t.Errorf("challenge %v", made["challenge"])
	}
	id := made["id"].(string)
	shown := h.object("GET", "/api/v1/challenges/"+id, "", 200)
	if shown["state"] != "outstanding" || shown["bound"].(map[string]any)["device_serial"] != "C02XL0GTJGH5" || shown["challenge"] != nil {
		t.Errorf("shown: %v", shown)
	}
	if n := len(h.object("GET", "/api/v1/challenges?outstanding=true", "", 200)["items"].([]any)); n != 1 {
		t.Errorf("%d are outstanding", n)
	}
	if a := h.api("DELETE", "/api/v1/challenges/"+id, ""); a.status != 204 {
		t.Errorf("withdraw: %d %s", a.status, a.body)
	}
	if a := h.api("DELETE", "/api/v1/challenges/"+id, ""); a.status != 409 {
		t.Errorf("withdraw twice: %d %s", a.status, a.body)
	}
	if n := len(h.object("GET", "/api/v1/challenges?outstanding=true", "", 200)["items"].([]any)); n != 0 {
		t.Errorf("%d are outstanding", n)
	}
	for body, status := range map[string]int{
		`{"configuration":"default"}`: 422, `{"configuration":"nobody"}`: 404, `{"configuration":"one-time","ttl_seconds":-1}`: 422,
		`{"configuration":"one-time","serial":"x"}`: 422, `{"configuration":5}`: 422,
	} {
		if a := h.api("POST", "/api/v1/challenges", body); a.status != status {
			t.Errorf("%s: %d %s, want %d", body, a.status, a.body, status)
		}
	}
	if a := h.api("GET", "/api/v1/challenges/ch_nobody", ""); a.status != 404 {
		t.Errorf("an unknown one: %d", a.status)
	}
}

// TestStepWebhookRefusals: what is refused to a step-ca counts as it does in a
// SCEP message, and whoever is told of the one is told of the other.
func TestStepWebhookRefusals(t *testing.T) {
	var told []string
	var taken bool // the next good challenge is somebody else's
	h := open(t, func(h *house) {
		h.config.Rejected = func(_, name, reason, source string) { told = append(told, name+" "+reason+" "+source) }
		h.wrap = func(d depot.Depot) depot.Depot { return &quickWithdrawer{Depot: d, taken: &taken} }
	})
	made := h.object("POST", "/api/v1/configurations", `{"name":"one-time","mode":"dynamic"}`, 201)
	text := h.object("POST", "/api/v1/challenges", `{"configuration":"one-time"}`, 201)["challenge"].(string)
	other := h.object("POST", "/api/v1/challenges", `{"configuration":"one-time"}`, 201)["challenge"].(string)
	late := h.object("POST", "/api/v1/challenges", `{"configuration":"one-time","ttl_seconds":60}`, 201)["challenge"].(string)
	h.clock.Advance(time.Minute)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "C02XLSTEP001"}}, deviceKey())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(challenge string) string {
		body, err := json.Marshal(map[string]any{"scepChallenge": challenge, "x509CertificateRequest": map[string]any{"raw": csr}})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("POST", "/scep/one-time/webhook", bytes.NewReader(body))
		r.SetBasicAuth(made["username"].(string), made["password"].(string))
		return do(h.Public(), r).body
	}
	if answer := ask(text); answer != `{"allow":true}` || len(told) != 0 {
		t.Fatalf("a good challenge: %s, told %v", answer, told)
	}
	refused := ask(text)
	for _, challenge := range []string{late, "", strings.Repeat("A", 32)} {
		if answer := ask(challenge); answer != refused || !strings.HasPrefix(answer, `{"allow":false,`) {
			t.Errorf("challenge %q: %s, and a used one %s", challenge, answer, refused)
		}
	}
	if taken = true; ask(other) != refused {
		t.Error("a challenge that somebody else took meanwhile looks like another one")
	}
	want := []string{
		"one-time challenge_wrong 192.0.2.1", "one-time challenge_expired 192.0.2.1",
		"one-time challenge_missing 192.0.2.1", "one-time challenge_wrong 192.0.2.1",
		"one-time challenge_used 192.0.2.1",
	}
	if !slices.Equal(told, want) {
		t.Errorf("told of %q, want %q", told, want)
	}
	for series, want := range map[string]string{
		`understudy_challenges_rejected_total{reason="challenge_wrong"}`: "2", `understudy_challenges_rejected_total{reason="challenge_expired"}`: "1",
		`understudy_challenges_rejected_total{reason="challenge_missing"}`: "1", "understudy_challenges_expired_total": "1",
	} {
		if got := h.metric(series); got != want {
			t.Errorf("%s is %s, want %s", series, got, want)
		}
	}
}

// quickWithdrawer is a depot in which somebody else takes a challenge first.
type quickWithdrawer struct {
	depot.Depot
	taken *bool
}

func (d *quickWithdrawer) WithdrawChallenge(ctx context.Context, id, by string, at time.Time) error {
	if *d.taken {
		return depot.ErrChallengeSpent
	}
	return d.Depot.WithdrawChallenge(ctx, id, by, at)
}

// TestStepWebhook judges a challenge for a step-ca: one yes for each.
func TestStepWebhook(t *testing.T) {
	w := newWorld(t, worldOptions{})
	_, password := w.dynamic(t, "one-time")
	text := w.challenge(t, "one-time", password)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "C02XLSTEP001"}}, deviceKey())
	if err != nil {
		t.Fatal(err)
	}
	body := func(challenge string) string {
		b, err := json.Marshal(map[string]any{"timestamp": "x", "provisionerName": "scep", "scepChallenge": challenge, "scepTransactionID": "T-1",
			"x509CertificateRequest": map[string]any{"raw": csr, "publicKeyAlgorithm": "RSA"}})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	var allowed atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			response, answer := w.ask(t, "POST", "/scep/one-time/webhook", "one-time", password, body(text))
			var a struct{ Allow bool }
			if response.StatusCode != 200 || json.Unmarshal(answer, &a) != nil {
				t.Errorf("status %d: %s", response.StatusCode, answer)
			}
			if a.Allow {
				allowed.Add(1)
			}
		})
	}
	all.Wait()
	if allowed.Load() != 1 {
		t.Errorf("%d of 8 were allowed, want one", allowed.Load())
	}
	r := w.requestWith(t, text, "C02XLSTEP001")
	if reply := w.read(t, r, w.post(t, "one-time", encode(t, r))); reply.Status != client.Failure {
		t.Errorf("a challenge that step-ca used is good here as well: %s", reply.Status)
	}
	for what, c := range map[string]struct {
		method, user, body string
		status             int
	}{
		"no password": {"POST", "", body(text), 401}, "GET": {"GET", "one-time", "", 405}, "no JSON": {"POST", "one-time", "{", 400},
		"no request": {"POST", "one-time", `{"scepChallenge":"x"}`, 400},
	} {
		if response, answer := w.ask(t, c.method, "/scep/one-time/webhook", c.user, password, c.body); response.StatusCode != c.status {
			t.Errorf("%s: status %d: %s, want %d", what, response.StatusCode, answer, c.status)
		}
	}
}
