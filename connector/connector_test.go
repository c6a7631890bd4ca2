package connector_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"understudy.example/understudy/challenge/intune"
	"understudy.example/understudy/challenge/intune/fake"
	"understudy.example/understudy/clock"
	"understudy.example/understudy/configuration"
	"understudy.example/understudy/connector"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/depot/depottest"
)

const clientID = "0c8a1d52-6a1b-4d5e-8c3f-52d4a5a4b702"

// A world is a fake cloud, and a server's parts that the connector works with.
type world struct {
	cloud     *fake.Cloud
	clock     *clock.Manual
	depot     depot.Depot
	set       *configuration.Set
	settings  configuration.Settings
	connector *connector.Connector
	dir       string
	log       lines
	wanted    []depot.Revocation // of the store
	ill       error              // of the store, when it revokes
	blind     error              // of the store, when it is read
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{clock: clock.NewManual(time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)), depot: depottest.NewMemory()}
	var err error
	if w.cloud, err = fake.New(fake.Options{}); err != nil {
		t.Fatal(err)
	}
	server, err := w.cloud.Start("127.0.0.1:0", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		server.Close(ctx)
	})
	const id, secret = "7e1f5a3c-4f0b-4f6e-9a53-1f6f3f3a9b01", "the~secret"
	if err := errors.Join(w.cloud.AddTenant(fake.Tenant{ID: id, Domain: "contoso.example"}),
		w.cloud.SetApplication(id, fake.Application{ClientID: clientID, Secrets: []fake.ClientSecret{{Value: secret}}})); err != nil {
		t.Fatal(err)
	}
	w.dir = t.TempDir()
	clients := &intune.Clients{CallerInfo: "test", IssuerName: func(*x509.Certificate) string { return "CN=CA" }}
	if w.set, err = configuration.Load(t.Context(), w.depot, w.clock, nil, configuration.WithDelegate(clients.Validator)); err != nil {
		t.Fatal(err)
	}
	w.settings = configuration.Defaults()
	w.settings.Mode, w.settings.Tenant, w.settings.ClientID = depot.ModeIntune, "contoso.example", clientID
	w.settings.Authority, w.settings.GraphURL = w.cloud.Authority(), w.cloud.GraphURL()
	w.settings.ClientSecretFile, w.settings.CAFile = w.file(t, "secret", secret), w.file(t, "ca.pem", string(server.RootPEM))
	w.connector = connector.New(connector.Options{
		Configurations: w.set.List,
		Configuration:  w.depot.Configuration,
		Identity: func(ctx context.Context, serial string) (depot.Identity, error) {
			if w.blind != nil {
				return depot.Identity{}, w.blind
			}
			return w.depot.Identity(ctx, serial)
		},
		Revoke: func(ctx context.Context, r depot.Revocation) (depot.Identity, error) {
			w.wanted = append(w.wanted, r)
			if w.ill != nil {
				return depot.Identity{}, w.ill
			}
			r.At = w.clock.Now()
			return w.depot.Revoke(ctx, r)
		},
		Wall: w.clock,
		Log:  slog.New(slog.NewTextHandler(&w.log, nil)),
	})
	return w
}

// file writes one.
func (w *world) file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// lines is a log that may be read while it is written.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

// configure adds a configuration of mode intune.
func (w *world) configure(t *testing.T, name string, change ...func(*configuration.Settings)) *configuration.Live {
	t.Helper()
	settings := w.settings
	settings.Name = name
	for _, c := range change {
		c(&settings)
	}
	live, _, err := w.set.Add(t.Context(), settings, nil)
	if err != nil {
		t.Fatal(err)
	}
	return live
}

// issue stores a certificate of a configuration under a serial in hex.
func (w *world) issue(t *testing.T, live *configuration.Live, serial string) {
	t.Helper()
	random := make([]byte, 32)
	rand.Read(random)
	sum := sha256.Sum256(random)
	now := w.clock.Now()
	_, err := w.depot.Commit(t.Context(), depot.Issuance{
		Transaction: depot.Transaction{ConfigurationID: live.Record.ID, ID: serial, MessageType: "19", MessageSHA256: sum, CSRSHA256: sum,
			PublicKeySHA256: sum, SignerSHA256: sum, CertificateSerial: serial, At: now},
		Identity: depot.Identity{CertificateSerial: serial, SHA256: sum, DER: random, PublicKeySHA256: sum, CSRSHA256: sum, IssuerSHA256: sum,
			ConfigurationID: live.Record.ID, ConfigurationName: live.Record.Name, TransactionID: serial, MessageType: "19",
			Device: depot.DeviceNames{Key: "serial:X"}, NotBefore: now, NotAfter: now.AddDate(1, 0, 0), IssuedAt: now},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// want has an administrator revoke a serial number.
func (w *world) want(t *testing.T, serialNumber string) {
	t.Helper()
	if _, err := w.cloud.RequestRevocation(serialNumber, nil); err != nil {
		t.Fatal(err)
	}
}

// results are what was reported, in the order of the requests.
func (w *world) results() []string {
	var all []string
	for _, r := range w.cloud.Revocations() {
		switch {
		case r.Result == nil:
			all = append(all, "none")
		default:
			all = append(all, r.Result.ErrorCode)
		}
	}
	return all
}

// once does a round that must revoke so many.
func (w *world) once(t *testing.T, revoked int, results ...string) {
	t.Helper()
	n, err := w.connector.Once(t.Context())
	if err != nil || n != revoked {
		t.Errorf("%d revoked, %v; want %d", n, err, revoked)
	}
	if got := w.results(); strings.Join(got, " ") != strings.Join(results, " ") {
		t.Errorf("results %v, want %v", got, results)
	}
}

func (w *world) revoked(t *testing.T, serial string) depot.Identity {
	t.Helper()
	i, err := w.depot.Identity(t.Context(), serial)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// TestConnector revokes what is written in each way that is in the field, and
// nothing but the tenant's certificates.
func TestConnector(t *testing.T) {
	w := newWorld(t)
	first, second := w.configure(t, "first"), w.configure(t, "second", func(s *configuration.Settings) { s.Tenant = "CONTOSO.example" })
	other := configuration.Defaults()
	other.Name = "static"
	static, _, err := w.set.Add(t.Context(), other, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.issue(t, first, "0a1b2c3d4e5f60718293a4b5c6d7e8f9")
	w.issue(t, second, "12345678901234567890")
	w.issue(t, second, "0badcafe0badcafe0badcafe0badcafe")
	w.issue(t, static, "0c0ffee00c0ffee00c0ffee00c0ffee0")
	w.issue(t, first, "0dead0dead0dead0dead0dead0dead00")
	decimal, _ := new(big.Int).SetString("0badcafe0badcafe0badcafe0badcafe", 16)
	if _, err := w.depot.Revoke(t.Context(), depot.Revocation{CertificateSerial: "0dead0dead0dead0dead0dead0dead00",
		Reason: depot.ReasonKeyCompromise, At: w.clock.Now(), By: "operator"}); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"A1B2C3D4E5F60718293A4B5C6D7E8F9", "0012345678901234567890", decimal.String(), "c0ffee00c0ffee00c0ffee00c0ffee0",
		"dead0dead0dead0dead0dead0dead00", "ffff", "no number",
	} {
		w.want(t, text)
	}
	w.once(t, 3, "0", "0", "0", "4004", "4005", "4004", "4004")
	for _, serial := range []string{"0a1b2c3d4e5f60718293a4b5c6d7e8f9", "12345678901234567890", "0badcafe0badcafe0badcafe0badcafe"} {
		if i := w.revoked(t, serial); i.RevokedAt.IsZero() || i.RevokedBy != "intune" {
			t.Errorf("certificate %s is revoked %v by %q", serial, i.RevokedAt, i.RevokedBy)
		}
	}
	want := depot.Revocation{CertificateSerial: "0a1b2c3d4e5f60718293a4b5c6d7e8f9", Reason: depot.ReasonUnspecified, By: "intune",
		Note: "by an administrator of Microsoft Intune, tenant contoso.example"}
	if got := w.wanted[0]; got != want {
		t.Errorf("revoked as %+v, want %+v", got, want)
	}
	if i := w.revoked(t, "0c0ffee00c0ffee00c0ffee00c0ffee0"); !i.RevokedAt.IsZero() {
		t.Error("a certificate of another configuration is revoked")
	}
	w.once(t, 0, "0", "0", "0", "4004", "4005", "4004", "4004")
}

// TestConnectorOfRemoved serves the certificates of a configuration that was
// removed, as long as somebody asks its tenant.
func TestConnectorOfRemoved(t *testing.T) {
	w := newWorld(t)
	w.issue(t, w.configure(t, "first"), "0a1b2c3d4e5f60718293a4b5c6d7e8f9")
	w.configure(t, "second", func(s *configuration.Settings) { s.Authority = strings.TrimSuffix(s.Authority, "/") })
	if err := w.set.Remove(t.Context(), "first"); err != nil {
		t.Fatal(err)
	}
	w.want(t, "a1b2c3d4e5f60718293a4b5c6d7e8f9")
	w.once(t, 1, "0")
	if err := w.set.Remove(t.Context(), "second"); err != nil {
		t.Fatal(err)
	}
	w.want(t, "a1b2c3d4e5f60718293a4b5c6d7e8f9")
	w.once(t, 0, "0", "none")
}

// TestConnectorOfTwoTenants serves both, and counts together.
func TestConnectorOfTwoTenants(t *testing.T) {
	w := newWorld(t)
	const id, secret = "1b0e9a6c-56a2-4f0e-8a54-0a2c5f3d1c02", "another~secret"
	if err := errors.Join(w.cloud.AddTenant(fake.Tenant{ID: id, Domain: "fabrikam.example"}),
		w.cloud.SetApplication(id, fake.Application{ClientID: clientID, Secrets: []fake.ClientSecret{{Value: secret}}})); err != nil {
		t.Fatal(err)
	}
	w.issue(t, w.configure(t, "contoso"), "0a1b2c3d4e5f60718293a4b5c6d7e8f9")
	fabrikam := w.configure(t, "fabrikam", func(s *configuration.Settings) {
		s.Tenant, s.ClientSecretFile = "fabrikam.example", w.file(t, "other", secret)
	})
	w.issue(t, fabrikam, "0badcafe0badcafe0badcafe0badcafe")
	// The cloud has one list for all tenants, and contoso is asked first. What
	// it could not report comes up at fabrikam.
	w.want(t, "badcafe0badcafe0badcafe0badcafe")
	w.want(t, "a1b2c3d4e5f60718293a4b5c6d7e8f9")
	if err := w.cloud.Fail(fake.Fault{Service: fake.ServiceUpload, Status: 500, Times: 1}); err != nil {
		t.Fatal(err)
	}
	if n, err := w.connector.Once(t.Context()); n != 2 || err == nil || !strings.Contains(err.Error(), "tenant contoso.example: ") {
		t.Errorf("%d revoked, %v; want one at each, and an error of the first", n, err)
	}
	w.once(t, 0, "0", "4004")
}

// TestConnectorOfAnotherTenant keeps what administrators of one tenant may
// revoke apart from what is another's.
func TestConnectorOfAnotherTenant(t *testing.T) {
	w := newWorld(t)
	w.issue(t, w.configure(t, "contoso", func(s *configuration.Settings) { s.Tenant = "fabrikam.example" }), "0a1b2c3d4e5f60718293a4b5c6d7e8f9")
	w.issue(t, w.configure(t, "fabrikam"), "0badcafe0badcafe0badcafe0badcafe")
	if err := w.set.Remove(t.Context(), "contoso"); err != nil {
		t.Fatal(err)
	}
	w.want(t, "a1b2c3d4e5f60718293a4b5c6d7e8f9")
	w.want(t, "badcafe0badcafe0badcafe0badcafe")
	w.once(t, 1, "4004", "0")
	if i := w.revoked(t, "0a1b2c3d4e5f60718293a4b5c6d7e8f9"); !i.RevokedAt.IsZero() {
		t.Error("another tenant's certificate is revoked")
	}
}

// TestConnectorWithAnotherCredential: one that does not work does not stand in
// the way of one that does.
func TestConnectorWithAnotherCredential(t *testing.T) {
	w := newWorld(t)
	old := func(s *configuration.Settings) { s.ClientSecretFile = w.file(t, "old", "expired") }
	first := w.configure(t, "first", old)
	w.configure(t, "first-again", old) // asks nobody a second time
	w.issue(t, first, "0a1b2c3d4e5f60718293a4b5c6d7e8f9")
	w.want(t, "a1b2c3d4e5f60718293a4b5c6d7e8f9")
	if n, err := w.connector.Once(t.Context()); n != 0 || err == nil || strings.Count(err.Error(), "AADSTS7000215") != 1 {
		t.Errorf("%d revoked, %v", n, err)
	}
	w.configure(t, "second")
	w.once(t, 1, "0")
}

// TestConnectorTriesAgain revokes in a later round what the store did not take,
// and reports what could not be reported.
func TestConnectorTriesAgain(t *testing.T) {
	w := newWorld(t)
	w.issue(t, w.configure(t, "first"), "0a1b2c3d4e5f60718293a4b5c6d7e8f9")
	w.want(t, "0a1b2c3d4e5f60718293a4b5c6d7e8f9")
	w.ill = errors.New("the disk is on fire")
	w.once(t, 0, "4100")
	w.ill, w.blind = nil, errors.New("the disk is gone")
	w.once(t, 0, "4100")
	w.blind = nil
	if err := w.cloud.Fail(fake.Fault{Service: fake.ServiceUpload, Status: 500, Times: 1}); err != nil {
		t.Fatal(err)
	}
	if n, err := w.connector.Once(t.Context()); n != 1 || err == nil || !strings.Contains(err.Error(), "contoso.example") {
		t.Errorf("%d revoked, %v", n, err)
	}
	w.once(t, 0, "0")
}

// TestConnectorOfMany serves more than one download gives, and stops at what
// was not there.
func TestConnectorOfMany(t *testing.T) {
	w := newWorld(t)
	w.once(t, 0) // nobody to ask
	w.configure(t, "first")
	var want []string
	for range 120 {
		w.want(t, "ffff")
		want = append(want, "4004")
	}
	w.once(t, 0, want...)
	if n := len(w.cloud.CallsTo(fake.ServiceDownload)); n != 3 {
		t.Errorf("%d downloads", n)
	}
}

// TestConnectorOfManyInVain does not download again, in one round, what could
// not be done a moment ago.
func TestConnectorOfManyInVain(t *testing.T) {
	w := newWorld(t)
	w.issue(t, w.configure(t, "first"), "0a1b2c3d4e5f60718293a4b5c6d7e8f9")
	w.ill = errors.New("the disk is on fire")
	var want []string
	for range 50 {
		w.want(t, "a1b2c3d4e5f60718293a4b5c6d7e8f9")
		want = append(want, "4100")
	}
	w.once(t, 0, want...)
	if n := len(w.cloud.CallsTo(fake.ServiceDownload)); n != 1 {
		t.Errorf("%d downloads", n)
	}
}

// TestRun does it every five minutes, and says what is wrong once, until it is
// something else or was well meanwhile.
func TestRun(t *testing.T) {
	w := newWorld(t)
	w.issue(t, w.configure(t, "first"), "0a1b2c3d4e5f60718293a4b5c6d7e8f9")
	w.want(t, "0a1b2c3d4e5f60718293a4b5c6d7e8f9")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.connector.Run(ctx)
	}()
	// rounds has so many more begin, and the last but one end.
	rounds := func(n int) {
		t.Helper()
		before, end := len(w.cloud.CallsTo(fake.ServiceDownload)), time.Now().Add(time.Minute)
		for len(w.cloud.CallsTo(fake.ServiceDownload)) < before+n {
			if time.Now().After(end) {
				t.Fatal("nothing is downloaded any more")
			}
			w.clock.Advance(5 * time.Minute)
			runtime.Gosched()
		}
	}
	fail := func(f fake.Fault) {
		t.Helper()
		if err := w.cloud.Fail(f); err != nil {
			t.Fatal(err)
		}
	}
	const wrong, done = "cannot be served", "revoked what administrators"
	rounds(2)
	if n := w.log.count(done); n != 1 || w.log.count(wrong) != 0 {
		t.Errorf("said %d times that something was revoked, %d times that something is wrong", n, w.log.count(wrong))
	}
	fail(fake.Fault{Service: fake.ServiceDownload, Status: 500})
	rounds(4)
	if n := w.log.count(wrong); n != 1 {
		t.Errorf("said %d times what is wrong", n)
	}
	w.cloud.Heal()
	rounds(3)
	fail(fake.Fault{Service: fake.ServiceDownload, Status: 500})
	rounds(3)
	if n := w.log.count(wrong); n != 2 {
		t.Errorf("said %d times what is wrong, after it was well", n)
	}
	w.cloud.Heal()
	rounds(2)
	fail(fake.Fault{Service: fake.ServiceDownload, DelaySeconds: 60, Times: 1})
	for len(w.cloud.Faults()) > 0 {
		w.clock.Advance(5 * time.Minute)
		runtime.Gosched()
	}
	stop()
	<-ended
	if n := w.log.count(wrong); n != 2 {
		t.Errorf("the end is called wrong: %d", n)
	}
}
