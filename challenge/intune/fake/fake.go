// Package fake is a Microsoft cloud for labs: Entra's token endpoint, Graph's
// discovery of Intune, and Intune's validation and revocation services, over
// TLS on loopback. It plays the part that a tenant plays for a certificate
// authority that delegates its challenges to Intune.
//
// It is strict where Microsoft is strict and lenient where the field shows
// leniency; it records every call, and can be told to fail in every way that
// is known. It must not know SCEP, the store or the authority: it judges what
// is posted to it. It imports none of the code that it puts to the test.
package fake

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"understudy.example/understudy/clock"
)

// The paths under which the three services of Microsoft answer. On the
// Internet each has a host of its own.
const (
	graphPath  = "/graph"
	intunePath = "/intune"
	labPath    = "/lab"
)

// The resources that tokens are made out to. Intune's ends in a slash and
// Graph's does not: that is how their names are registered.
const (
	IntuneResource = "https://api.manage.microsoft.com/"
	// IntuneAppID is Intune's application id, by which Graph is asked for its
	// services.
	IntuneAppID = "0000000a-0000-0000-c000-000000000000"
)

// Options are what a cloud is made with.
type Options struct {
	Clock  clock.Clock // nil: the machine's
	Random io.Reader   // of challenges and tokens; nil: crypto/rand
}

// A Cloud is a fake Microsoft cloud. It is safe for concurrent use.
type Cloud struct {
	clock  clock.Clock
	random io.Reader
	routes *http.ServeMux
	tokens tokenKey

	mu         sync.Mutex
	base       string // https://host:port, once it is known
	tenants    map[string]*tenant
	entra      EntraBehaviour
	directory  []Endpoint // nil: the usual one
	shard      int
	faults     []*Fault
	calls      []Call
	kept       int             // bytes of their bodies and answers
	good       map[string]bool // transactionIds that were found good
	challenges challengeBook
	book       revocationBook
}

// New returns a cloud without tenants. It answers when it is served, see
// Start; as an http.Handler it needs to be told its address by SetBase.
func New(o Options) (*Cloud, error) {
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	c := &Cloud{clock: o.Clock, random: o.Random, tenants: map[string]*tenant{}, good: map[string]bool{}, shard: 1}
	c.entra.ExpiresInSeconds = defaultExpiresIn
	if err := c.tokens.make(o.Random); err != nil {
		return nil, fmt.Errorf("make the cloud's token key: %w", err)
	}
	if err := c.challenges.make(o.Random); err != nil {
		return nil, fmt.Errorf("make the cloud's challenge keys: %w", err)
	}
	c.routes = c.router()
	return c, nil
}

// SetBase tells the cloud under which scheme, host and port it is reached.
func (c *Cloud) SetBase(base string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base = strings.TrimSuffix(base, "/")
}

func (c *Cloud) baseURL() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.base
}

// Authority is the base of Entra's URLs; the tenant follows it.
func (c *Cloud) Authority() string { return c.baseURL() + "/" }

// GraphURL is the base of Graph's URLs, with the slash at its end.
func (c *Cloud) GraphURL() string { return c.baseURL() + graphPath + "/" }

// ServeHTTP answers for all of the cloud's services.
func (c *Cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.routes.ServeHTTP(w, r) }

// router holds every path of the cloud.
func (c *Cloud) router() *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("GET /{tenant}/v2.0/.well-known/openid-configuration", c.record(ServiceOpenID, c.openID))
	mux.Handle("POST /{tenant}/oauth2/v2.0/token", c.record(ServiceToken, c.token))
	mux.Handle("GET /common/discovery/instance", c.record(ServiceInstance, c.instance))
	mux.Handle("GET "+graphPath+"/v1.0/servicePrincipals/{key}/endpoints", c.record(ServiceGraph, c.endpoints))

	actions := intunePath + "/{shard}/RACerts/StatelessScepRequestValidationService/ScepActions/"
	mux.Handle("POST "+actions+"validateRequest", c.record(ServiceValidate, c.validateRequest))
	mux.Handle("POST "+actions+"successNotification", c.record(ServiceSuccess, c.successNotification))
	mux.Handle("POST "+actions+"failureNotification", c.record(ServiceFailure, c.failureNotification))

	connector := intunePath + "/{shard}/RACerts/StatelessPkiConnectorService/CertificateAuthorityRequests/"
	mux.Handle("POST "+connector+"downloadRevocationRequests", c.record(ServiceDownload, c.downloadRevocations))
	mux.Handle("POST "+connector+"uploadRevocationResults", c.record(ServiceUpload, c.uploadRevocations))

	c.labRoutes(mux)
	mux.Handle("/", c.record(ServiceUnknown, func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		writeJSON(w, http.StatusNotFound, graphError("ResourceNotFound", "there is nothing at this path"))
	}))
	return mux
}

// randomHex returns n random bytes in hex.
func (c *Cloud) randomHex(n int) (string, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(c.random, b); err != nil {
		return "", fmt.Errorf("read random bytes: %w", err)
	}
	return fmt.Sprintf("%x", b), nil
}

// ErrUnknown: the cloud has no such tenant, challenge or revocation.
var ErrUnknown = errors.New("the fake cloud does not know it")
