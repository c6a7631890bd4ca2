package fake

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// A Revocation is a certificate that an administrator wants revoked in
// Intune's portal, and what came of it.
type Revocation struct {
	RequestContext  string  `json:"requestContext"`
	SerialNumber    string  `json:"serialNumber"`
	IssuerName      *string `json:"issuerName"`
	CAConfiguration *string `json:"caConfiguration"`

	Downloads int               `json:"downloads"`
	Result    *RevocationResult `json:"result"` // nil while nobody reported one
}

// A RevocationResult is what the connector reported.
type RevocationResult struct {
	Succeeded    bool   `json:"succeeded"`
	ErrorCode    string `json:"errorCode"`
	ErrorMessage string `json:"errorMessage"`
}

type revocationBook struct{ all []*Revocation }

// resultCodes are the names and numbers of the results that Intune knows.
var resultCodes = []struct{ number, name string }{
	{"0", "None"}, {"4000", "NonRetryableServiceException"}, {"4001", "DataSerializationError"}, {"4002", "ParameterDataInvalidError"},
	{"4003", "CryptographyError"}, {"4004", "CertificateNotFoundError"}, {"4005", "ConflictError"}, {"4006", "NotSupportedError"},
	{"4007", "PayloadTooLargeError"}, {"4100", "RetryableServiceException"}, {"4101", "ServiceUnavailableException"},
	{"4102", "ServiceTooBusyException"}, {"4103", "AuthenticationException"},
}

// RequestRevocation puts a certificate on the list that the connector
// downloads. The serial number is passed on as it is: hex and decimal, with
// and without leading zeros, are in the field.
func (c *Cloud) RequestRevocation(serialNumber string, issuerName *string) (Revocation, error) {
	context, err := c.randomHex(16)
	if err != nil {
		return Revocation{}, err
	}
	r := &Revocation{RequestContext: context, SerialNumber: serialNumber, IssuerName: issuerName}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.book.all = append(c.book.all, r)
	return *r, nil
}

// Revocations returns what was asked for and what came of it.
func (c *Cloud) Revocations() []Revocation {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]Revocation, 0, len(c.book.all))
	for _, r := range c.book.all {
		all = append(all, *r)
	}
	return all
}

// downloadRevocations answers with the revocations that have no final result.
func (c *Cloud) downloadRevocations(w http.ResponseWriter, r *http.Request, body []byte) {
	var in struct {
		DownloadParameters *struct {
			MaxRequests int
			IssuerName  *string
		}
	}
	if !c.opened(w, r, body, &in) {
		return
	}
	if in.DownloadParameters == nil || in.DownloadParameters.MaxRequests < 1 || in.DownloadParameters.MaxRequests > 500 {
		writeJSON(w, http.StatusBadRequest, graphError("BadRequest", "maxRequests must be 1 to 500"))
		return
	}
	type item struct {
		RequestContext  string  `json:"requestContext"`
		SerialNumber    string  `json:"serialNumber"`
		IssuerName      *string `json:"issuerName"`
		CAConfiguration *string `json:"caConfiguration"`
	}
	list := []item{}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range c.book.all {
		wanted := in.DownloadParameters.IssuerName == nil || one.IssuerName != nil && *one.IssuerName == *in.DownloadParameters.IssuerName
		if !one.open() || !wanted || len(list) == in.DownloadParameters.MaxRequests {
			continue
		}
		one.Downloads++
		list = append(list, item{one.RequestContext, one.SerialNumber, one.IssuerName, one.CAConfiguration})
	}
	writeJSON(w, http.StatusOK, map[string]any{"value": list})
}

// open says whether the connector should still look at a revocation: it said
// nothing yet, or that trying again may help.
func (r *Revocation) open() bool {
	return r.Result == nil || !r.Result.Succeeded && strings.HasPrefix(r.Result.ErrorCode, "41")
}

// uploadRevocations takes results. Their members may be named in any case.
func (c *Cloud) uploadRevocations(w http.ResponseWriter, r *http.Request, body []byte) {
	var in struct {
		Results []struct {
			RequestContext string
			Succeeded      *bool
			ErrorCode      json.RawMessage
			ErrorMessage   string
		}
	}
	if !c.opened(w, r, body, &in) {
		return
	}
	if len(in.Results) == 0 {
		writeJSON(w, http.StatusBadRequest, graphError("BadRequest", "results must not be empty"))
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, result := range in.Results {
		code, ok := resultCode(result.ErrorCode)
		found := slices.IndexFunc(c.book.all, func(r *Revocation) bool { return r.RequestContext == result.RequestContext })
		problem := ""
		switch {
		case found < 0:
			problem = "requestContext is not known"
		case !ok:
			problem = "errorCode is not known"
		case result.Succeeded == nil:
			problem = "succeeded is missing"
		case *result.Succeeded && (code != "0" || result.ErrorMessage != ""):
			problem = "a success has neither code nor message"
		case !*result.Succeeded && code == "0":
			problem = "a failure needs a code"
		}
		if problem != "" {
			writeJSON(w, http.StatusBadRequest, graphError("BadRequest", fmt.Sprintf("result %d: %s", i, problem)))
			return
		}
		c.book.all[found].Result = &RevocationResult{*result.Succeeded, code, result.ErrorMessage}
	}
	writeJSON(w, http.StatusOK, map[string]any{"value": true})
}

// resultCode returns the number of a code that is written as a number, as a
// number in a string, or by its name.
func resultCode(raw json.RawMessage) (string, bool) {
	text := strings.Trim(string(raw), `"`)
	for _, code := range resultCodes {
		if text == code.number || strings.EqualFold(text, code.name) {
			return code.number, true
		}
	}
	return "", false
}
