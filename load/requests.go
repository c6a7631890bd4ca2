package load

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"understudy.example/understudy/scep/client"
)

// DefaultName is the CommonName of messages: what an MDM makes of a device
// serial and a profile UUID.
const DefaultName = "{serial} {uuid}"

// A Spec says what messages are like.
type Spec struct {
	Count   int           `json:"count"`
	Keys    int           `json:"keys"`     // distinct client keys, used in turn
	KeyBits int           `json:"key_bits"` // of each
	Cipher  client.Cipher `json:"cipher"`
	Digest  crypto.Hash   `json:"-"`
	// Name is a template for the CommonName: {n} is the number of the message,
	// {serial} a device serial and {uuid} a UUID that no other message has.
	Name      string          `json:"name"`
	Challenge client.Password `json:"-"`
}

func (s Spec) complete() Spec {
	if s.Keys == 0 {
		s.Keys = 8
	}
	if s.KeyBits == 0 {
		s.KeyBits = 2048
	}
	if s.Cipher == "" {
		s.Cipher = client.AES128CBC
	}
	if s.Digest == 0 {
		s.Digest = crypto.SHA256
	}
	if s.Name == "" {
		s.Name = DefaultName
	}
	return s
}

func (s Spec) check() error {
	switch {
	case s.Count < 1 || s.Keys < 1:
		return errors.New("build messages: there must be at least one, and one key")
	case s.KeyBits < 1024 || s.KeyBits > 8192:
		return fmt.Errorf("build messages: keys of %d bits: choose 1024 to 8192", s.KeyBits)
	case s.Count > 1 && !strings.Contains(s.Name, "{n}") && !strings.Contains(s.Name, "{serial}") && !strings.Contains(s.Name, "{uuid}"):
		return fmt.Errorf("build messages: the name %q is the same for all: put {n}, {serial} or {uuid} in it", s.Name)
	}
	return nil
}

// Requests are messages, ready to be sent to one server.
type Requests struct {
	spec    Spec
	ca      *client.CACertificates
	signers []signer
	items   []item
}

// Len is the number of messages.
func (r *Requests) Len() int { return len(r.items) }

// Spec says what the messages are like. The challenge is not in it.
func (r *Requests) Spec() Spec {
	s := r.spec
	s.Challenge = ""
	return s
}

// Skip leaves out the first n messages: they were sent before.
func (r *Requests) Skip(n int) error {
	if n < 0 || n >= len(r.items) {
		return fmt.Errorf("skip %d of %d messages: none is left", n, len(r.items))
	}
	r.items = r.items[n:]
	return nil
}

// Limit leaves out all messages after the first n.
func (r *Requests) Limit(n int) error {
	if n < 1 || n > len(r.items) {
		return fmt.Errorf("there are %d messages, not %d", len(r.items), n)
	}
	r.items = r.items[:n]
	return nil
}

// A signer is a client key with the certificate that it signs messages with.
type signer struct {
	key         *rsa.PrivateKey
	certificate *x509.Certificate
}

// item is one message with what cannot be told from its signer.
type item struct {
	Raw           []byte
	TransactionID string
	SenderNonce   []byte
	Subject       []byte
	Signer        int
}

// request returns what reading the reply to a message takes.
func (r *Requests) request(i int) *client.Request {
	it := r.items[i]
	s := r.signers[it.Signer]
	return &client.Request{
		Raw: it.Raw, Type: client.PKCSReq, TransactionID: it.TransactionID, SenderNonce: it.SenderNonce,
		Signer: s.certificate, SignerKey: s.key, PublicKey: s.key.Public(), Subject: it.Subject,
		CA: r.ca, Cipher: r.spec.Cipher, Digest: r.spec.Digest,
	}
}

// Build makes the messages on all cores: two RSA signatures and one encryption
// for each of them, and the keys. It stops with ctx.
func Build(ctx context.Context, ca *client.CACertificates, spec Spec) (*Requests, error) {
	spec = spec.complete()
	if err := spec.check(); err != nil {
		return nil, err
	}
	spec.Keys = min(spec.Keys, spec.Count)
	r := &Requests{spec: spec, ca: ca, signers: make([]signer, spec.Keys), items: make([]item, spec.Count)}
	now := time.Now()
	err := parallel(ctx, spec.Keys, func(i int) (err error) {
		r.signers[i], err = newSigner(spec.KeyBits, now)
		return err
	})
	if err == nil {
		err = parallel(ctx, spec.Count, func(i int) (err error) {
			r.items[i], err = r.build(i, now)
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("build messages: %w", err)
	}
	return r, nil
}

func newSigner(bits int, now time.Time) (s signer, err error) {
	if s.key, err = rsa.GenerateKey(rand.Reader, bits); err != nil {
		return s, err
	}
	s.certificate, err = client.SelfSigned(rand.Reader, s.key, now)
	return s, err
}

func (r *Requests) build(i int, now time.Time) (item, error) {
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return item{}, err
	}
	s := r.signers[i%len(r.signers)]
	message, err := client.BuildRequest(rand.Reader, client.Enrolment{
		Key: s.key, Signer: s.certificate, SignerKey: s.key,
		Subject:       pkix.Name{CommonName: expand(r.spec.Name, i, id)},
		Challenge:     r.spec.Challenge,
		TransactionID: strings.ToUpper(hex.EncodeToString(id)),
		Cipher:        r.spec.Cipher, Digest: r.spec.Digest,
	}, r.ca, now)
	if err != nil {
		return item{}, err
	}
	return item{message.Raw, message.TransactionID, message.SenderNonce, message.Subject, i % len(r.signers)}, nil
}

// expand fills in a name's template. The id is unique, and so is what is made
// of it: names of one set must not meet those of another.
func expand(template string, n int, id []byte) string {
	sum := sha256.Sum256(id)
	u := sum[:16]
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80 // RFC 9562: version 4
	return strings.NewReplacer(
		"{n}", strconv.Itoa(n),
		"{serial}", fmt.Sprintf("LD%X", sum[16:21]),
		"{uuid}", fmt.Sprintf("%X-%X-%X-%X-%X", u[:4], u[4:6], u[6:8], u[8:10], u[10:]),
	).Replace(template)
}

// parallel calls do for 0 to n−1 on all cores and returns the first error.
func parallel(ctx context.Context, n int, do func(i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wait sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wait.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					cancel(err)
				}
			}
		})
	}
	wait.Wait()
	return context.Cause(ctx)
}
