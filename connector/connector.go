// Package connector revokes what administrators revoke in Microsoft Intune, for
// every configuration of mode intune: it downloads their requests, revokes, and
// reports what became of each.
//
// It must not know HTTP or how certificates are stored; it finds them in a
// depot and revokes through whoever revokes.
package connector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"understudy.example/understudy/challenge/intune"
	"understudy.example/understudy/clock"
	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
)

const (
	// interval lies between two downloads.
	interval = 5 * time.Minute
	// batch is how many requests are downloaded at once, and most how many
	// batches in one round.
	batch, most = 50, 20
	// by is who revokes.
	by = "intune"
)

// Options are what a Connector works with. All of it is needed.
type Options struct {
	// Configurations returns those that there are now, as
	// configuration.Set.List does.
	Configurations func() []*configuration.Live
	// Configuration finds one by its id, removed ones too: their certificates
	// live on.
	Configuration func(ctx context.Context, id string) (depot.Configuration, error)
	// Identity finds a certificate by its serial; depot.ErrNotFound.
	Identity func(ctx context.Context, certificateSerial string) (depot.Identity, error)
	// Revoke revokes, as of now when At is zero; depot.ErrRevoked.
	Revoke func(ctx context.Context, r depot.Revocation) (depot.Identity, error)
	// Wall is the machine's clock: Microsoft does not live in the lab's time.
	Wall clock.Clock
	Log  *slog.Logger
}

// A Connector does for a server what Microsoft's certificate connector does.
type Connector struct{ o Options }

// New returns a connector that has asked nothing yet.
func New(o Options) *Connector { return &Connector{o} }

// A tenant is whose requests are downloaded together: those of all
// configurations that ask it.
type tenant struct {
	key, name string
	clients   []*intune.Client // one for each credential
}

// keyOf names a tenant: configurations are of one when it is the same.
func keyOf(s depot.IntuneSettings) string {
	return strings.ToLower(strings.TrimRight(intune.CloudOf(s).Authority, "/") + " " + s.Tenant)
}

// tenants groups the configurations of mode intune.
func (c *Connector) tenants() []tenant {
	all := map[string]*tenant{}
	for _, live := range c.o.Configurations() {
		validator, ok := live.Validator.(*intune.Validator)
		if !ok {
			continue
		}
		key := keyOf(live.Record.Intune)
		if all[key] == nil {
			all[key] = &tenant{key: key, name: live.Record.Intune.Tenant}
		}
		if t := all[key]; !slices.Contains(t.clients, validator.Client) {
			t.clients = append(t.clients, validator.Client)
		}
	}
	list := make([]tenant, 0, len(all))
	for _, key := range slices.Sorted(maps.Keys(all)) {
		list = append(list, *all[key])
	}
	return list
}

// Once does what the administrators of every tenant want now, and returns how
// many certificates were revoked. One tenant's error does not stop the others.
func (c *Connector) Once(ctx context.Context) (int, error) {
	revoked := 0
	var wrong []error
	for _, t := range c.tenants() {
		n, err := c.serve(ctx, t)
		revoked += n
		if err != nil {
			wrong = append(wrong, fmt.Errorf("revocations of tenant %s: %w", t.name, err))
		}
	}
	return revoked, errors.Join(wrong...)
}

// serve does it for one tenant, with the first credential that works.
func (c *Connector) serve(ctx context.Context, t tenant) (revoked int, err error) {
	for _, client := range t.clients {
		n, wrong := c.serveWith(ctx, client, t)
		revoked += n
		if wrong == nil {
			return revoked, nil
		}
		err = errors.Join(err, wrong)
	}
	return revoked, err
}

func (c *Connector) serveWith(ctx context.Context, client *intune.Client, t tenant) (revoked int, err error) {
	for range most {
		requests, err := client.Revocations(ctx, batch)
		if err != nil || len(requests) == 0 {
			return revoked, err
		}
		results := make([]intune.RevocationResult, 0, len(requests))
		again := false
		for _, r := range requests {
			result, fresh := c.revoke(ctx, t, r)
			if fresh {
				revoked++
			}
			again = again || result.Code >= intune.ResultRetryable
			results = append(results, result)
		}
		// What was not reported is offered again, and is reported then.
		if err := client.ReportRevocations(ctx, results); err != nil {
			return revoked, err
		}
		if again || len(requests) < batch {
			return revoked, nil
		}
	}
	return revoked, nil
}

// revoke does one request, and says whether it changed anything.
func (c *Connector) revoke(ctx context.Context, t tenant, r intune.RevocationRequest) (intune.RevocationResult, bool) {
	no := func(code intune.ResultCode, message string) (intune.RevocationResult, bool) {
		return intune.RevocationResult{Context: r.Context, Code: code, Message: message}, false
	}
	identity, err := c.find(ctx, t, r)
	switch {
	case errors.Is(err, depot.ErrNotFound):
		c.o.Log.Warn("Intune wants a certificate revoked that is not one of its tenant's here", "serial_number", shorten(r.SerialNumber), "tenant", t.name)
		return no(intune.ResultCertificateNotFound, "no such certificate")
	case err != nil:
		c.o.Log.Error("certificate that Intune wants revoked cannot be found", "serial_number", shorten(r.SerialNumber), "error", err)
		return no(intune.ResultRetryable, "the store cannot be read now")
	}
	after, err := c.o.Revoke(ctx, depot.Revocation{CertificateSerial: identity.CertificateSerial, Reason: depot.ReasonUnspecified, By: by,
		Note: "by an administrator of Microsoft Intune, tenant " + t.name})
	switch {
	case errors.Is(err, depot.ErrRevoked) && cmp.Or(after.RevokedBy, identity.RevokedBy) == by:
		// It was done before, and could not be reported.
		return intune.RevocationResult{Context: r.Context}, false
	case errors.Is(err, depot.ErrRevoked):
		return no(intune.ResultConflict, "it is revoked already")
	case err != nil:
		c.o.Log.Error("certificate is not revoked as Intune wants it", "certificate_serial", identity.CertificateSerial, "error", err)
		return no(intune.ResultRetryable, "the store cannot be written now")
	}
	return intune.RevocationResult{Context: r.Context}, true
}

// find returns the certificate that a request means: one of the tenant's.
func (c *Connector) find(ctx context.Context, t tenant, r intune.RevocationRequest) (depot.Identity, error) {
	for _, serial := range r.Serials() {
		identity, err := c.o.Identity(ctx, serial)
		var of depot.Configuration
		if err == nil {
			of, err = c.o.Configuration(ctx, identity.ConfigurationID)
		}
		switch {
		case err == nil && keyOf(of.Intune) == t.key: // another mode has no tenant
			return identity, nil
		case err != nil && !errors.Is(err, depot.ErrNotFound):
			return depot.Identity{}, err
		}
	}
	return depot.Identity{}, depot.ErrNotFound
}

// shorten makes a number of somebody else's fit for a log line.
func shorten(text string) string {
	const most = 100
	text = strings.ToValidUTF8(text, "?")
	return text[:min(len(text), most)]
}

// Run does Once from time to time until the context ends. What is wrong is said
// once, until it is something else.
func (c *Connector) Run(ctx context.Context) {
	said := ""
	for clock.WaitUntil(ctx, c.o.Wall, c.o.Wall.Now().Add(interval)) == nil {
		revoked, err := c.Once(ctx)
		if revoked > 0 {
			c.o.Log.Info("revoked what administrators of Intune wanted revoked", "count", revoked)
		}
		switch {
		case ctx.Err() != nil:
		case err == nil:
			said = ""
		case err.Error() != said:
			said = err.Error()
			c.o.Log.Error("revocations of Intune cannot be served", "error", err)
		}
	}
}
