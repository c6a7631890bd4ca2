package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

const (
	// sendTime is how long one delivery may take in all: the name, the
	// connection, TLS, the answer and what of its body is read.
	sendTime = 10 * time.Second
	// maxAnswer is how much of an answer's body is read. It is thrown away.
	maxAnswer = 1 << 20
	// maxAnswerHeader is the most that the head of an answer may be.
	maxAnswerHeader = 64 << 10
)

// ClientOptions are what a Client can do without.
type ClientOptions struct {
	// Resolver finds the addresses of names; nil: the machine's.
	Resolver *net.Resolver
	// RootCAs are who may vouch for https; nil: the machine's.
	RootCAs *x509.CertPool
	// Timeout is how long one delivery may take in all; 0: 10 seconds.
	Timeout time.Duration
}

// A Client posts to webhooks, and to no place that its Targets do not allow.
// It follows no redirect and knows no proxy: both would choose another target.
// It is safe for concurrent use.
type Client struct {
	targets Targets
	http    *http.Client
}

// NewClient returns a client.
func NewClient(t Targets, o ClientOptions) *Client {
	if o.Timeout == 0 {
		o.Timeout = sendTime
	}
	d := dialler{t, o.Resolver}
	return &Client{t, &http.Client{
		Timeout:       o.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  nil,
			DialContext:            d.dial,
			TLSClientConfig:        &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    o.Timeout,
			MaxResponseHeaderBytes: maxAnswerHeader,
			DisableCompression:     true, // a small answer stays a small one
			MaxIdleConns:           64,
			MaxIdleConnsPerHost:    parallel,
			IdleConnTimeout:        30 * time.Second,
		},
	}}
}

// A dialler connects to what is allowed. It looks at the address of each
// connection, as the kernel is about to make it: whatever a name led to when
// somebody looked before means nothing.
type dialler struct {
	targets  Targets
	resolver *net.Resolver
}

func (d dialler) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	name := ""
	if _, err := netip.ParseAddr(host); err != nil {
		if name, err = hostName(host); err != nil {
			return nil, err
		}
	}
	to := net.Dialer{Resolver: d.resolver, Control: func(_, address string, _ syscall.RawConn) error {
		real, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("dial %q: %w", address, err)
		}
		return d.targets.permit(name, real)
	}}
	return to.DialContext(ctx, network, address)
}

// post sends a body, and returns the status of the answer; 0 with an error
// when there was none.
func (c *Client) post(ctx context.Context, rawURL string, header http.Header, body []byte) (int, error) {
	u, err := c.targets.parse(rawURL)
	if err != nil {
		return 0, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("make request: %w", err)
	}
	r.Header = header
	answer, err := c.http.Do(r)
	if err != nil {
		return 0, plain(err)
	}
	if answer.StatusCode == http.StatusSwitchingProtocols {
		// Its body is the connection itself, which no deadline ends any more.
		_ = answer.Body.Close()
		return answer.StatusCode, nil
	}
	// The status has come, so nothing that happens to the body matters. What
	// is longer than the limit loses its connection.
	_, _ = io.CopyN(io.Discard, answer.Body, maxAnswer)
	_ = answer.Body.Close()
	return answer.StatusCode, nil
}

// plain takes away what net/http puts before an error, the URL above all: it
// may hold a secret, and is known to whoever reads the error.
func plain(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		if of.Timeout() {
			return errors.New("took too long")
		}
		err = of.Err
	}
	return err
}

// printable cuts a text from outside down to what may be stored and shown.
func printable(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return '?'
		}
		return r
	}, s)
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return s
}
