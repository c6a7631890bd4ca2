package intune

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
)

// The names of Intune's services in Graph. They are compared without regard
// to case.
const (
	serviceValidation = "ScepRequestValidationFEService"
	serviceConnector  = "PkiConnectorFEService"
)

// A DiscoveryError says that Graph did not tell where a service is.
type DiscoveryError struct {
	Service string
	Err     error
}

func (e *DiscoveryError) Error() string {
	return fmt.Sprintf("find Intune's service %s through Graph: %v", e.Service, e.Err)
}
func (e *DiscoveryError) Unwrap() error { return e.Err }

// errNotListed is what a tenant without licence, or an application in the wrong
// tenant, looks like.
var errNotListed = errors.New("its entry is missing: Graph does not list it: the tenant has no Intune licence, or the application is in another tenant")

// service returns the address of one of Intune's services, asking Graph when
// it is not known. Callers who ask at once share a request.
func (c *Client) service(ctx context.Context, name string) (string, error) {
	if uri, known := c.known(name); known {
		return c.listed(name, uri)
	}
	shared := c.group.DoChan("discovery", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tokenDeadline)
		defer cancel()
		found, err := c.discover(ctx)
		c.observe("discovery", resultOf(err), "")
		if err != nil {
			return nil, err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.services = found
		return maps.Clone(found), nil
	})
	select {
	case <-ctx.Done():
		return "", &DiscoveryError{name, ctx.Err()}
	case r := <-shared:
		if r.Err != nil {
			return "", &DiscoveryError{name, r.Err}
		}
		return c.listed(name, r.Val.(map[string]string)[strings.ToLower(name)])
	}
}

// known looks a service up in what was discovered. Not being listed is known
// as well, but not for long: the next call asks again.
func (c *Client) known(name string) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	uri := c.services[strings.ToLower(name)]
	return uri, uri != ""
}

// listed judges the entry of a service. Those of others are not looked at: what
// is odd about them concerns nobody here.
func (c *Client) listed(name, uri string) (string, error) {
	if uri == "" {
		return "", &DiscoveryError{name, errNotListed}
	}
	if u, err := url.Parse(uri); err != nil || u.Scheme != "https" || u.Host == "" {
		c.forgetService(name, uri)
		return "", &DiscoveryError{name, fmt.Errorf("%w: it is at %q, which is no https URL", errUnreadable, shorten(uri))}
	}
	return uri, nil
}

// forgetService has the next call discover again, unless somebody did since
// the service was found at this address.
func (c *Client) forgetService(name, uri string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.services[strings.ToLower(name)] == uri {
		c.services = nil
	}
}

// forgetServices has the next call discover again.
func (c *Client) forgetServices() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.services = nil
}

// discover asks Graph for the endpoints of Intune's service principal. Of two
// entries with one name the first counts.
func (c *Client) discover(ctx context.Context) (map[string]string, error) {
	address := withSlash(c.o.Cloud.GraphURL) + graphVersion + "/servicePrincipals/appId=" + AppID + "/endpoints"
	var answer struct {
		Value []struct {
			ProviderName string `json:"providerName"`
			ServiceName  string `json:"serviceName"` // in Azure AD Graph
			URI          string `json:"uri"`
		} `json:"value"`
	}
	err := c.exchange(ctx, http.MethodGet, address, c.o.Cloud.graphScope(), "", nil, &answer)
	if dropped, err2 := c.dropToken(err); dropped && err2 == nil {
		err = c.exchange(ctx, http.MethodGet, address, c.o.Cloud.graphScope(), "", nil, &answer)
	}
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, e := range answer.Value {
		name := e.ProviderName
		if name == "" {
			name = e.ServiceName
		}
		name = strings.ToLower(name)
		if _, taken := found[name]; name == "" || taken {
			continue
		}
		found[name] = strings.TrimRight(e.URI, "/")
	}
	return found, nil
}
