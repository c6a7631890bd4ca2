// Package client speaks SCEP (RFC 8894) as a device does: it asks a server for
// its certificates and capabilities, enrols, polls while the answer is
// PENDING, and holds every reply against the rules of the RFC.
//
// It serves the mac command, the load generator, the conformance list and
// tests, against any SCEP server. Replies are decoded with go.mozilla.org/pkcs7,
// which shares nothing with the writer of our own server. The package must not
// know that server: no policy, no store, no refusals. Messages that no honest
// device sends are made by the package craft beside it.
package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"understudy.example/understudy/clock"
)

const (
	// MaxReply is the largest answer, in bytes, that is read from a server.
	MaxReply = 1 << 20
	// requestTimeout bounds one HTTP request whose context has no deadline.
	requestTimeout = 30 * time.Second
)

// Media types of RFC 8894 §4.
const (
	typeMessage = "application/x-pki-message"
	typeCACert  = "application/x-x509-ca-cert"
	typeCARA    = "application/x-x509-ca-ra-cert"
)

// A Method is how PKIOperation messages travel.
type Method int

// Auto posts when the server's capabilities allow it, as RFC 8894 §4.1 wants.
const (
	Auto Method = iota
	GET
	POST
)

// A Client enrols at one SCEP URL. Set the fields before the first call; it is
// then safe for concurrent use.
type Client struct {
	// URL is the SCEP URL as an MDM would have it, without a query.
	URL string
	// HTTPClient sends the requests; nil means http.DefaultClient. A context
	// without a deadline is given 30 seconds for each request.
	HTTPClient *http.Client
	Method     Method
	// CAIdentifier is sent as message= with GetCACert and GetCACaps when it is
	// not empty: the Name of Apple's SCEP payload.
	CAIdentifier string
	// CAFingerprint, when not empty, is the SHA-256 or SHA-1 of a certificate
	// that the server's answer must hold and that everything else must chain
	// to: hex, any case, colons and spaces allowed.
	CAFingerprint string
	// UserAgent is sent when it is not empty.
	UserAgent string
	// Tolerant lets replies pass that break a rule without making the
	// certificate doubtful; Result.Warnings then tells. Never affected are
	// signature, signer, transaction, nonce echo, key and chain.
	Tolerant bool
	// Clock dates requests and judges certificates; nil means the machine's.
	Clock clock.Clock
	// Random makes nonces, content keys and signers; nil means crypto/rand.
	Random io.Reader
}

// New returns a client for a SCEP URL. It fails when rawURL is not an absolute
// http or https URL, or has a query or fragment.
func New(rawURL string) (*Client, error) {
	c := &Client{URL: rawURL}
	if err := c.checkURL(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Client) checkURL() error {
	u, err := url.Parse(c.URL)
	var unread *url.Error // which has the whole URL in its text
	switch {
	case errors.As(err, &unread):
		return fmt.Errorf("read SCEP URL: %w", unread.Err)
	case err != nil:
		return fmt.Errorf("read SCEP URL: %w", err)
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return fmt.Errorf("read SCEP URL %q: give an absolute http:// or https:// URL", u.Redacted())
	case u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("read SCEP URL %q: leave out everything from the question mark on; the client adds the operation", u.Redacted())
	}
	return nil
}

// Send delivers one pkiMessage and returns the server's CertRep, still
// unread. Auto means POST here. A status other than 200 is an *HTTPError.
func (c *Client) Send(ctx context.Context, message []byte, m Method) ([]byte, error) {
	var a *answer
	var err error
	if m == GET {
		query := url.Values{"message": {base64.StdEncoding.EncodeToString(message)}}
		a, err = c.call(ctx, http.MethodGet, "PKIOperation", query, nil)
	} else {
		a, err = c.call(ctx, http.MethodPost, "PKIOperation", url.Values{}, message)
	}
	if err != nil {
		return nil, err
	}
	if a.contentType != typeMessage {
		return nil, fmt.Errorf("read answer to PKIOperation: %w", &Violation{
			Rule:   "RFC 8894 §4.3.1",
			Detail: fmt.Sprintf("Content-Type is %q, not exactly %q", a.contentType, typeMessage),
		})
	}
	return a.body, nil
}

// answer is a complete HTTP 200.
type answer struct {
	contentType string
	body        []byte
}

// call runs one operation. query gains the operation's name.
func (c *Client) call(ctx context.Context, method, operation string, query url.Values, body []byte) (*answer, error) {
	if err := c.checkURL(); err != nil {
		return nil, err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, requestTimeout)
		defer cancel()
	}
	query.Set("operation", operation)
	request, err := http.NewRequestWithContext(ctx, method, c.URL+"?"+query.Encode(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", operation, err)
	}
	if body != nil {
		request.Header.Set("Content-Type", typeMessage)
	}
	if c.UserAgent != "" {
		request.Header.Set("User-Agent", c.UserAgent)
	}
	response, err := c.httpClient().Do(request)
	if err != nil {
		return nil, c.unreachable(operation, err)
	}
	defer func() { _ = response.Body.Close() }()
	return c.read(operation, response)
}

// read takes the body of a 200, bounded by MaxReply.
func (c *Client) read(operation string, response *http.Response) (*answer, error) {
	content, err := io.ReadAll(io.LimitReader(response.Body, MaxReply+1))
	if err != nil {
		return nil, c.unreachable(operation, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, &HTTPError{
			Operation: operation, URL: c.shownURL(), StatusCode: response.StatusCode,
			RetryAfter: response.Header.Get("Retry-After"), Body: excerpt(content),
		}
	}
	if len(content) > MaxReply {
		return nil, fmt.Errorf("%s at %s: the answer is longer than %d bytes; is this a SCEP server?", operation, c.shownURL(), MaxReply)
	}
	return &answer{contentType: response.Header.Get("Content-Type"), body: content}, nil
}

// unreachable tells a failed exchange without the query: a message by GET
// would fill the screen.
func (c *Client) unreachable(operation string, err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return &UnreachableError{Operation: operation, URL: c.shownURL(), Err: err}
}

// shownURL is the URL for people, without the password that may be in it.
func (c *Client) shownURL() string {
	u, err := url.Parse(c.URL)
	if err != nil {
		return "the SCEP URL" // which would have been refused
	}
	return u.Redacted()
}

func (c *Client) httpClient() *http.Client {
	if c.HTTPClient != nil {
		return c.HTTPClient
	}
	return http.DefaultClient
}

func (c *Client) random() io.Reader {
	if c.Random != nil {
		return c.Random
	}
	return rand.Reader
}

func (c *Client) now() time.Time {
	if c.Clock != nil {
		return c.Clock.Now()
	}
	return clock.System{}.Now()
}
