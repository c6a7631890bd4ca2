package intune

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"

	"understudy.example/understudy/challenge"
)

// A Step is one thing that must work before Intune can be asked.
type Step = challenge.Step

// Check tries tokens, discovery and whether Intune's service is there, without
// asking it about any request. Later steps are left out when an earlier one
// makes them pointless.
func (c *Client) Check(ctx context.Context) []Step {
	ctx, cancel := context.WithTimeout(ctx, 2*c.o.Deadline)
	defer cancel()
	c.forgetServices()
	if err := c.tokens.forgetAll(); err != nil {
		return []Step{{Name: "credential", Detail: err.Error()}}
	}
	steps := []Step{}
	add := func(name, found string, err error) bool {
		if err != nil {
			steps = append(steps, Step{Name: name, Detail: explain(err)})
			return false
		}
		steps = append(steps, Step{Name: name, OK: true, Detail: found})
		return true
	}
	_, _, err := c.token(ctx, c.o.Cloud.graphScope())
	if !add("token for Graph", "granted", err) {
		return steps
	}
	uri, err := c.service(ctx, serviceValidation)
	if !add("discovery of "+serviceValidation, uri, err) {
		return steps
	}
	_, _, err = c.token(ctx, c.o.Cloud.intuneScope())
	if !add("token for Intune", "granted", err) {
		return steps
	}
	add("Intune's service", "answers", c.reach(ctx, uri))
	return steps
}

// reach says whether something answers at the address of a service.
func (c *Client) reach(ctx context.Context, uri string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, uri, nil)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return withoutURL(err)
	}
	return response.Body.Close()
}

// remedies say what to do about the numbers that Entra gives.
var remedies = map[string]string{
	"AADSTS7000215": "the client secret is wrong: take the secret's value, not its id",
	"AADSTS7000222": "the client secret has expired: make a new one for the application and set it here",
	"AADSTS700016":  "there is no such application in this tenant: check client id and tenant",
	"AADSTS90002":   "there is no such tenant: check its name",
	"AADSTS700027":  "the certificate is not registered with the application, is expired, or the clocks disagree: upload it to the application, check this machine's clock",
	"AADSTS70011":   "Entra does not know the resource: check the Graph URL and the Intune resource for this cloud",
	"AADSTS90033":   "Entra is in trouble: try again later",
}

// explain adds what to do to what went wrong.
func explain(err error) string {
	text := err.Error()
	for number, remedy := range remedies {
		if strings.Contains(text, number+":") {
			return text + " → " + remedy
		}
	}
	var status *StatusError
	var unknown x509.UnknownAuthorityError
	var expired x509.CertificateInvalidError
	var dns *net.DNSError
	var forbidden *ForbiddenHostError
	var address *url.Error
	remedy := ""
	switch {
	case errors.As(err, &status) && status.Status == http.StatusForbidden:
		remedy = "the application lacks a permission, or nobody consented: grant Application.Read.All (Microsoft Graph) and scep_challenge_provider (Intune API) as application permissions, and give admin consent"
	case errors.As(err, &status) && status.Status == http.StatusUnauthorized:
		remedy = "the token was not taken: check the Graph URL and the Intune resource for this cloud, and this machine's clock"
	case errors.Is(err, errNotListed):
		remedy = "check the licence and the tenant"
	case errors.As(err, &unknown):
		remedy = "the certificate of the TLS server is not trusted: give its CA with --ca-file"
	case errors.As(err, &expired):
		remedy = "check this machine's clock"
	case errors.As(err, &dns):
		remedy = "the name cannot be resolved: check the URL, DNS and the proxy"
	case errors.As(err, &forbidden):
		remedy = "if it belongs to this cloud, configure its host"
	case errors.As(err, &address), connectFailed(err):
		remedy = "check the URL, the network and the proxy"
	}
	if remedy == "" {
		return text
	}
	return text + " → " + remedy
}
