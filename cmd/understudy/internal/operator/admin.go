package operator

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"

	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/conformance"
)

// Admin works through the admin API of a server of ours.
type Admin struct {
	Client *api.Client
}

// Fill sets all that the admin API can do.
func (a Admin) Fill(o *conformance.Operator) {
	o.Approve = func(ctx context.Context, w conformance.Waiting) error { return a.decide(ctx, w, "approve") }
	o.Deny = func(ctx context.Context, w conformance.Waiting) error { return a.decide(ctx, w, "deny") }
	o.Revoke = a.revoke
	o.PrepareNextCA = func(ctx context.Context) error { return a.rollover(ctx, "prepare") }
	o.CancelNextCA = func(ctx context.Context) error { return a.rollover(ctx, "cancel") }
	o.Issued = a.issued
}

// pageOf is how many items one call lists, the most that the server allows.
const pageOf = "500"

// decide finds the request that waits by its transaction.
func (a Admin) decide(ctx context.Context, w conformance.Waiting, verb string) error {
	query := url.Values{"state": {"pending"}, "limit": {pageOf}}
	for {
		var page api.List[struct {
			ID            string `json:"id"`
			TransactionID string `json:"transaction_id"`
		}]
		if err := a.Client.Call(ctx, http.MethodGet, "/api/v1/requests", query, nil, &page); err != nil {
			return fmt.Errorf("list the requests that wait: %w", err)
		}
		for _, item := range page.Items {
			if item.TransactionID == w.TransactionID {
				return a.post(ctx, "/api/v1/requests/"+url.PathEscape(item.ID)+"/"+verb, map[string]string{"note": "conformance"})
			}
		}
		if page.NextCursor == nil {
			return fmt.Errorf("no request of transaction %s waits", w.TransactionID)
		}
		query.Set("cursor", *page.NextCursor)
	}
}

func (a Admin) revoke(ctx context.Context, c *x509.Certificate) error {
	return a.post(ctx, "/api/v1/certificates/"+serialText(c)+"/revoke", map[string]string{"reason": "superseded", "note": "conformance"})
}

func (a Admin) rollover(ctx context.Context, step string) error {
	return a.post(ctx, "/api/v1/authority/rollover/"+step, struct{}{})
}

// issued counts in every configuration: which of them a SCEP URL belongs to is
// for the server to know.
func (a Admin) issued(ctx context.Context, transactionID string) (int, error) {
	var configurations api.List[api.Configuration]
	if err := a.Client.Call(ctx, http.MethodGet, "/api/v1/configurations", nil, nil, &configurations); err != nil {
		return 0, fmt.Errorf("list the configurations: %w", err)
	}
	n := 0
	for _, c := range configurations.Items {
		var page api.List[struct{}]
		query := url.Values{"configuration": {c.ID}, "transaction": {transactionID}, "limit": {pageOf}}
		if err := a.Client.Call(ctx, http.MethodGet, "/api/v1/certificates", query, nil, &page); err != nil {
			return 0, fmt.Errorf("list the certificates of transaction %s: %w", transactionID, err)
		}
		n += len(page.Items)
	}
	return n, nil
}

func (a Admin) post(ctx context.Context, path string, body any) error {
	return a.Client.Call(ctx, http.MethodPost, path, nil, body, nil)
}
