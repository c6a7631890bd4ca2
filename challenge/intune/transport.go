package intune

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// maxAnswer bounds what is read of an answer of Microsoft's.
const maxAnswer = 1 << 20

// A ForbiddenHostError says that something pointed to a host that is not one
// of the configured ones: a discovered address, or MSAL.
type ForbiddenHostError struct{ Host string }

func (e *ForbiddenHostError) Error() string {
	return fmt.Sprintf("host %s is none of those configured for Microsoft", e.Host)
}

// fenced lets requests through to the listed hosts and to no others.
type fenced struct {
	hosts []string
	next  *http.Transport
}

// RoundTrip sends the request, or refuses its host. Whoever reads the answer,
// MSAL too, reads no more than maxAnswer of it.
func (f *fenced) RoundTrip(r *http.Request) (*http.Response, error) {
	if !slices.ContainsFunc(f.hosts, func(listed string) bool { return fits(r.URL.Host, listed) }) {
		return nil, &ForbiddenHostError{r.URL.Host}
	}
	response, err := f.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if response.StatusCode == http.StatusSwitchingProtocols {
		// Its body is the connection itself, which no deadline ends any more.
		return nil, errors.Join(errors.New("the server switched to another protocol"), response.Body.Close())
	}
	response.Body = &bounded{response.Body, maxAnswer}
	return response, nil
}

// fits compares the host of a URL with a listed one. The port of https may be
// written or left out.
func fits(host, listed string) bool {
	host, listed = strings.TrimSuffix(strings.ToLower(host), ":443"), strings.TrimSuffix(strings.ToLower(listed), ":443")
	return host == listed || strings.HasPrefix(listed, ".") && strings.HasSuffix(host, listed)
}

// bounded is a body that fails when it is too long.
type bounded struct {
	io.ReadCloser
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, fmt.Errorf("%w: it has more than %d bytes", errUnreadable, maxAnswer)
	}
	return n, err
}

// CloseIdleConnections is there because MSAL asks for it.
func (f *fenced) CloseIdleConnections() { f.next.CloseIdleConnections() }

// newHTTPClient makes the one client for everything, MSAL's requests included.
// It follows no redirects: none of the services is known to send one, and the
// token in a request is for whom it was sent to.
func newHTTPClient(o Options) *http.Client {
	return &http.Client{
		Transport: &fenced{hosts: o.Cloud.hosts(), next: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSClientConfig:       &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:   5 * time.Second,
			MaxIdleConnsPerHost:   16,
			IdleConnTimeout:       90 * time.Second,
			ResponseHeaderTimeout: tokenDeadline,
			ForceAttemptHTTP2:     true,
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
