package enroll_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
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
	"understudy.example/understudy/enroll"
	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep/client"
	"understudy.example/understudy/scep/client/craft"
)

const secretKey = "kJ3vQ9xZ1mN7pR5tW2yB8cD4fG6hL0sA"

// retryPeriod is that of the configurations of these tests, less than the five
// minutes by which certificates are backdated.
const retryPeriod = 4 * time.Minute

// opening is when every test begins. No test depends on today.
var opening = time.Date(2026, time.May, 4, 12, 0, 0, 0, time.UTC)

// What costs too much to be made for every test: an authority, and the keys
// of two devices with the certificates that they sign their requests with.
var (
	authorityDir     string
	keyA, keyB       *rsa.PrivateKey
	signerA, signerB *x509.Certificate
	signerAOtherwise *x509.Certificate // of keyA too
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "understudy-enroll-")
	must(err)
	authorityDir = filepath.Join(dir, "authority")
	_, err = ca.Create(authorityDir, ca.Options{Org: "lab", Clock: clock.NewManual(opening)})
	must(err)
	keyA, keyB = newKey(), newKey()
	signerA, signerAOtherwise, signerB = selfSigned(keyA), selfSigned(keyA), selfSigned(keyB)
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func newKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	return key
}

func selfSigned(key *rsa.PrivateKey) *x509.Certificate {
	c, err := client.SelfSigned(rand.Reader, key, opening)
	must(err)
	return c
}

// forged returns a certificate with every name and number of ours, over key B
// and signed by it.
func forged(ours *x509.Certificate) *x509.Certificate {
	issuer := &x509.Certificate{RawSubject: ours.RawIssuer}
	der, err := x509.CreateCertificate(rand.Reader, ours, issuer, keyB.Public(), keyB)
	must(err)
	c, err := x509.ParseCertificate(der)
	must(err)
	return c
}

// A house is the flow with everything real behind it.
type house struct {
	authority *ca.Authority
	clock     *clock.Manual
	depot     depot.Depot
	set       *configuration.Set
	live      *configuration.Live // first
	other     *configuration.Live // second, with the same secret key
	auditor   *enroll.KeyAuditor
	log       *lines
	service   *enroll.Service
	ca        *client.CACertificates

	transactions int
}

// newHouse opens the authority with a random source; nil means crypto/rand.
// Its depot is on disk.
func newHouse(t *testing.T, random io.Reader) *house {
	t.Helper()
	return furnish(t, random, func(c clock.Clock) (depot.Depot, error) {
		return bolt.Open(filepath.Join(t.TempDir(), "store"), bolt.Options{Clock: c})
	})
}

// inEach runs a test over each kind of depot.
func inEach(t *testing.T, test func(*testing.T, *house)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		test(t, furnishMemory(t))
	})
	t.Run("bolt", func(t *testing.T) {
		t.Parallel()
		test(t, newHouse(t, nil))
	})
}

func furnish(t *testing.T, random io.Reader, open func(clock.Clock) (depot.Depot, error)) *house {
	t.Helper()
	h := &house{clock: clock.NewManual(opening), log: new(lines)}
	var err error
	if h.authority, err = ca.Open(authorityDir, ca.Options{Clock: h.clock, Random: random}); err != nil {
		t.Fatal(err)
	}
	if h.depot, err = open(h.clock); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if findings, err := h.depot.Check(context.Background()); err != nil || len(findings) > 0 {
			t.Errorf("the store after the test: %q, %v", findings, err)
		}
		h.depot.Close()
	})
	if h.set, err = configuration.Load(t.Context(), h.depot, h.clock, nil); err != nil {
		t.Fatal(err)
	}
	h.live, h.other = h.configure(t, "first", nil), h.configure(t, "second", nil)
	h.auditor = enroll.NewKeyAuditor(slog.New(slog.NewJSONHandler(h.log, nil)))
	h.service = h.over(h.depot)
	ra, _ := h.authority.RA()
	h.ca = &client.CACertificates{
		All: h.authority.Chain(false), Encryption: ra, Signing: ra, Issuer: h.authority.Issuer(),
		Anchors: []*x509.Certificate{h.authority.Root()},
	}
	return h
}

// over returns the flow over a depot that may misbehave.
func (h *house) over(d depot.Depot, options ...enroll.Option) *enroll.Service {
	return enroll.New(d, h.authority, h.clock, h.auditor, append([]enroll.Option{enroll.WithConfigurations(h.set.ByID)}, options...)...)
}

func (h *house) configure(t *testing.T, name string, change func(*configuration.Settings)) *configuration.Live {
	t.Helper()
	settings := configuration.Defaults()
	settings.Name, settings.RetryPeriodSeconds = name, int64(retryPeriod/time.Second)
	if change != nil {
		change(&settings)
	}
	secret := challenge.NewSecret(secretKey)
	live, _, err := h.set.Add(t.Context(), settings, &secret)
	if err != nil {
		t.Fatal(err)
	}
	return live
}

// request is an honest one of device C02XL0AAAA with key A, in a transaction
// of its own.
func (h *house) request(t *testing.T, change ...func(*craft.Request)) *craft.Request {
	t.Helper()
	h.transactions++
	ra, _ := h.authority.RA()
	r, err := craft.NewRequest(ra, signerA, keyA, keyA, named(t, "C02XL0AAAA"), secretKey, fmt.Sprintf("tx-%d", h.transactions))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		c(r)
	}
	return r
}

func named(t *testing.T, cn string) []byte {
	t.Helper()
	der, err := asn1.Marshal(pkix.Name{CommonName: cn}.ToRDNSequence())
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// signedBy has a request signed by another certificate and key.
func signedBy(signer *x509.Certificate, key *rsa.PrivateKey) func(*craft.Request) {
	return func(r *craft.Request) {
		r.Message.Signer, r.Message.Key, r.Message.Certificates = signer, key, [][]byte{signer.Raw}
	}
}

// asKeyB makes a request one for key B, signed by that key.
func asKeyB(r *craft.Request) {
	r.CSR.Key = keyB
	signedBy(signerB, keyB)(r)
}

// otherCSR changes the CSR and nothing that it asks for.
func otherCSR(r *craft.Request) {
	r.CSR.Challenges = [][]byte{craft.Text(12 /* UTF8String */, secretKey)}
}

func encoded(t *testing.T, r *craft.Request) []byte {
	t.Helper()
	raw, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// ask sends a message through the flow of the first configuration.
func (h *house) ask(raw []byte) enroll.Answer {
	return h.service.Answer(context.Background(), enroll.Request{Configuration: h.live, Message: raw})
}

// enrolled sends a request that must end with outcome and returns the
// certificate in the reply.
func (h *house) enrolled(t *testing.T, r *craft.Request, raw []byte, outcome enroll.Outcome) *x509.Certificate {
	t.Helper()
	return h.certificate(t, r, h.ask(raw), outcome)
}

// certificate opens a reply that must be a SUCCESS.
func (h *house) certificate(t *testing.T, r *craft.Request, a enroll.Answer, outcome enroll.Outcome) *x509.Certificate {
	t.Helper()
	if a.Outcome != outcome || a.Reason != "" || a.Internal != nil {
		t.Fatalf("outcome %s %s %q, internal %v; want %s", a.Outcome, a.Reason, a.Detail, a.Internal, outcome)
	}
	reply := h.read(t, r, a)
	if reply.Status != client.Success {
		t.Fatalf("status %s %s %q; want SUCCESS", reply.Status, reply.FailInfo.Name(), reply.FailInfoText)
	}
	if got := ca.FormatSerial(reply.Certificate.SerialNumber); got != a.CertificateSerial {
		t.Errorf("the reply carries certificate %s, the log line %s", got, a.CertificateSerial)
	}
	identity, err := h.depot.Identity(t.Context(), a.CertificateSerial)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(identity.DER, reply.Certificate.Raw) {
		t.Error("the reply carries another certificate than the depot")
	}
	return reply.Certificate
}

// read opens a reply with the strictness of our client.
func (h *house) read(t *testing.T, r *craft.Request, a enroll.Answer) *client.Reply {
	t.Helper()
	key, _ := r.Message.Key.(*rsa.PrivateKey)
	e := &client.Request{CA: h.ca, Signer: r.Message.Signer, SignerKey: key, PublicKey: r.CSR.Key.Public()}
	e.TransactionID, e.SenderNonce = string(content(t, r, craft.OIDTransactionID)), content(t, r, craft.OIDSenderNonce)
	reply, err := e.ReadReply(a.Reply, h.clock.Now())
	if err != nil {
		t.Fatalf("%v (outcome %s %s %q %v)", err, a.Outcome, a.Reason, a.Detail, a.Internal)
	}
	return reply
}

func content(t *testing.T, r *craft.Request, oid asn1.ObjectIdentifier) []byte {
	t.Helper()
	var v asn1.RawValue
	if _, err := asn1.Unmarshal(r.Message.Get(oid), &v); err != nil {
		t.Fatal(err)
	}
	return v.Bytes
}

// refused sends a request that must be refused for a reason, by a signed
// FAILURE, and must leave nothing behind.
func (h *house) refused(t *testing.T, r *craft.Request, raw []byte, reason refusal.Reason) *client.Reply {
	t.Helper()
	before := h.issued(t)
	a := h.ask(raw)
	if a.Outcome != enroll.Refused || a.Reason != reason || a.Internal != nil {
		t.Fatalf("outcome %s %s %q, internal %v; want refused %s", a.Outcome, a.Reason, a.Detail, a.Internal, reason)
	}
	reply := h.read(t, r, a)
	if reply.Status != client.Failure || a.CertificateSerial != "" || h.issued(t) != before {
		t.Errorf("status %s, certificate %q, %d certificates more; want a FAILURE and nothing", reply.Status, a.CertificateSerial, h.issued(t)-before)
	}
	return reply
}

// issued is how many certificates the depot holds.
func (h *house) issued(t *testing.T) int {
	t.Helper()
	page, err := h.depot.Identities(t.Context(), depot.IdentityQuery{Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	return len(page.Items)
}

// lines is a log.
type lines struct {
	mu    sync.Mutex
	text  bytes.Buffer
	added chan struct{} // gets a value for each line, if it is made
}

func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.added != nil {
		l.added <- struct{}{}
	}
	return l.text.Write(line)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// await returns when there is a line more, which must not take long.
func (l *lines) await(t *testing.T) {
	t.Helper()
	select {
	case <-l.added:
	case <-time.After(20 * time.Second):
		t.Error("nothing was logged")
	}
}

// A judge is a Validator that finds everything good and notes what becomes of
// its grants.
type judge struct {
	spends  depot.ChallengeRef
	refuses error
	asked   func() // in Validate, if it is set

	mu     sync.Mutex
	grants []*grant
}

type grant struct {
	judge          *judge
	issued, failed int
	cause          error
}

// judged returns the first configuration with another validator.
func (h *house) judged(j *judge) *configuration.Live {
	live := *h.live
	live.Validator = j
	return &live
}

func (j *judge) Validate(context.Context, challenge.Attempt) (challenge.Grant, error) {
	if j.asked != nil {
		j.asked()
	}
	if j.refuses != nil {
		return nil, j.refuses
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	g := &grant{judge: j}
	j.grants = append(j.grants, g)
	return g, nil
}

func (g *grant) Spends() depot.ChallengeRef { return g.judge.spends }

func (g *grant) Issued(context.Context, *x509.Certificate) error {
	g.judge.mu.Lock()
	defer g.judge.mu.Unlock()
	g.issued++
	return nil
}

func (g *grant) Failed(_ context.Context, cause error) error {
	g.judge.mu.Lock()
	defer g.judge.mu.Unlock()
	g.failed++
	g.cause = cause
	return nil
}

// ended asserts that each grant was ended once, and how many were issued.
func (j *judge) ended(t *testing.T, grants, issued int) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	good := 0
	for i, g := range j.grants {
		if g.issued+g.failed != 1 {
			t.Errorf("grant %d was ended %d times as issued and %d times as failed", i, g.issued, g.failed)
		}
		if g.failed > 0 && g.cause == nil {
			t.Errorf("grant %d failed without a cause", i)
		}
		good += g.issued
	}
	if len(j.grants) != grants || good != issued {
		t.Errorf("%d grants, %d of them issued; want %d and %d", len(j.grants), good, grants, issued)
	}
}

// furnishMemory is newHouse with a depot in memory.
func furnishMemory(t *testing.T) *house {
	t.Helper()
	return furnish(t, nil, func(clock.Clock) (depot.Depot, error) { return depottest.NewMemory(), nil })
}

func sum(text string) [32]byte { return sha256.Sum256([]byte(text)) }
