package intune

import (
	"context"
	"crypto/sha1" //nolint:gosec // the thumbprint that Intune asks for
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf16"
)

// The versions of the two services.
const (
	versionValidation = "2018-02-20"
	versionConnector  = "5019-05-05" // sic
)

// maxDescription is the most characters that Intune takes of an error's text.
const maxDescription = 255

// A RefusedError is Intune's no.
type RefusedError struct {
	Code        string // one of Intune's codes; empty when the answer had none
	Description string
}

func (e *RefusedError) Error() string {
	code := e.Code
	if code == "" {
		code = "an answer without a code"
	}
	if e.Description == "" {
		return "Intune refused: " + code
	}
	return fmt.Sprintf("Intune refused: %s: %s", code, e.Description)
}

// A Subject is what all calls about one SCEP request have in common.
type Subject struct {
	TransactionID string // as the device sent it
	CSR           []byte // DER, with the challengePassword
}

// Issued is what Intune is told of a certificate.
type Issued struct {
	Certificate *x509.Certificate
	// Issuer is the name of the issuing authority as people read it.
	Issuer string
}

// answer is what all three calls give.
type answer struct {
	Code             *string `json:"code"`
	ErrorDescription string  `json:"errorDescription"`
}

// Validate asks whether a request is one that Intune caused. nil: it is. A
// *RefusedError: it is not. Any other error: nobody knows, so it must be
// refused as well.
func (c *Client) Validate(ctx context.Context, s Subject) error {
	body := map[string]any{"request": map[string]any{
		"transactionId": s.TransactionID, "certificateRequest": base64.StdEncoding.EncodeToString(s.CSR), "callerInfo": c.o.CallerInfo,
	}}
	return c.act(ctx, "validate", "validateRequest", body)
}

// NotifySuccess tells Intune of the certificate. Only after nil may the device
// have it.
func (c *Client) NotifySuccess(ctx context.Context, s Subject, issued Issued) error {
	thumbprint := sha1.Sum(issued.Certificate.Raw) //nolint:gosec // see above
	body := map[string]any{"notification": map[string]any{
		"transactionId":                s.TransactionID,
		"certificateRequest":           base64.StdEncoding.EncodeToString(s.CSR),
		"certificateThumbprint":        strings.ToUpper(hex.EncodeToString(thumbprint[:])),
		"certificateSerialNumber":      strings.ToUpper(issued.Certificate.SerialNumber.Text(16)),
		"certificateExpirationDateUtc": issued.Certificate.NotAfter.UTC().Format("2006-01-02T15:04:05.000Z"),
		"issuingCertificateAuthority":  issued.Issuer,
		"callerInfo":                   c.o.CallerInfo,
		"caConfiguration":              nil,
		"certificateAuthority":         nil,
	}}
	return c.act(ctx, "success", "successNotification", body)
}

// failed is E_FAIL, the HRESULT of a failure that has no number of its own.
const failed = -2147467259

// NotifyFailure tells Intune that this side could not finish a request that
// Intune found good. It is not for failures of the calls to Intune.
func (c *Client) NotifyFailure(ctx context.Context, s Subject, description string) error {
	body := map[string]any{"notification": map[string]any{
		"transactionId":      s.TransactionID,
		"certificateRequest": base64.StdEncoding.EncodeToString(s.CSR),
		"hResult":            failed,
		"errorDescription":   cut(description),
		"callerInfo":         c.o.CallerInfo,
	}}
	return c.act(ctx, "failure", "failureNotification", body)
}

// cut makes a description of 1 to 255 characters, as Microsoft's languages count
// them: in UTF-16.
func cut(text string) string {
	text = strings.ToValidUTF8(text, "?")
	if text == "" {
		return "unknown error"
	}
	units := 0
	for i, r := range text {
		if units += utf16.RuneLen(r); units > maxDescription {
			return text[:i]
		}
	}
	return text
}

// act makes one of the three calls about a request.
func (c *Client) act(ctx context.Context, action, path string, body any) error {
	ctx, cancel := context.WithTimeout(ctx, c.o.Deadline)
	defer cancel()
	var a answer
	err := c.call(ctx, serviceValidation, "/ScepActions/"+path, versionValidation, body, &a)
	if err != nil {
		c.observe(action, resultOf(err), "")
		return fmt.Errorf("ask Intune for %s: %w", path, err)
	}
	if a.Code == nil || *a.Code != "Success" { // compared as it is, like the reference clients do
		refused := &RefusedError{Description: shorten(a.ErrorDescription)}
		if a.Code != nil {
			refused.Code = shorten(*a.Code)
		}
		c.observe(action, "refused", refused.Code)
		return refused
	}
	c.observe(action, "ok", *a.Code)
	return nil
}

// call posts to a service. It repeats the call once, and only when the first
// try cannot have been done: the service did not answer at this address, the
// token was not taken, or the service has moved.
func (c *Client) call(ctx context.Context, service, path, version string, body, answer any) error {
	uri, err := c.service(ctx, service)
	if err != nil {
		return err
	}
	err = c.exchange(ctx, http.MethodPost, uri+path, c.o.Cloud.intuneScope(), version, body, answer)
	if err == nil {
		return nil
	}
	again, err2 := c.mayRepeat(ctx, err, service, uri)
	switch {
	case err2 != nil:
		return errors.Join(err, err2)
	case again == "":
		return err
	}
	c.o.Log.Info("Intune: once more", "service", service, "because", err)
	return c.exchange(ctx, http.MethodPost, again+path, c.o.Cloud.intuneScope(), version, body, answer)
}

// mayRepeat returns the address for a second try, or none. What was
// discovered is forgotten after every error that may come from its age.
func (c *Client) mayRepeat(ctx context.Context, err error, service, uri string) (string, error) {
	if dropped, err := c.dropToken(err); dropped {
		return uri, err
	}
	var noToken *TokenError
	var wait *WaitError
	switch {
	case errors.As(err, &noToken), errors.As(err, &wait), errors.Is(err, errUnreadable):
		return "", nil
	case errors.Is(err, context.Canceled): // a device that hung up says nothing about the service
		return "", nil
	}
	c.forgetService(service, uri)
	number := 0
	if status := new(StatusError); errors.As(err, &status) {
		number = status.Status
	}
	gone := connectFailed(err) || number == http.StatusNotFound || number == http.StatusGone
	broken := number >= 500
	if !gone && !broken {
		return "", nil
	}
	now, err := c.service(ctx, service)
	if err != nil {
		return "", err
	}
	// A service that is in trouble may have done what it was asked; only one
	// that is somewhere else now has not.
	if broken && now == uri {
		return "", nil
	}
	return now, nil
}
