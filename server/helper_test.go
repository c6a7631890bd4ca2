package server_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/challenge"
	"understudy.example/understudy/clock"
	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/depot/bolt"
	"understudy.example/understudy/depot/depottest"
	"understudy.example/understudy/devicelist"
	"understudy.example/understudy/enroll"
	"understudy.example/understudy/notify"
	"understudy.example/understudy/redistribution"
	"understudy.example/understudy/revocation"
	"understudy.example/understudy/scep/client"
	"understudy.example/understudy/server"
)

const (
	token     = "admin-token-0123456789abcdef"
	secretKey = "StaticSecretKey0123456789"
	baseURL   = "https://scep.lab.example"
)

// shared is what costs too much to be made for every test.
var shared struct {
	dir    string
	clock  *clock.Manual
	chain  *ca.Authority
	single func() *ca.Authority
	key    *rsa.PrivateKey // of the devices
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "understudy-server-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	shared.dir = dir
	shared.clock = clock.NewManual(time.Now().Truncate(time.Second))
	shared.chain = newAuthority(ca.ShapeChain)
	shared.single = sync.OnceValue(func() *ca.Authority { return newAuthority(ca.ShapeSingle) })
	if shared.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		panic(err)
	}
	return m.Run()
}

func newAuthority(shape ca.Shape) *ca.Authority {
	a, err := ca.Create(filepath.Join(shared.dir, string(shape)), ca.Options{Shape: shape, Clock: shared.clock})
	if err != nil {
		panic(err)
	}
	return a
}

// house is a server with everything behind it. What a test changes before open
// is used instead of the ordinary.
type house struct {
	t         testing.TB
	config    server.Config
	authority *ca.Authority
	clock     *clock.Manual
	silent    bool                            // tell nobody what is revoked
	bare      bool                            // neither redistribution nor webhooks
	memory    bool                            // keep records in memory
	depot     depot.Depot                     // the real one
	wrap      func(d depot.Depot) depot.Depot // what the flow sees of it
	log       *houseLog

	*server.Server
	live       *configuration.Live // default
	dispatcher *notify.Dispatcher
}

// open makes the server and its default configuration.
func open(t testing.TB, change ...func(*house)) *house {
	t.Helper()
	h, err := prepare(t, change...)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// openError returns why a server cannot be made.
func openError(t testing.TB, change ...func(*house)) error {
	t.Helper()
	_, err := prepare(t, change...)
	return err
}

func prepare(t testing.TB, change ...func(*house)) (*house, error) {
	t.Helper()
	h := &house{t: t, authority: shared.chain, clock: clock.NewManual(shared.clock.Now()), log: new(houseLog)}
	h.wrap = func(d depot.Depot) depot.Depot { return d }
	h.config = server.Config{BaseURL: baseURL, AdminToken: token, Version: "1.2.3-test", Clock: h.clock}
	for _, c := range change {
		c(h)
	}
	log := slog.New(slog.NewJSONHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	h.store(log)
	seen := h.wrap(h.depot)
	set, err := configuration.Load(t.Context(), h.depot, h.clock, nil)
	if err != nil {
		t.Fatal(err)
	}
	settings := configuration.Defaults()
	settings.Name = configuration.DefaultName
	secret := challenge.NewSecret(secretKey)
	if h.live, _, err = set.Add(t.Context(), settings, &secret); err != nil {
		t.Fatal(err)
	}
	options := revocation.Options{Clock: h.clock, Log: log}
	publisher := revocation.NewPublisher(h.authority, seen, options)
	if !h.silent {
		h.config.Revocation = &server.Revocation{
			Publisher: publisher, Responder: revocation.NewResponder(h.authority, seen, options), Service: revocation.NewService(seen, publisher, options),
		}
	}
	h.config.Configurations, h.config.Depot, h.config.Authority, h.config.Log = set, seen, h.authority, log
	h.config.Enroll = enroll.New(seen, h.authority, h.clock, enroll.NewKeyAuditor(log), enroll.WithConfigurations(set.ByID))
	h.config.DeviceFiles = devicelist.New(set, h.config.Enroll.Devices(), h.clock, log)
	if !h.bare {
		h.config.Redistribution = redistribution.New(seen, h.clock, nil)
		h.config.Webhooks = h.webhooks(seen, log)
	}
	h.Server, err = server.New(h.config)
	return h, err
}

// webhooks may go to this machine. Nobody takes events to them unless a test
// does.
func (h *house) webhooks(d depot.Depot, log *slog.Logger) *notify.Service {
	h.t.Helper()
	targets, err := notify.ParseTargets([]string{"127.0.0.1"})
	if err != nil {
		h.t.Fatal(err)
	}
	key, err := notify.NewKey(make([]byte, notify.KeySize))
	if err != nil {
		h.t.Fatal(err)
	}
	h.dispatcher = notify.New(d, notify.Options{
		Client: notify.NewClient(targets, notify.ClientOptions{}), Key: key, Log: log, Clock: h.clock, Wall: clock.System{},
		Render: func(ctx context.Context, e depot.Event) ([]byte, error) { return h.RenderEvent(ctx, e) },
	})
	return notify.NewService(h.dispatcher, notify.ServiceOptions{})
}

// store makes the depot.
func (h *house) store(log *slog.Logger) {
	h.t.Helper()
	if h.memory {
		h.depot = depottest.NewMemory()
		return
	}
	store, err := bolt.Open(filepath.Join(h.t.TempDir(), "store"), bolt.Options{Clock: h.clock, Log: log})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = store.Close() })
	h.depot = store
	if h.config.Upkeep.VerifyLedger == nil {
		h.config.Upkeep.VerifyLedger = store.VerifyLedger
	}
}

// inMemory keeps the records of a house in memory, where there is no ledger.
func inMemory(h *house) {
	h.memory = true
	h.config.Upkeep.VerifyLedger = func(context.Context) (depot.LedgerReport, error) { return depot.LedgerReport{}, nil }
}

// reply is a complete HTTP answer.
type reply struct {
	status int
	header http.Header
	body   string
}

// do sends a request to a handler without a network.
func do(handler http.Handler, r *http.Request) reply {
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return reply{w.Code, w.Header(), w.Body.String()}
}

// get asks the public listener.
func (h *house) get(target string) reply {
	return do(h.Public(), httptest.NewRequest(http.MethodGet, target, nil))
}

// post sends a message to the default configuration.
func (h *house) post(message string) reply {
	return do(h.Public(), httptest.NewRequest(http.MethodPost, "/scep?operation=PKIOperation", strings.NewReader(message)))
}

// api calls the admin listener with the token.
func (h *house) api(method, target, body string) reply {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = "localhost:8081"
	r.Header.Set("Authorization", "Bearer "+token)
	return do(h.Admin(), r)
}

// object calls the admin listener and returns the JSON of its answer.
func (h *house) object(method, target, body string, status int) map[string]any {
	h.t.Helper()
	a := h.api(method, target, body)
	if a.status != status {
		h.t.Fatalf("%s %s: %d %s, want %d", method, target, a.status, a.body, status)
	}
	var object map[string]any
	if err := json.Unmarshal([]byte(a.body), &object); err != nil {
		h.t.Fatalf("%s %s: %v in %q", method, target, err, a.body)
	}
	return object
}

// message is a PKCSReq of a device with this serial.
func (h *house) message(deviceSerial, secret string) *client.Request {
	h.t.Helper()
	// One key serves all devices here, so that the id must tell them apart.
	return h.messageIn(deviceSerial, secret, "TX-"+deviceSerial)
}

// messageIn is the same in a transaction of this id.
func (h *house) messageIn(deviceSerial, secret, transactionID string) *client.Request {
	h.t.Helper()
	ra, _ := h.authority.RA()
	r, err := client.BuildRequest(rand.Reader, client.Enrolment{
		Key:           shared.key,
		Subject:       pkix.Name{CommonName: deviceSerial},
		Challenge:     client.Password(secret),
		TransactionID: transactionID,
	}, &client.CACertificates{
		All: h.authority.Chain(false), Encryption: ra, Signing: ra,
		Issuer: h.authority.Issuer(), Anchors: []*x509.Certificate{h.authority.Root()},
	}, h.clock.Now())
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

// enrol gets a certificate for a device.
func (h *house) enrol(deviceSerial string) *x509.Certificate {
	h.t.Helper()
	request := h.message(deviceSerial, secretKey)
	return h.success(request, h.post(string(request.Raw)))
}

// success reads the reply that an answer must hold.
func (h *house) success(request *client.Request, a reply) *x509.Certificate {
	h.t.Helper()
	if a.status != http.StatusOK {
		h.t.Fatalf("status %d: %s", a.status, a.body)
	}
	reply, err := request.ReadReply([]byte(a.body), h.clock.Now())
	if err != nil {
		h.t.Fatal(err)
	}
	if reply.Status != client.Success {
		h.t.Fatalf("reply is %v %v %q", reply.Status, reply.FailInfo, reply.FailInfoText)
	}
	return reply.Certificate
}

// houseLog collects log lines.
type houseLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *houseLog) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *houseLog) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// lines returns the lines with this message.
func (b *houseLog) lines(t testing.TB, msg string) []map[string]any {
	t.Helper()
	var found []map[string]any
	for line := range strings.Lines(b.String()) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		if object["msg"] == msg {
			found = append(found, object)
		}
	}
	return found
}

// transaction returns the one transaction line.
func (h *house) transaction() map[string]any {
	h.t.Helper()
	lines := h.log.lines(h.t, "transaction")
	if len(lines) != 1 {
		h.t.Fatalf("%d transaction lines, want 1:\n%s", len(lines), h.log)
	}
	return lines[0]
}

// metric returns the value of a series as /metrics writes it, "" when it is
// not there.
func (h *house) metric(series string) string {
	h.t.Helper()
	for line := range strings.Lines(h.api("GET", "/metrics", "").body) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// faultyDepot fails as a test says.
type faultyDepot struct {
	depot.Depot
	lookUp func(ctx context.Context) // before a transaction is looked up
	commit func(ctx context.Context, i depot.Issuance) (depot.Identity, error)
	ready  func(ctx context.Context) error
}

func (d *faultyDepot) Transaction(ctx context.Context, configurationID, transactionID string) (depot.Transaction, error) {
	if d.lookUp != nil {
		d.lookUp(ctx)
	}
	return d.Depot.Transaction(ctx, configurationID, transactionID)
}

func (d *faultyDepot) Commit(ctx context.Context, i depot.Issuance) (depot.Identity, error) {
	if d.commit != nil {
		return d.commit(ctx, i)
	}
	return d.Depot.Commit(ctx, i)
}

func (d *faultyDepot) Ready(ctx context.Context) error {
	if d.ready != nil {
		return d.ready(ctx)
	}
	return d.Depot.Ready(ctx)
}

// commitWith makes the flow's commits do something else.
func commitWith(commit func(ctx context.Context, i depot.Issuance) (depot.Identity, error)) func(*house) {
	return func(h *house) {
		h.wrap = func(d depot.Depot) depot.Depot { return &faultyDepot{Depot: d, commit: commit} }
	}
}

// nothings is n bytes that are not a message.
func nothings(n int) io.Reader { return io.LimitReader(endless{}, int64(n)) }

type endless struct{}

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// rotatingAuthority is an authority whose RA can be made to grow old.
type rotatingAuthority struct {
	*ca.Authority
	t     testing.TB
	clock *clock.Manual
}

func newRotatingAuthority(t testing.TB) rotatingAuthority {
	t.Helper()
	c := clock.NewManual(shared.clock.Now())
	a, err := ca.Create(filepath.Join(t.TempDir(), "authority"), ca.Options{Clock: c, IssuerKey: ca.KeyP256})
	if err != nil {
		t.Fatal(err)
	}
	return rotatingAuthority{a, t, c}
}

// rotate lets 18 of the RA's 24 months pass.
func (r rotatingAuthority) rotate() {
	r.t.Helper()
	r.clock.Advance(18 * 30 * 24 * time.Hour)
	if replaced, err := r.RotateRA(); err != nil || !replaced {
		r.t.Fatalf("RA not replaced: %v", err)
	}
}
