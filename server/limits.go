package server

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"understudy.example/understudy/depot"
)

const (
	// maxClients and maxConfigurations bound the limiter's memory: together
	// no more than 50 000 keys. The least recently seen goes first.
	maxClients        = 40_000
	maxConfigurations = 10_000

	// configurationShare is how many clients at their full rate one
	// configuration serves. Beyond that a guesser with many addresses is
	// slowed down, and other configurations do not feel it.
	configurationShare = 100

	// maxWaiting bounds the queue in front of the CMS work, maxWait how long
	// anybody stands in it. Both are far below the write timeout.
	maxWaiting = 1024
	maxWait    = 5 * time.Second

	// ordinaryBody is what any request may buffer: real messages have 2 to
	// 6 kB. Only maxLargeBodies at a time may grow beyond it, so that many
	// slow clients cannot fill the memory with half bodies.
	ordinaryBody   = 16 << 10
	maxLargeBodies = 256
)

// limiter is the token buckets in front of PKIOperation. Cached answers are
// not limited: they cost less than the question. A nil limiter lets everything
// through. Its time is the monotonic clock, whatever a lab does to the
// authority's.
type limiter struct {
	perMinute      int
	clients        *lru.Cache[netip.Prefix, *rate.Limiter]
	configurations *lru.Cache[string, *rate.Limiter]
}

// newLimiter allows each client perMinute messages a minute; 0 is no limit.
func newLimiter(perMinute int) (*limiter, error) {
	if perMinute == 0 {
		return nil, nil
	}
	if perMinute < 0 || perMinute > math.MaxInt32/configurationShare {
		return nil, fmt.Errorf("rate limit of %d a minute is out of range", perMinute)
	}
	clients, err := lru.New[netip.Prefix, *rate.Limiter](maxClients)
	if err != nil {
		return nil, fmt.Errorf("make rate limiter: %w", err)
	}
	configurations, err := lru.New[string, *rate.Limiter](maxConfigurations)
	if err != nil {
		return nil, fmt.Errorf("make rate limiter: %w", err)
	}
	return &limiter{perMinute: perMinute, clients: clients, configurations: configurations}, nil
}

// allow takes one token of the client and one of the configuration. When there
// is none it returns false and how long to wait. The configuration's bucket is
// asked second, so that one client over its limit does not empty it.
func (l *limiter) allow(client netip.Addr, c depot.Configuration) (bool, time.Duration) {
	if l == nil {
		return true, 0
	}
	if ok, wait := l.allowClient(client); !ok {
		return false, wait
	}
	return take(bucket(l.configurations, c.ID, l.perMinute*configurationShare))
}

// allowClient takes one token of the client only, for what concerns no
// configuration.
func (l *limiter) allowClient(client netip.Addr) (bool, time.Duration) {
	if l == nil {
		return true, 0
	}
	return take(bucket(l.clients, clientKey(client), l.perMinute))
}

// clientKey is who counts as one client: an IPv4 address, or the /64 that an
// IPv6 host chooses its addresses from.
func clientKey(a netip.Addr) netip.Prefix {
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	prefix, _ := a.Prefix(bits) // invalid for an invalid address: all those are one client
	return prefix
}

// bucket returns the key's bucket, a full one for a new key.
func bucket[K comparable](buckets *lru.Cache[K, *rate.Limiter], key K, perMinute int) *rate.Limiter {
	if b, ok := buckets.Get(key); ok {
		return b
	}
	fresh := rate.NewLimiter(rate.Limit(float64(perMinute)/60), perMinute)
	if b, ok, _ := buckets.PeekOrAdd(key, fresh); ok {
		return b
	}
	return fresh
}

// take takes a token, or says when there will be one.
func take(b *rate.Limiter) (bool, time.Duration) {
	r := b.Reserve()
	wait := r.Delay()
	if wait == 0 {
		return true, 0
	}
	r.Cancel()
	return false, wait
}

// gate lets a fixed number of requests do CMS work at once. The others wait
// in the order in which they came, up to a number and for a time.
type gate struct {
	slots   chan struct{}
	waiting atomic.Int64
	inside  atomic.Int64
}

// newGate returns a gate for n at once.
func newGate(n int) *gate { return &gate{slots: make(chan struct{}, n)} }

// enter waits for a slot. It returns false when the queue is full, the wait
// was too long or ctx ended; otherwise the caller must leave.
func (g *gate) enter(ctx context.Context) bool {
	select {
	case g.slots <- struct{}{}:
		g.inside.Add(1)
		return true
	default:
	}
	if g.waiting.Add(1) > maxWaiting {
		g.waiting.Add(-1)
		return false
	}
	defer g.waiting.Add(-1)
	deadline := time.NewTimer(maxWait)
	defer deadline.Stop()
	select {
	case g.slots <- struct{}{}: // senders of a channel are served in their order
		g.inside.Add(1)
		return true
	case <-deadline.C:
		return false
	case <-ctx.Done():
		return false
	}
}

// leave gives the slot back.
func (g *gate) leave() {
	g.inside.Add(-1)
	<-g.slots
}
