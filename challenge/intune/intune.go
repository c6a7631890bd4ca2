// Package intune asks Microsoft Intune whether a challenge is good, and tells
// it what became of the request: the client side of Intune's API for
// third-party certificate authorities.
//
// Microsoft publishes no specification of that API; what is done here follows
// its reference client (github.com/microsoft/Intune-Resource-Access,
// src/CsrValidation) and fails closed wherever that leaves a choice. The
// package must not know SCEP messages, the store or how certificates are made.
package intune

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// The deadlines of one exchange with Microsoft, everything included.
const (
	DefaultDeadline = 10 * time.Second // of one call to Intune, with what it needs of Graph and Entra
	tokenDeadline   = 15 * time.Second // of a token that several callers wait for
)

// Options are what a client is made with.
type Options struct {
	Cloud  Cloud
	Tenant string // id or domain of the Entra tenant
	// ClientID is the application's id. One of Secret, and Certificates with
	// Key, proves to be it.
	ClientID     string
	Secret       string
	Certificates []*x509.Certificate // the application's own first
	Key          crypto.PrivateKey   // RSA: Entra knows no other

	// RootCAs are trusted for TLS; nil: the system's.
	RootCAs *x509.CertPool
	// CallerInfo names product and version to Microsoft.
	CallerInfo string
	Deadline   time.Duration // 0: DefaultDeadline
	Log        *slog.Logger
	// Observe is told of every exchange; nil: nobody is.
	Observe func(Exchange)
}

// An Exchange is one request to Microsoft, for metrics. Its words come from
// small closed sets, except that Intune may invent a Code: bound it.
type Exchange struct {
	Action string // token, discovery, validate, success, failure, download, upload
	// Result is ok, refused (Intune gave a code), or what went wrong:
	// status, unreadable, unreachable, timeout, forbidden_host, waiting.
	Result string
	Code   string // Intune's code
}

// A Client speaks to Microsoft for one application of one tenant. It is safe
// for concurrent use, keeps tokens and addresses, and there should be one for
// each credential.
type Client struct {
	o      Options
	http   *http.Client
	tokens *tokens
	group  singleflight.Group // discovery

	mu       sync.Mutex
	services map[string]string    // name in lower case → URI; nil: not discovered
	waits    map[string]time.Time // host → no call before, as it asked for
}

// New checks the options and makes a client. It sends nothing.
func New(o Options) (*Client, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("set up Intune: %w", err)
	}
	if o.Deadline == 0 {
		o.Deadline = DefaultDeadline
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := &Client{o: o, http: newHTTPClient(o), waits: map[string]time.Time{}}
	t, err := newTokens(o, c.http)
	if err != nil {
		return nil, fmt.Errorf("set up Intune: %w", err)
	}
	c.tokens = t
	return c, nil
}

// check refuses what cannot work, before anything is sent.
func (o Options) check() error {
	switch {
	case o.Tenant == "" || strings.ContainsAny(o.Tenant, "/?#"):
		return errors.New("the tenant must be given, by its id or its domain")
	case o.ClientID == "":
		return errors.New("the client id of the application must be given")
	case o.Secret == "" && len(o.Certificates) == 0:
		return errors.New("the application needs a client secret or a certificate with its key")
	case o.Secret != "" && len(o.Certificates) > 0:
		return errors.New("the application has a client secret or a certificate, not both")
	case len(o.Certificates) > 0 && o.Key == nil:
		return errors.New("the application's certificate needs its key")
	case o.CallerInfo == "":
		return errors.New("caller info, the product's name and version, must be given")
	}
	return o.Cloud.check()
}

func (c *Client) observe(action, result, code string) {
	if c.o.Observe != nil {
		c.o.Observe(Exchange{Action: action, Result: result, Code: code})
	}
}
