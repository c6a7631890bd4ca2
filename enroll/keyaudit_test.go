package enroll_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"encoding/json"
	"io"
	"math/big"
	"strings"
	"sync"
	"testing"

	"understudy.example/understudy/enroll"
	"understudy.example/understudy/scep/client/craft"
)

// A weakKey is an RSA key whose primes are close together, which the checks on
// the path do not look for. It can only sign: crypto/rsa refuses such keys.
type weakKey struct {
	public rsa.PublicKey
	d      *big.Int
}

var weak = sync.OnceValue(func() *weakKey {
	e, one := big.NewInt(65537), big.NewInt(1)
	p := primeFor(e, new(big.Int).Lsh(big.NewInt(3), 1022))
	q := primeFor(e, new(big.Int).Add(p, new(big.Int).Lsh(one, 516)))
	phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
	return &weakKey{rsa.PublicKey{N: new(big.Int).Mul(p, q), E: int(e.Int64())}, new(big.Int).ModInverse(e, phi)}
})

func (k *weakKey) Public() crypto.PublicKey { return &k.public }

// Sign is RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017 §8.2.1).
func (k *weakKey) Sign(_ io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	info := append([]byte{0x30, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 0x20}, digest...)
	block := bytes.Repeat([]byte{0xff}, k.public.Size())
	block[0], block[1], block[len(block)-len(info)-1] = 0, 1, 0
	copy(block[len(block)-len(info):], info)
	return new(big.Int).Exp(new(big.Int).SetBytes(block), k.d, k.public.N).FillBytes(block), nil
}

// weakRequest asks for a certificate for the weak key, signed with the
// certificate that the device has.
func (h *house) weakRequest(t *testing.T) *craft.Request {
	t.Helper()
	own := h.request(t)
	r := h.request(t, signedBy(h.enrolled(t, own, encoded(t, own), enroll.Issued), keyA))
	r.CSR.Key = weak()
	return r
}

// primeFor returns the next prime p above n of which e is a unit modulo p-1.
func primeFor(e, n *big.Int) *big.Int {
	one := big.NewInt(1)
	p := new(big.Int).SetBit(new(big.Int).Add(n, one), 0, 1)
	for ; ; p.Add(p, big.NewInt(2)) {
		if p.ProbablyPrime(0) && new(big.Int).GCD(nil, nil, e, new(big.Int).Sub(p, one)).Cmp(one) == 0 {
			return p
		}
	}
}

// audit runs the auditor until the returned function is called.
func (h *house) audit(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		h.auditor.Run(ctx)
		close(done)
	}()
	return func() {
		cancel()
		<-done
	}
}

// TestWeakKey gets its certificate, and a finding after the reply.
func TestWeakKey(t *testing.T) {
	h := newHouse(t, nil)
	r := h.weakRequest(t)
	certificate := h.enrolled(t, r, encoded(t, r), enroll.Issued)
	if log := h.log.String(); log != "" {
		t.Errorf("logged before the audit: %s", log)
	}
	h.log.added = make(chan struct{}, 10)
	stop := h.audit(t)
	h.log.await(t)
	stop()
	var finding struct {
		Msg, Kind, Detail, Configuration string
		CertificateSerial                string `json:"certificate_serial"`
	}
	if err := json.Unmarshal([]byte(h.log.String()), &finding); err != nil {
		t.Fatalf("%v: %s", err, h.log)
	}
	if finding.Msg != "finding" || finding.Kind != "weak_key" || finding.CertificateSerial != hexSerial(certificate) ||
		finding.Configuration != "first" || !strings.Contains(finding.Detail, "close") {
		t.Errorf("finding %+v", finding)
	}
}

// TestWeakKeyApproved: a key that an operator let pass is audited as well.
func TestWeakKeyApproved(t *testing.T) {
	h := furnishMemory(t)
	r := h.weakRequest(t)
	h.reconfigure(t, `{"approval":"manual"}`)
	h.log.added = make(chan struct{}, 10)
	defer h.audit(t)()
	serial := h.approve(t, h.pends(t, r, encoded(t, r)).ID).Transaction.CertificateSerial
	h.log.await(t)
	if log := h.log.String(); !strings.Contains(log, "weak_key") || !strings.Contains(log, serial) {
		t.Errorf("logged %s", log)
	}
}

// TestAuditWaits until no enrolment is in flight.
func TestAuditWaits(t *testing.T) {
	h := newHouse(t, nil)
	r := h.weakRequest(t)
	raw := encoded(t, r)
	slow := h.request(t)
	slowRaw := encoded(t, slow)

	inside, goOn := make(chan struct{}), make(chan struct{})
	blocking := h.judged(&judge{asked: func() { close(inside); <-goOn }})
	h.log.added = make(chan struct{}, 10)
	stop := h.audit(t)
	defer stop()
	var group sync.WaitGroup
	group.Go(func() {
		a := h.service.Answer(t.Context(), enroll.Request{Configuration: blocking, Message: slowRaw})
		if a.Outcome != enroll.Issued {
			t.Errorf("slow enrolment: %+v", a)
		}
	})
	<-inside
	h.enrolled(t, r, raw, enroll.Issued)
	// A second one gives the auditor the time of an enrolment to be wrong in.
	again := h.request(t)
	h.enrolled(t, again, encoded(t, again), enroll.Issued)
	select {
	case <-h.log.added:
		t.Error("a key was audited while an enrolment was in flight")
	default:
	}
	close(goOn)
	group.Wait()
	h.log.await(t)
}
