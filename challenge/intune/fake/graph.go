package fake

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// The names under which Graph lists Intune's services.
const (
	ProviderValidation = "ScepRequestValidationFEService"
	ProviderConnector  = "PkiConnectorFEService"
)

// An Endpoint is an entry of Graph's list of the endpoints of a service
// principal. ServiceName is how the retired Azure AD Graph called the name.
type Endpoint struct {
	ID                 string  `json:"id"`
	Capability         string  `json:"capability"`
	ProviderID         string  `json:"providerId"`
	ProviderResourceID *string `json:"providerResourceId"`
	ProviderName       string  `json:"providerName,omitempty"`
	ServiceName        string  `json:"serviceName,omitempty"`
	URI                string  `json:"uri"`
}

// SetEndpoints replaces what Graph lists; nil brings the usual list back. A
// URI that begins with a slash is taken as one of this cloud.
func (c *Cloud) SetEndpoints(list []Endpoint) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.directory = slices.Clone(list)
}

// Move moves Intune's services to another address, as happens when a tenant
// changes its shard. The old address answers 404.
func (c *Cloud) Move() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shard++
}

// here says whether a request came to the shard that the tenant is on.
func (c *Cloud) here(r *http.Request) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return r.PathValue("shard") == shardName(c.shard)
}

func shardName(n int) string { return fmt.Sprintf("shard%d", n) }

// Endpoints is what Graph lists now.
func (c *Cloud) Endpoints() []Endpoint {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.directory != nil {
		list := slices.Clone(c.directory)
		for i := range list {
			if strings.HasPrefix(list[i].URI, "/") {
				list[i].URI = c.base + list[i].URI
			}
		}
		return list
	}
	racerts := c.base + intunePath + "/" + shardName(c.shard) + "/RACerts/"
	return []Endpoint{
		{ID: "5d7b9a52-0a36-4a43-9d22-7f5c7a1c9a01", Capability: "DeviceManagement", ProviderName: "IWService", URI: c.base + intunePath + "/iw"},
		{ID: "5d7b9a52-0a36-4a43-9d22-7f5c7a1c9a02", Capability: "DeviceManagement", ProviderName: ProviderConnector, URI: racerts + "StatelessPkiConnectorService"},
		{ID: "5d7b9a52-0a36-4a43-9d22-7f5c7a1c9a03", Capability: "DeviceManagement", ProviderName: ProviderValidation, URI: racerts + "StatelessScepRequestValidationService"},
	}
}

// endpoints answers with the endpoints of Intune's service principal.
func (c *Cloud) endpoints(w http.ResponseWriter, r *http.Request, _ []byte) {
	resource := strings.TrimSuffix(c.GraphURL(), "/")
	switch status, err := c.authorized(r, resource, "Application.Read.All"); status {
	case 0:
	case http.StatusForbidden:
		writeJSON(w, status, graphError("Authorization_RequestDenied", err.Error()))
		return
	default:
		writeJSON(w, status, graphError("InvalidAuthenticationToken", err.Error()))
		return
	}
	if r.Header.Get("client-request-id") == "" {
		note(w, "no client-request-id")
	}
	if !strings.EqualFold(r.PathValue("key"), "appId="+IntuneAppID) {
		writeJSON(w, http.StatusNotFound, graphError("Request_ResourceNotFound", "there is no such service principal"))
		return
	}
	list := c.Endpoints()
	if list == nil {
		list = []Endpoint{}
	}
	writeJSON(w, http.StatusOK, map[string]any{"value": list})
}
