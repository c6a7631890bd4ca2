package challenge

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/device"
	"understudy.example/understudy/refusal"
)

// The length of a one-time challenge in characters of [A-F0-9]. Every program
// that reads challenge pages takes 16 to 32 of them, and 32 are 128 bits.
const (
	dynamicLength     = 32
	dynamicLengthNDES = 16
)

// ErrCacheFull says that a configuration has as many outstanding challenges as
// it may have. Real NDES calls it a full password cache.
var ErrCacheFull = errors.New("too many outstanding challenges")

// Dynamic gives out challenges that are good for one certificate, and judges
// them: Okta's dynamic mode, as NDES and its imitations do it.
type Dynamic struct {
	store  depot.Challenges
	random io.Reader
}

// NewDynamic returns a Dynamic that keeps its challenges in a depot. A nil
// random means crypto/rand.
func NewDynamic(store depot.Challenges, random io.Reader) *Dynamic {
	if random == nil {
		random = rand.Reader
	}
	return &Dynamic{store: store, random: random}
}

// Wish is what somebody wants a new challenge to be.
type Wish struct {
	ConfigurationID string
	TTL             time.Duration
	Most            int               // outstanding challenges of the configuration
	Bound           depot.DeviceNames // whom it is for; empty: whoever has it
	By              string            // who asks
	Short           bool              // 16 characters, as NDES has it, instead of 32
	Now             time.Time
}

// Issue makes a challenge and returns its text, which nobody can read again.
// ErrCacheFull.
func (d *Dynamic) Issue(ctx context.Context, w Wish) (Secret, depot.Challenge, error) {
	length := dynamicLength
	if w.Short {
		length = dynamicLengthNDES
	}
	text, err := randomText(d.random, "ABCDEF0123456789", length)
	if err != nil {
		return Secret{}, depot.Challenge{}, err
	}
	id, err := randomText(d.random, "abcdefghijklmnopqrstuvwxyz0123456789", 17)
	if err != nil {
		return Secret{}, depot.Challenge{}, err
	}
	c := depot.Challenge{
		ID: "ch_" + id, ConfigurationID: w.ConfigurationID, SHA256: sha256.Sum256([]byte(text)),
		CreatedAt: w.Now, ExpiresAt: w.Now.Add(w.TTL), CreatedBy: w.By, Bound: w.Bound,
	}
	err = d.store.AddChallenge(ctx, c, w.Most)
	switch {
	case errors.Is(err, depot.ErrTooMany):
		return Secret{}, depot.Challenge{}, fmt.Errorf("%w: %d of %s", ErrCacheFull, w.Most, w.ConfigurationID)
	case err != nil:
		return Secret{}, depot.Challenge{}, fmt.Errorf("store challenge: %w", err)
	}
	return NewSecret(text), c, nil
}

// Validate looks a challenge up. What is wrong with one is for the operator:
// to the client unknown, used, expired and foreign ones are all the same.
func (d *Dynamic) Validate(ctx context.Context, a Attempt) (Grant, error) {
	text := a.Challenge.Reveal()
	switch {
	case text == "":
		return nil, refusal.New(refusal.ChallengeMissing, "the CSR has no challengePassword")
	case len(text) > MaxChallenge:
		return nil, refusal.New(refusal.ChallengeWrong, "challenge of %d bytes", len(text))
	}
	c, err := d.store.ChallengeBySHA256(ctx, sha256.Sum256([]byte(text)))
	switch {
	case errors.Is(err, depot.ErrNotFound):
		return nil, refusal.New(refusal.ChallengeWrong, "there is no such challenge")
	case err != nil:
		return nil, fmt.Errorf("find challenge: %w", err)
	}
	if err := judge(c, a); err != nil {
		return nil, err
	}
	return &dynamicGrant{ref: depot.ChallengeRef{ID: c.ID}}, nil
}

// judge says why a challenge that exists is not good.
func judge(c depot.Challenge, a Attempt) error {
	switch {
	case c.ConfigurationID != a.ConfigurationID:
		return refusal.New(refusal.ChallengeForeign, "challenge %s belongs to configuration %s", c.ID, c.ConfigurationID)
	case !c.WithdrawnAt.IsZero():
		return refusal.New(refusal.ChallengeWrong, "challenge %s was withdrawn by %s at %s", c.ID, c.WithdrawnBy, c.WithdrawnAt.Format(time.RFC3339))
	case !c.SpentAt.IsZero():
		return refusal.New(refusal.ChallengeUsed, "challenge %s was spent at %s on certificate %s", c.ID, c.SpentAt.Format(time.RFC3339), c.CertificateSerial)
	case !c.Outstanding(a.Now):
		return refusal.New(refusal.ChallengeExpired, "challenge %s expired at %s", c.ID, c.ExpiresAt.Format(time.RFC3339))
	}
	names, err := device.FromSubject(a.CSR.RawSubject)
	if err != nil {
		return refusal.New(refusal.SubjectRejected, "subject of the CSR: %v", err)
	}
	for _, bound := range []struct{ what, want, got string }{
		{"device serial", c.Bound.DeviceSerial, names.DeviceSerial},
		{"profile UUID", c.Bound.ProfileUUID, names.ProfileUUID},
		{"UDID", c.Bound.UDID, names.UDID},
		{"UPN", c.Bound.UPN, names.UPN},
	} {
		if bound.want != "" && !strings.EqualFold(bound.want, bound.got) {
			return refusal.New(refusal.ChallengeForeign, "challenge %s is bound to the %s %q, and the CSR names %q", c.ID, bound.what, bound.want, bound.got)
		}
	}
	return nil
}

// dynamicGrant is a challenge that is good until somebody else spends it. The
// depot spends it, in the step that stores the certificate.
type dynamicGrant struct {
	ref   depot.ChallengeRef
	ended bool
}

func (g *dynamicGrant) Spends() depot.ChallengeRef { return g.ref }

func (*dynamicGrant) HoldsBack() bool { return false }

func (g *dynamicGrant) Issued(context.Context, *x509.Certificate) error { return g.end() }

func (g *dynamicGrant) Failed(context.Context, error) error { return g.end() }

func (g *dynamicGrant) end() error {
	if g.ended {
		return ErrGrantEnded
	}
	g.ended = true
	return nil
}
