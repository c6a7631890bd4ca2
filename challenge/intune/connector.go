package intune

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// maxDownload is the most revocation requests that one call may ask for.
const maxDownload = 500

// A ResultCode is what Intune is told of a revocation that failed.
type ResultCode int

// The result codes. From 4100 on Intune offers the request again.
const (
	ResultNone                ResultCode = 0
	ResultNonRetryable        ResultCode = 4000
	ResultInvalidParameter    ResultCode = 4002
	ResultCertificateNotFound ResultCode = 4004
	ResultConflict            ResultCode = 4005 // revoked already
	ResultRetryable           ResultCode = 4100
)

// A RevocationRequest is a certificate that an administrator revoked in
// Intune.
type RevocationRequest struct {
	Context      string // to be given back with the result
	SerialNumber string // as Intune was told or as it likes: see Serials
	IssuerName   string // may be empty
}

// A RevocationResult is what became of a request.
type RevocationResult struct {
	Context string
	Code    ResultCode
	Message string // must be empty with ResultNone
}

// Serials returns the certificate serials, in lower-case hex of even length,
// that a number of Intune's may mean, the likeliest first: we tell it hex, but
// hex and decimal are both in the field.
func (r RevocationRequest) Serials() []string {
	text := strings.ReplaceAll(strings.TrimSpace(r.SerialNumber), ":", "")
	text = strings.TrimPrefix(strings.TrimPrefix(text, "0x"), "0X")
	var all []string
	for _, base := range []int{16, 10} {
		n, ok := new(big.Int).SetString(text, base)
		if !ok || n.Sign() <= 0 {
			continue
		}
		hex := n.Text(16)
		if len(hex)%2 == 1 {
			hex = "0" + hex
		}
		if !slices.Contains(all, hex) {
			all = append(all, hex)
		}
	}
	return all
}

// Revocations asks which certificates are to be revoked, most at a time, 1 to
// 500.
func (c *Client) Revocations(ctx context.Context, most int) ([]RevocationRequest, error) {
	if most < 1 || most > maxDownload {
		return nil, fmt.Errorf("%d revocation requests at a time: 1 to %d may be asked for", most, maxDownload)
	}
	var answer struct {
		Value *[]struct {
			RequestContext string  `json:"requestContext"`
			SerialNumber   string  `json:"serialNumber"`
			IssuerName     *string `json:"issuerName"`
		} `json:"value"`
	}
	body := map[string]any{"downloadParameters": map[string]any{"maxRequests": most, "issuerName": nil}}
	if err := c.connect(ctx, "download", "downloadRevocationRequests", body, &answer); err != nil {
		return nil, err
	}
	if answer.Value == nil {
		return nil, fmt.Errorf("ask Intune for downloadRevocationRequests: %w", errUnreadable)
	}
	var all []RevocationRequest
	for _, v := range *answer.Value {
		r := RevocationRequest{Context: v.RequestContext, SerialNumber: v.SerialNumber}
		if v.IssuerName != nil {
			r.IssuerName = *v.IssuerName
		}
		all = append(all, r)
	}
	return all, nil
}

// ReportRevocations tells Intune what became of revocation requests.
func (c *Client) ReportRevocations(ctx context.Context, results []RevocationResult) error {
	if len(results) == 0 {
		return errors.New("there are no results to report")
	}
	type result struct {
		RequestContext string `json:"requestContext"`
		Succeeded      bool   `json:"succeeded"`
		ErrorCode      string `json:"errorCode"`
		ErrorMessage   string `json:"errorMessage"`
	}
	var list []result
	for _, r := range results {
		if (r.Code == ResultNone) != (r.Message == "") {
			return fmt.Errorf("result of %s: a failure has a code and a message, a success neither", r.Context)
		}
		list = append(list, result{r.Context, r.Code == ResultNone, strconv.Itoa(int(r.Code)), r.Message})
	}
	var answer struct {
		Value bool `json:"value"`
	}
	if err := c.connect(ctx, "upload", "uploadRevocationResults", map[string]any{"results": list}, &answer); err != nil {
		return err
	}
	if !answer.Value {
		return errors.New("the results of revocations were not taken: Intune did not take them")
	}
	return nil
}

// connect makes a call to the revocation service.
func (c *Client) connect(ctx context.Context, action, path string, body, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, c.o.Deadline)
	defer cancel()
	err := c.call(ctx, serviceConnector, "/CertificateAuthorityRequests/"+path, versionConnector, body, answer)
	c.observe(action, resultOf(err), "")
	if err != nil {
		return fmt.Errorf("ask Intune for %s: %w", path, err)
	}
	return nil
}
