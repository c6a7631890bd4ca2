package server_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/challenge"
	"understudy.example/understudy/clock"
	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/depot/bolt"
	"understudy.example/understudy/enroll"
	"understudy.example/understudy/revocation"
	"understudy.example/understudy/scep/client"
	"understudy.example/understudy/scep/client/craft"
	"understudy.example/understudy/server"
)

const (
	worldSecret = "kJ3vQ9xZ1mN7pR5tW2yB8cD4fG6hL0sA"
	worldToken  = "9f2c1b7e5a3d4860b1c2d3e4f5a69788"
	messageType = "application/x-pki-message"
)

// opening is when the worlds of these tests begin. No test depends on today.
var opening = time.Date(2026, time.May, 4, 12, 0, 0, 0, time.UTC)

// RSA keys are dear; all tests share these.
var (
	deviceKey = sync.OnceValue(func() *rsa.PrivateKey { return newKey(2048) })
	otherKey  = sync.OnceValue(func() *rsa.PrivateKey { return newKey(2048) })
	smallKey  = sync.OnceValue(func() *rsa.PrivateKey { return newKey(1024) })
	strongKey = sync.OnceValue(func() *rsa.PrivateKey { return newKey(3072) })
)

func newKey(bits int) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return key
}

// A world is a whole server with everything real behind it: authority, depot,
// configurations, flow, both listeners.
type world struct {
	shape     ca.Shape
	authority *ca.Authority
	depot     depot.Depot
	set       *configuration.Set
	clock     *clock.Manual
	server    *server.Server
	base      string // http://host:port of the public listener
	admin     string
	log       *worldLog
	http      *http.Client
	ca        *client.CACertificates

	transactions atomic.Int64
}

// worldOptions change how a world is built.
type worldOptions struct {
	shape ca.Shape
	wrap  func(depot.Depot) depot.Depot // around the store
	limit int                           // messages a minute
}

// newWorld starts a server that has the configurations default, strict, modern
// (no SHA-1) and large (RSA-3072 too), all with worldSecret.
func newWorld(t *testing.T, o worldOptions) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{shape: o.shape, clock: clock.NewManual(opening), log: &worldLog{}}
	logger := slog.New(slog.NewJSONHandler(w.log, nil))
	authority, err := ca.Create(filepath.Join(dir, "authority"), ca.Options{Org: "lab", OrgID: "00otestorgidtestorg0", Shape: o.shape, Clock: w.clock})
	if err != nil {
		t.Fatal(err)
	}
	store, err := bolt.Open(filepath.Join(dir, "store"), bolt.Options{Clock: w.clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	w.authority, w.depot = authority, store
	if o.wrap != nil {
		w.depot = o.wrap(store)
	}
	w.configure(t)
	public, admin := listen(t), listen(t)
	w.base, w.admin = "http://"+public.Addr().String(), "http://"+admin.Addr().String()
	revoking := w.revocation(logger)
	w.server, err = server.New(server.Config{
		Enroll: enroll.New(w.depot, authority, w.clock, enroll.NewKeyAuditor(logger), enroll.WithConfigurations(w.set.ByID),
			enroll.WithCRLs(func(ctx context.Context, issuer *x509.Certificate) ([]byte, error) {
				crl, err := revoking.Publisher.CRL(ctx, issuer)
				return crl.DER, err
			})),
		Configurations: w.set, Depot: w.depot, Authority: authority, Clock: w.clock, Log: logger, Revocation: revoking,
		BaseURL: w.base, AdminToken: worldToken, Version: "test", RateLimitPerMinute: o.limit,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.serve(t, public, admin)
	w.ca = w.certificates(t)
	return w
}

// revocation tells of what is revoked in a world.
func (w *world) revocation(logger *slog.Logger) *server.Revocation {
	options := revocation.Options{Clock: w.clock, Log: logger}
	publisher := revocation.NewPublisher(w.authority, w.depot, options)
	return &server.Revocation{
		Publisher: publisher, Responder: revocation.NewResponder(w.authority, w.depot, options), Service: revocation.NewService(w.depot, publisher, options),
	}
}

func (w *world) configure(t *testing.T) {
	t.Helper()
	var err error
	if w.set, err = configuration.Load(t.Context(), w.depot, w.clock, nil); err != nil {
		t.Fatal(err)
	}
	secret := challenge.NewSecret(worldSecret)
	for name, change := range map[string]func(*configuration.Settings){
		"default": func(*configuration.Settings) {},
		"strict":  func(s *configuration.Settings) { s.Strict = true },
		"modern":  func(s *configuration.Settings) { s.SHA1, s.DES = configuration.SHA1Refuse, configuration.DESRefuse },
		"large":   func(s *configuration.Settings) { s.KeySizes = []int{2048, 3072} },
	} {
		settings := configuration.Defaults()
		settings.Name = name
		change(&settings)
		if _, _, err := w.set.Add(t.Context(), settings, &secret); err != nil {
			t.Fatal(err)
		}
	}
}

// serve runs both listeners until the test is over, and then demands that
// nothing that must stay secret or that should not happen is in the log.
func (w *world) serve(t *testing.T, public, admin net.Listener) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- w.server.Serve(ctx, public, admin, nil) }()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	w.http = &http.Client{Transport: transport}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		cancel()
		if err := <-stopped; err != nil {
			t.Errorf("server did not stop well: %v", err)
		}
		for _, secret := range []string{worldSecret, worldToken, "BEGIN"} {
			if strings.Contains(w.log.String(), secret) {
				t.Errorf("the log holds %q", secret)
			}
		}
	})
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// device returns our own client for a configuration.
func (w *world) device(name string) *client.Client {
	return &client.Client{URL: w.base + "/scep/" + name, HTTPClient: w.http, Clock: w.clock}
}

// certificates asks the server for them and checks them by the fingerprint of
// the root.
func (w *world) certificates(t *testing.T) *client.CACertificates {
	t.Helper()
	c := w.device("default")
	sum := sha256.Sum256(w.authority.Root().Raw)
	c.CAFingerprint = hex.EncodeToString(sum[:])
	found, err := c.CACertificates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// signerOf makes the self-signed certificate that a device signs with.
func signerOf(t testing.TB, key *rsa.PrivateKey) *x509.Certificate {
	t.Helper()
	c, err := client.SelfSigned(rand.Reader, key, opening)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// request returns an honest request with a transactionID of its own.
func (w *world) request(t testing.TB) *craft.Request {
	t.Helper()
	n := w.transactions.Add(1)
	subject := nameDER(t, fmt.Sprintf("C02XL%07d", n))
	r, err := craft.NewRequest(w.ca.Encryption, signerOf(t, deviceKey()), deviceKey(), deviceKey(), subject, worldSecret, fmt.Sprintf("tx-%d", n))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func nameDER(t testing.TB, cn string) []byte {
	t.Helper()
	return marshal(t, pkix.Name{CommonName: cn}.ToRDNSequence())
}

func marshal(t testing.TB, value any) []byte {
	t.Helper()
	der, err := asn1.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func encode(t testing.TB, r *craft.Request) []byte {
	t.Helper()
	raw, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// A scepAnswer is what came back by HTTP.
type scepAnswer struct {
	status      int
	contentType string
	retryAfter  string
	body        []byte
}

// exchange sends one HTTP request; path begins behind the host.
func (w *world) exchange(t testing.TB, method, path, contentType string, body io.Reader) scepAnswer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, w.base+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := w.http.Do(request)
	if err != nil {
		t.Fatalf("%s %.80s: %v", method, path, err)
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%s %.80s: %v", method, path, err)
	}
	return scepAnswer{response.StatusCode, response.Header.Get("Content-Type"), response.Header.Get("Retry-After"), content}
}

// post sends a message to a configuration.
func (w *world) post(t testing.TB, name string, raw []byte) scepAnswer {
	t.Helper()
	return w.exchange(t, http.MethodPost, "/scep/"+name+"?operation=PKIOperation", messageType, bytes.NewReader(raw))
}

// read opens the reply to a crafted request with the strictness of our client.
func (w *world) read(t testing.TB, r *craft.Request, a scepAnswer) *client.Reply {
	t.Helper()
	if a.status != http.StatusOK || a.contentType != messageType {
		t.Fatalf("answer is HTTP %d, %q, %.60q; want a CertRep", a.status, a.contentType, a.body)
	}
	reply, err := w.expectation(r).ReadReply(a.body, w.clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range reply.Deviations {
		t.Errorf("reply deviates: %v", d)
	}
	return reply
}

// expectation is what a reply to a crafted request is compared with.
func (w *world) expectation(r *craft.Request) *client.Request {
	e := &client.Request{CA: w.ca, Signer: r.Message.Signer, PublicKey: r.CSR.Key.Public()}
	e.TransactionID = string(valueOf(r.Message.Get(craft.OIDTransactionID)))
	const longestEchoed = 64
	if nonce := valueOf(r.Message.Get(craft.OIDSenderNonce)); len(nonce) > 0 && len(nonce) <= longestEchoed {
		e.SenderNonce = nonce
	}
	e.SignerKey, _ = r.Message.Key.(*rsa.PrivateKey)
	return e
}

// valueOf returns the content of a DER element, nil if there is none.
func valueOf(der []byte) []byte {
	var v asn1.RawValue
	if _, err := asn1.Unmarshal(der, &v); err != nil {
		return nil
	}
	return v.Bytes
}

// enrolled sends a request that must succeed and returns the certificate.
func (w *world) enrolled(t testing.TB, name string, r *craft.Request) *x509.Certificate {
	t.Helper()
	reply := w.read(t, r, w.post(t, name, encode(t, r)))
	if reply.Status != client.Success {
		t.Fatalf("status %s, failInfo %s %q; want SUCCESS; log: %s", reply.Status, reply.FailInfo.Name(), reply.FailInfoText, w.log.last())
	}
	return reply.Certificate
}

// issued returns how many certificates the depot holds.
func (w *world) issued(t testing.TB) int {
	t.Helper()
	n, cursor := 0, ""
	for {
		page, err := w.depot.Identities(context.Background(), depot.IdentityQuery{Limit: 500, Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		n += len(page.Items)
		if cursor = page.NextCursor; cursor == "" {
			return n
		}
	}
}

// metric returns a series of /metrics, 0 if it is not there.
func (w *world) metric(t testing.TB, series string) float64 {
	t.Helper()
	response, err := w.http.Get(w.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			var f float64
			if _, err := fmt.Sscan(value, &f); err != nil {
				t.Fatal(err)
			}
			return f
		}
	}
	return 0
}

// noPanic demands that nothing panicked so far.
func (w *world) noPanic(t testing.TB) {
	t.Helper()
	if strings.Contains(w.log.String(), `"msg":"panic"`) || w.metric(t, "understudy_panics_total") != 0 {
		t.Errorf("something panicked: %s", w.log.String())
	}
}

// A worldLog keeps what was logged.
type worldLog struct {
	mu    sync.Mutex
	lines []string
}

func (b *worldLog) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, string(line))
	return len(line), nil
}

func (b *worldLog) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.lines, "")
}

// last returns the last line about a transaction.
func (b *worldLog) last() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := len(b.lines) - 1; i >= 0; i-- {
		if strings.Contains(b.lines[i], `"msg":"transaction"`) {
			return b.lines[i]
		}
	}
	return ""
}

// verdict returns outcome and reason of the last transaction in the log.
func (b *worldLog) verdict(t testing.TB) (outcome, reason string) {
	t.Helper()
	var line struct{ Outcome, Reason string }
	if err := json.Unmarshal([]byte(b.last()), &line); err != nil {
		t.Fatalf("last line of the log is no JSON: %v", err)
	}
	return line.Outcome, line.Reason
}

// digestName is how a record names a digest.
func digestName(h crypto.Hash) string { return h.String() }
