package intune

import (
	"fmt"
	"net/url"
	"strings"
)

// The application ids and the version that all clouds share.
const (
	// AppID is Intune's application id in Graph.
	AppID        = "0000000a-0000-0000-c000-000000000000"
	graphVersion = "v1.0"
)

// A Cloud is where Microsoft's services are. All URLs are https.
type Cloud struct {
	Authority string // Entra's base, such as https://login.microsoftonline.com/
	GraphURL  string // Graph's base, such as https://graph.microsoft.com/
	// IntuneResource is the name that Intune's tokens are made out to. It
	// ends in a slash.
	IntuneResource string
	// IntuneHosts are where Intune's services may be; a leading dot means any
	// host below. None: on the host of Graph.
	IntuneHosts []string
}

// Clouds returns Microsoft's clouds by name. The authority and Graph of each
// are documented (SCEPman, National Cloud Platforms); that DoD's Intune has
// the resource of GCC High is an assumption.
func Clouds() map[string]Cloud {
	const public, us = "https://api.manage.microsoft.com/", "https://api.manage.microsoft.us/"
	return map[string]Cloud{
		"public":   {"https://login.microsoftonline.com/", "https://graph.microsoft.com/", public, []string{".manage.microsoft.com"}},
		"gcc-high": {"https://login.microsoftonline.us/", "https://graph.microsoft.us/", us, []string{".manage.microsoft.us"}},
		"dod":      {"https://login.microsoftonline.us/", "https://dod-graph.microsoft.us/", us, []string{".manage.microsoft.us"}},
	}
}

func (c Cloud) check() error {
	for what, text := range map[string]string{"authority": c.Authority, "Graph URL": c.GraphURL, "Intune resource": c.IntuneResource} {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			return fmt.Errorf("the %s %q must be an https URL without query", what, text)
		}
	}
	return nil
}

// withSlash ends a base in exactly one slash: the scopes are built by putting
// words behind it, and Intune's resource is registered with it.
func withSlash(base string) string { return strings.TrimRight(base, "/") + "/" }

// graphScope is what a token for Graph is asked with.
func (c Cloud) graphScope() string { return withSlash(c.GraphURL) + ".default" }

// intuneScope is what a token for Intune is asked with. The double slash is
// intended: the resource itself ends in one.
func (c Cloud) intuneScope() string { return withSlash(c.IntuneResource) + "/.default" }

// hosts are all hosts that may be spoken to.
func (c Cloud) hosts() []string {
	var all []string
	for _, base := range []string{c.Authority, c.GraphURL} {
		if u, err := url.Parse(base); err == nil {
			all = append(all, u.Host)
		}
	}
	return append(all, c.IntuneHosts...)
}
