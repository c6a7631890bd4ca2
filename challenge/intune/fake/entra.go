package fake

import (
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// defaultExpiresIn is how long a token of Entra is valid, in seconds.
const defaultExpiresIn = 3599

// A Tenant is a directory of Entra with its applications.
type Tenant struct {
	ID     string // a UUID
	Domain string // such as contoso.onmicrosoft.com; may be empty
}

// An Application is a registered client of a tenant.
type Application struct {
	ClientID     string
	Secrets      []ClientSecret
	Certificates []*x509.Certificate // whose keys may sign assertions
	// NoGraph: Application.Read.All was not granted, or nobody consented.
	NoGraph bool
	// NoIntune: scep_challenge_provider was not granted.
	NoIntune bool
}

// A ClientSecret is a password of an application.
type ClientSecret struct {
	Value   string
	Expires time.Time // zero: never
}

// EntraBehaviour is how the token endpoint answers when all is well.
type EntraBehaviour struct {
	// ExpiresInSeconds is the life of a token. MSAL uses one again only while
	// more than 300 of them remain.
	ExpiresInSeconds int `json:"expires_in_seconds"`
	// Issuer is said in the OpenID configuration; empty: the right one.
	Issuer string `json:"issuer"`
	// EchoScope adds the member "scope", which Entra leaves out.
	EchoScope bool `json:"echo_scope"`
}

type tenant struct {
	Tenant
	applications map[string]*Application
}

// AddTenant adds a tenant without applications.
func (c *Cloud) AddTenant(t Tenant) error {
	if t.ID == "" {
		return errors.New("a tenant needs an id")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	added := &tenant{Tenant: t, applications: map[string]*Application{}}
	for _, name := range []string{t.ID, t.Domain} {
		if name != "" {
			c.tenants[strings.ToLower(name)] = added
		}
	}
	return nil
}

// SetApplication registers an application of a tenant, or replaces it.
func (c *Cloud) SetApplication(tenant string, a Application) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, ok := c.tenants[strings.ToLower(tenant)]
	if !ok {
		return fmt.Errorf("tenant %q: %w", tenant, ErrUnknown)
	}
	if a.ClientID == "" {
		return errors.New("an application needs a client id")
	}
	t.applications[strings.ToLower(a.ClientID)] = &a
	return nil
}

// SetEntra changes how tokens are given out. A life of 0 is the usual one.
func (c *Cloud) SetEntra(b EntraBehaviour) {
	if b.ExpiresInSeconds == 0 {
		b.ExpiresInSeconds = defaultExpiresIn
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entra = b
}

// findTenant returns a tenant by id or domain, in any case of letters, and how
// Entra behaves now.
func (c *Cloud) findTenant(name string) (*tenant, EntraBehaviour) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tenants[strings.ToLower(name)], c.entra
}

func (c *Cloud) findApplication(t *tenant, clientID string) (Application, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := t.applications[strings.ToLower(clientID)]
	if !ok {
		return Application{}, false
	}
	return *a, true
}

// openID answers with the OpenID configuration of a tenant.
func (c *Cloud) openID(w http.ResponseWriter, r *http.Request, _ []byte) {
	name := r.PathValue("tenant")
	t, behaviour := c.findTenant(name)
	if t == nil {
		writeJSON(w, http.StatusBadRequest, entraError("invalid_tenant", 90002, fmt.Sprintf("Tenant '%s' not found.", name)))
		return
	}
	base := c.baseURL() + "/" + t.ID
	issuer := base + "/v2.0"
	if behaviour.Issuer != "" {
		issuer = behaviour.Issuer
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"token_endpoint":                        c.baseURL() + "/" + name + "/oauth2/v2.0/token",
		"authorization_endpoint":                base + "/oauth2/v2.0/authorize",
		"jwks_uri":                              base + "/discovery/v2.0/keys",
		"issuer":                                issuer,
		"response_types_supported":              []string{"code", "id_token", "code id_token", "id_token token"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
	})
}

// instance answers as a host that knows no clouds. A client of a private
// authority that is set up right does not ask.
func (c *Cloud) instance(w http.ResponseWriter, _ *http.Request, _ []byte) {
	writeJSON(w, http.StatusBadRequest, entraError("invalid_instance", 50049, "Unknown or invalid instance."))
}

// token gives out a token for client credentials.
func (c *Cloud) token(w http.ResponseWriter, r *http.Request, body []byte) {
	granted, refused := c.grant(r, body)
	if refused != nil {
		writeJSON(w, refused.status, entraError(refused.code, refused.number, refused.text))
		return
	}
	c.mu.Lock()
	behaviour := c.entra
	c.mu.Unlock()
	life := time.Duration(behaviour.ExpiresInSeconds) * time.Second
	token, err := c.tokens.sign(granted, c.clock.Now(), life)
	if err != nil {
		writeJSON(w, http.StatusInternalServerError, entraError("server_error", 90033, err.Error()))
		return
	}
	answer := map[string]any{"token_type": "Bearer", "expires_in": behaviour.ExpiresInSeconds,
		"ext_expires_in": behaviour.ExpiresInSeconds, "access_token": token}
	if behaviour.EchoScope {
		answer["scope"] = granted.resource + "/.default"
	}
	writeJSON(w, http.StatusOK, answer)
}

// A grant is what a token says.
type grant struct {
	tenant, clientID, resource string
	roles                      []string
}

// A refusal is an error of the token endpoint.
type refusal struct {
	status int
	code   string
	number int // AADSTS
	text   string
}

// grant checks a request for a token.
func (c *Cloud) grant(r *http.Request, body []byte) (grant, *refusal) {
	name := r.PathValue("tenant")
	t, _ := c.findTenant(name)
	if t == nil {
		return grant{}, &refusal{400, "invalid_request", 90002, fmt.Sprintf("Tenant '%s' not found.", name)}
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		return grant{}, &refusal{400, "invalid_request", 900144, "The request body must be a form."}
	}
	if form.Get("grant_type") != "client_credentials" {
		return grant{}, &refusal{400, "unsupported_grant_type", 70003, "The app requested an unsupported grant type."}
	}
	a, ok := c.findApplication(t, form.Get("client_id"))
	if !ok {
		return grant{}, &refusal{400, "unauthorized_client", 700016,
			fmt.Sprintf("Application with identifier '%s' was not found in the directory '%s'.", form.Get("client_id"), t.ID)}
	}
	if refused := c.authenticate(a, form, c.baseURL()+r.URL.Path); refused != nil {
		return grant{}, refused
	}
	resource, ok := resourceOf(form.Get("scope"))
	if !ok {
		return grant{}, &refusal{400, "invalid_scope", 70011, "The provided value for the input parameter 'scope' is not valid."}
	}
	return grant{t.ID, a.ClientID, resource, a.rolesFor(resource, c.GraphURL())}, nil
}

// authenticate checks the client's secret or its assertion.
func (c *Cloud) authenticate(a Application, form url.Values, endpoint string) *refusal {
	switch {
	case form.Has("client_secret"):
		return checkSecret(a, form.Get("client_secret"), c.clock.Now())
	case form.Has("client_assertion"):
		if form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
			return &refusal{401, "invalid_client", 700027, "Client assertion is not of a known type."}
		}
		if err := checkAssertion(a, form.Get("client_assertion"), endpoint, c.clock.Now()); err != nil {
			return &refusal{401, "invalid_client", 700027, "Client assertion failed validation: " + err.Error()}
		}
		return nil
	}
	return &refusal{401, "invalid_client", 7000218, "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."}
}

func checkSecret(a Application, secret string, now time.Time) *refusal {
	for _, s := range a.Secrets {
		if subtle.ConstantTimeCompare([]byte(s.Value), []byte(secret)) != 1 {
			continue
		}
		if !s.Expires.IsZero() && !now.Before(s.Expires) {
			return &refusal{401, "invalid_client", 7000222, fmt.Sprintf("The provided client secret keys for app '%s' are expired.", a.ClientID)}
		}
		return nil
	}
	return &refusal{401, "invalid_client", 7000215,
		fmt.Sprintf("Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '%s'.", a.ClientID)}
}

// resourceOf finds the scope that ends in /.default, among those that MSAL
// adds of its own accord, and cuts off exactly that: the resource of Intune
// keeps the slash at its end.
func resourceOf(scope string) (string, bool) {
	var resources []string
	for _, s := range strings.Fields(scope) {
		if resource, ok := strings.CutSuffix(s, "/.default"); ok && resource != "" {
			resources = append(resources, resource)
		}
	}
	return strings.Join(resources, ""), len(resources) == 1
}

// rolesFor is what an administrator granted the application for a resource.
func (a Application) rolesFor(resource, graphURL string) []string {
	switch {
	case resource == IntuneResource && !a.NoIntune:
		return []string{"scep_challenge_provider"}
	case resource+"/" == graphURL && !a.NoGraph:
		return []string{"Application.Read.All"}
	}
	return nil
}

// entraError is the body of an error of the token endpoint. The number stands
// in the text as well.
func entraError(code string, number int, text string) any {
	return map[string]any{
		"error": code, "error_description": fmt.Sprintf("AADSTS%d: %s", number, text), "error_codes": []int{number},
	}
}

// authorized checks the bearer token of a call to a resource.
func (c *Cloud) authorized(r *http.Request, resource, role string) (status int, err error) {
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return http.StatusUnauthorized, errors.New("there is no bearer token")
	}
	granted, err := c.tokens.read(bearer, c.clock.Now())
	if err != nil {
		return http.StatusUnauthorized, err
	}
	if granted.resource != resource {
		return http.StatusUnauthorized, fmt.Errorf("the token is for %s, not for %s", granted.resource, resource)
	}
	if !slices.Contains(granted.roles, role) {
		return http.StatusForbidden, insufficientError{}
	}
	return 0, nil
}

// insufficientError is a refusal in Microsoft's words.
type insufficientError struct{}

func (insufficientError) Error() string { return "Insufficient privileges to complete the operation." }
