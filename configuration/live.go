// Package configuration holds the SCEP endpoints of a server: what a user may
// choose about one, whether the choice is sound, and what it becomes for a
// request, a validator of challenges and a policy.
//
// It must not know HTTP, SCEP messages or the order in which a request is
// judged. What it hands out never changes: a change makes a new value, and a
// request works with the one that it began with.
package configuration

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/challenge"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/scep"
)

// Live is a configuration as requests use it. It is shared by all of them and
// must not be changed.
type Live struct {
	Record    depot.Configuration
	Validator challenge.Validator
	Policy    ca.Policy
	// NoRoot leaves the root out of GetCACert.
	NoRoot bool

	static  *challenge.Static  // of mode static
	dynamic *challenge.Dynamic // of mode dynamic
	// page is the password of the challenge page, of mode dynamic.
	page *challenge.Static
}

// newLive makes a configuration usable. The error says why it cannot be, as a
// sentence for whoever starts the server; a *delegateError is in it when all
// that lacks is somebody to judge challenges, and then the Live is returned
// too, without a validator.
func (s *Set) newLive(c depot.Configuration) (*Live, error) {
	settings := SettingsOf(c)
	if err := settings.Validate(); err != nil {
		return nil, fmt.Errorf("configuration %q (%s): %w", c.Name, c.ID, err)
	}
	c = settings.apply(c) // the record of an older version gets the defaults
	l := &Live{
		Record: c,
		Policy: ca.Policy{
			Purpose:          string(c.Purpose),
			Validity:         c.Policy.Validity,
			KeySizes:         c.Policy.KeySizes,
			KeyAgreement:     c.Policy.KeyUsage == KeyUsageSigningAgreement,
			StrictKeyChecks:  c.Policy.KeyChecks == KeyChecksStrict,
			StrictExtensions: c.Policy.Strict,
		},
		NoRoot: c.Policy.Chain == ChainNoRoot,
	}
	if err := s.setMode(l); err != nil {
		return l, fmt.Errorf("configuration %q (%s) has nothing to judge challenges by: %w", c.Name, c.ID, err)
	}
	return l, nil
}

// setMode makes what judges challenges.
func (s *Set) setMode(l *Live) (err error) {
	switch l.Record.Mode {
	case depot.ModeDynamic:
		l.dynamic, l.Validator = s.challenges, s.challenges
		l.page, err = challenge.NewStatic(l.Record.ChallengePassword)
	case depot.ModeIntune:
		if l.Validator, err = s.delegate(l.Record.Intune); err != nil {
			err = &delegateError{err}
		}
	default:
		l.static, err = challenge.NewStatic(l.Record.Secret)
		l.Validator = l.static
	}
	return err
}

// MayAsk says whether user and password open the challenge page. It is false
// for a configuration that has none.
func (l *Live) MayAsk(user string, password challenge.Secret) bool {
	if l.page == nil {
		return false
	}
	known := subtle.ConstantTimeCompare([]byte(user), []byte(l.Record.ChallengeUser)) == 1
	return l.page.Matches(password) && known
}

// ErrNotDynamic: the configuration gives out no challenges.
var ErrNotDynamic = errors.New("the configuration's mode is not dynamic")

// NewChallenge gives out a one-time challenge that is good for ttl (0: as the
// configuration has it), bound to what bound names, made by somebody. Its text
// is returned this once and nowhere else. ErrNotDynamic,
// challenge.ErrCacheFull.
func (l *Live) NewChallenge(ctx context.Context, now time.Time, ttl time.Duration, bound depot.DeviceNames, by string) (challenge.Secret, depot.Challenge, error) {
	if l.dynamic == nil {
		return challenge.Secret{}, depot.Challenge{}, ErrNotDynamic
	}
	if ttl == 0 {
		ttl = l.Record.Policy.ChallengeTTL
	}
	return l.dynamic.Issue(ctx, challenge.Wish{
		ConfigurationID: l.Record.ID, TTL: ttl, Most: l.Record.Policy.MaxOutstanding, Bound: bound, By: by,
		Short: l.Record.Policy.Page == PageNDES, Now: now,
	})
}

// SCEPOptions returns how a message that arrived at now is to be read.
func (l *Live) SCEPOptions(now time.Time) scep.Options {
	return scep.Options{
		Strict:    l.Record.Policy.Strict,
		AllowSHA1: l.Record.Policy.SHA1 == SHA1Allow,
		AllowDES:  l.Record.Policy.DES == DESAllow,
		KeySizes:  l.Record.Policy.KeySizes,
		Now:       now,
	}
}

// RetryPeriod returns how long after its success a transaction is answered
// with the same certificate again.
func (l *Live) RetryPeriod() time.Duration { return l.Record.Policy.RetryPeriod }

// Matches says whether secret is the secret key, so that a start with another
// one than the stored can be stopped.
func (l *Live) Matches(secret challenge.Secret) bool {
	return l.static != nil && l.static.Matches(secret)
}

// errNoSuch wraps depot.ErrNotFound with what was asked for.
func errNoSuch(idOrName string) error {
	return fmt.Errorf("configuration %q: %w", idOrName, depot.ErrNotFound)
}
