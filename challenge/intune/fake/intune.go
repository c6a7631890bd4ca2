package fake

import (
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// apiVersions are those that the real services take, wherever they are sent.
var apiVersions = []string{"2018-02-20", "5019-05-05"}

// expirationFormat is how the reference client writes the end of a
// certificate's validity.
const expirationFormat = "2006-01-02T15:04:05.000Z07:00"

// opened checks what every call to Intune must have and reads its body into
// into. It answers itself when it says false.
func (c *Cloud) opened(w http.ResponseWriter, r *http.Request, body []byte, into any) bool {
	if !c.here(r) {
		writeJSON(w, http.StatusNotFound, graphError("NotFound", "the service is not at this address any more"))
		return false
	}
	if status, err := c.authorized(r, IntuneResource, "scep_challenge_provider"); err != nil {
		writeJSON(w, status, graphError(http.StatusText(status), err.Error()))
		return false
	}
	problem := ""
	switch {
	case !slices.Contains(apiVersions, r.Header.Get("api-version")):
		problem = "api-version is missing or not known"
	case r.Header.Get("client-request-id") == "":
		problem = "client-request-id is missing"
	case !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json"):
		problem = "the content type is not application/json"
	case json.Unmarshal(body, into) != nil:
		problem = "the body is not the JSON that this call takes"
	}
	if problem != "" {
		writeJSON(w, http.StatusBadRequest, graphError("BadRequest", problem))
		return false
	}
	return true
}

// validateRequest judges a CSR.
func (c *Cloud) validateRequest(w http.ResponseWriter, r *http.Request, body []byte) {
	var in struct {
		Request *struct{ TransactionID, CertificateRequest, CallerInfo string }
	}
	if !c.opened(w, r, body, &in) {
		return
	}
	if in.Request == nil || in.Request.TransactionID == "" || in.Request.CertificateRequest == "" {
		writeJSON(w, http.StatusBadRequest, graphError("BadRequest", "request needs transactionId and certificateRequest"))
		return
	}
	if in.Request.CallerInfo == "" {
		note(w, "no callerInfo")
	}
	found := c.judge(in.Request.CertificateRequest)
	if found.Code == "Success" {
		c.keepValidated(in.Request.TransactionID)
	}
	writeJSON(w, http.StatusOK, found)
}

// successNotification takes note of a certificate.
func (c *Cloud) successNotification(w http.ResponseWriter, r *http.Request, body []byte) {
	var in struct {
		Notification *struct {
			TransactionID, CertificateRequest, CertificateThumbprint, CertificateSerialNumber string
			CertificateExpirationDateUTC, IssuingCertificateAuthority, CallerInfo             string
			CAConfiguration, CertificateAuthority                                             *string
		}
	}
	if !c.opened(w, r, body, &in) {
		return
	}
	n, problem := in.Notification, ""
	switch {
	case n == nil || n.TransactionID == "" || n.CertificateRequest == "":
		problem = "notification needs transactionId and certificateRequest"
	case !isHex(n.CertificateThumbprint, 40):
		problem = "certificateThumbprint is not a SHA-1 in hex"
	case n.CertificateSerialNumber == "":
		problem = "certificateSerialNumber is missing"
	case !isExpiration(n.CertificateExpirationDateUTC):
		problem = "certificateExpirationDateUtc is not of the form YYYY-MM-DDThh:mm:ss.sssTZD"
	case n.IssuingCertificateAuthority == "":
		problem = "issuingCertificateAuthority is missing"
	}
	if problem != "" {
		writeJSON(w, http.StatusBadRequest, graphError("BadRequest", problem))
		return
	}
	if !c.validated(n.TransactionID) {
		note(w, "no request with this transactionId was found good")
	}
	writeJSON(w, http.StatusOK, verdict{Code: "Success"})
}

// failureNotification takes note of a failure of the caller.
func (c *Cloud) failureNotification(w http.ResponseWriter, r *http.Request, body []byte) {
	var in struct {
		Notification *struct {
			TransactionID, CertificateRequest, ErrorDescription, CallerInfo string
			HResult                                                         *int64
		}
	}
	if !c.opened(w, r, body, &in) {
		return
	}
	n, problem := in.Notification, ""
	switch {
	case n == nil || n.TransactionID == "" || n.CertificateRequest == "":
		problem = "notification needs transactionId and certificateRequest"
	case n.HResult == nil:
		problem = "hResult is missing"
	case n.ErrorDescription == "" || len([]rune(n.ErrorDescription)) > 255:
		problem = "errorDescription must have 1 to 255 characters"
	}
	if problem != "" {
		writeJSON(w, http.StatusBadRequest, graphError("BadRequest", problem))
		return
	}
	if !c.validated(n.TransactionID) {
		note(w, "no request with this transactionId was found good")
	}
	writeJSON(w, http.StatusOK, verdict{Code: "Success"})
}

// keepValidated remembers that a request was found good.
func (c *Cloud) keepValidated(transactionID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.good[transactionID] = true
}

// validated says whether a request with this transactionId was found good.
func (c *Cloud) validated(transactionID string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.good[transactionID]
}

func isHex(text string, length int) bool {
	_, err := hex.DecodeString(text)
	return err == nil && len(text) == length
}

func isExpiration(text string) bool {
	_, err := time.Parse(expirationFormat, text)
	return err == nil
}
