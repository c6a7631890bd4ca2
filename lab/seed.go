package lab

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"understudy.example/understudy/depot"
)

// ErrForeign: the store holds certificates that were not made up. Nothing was
// changed.
var ErrForeign = errors.New("the store holds certificates of devices")

// Options say what to make up.
type Options struct {
	N               int    // identities
	ConfigurationID string // whose they are
	// Now is when the last one was issued, and Span how long before that the
	// first one was; 0 means DefaultSpan.
	Now  time.Time
	Span time.Duration
	// Random is what everything random follows from, and how often the store
	// was seeded before: the same in the same place are the same identities.
	Random uint64
	Log    *slog.Logger
	// Progress, if set, hears now and then how many are stored.
	Progress func(stored int)
}

// DefaultSpan is a year's certificates and those that ended a month before.
const DefaultSpan = 400 * 24 * time.Hour

// MaxSeeded bounds one seeding.
const MaxSeeded = 100_000_000

// Shares of what happens to made-up devices.
const (
	renewed      = 0.15 // of the identities follow on an earlier one of their device
	revoked      = 0.02
	acknowledged = 0.20 // of those in the last month of their life
)

// Seed stores made-up identities of real shape and size: real certificates,
// with the names that MDMs write, over the time that certificates live, some
// with successors, some revoked, some acknowledged.
//
// Nobody is meant to take them for real. Their issuer is made for the one
// seeding, says so in its name, and its key is forgotten; the ledger tells of
// the seeding before it tells of the first identity. Their public keys are
// random numbers of the right size and not products of primes: to make so many
// real keys would take days, and nobody could use them either.
//
// It refuses a store with certificates of devices (ErrForeign). One that stops
// in between leaves a store that can be seeded again.
func Seed(ctx context.Context, d depot.Depot, o Options) error {
	if o.N < 1 || o.N > MaxSeeded {
		return fmt.Errorf("seed: %d records: make it 1 to %d", o.N, MaxSeeded)
	}
	if o.Span == 0 {
		o.Span = DefaultSpan
	}
	configuration, err := d.Configuration(ctx, o.ConfigurationID)
	if err != nil {
		return fmt.Errorf("seed: configuration %s: %w", o.ConfigurationID, err)
	}
	before, err := d.Seedings(ctx)
	if err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	if err := onlySeeded(ctx, d, before); err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	s, err := newSeeder(d, configuration, o, len(before))
	if err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	if err := s.announce(ctx); err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	if err := s.run(ctx); err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	return nil
}

// onlySeeded refuses a store with an identity that no seeding made.
func onlySeeded(ctx context.Context, d depot.Depot, seedings []depot.Seeding) error {
	made := map[[32]byte]bool{}
	for _, s := range seedings {
		made[s.IssuerSHA256] = true
	}
	q := depot.IdentityQuery{Limit: 1, Match: func(i depot.Identity, _ depot.Standing) bool { return !made[i.IssuerSHA256] }}
	for {
		page, err := d.Identities(ctx, q)
		if err != nil {
			return err
		}
		if len(page.Items) > 0 {
			return fmt.Errorf("%w (%s is one): made-up records belong into a data directory of their own", ErrForeign, page.Items[0].CertificateSerial)
		}
		if q.Cursor = page.NextCursor; q.Cursor == "" {
			return nil
		}
	}
}

// seeder is one seeding.
type seeder struct {
	depot         depot.Depot
	options       Options
	configuration depot.Configuration
	issuer        issuer
	lifetime      time.Duration
	seed          [32]byte
	leastLag      int // between an identity and its successor
}

func newSeeder(d depot.Depot, c depot.Configuration, o Options, position int) (*seeder, error) {
	s := &seeder{depot: d, options: o, configuration: c, lifetime: c.Policy.Validity, leastLag: max(1, o.N/8)}
	s.options.Now = o.Now.UTC().Truncate(time.Second)
	if s.lifetime <= 0 {
		s.lifetime = 365 * 24 * time.Hour
	}
	b := binary.BigEndian.AppendUint64([]byte("understudy seed"), o.Random)
	s.seed = sha256.Sum256(binary.BigEndian.AppendUint64(b, uint64(position)))
	var err error
	s.issuer, err = newIssuer(s.random("issuer", 0), s.options.Now.Add(-o.Span-24*time.Hour), s.options.Now.Add(s.lifetime))
	return s, err
}

// announce puts on record what is coming, so that what comes is known for
// made-up however the seeding ends.
func (s *seeder) announce(ctx context.Context) error {
	der := s.issuer.certificate.Raw
	// Whoever rebuilds the store from its ledger holds each certificate
	// against its authority. This one's is the throw-away issuer.
	if err := s.depot.RecordAuthority(ctx, depot.AuthorityGeneration{At: s.options.Now, Root: der, Issuer: der, RA: der}); err != nil {
		return err
	}
	return s.depot.RecordSeeding(ctx, depot.Seeding{
		At: s.options.Now, ConfigurationID: s.configuration.ID, IssuerSHA256: s.issuer.sha256, Count: s.options.N,
	})
}

// Workers that commit at once share the writer's commits; and what must come
// before what is at least a block away from it.
const (
	workers  = 512
	maxBlock = 8192
)

// run stores everything.
func (s *seeder) run(ctx context.Context) error {
	block := min(s.leastLag, maxBlock)
	for from := 0; from < s.options.N; from += block {
		devices := s.byDevice(from, min(from+block, s.options.N))
		err := each(ctx, 0, len(devices), func(ctx context.Context, n int) error { return s.storeAll(ctx, devices[n]) })
		if err != nil {
			return err
		}
		if s.options.Progress != nil {
			s.options.Progress(min(from+block, s.options.N))
		}
	}
	return each(ctx, 0, s.options.N, s.acknowledge)
}

// byDevice sorts the identities [from, to) by their devices. Two of one device
// must be stored one after the other: the depot notes which came before.
func (s *seeder) byDevice(from, to int) [][]int {
	var devices [][]int
	place := make(map[int]int, to-from)
	for i := from; i < to; i++ {
		first := s.deviceOf(i)
		n, known := place[first]
		if !known {
			n = len(devices)
			place[first] = n
			devices = append(devices, nil)
		}
		devices[n] = append(devices[n], i)
	}
	return devices
}

// storeAll stores a device's identities, the oldest first.
func (s *seeder) storeAll(ctx context.Context, identities []int) error {
	for _, i := range identities {
		if err := s.store(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// each does something with each number of [from, to), many at once, and stops
// at the first error.
func each(ctx context.Context, from, to int, do func(context.Context, int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := atomic.Int64{}
	next.Store(int64(from))
	var wait sync.WaitGroup
	for range min(workers, to-from) {
		wait.Go(func() {
			for i := int(next.Add(1) - 1); i < to && ctx.Err() == nil; i = int(next.Add(1) - 1) {
				if err := do(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	wait.Wait()
	return context.Cause(ctx)
}

// store makes up and stores the i-th identity.
func (s *seeder) store(ctx context.Context, i int) error {
	issuance, err := s.issuance(i)
	if err != nil {
		return err
	}
	if _, err := s.depot.Commit(ctx, issuance); err != nil {
		return err
	}
	r := s.random("revoked", i)
	if r.Float64() >= revoked {
		return nil
	}
	issued := issuance.Identity.IssuedAt
	reasons := []depot.RevocationReason{depot.ReasonUnspecified, depot.ReasonKeyCompromise, depot.ReasonCessationOfOperation, depot.ReasonPrivilegeWithdrawn}
	_, err = s.depot.Revoke(ctx, depot.Revocation{
		CertificateSerial: issuance.Identity.CertificateSerial, Reason: reasons[r.IntN(len(reasons))], By: "seed",
		At: issued.Add(time.Duration(r.Float64() * float64(s.options.Now.Sub(issued)))).Truncate(time.Second),
	})
	return err
}

// acknowledge acknowledges the i-th identity if it is one of those whose
// profile somebody pushes again.
func (s *seeder) acknowledge(ctx context.Context, i int) error {
	const window, day = 30 * 24 * time.Hour, 24 * time.Hour
	left := s.notBefore(i).Add(s.lifetime).Sub(s.options.Now)
	r := s.random("acknowledged", i)
	if left <= 0 || left > window || r.Float64() >= acknowledged {
		return nil
	}
	at := s.options.Now.Add(-time.Duration(r.Float64() * float64(2*day))).Truncate(time.Second)
	stalls := at.Add(day)
	if !stalls.Before(s.notBefore(i).Add(s.lifetime)) {
		stalls = time.Time{}
	}
	_, _, err := s.depot.Acknowledge(ctx, depot.Acknowledgement{
		CertificateSerial: s.serial(i), At: at, StallsAt: stalls, By: "seed", CommandID: fmt.Sprintf("%016x", r.Uint64()),
	})
	if errors.Is(err, depot.ErrSuperseded) || errors.Is(err, depot.ErrRevoked) {
		return nil // its device went another way
	}
	return err
}

// random is the source of everything random of one purpose about the i-th
// identity.
func (s *seeder) random(purpose string, i int) *rand.Rand {
	return rand.New(s.source(purpose, i))
}

func (s *seeder) source(purpose string, i int) *rand.ChaCha8 {
	b := binary.BigEndian.AppendUint64(append(s.seed[:], purpose...), uint64(i))
	return rand.NewChaCha8(sha256.Sum256(b))
}
