package intune

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
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

// RoundTrip sends the request, or refuses its host.
func (f *fenced) RoundTrip(r *http.Request) (*http.Response, error) {
	for _, host := range f.hosts {
		if strings.EqualFold(r.URL.Host, host) || strings.HasPrefix(host, ".") && strings.HasSuffix(strings.ToLower(r.URL.Host), strings.ToLower(host)) {
			return f.next.RoundTrip(r)
		}
	}
	return nil, &ForbiddenHostError{r.URL.Host}
}

// CloseIdleConnections is there because MSAL asks for it.
func (f *fenced) CloseIdleConnections() { f.next.CloseIdleConnections() }

// newHTTPClient makes the one client for everything, MSAL's requests included.
// It follows no redirects: none of the services is known to send one, and the
// token in a request is for whom it was sent to.
func newHTTPClient(o Options) *http.Client {
	proxy := http.ProxyFromEnvironment
	if o.Proxy != nil {
		proxy = http.ProxyURL(o.Proxy)
	}
	return &http.Client{
		Transport: &fenced{hosts: o.Cloud.hosts(), next: &http.Transport{
			Proxy:                 proxy,
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
