// Package configuration holds the SCEP endpoints of a server: what a user may
// choose about one, whether the choice is sound, and what it becomes for a
// request, a validator of challenges and a policy.
//
// It must not know HTTP, SCEP messages or the order in which a request is
// judged. What it hands out never changes: a change makes a new value, and a
// request works with the one that it began with.
package configuration

import (
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

	static *challenge.Static
}

// newLive makes a stored configuration usable. The error says why it cannot
// be, as a sentence for whoever starts the server.
func newLive(c depot.Configuration) (*Live, error) {
	settings := SettingsOf(c)
	if err := settings.Validate(); err != nil {
		return nil, fmt.Errorf("configuration %q (%s): %w", c.Name, c.ID, err)
	}
	c = settings.apply(c) // the record of an older version gets the defaults
	static, err := challenge.NewStatic(c.Secret)
	if err != nil {
		return nil, fmt.Errorf("configuration %q (%s) would accept every device: %w", c.Name, c.ID, err)
	}
	return &Live{
		Record:    c,
		Validator: static,
		Policy: ca.Policy{
			Purpose:          string(c.Purpose),
			Validity:         c.Policy.Validity,
			KeySizes:         c.Policy.KeySizes,
			KeyAgreement:     c.Policy.KeyUsage == KeyUsageSigningAgreement,
			StrictKeyChecks:  c.Policy.KeyChecks == KeyChecksStrict,
			StrictExtensions: c.Policy.Strict,
		},
		NoRoot: c.Policy.Chain == ChainNoRoot,
		static: static,
	}, nil
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
func (l *Live) Matches(secret challenge.Secret) bool { return l.static.Matches(secret) }

// errNoSuch wraps depot.ErrNotFound with what was asked for.
func errNoSuch(idOrName string) error {
	return fmt.Errorf("configuration %q: %w", idOrName, depot.ErrNotFound)
}
