package intune

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	msalerrors "github.com/AzureAD/microsoft-authentication-library-for-go/apps/errors"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"
	"golang.org/x/sync/singleflight"
)

// tokens gets and keeps tokens, through MSAL. Callers who want the same one at
// once share a request: MSAL would send one for each.
type tokens struct {
	o     Options
	http  *http.Client
	group singleflight.Group

	mu         sync.Mutex
	app        confidential.Client
	generation int // of the tokens in app; one more each time they were dropped
}

func newTokens(o Options, client *http.Client) (*tokens, error) {
	t := &tokens{o: o, http: client}
	app, err := t.newApp()
	if err != nil {
		return nil, err
	}
	t.app = app
	return t, nil
}

// newApp makes MSAL's client, whose cache is empty.
func (t *tokens) newApp() (confidential.Client, error) {
	var credential confidential.Credential
	var err error
	if t.o.Secret != "" {
		credential, err = confidential.NewCredFromSecret(t.o.Secret)
	} else {
		credential, err = confidential.NewCredFromCert(t.o.Certificates, t.o.Key)
	}
	if err != nil {
		return confidential.Client{}, fmt.Errorf("credential of the application: %w", err)
	}
	app, err := confidential.New(withSlash(t.o.Cloud.Authority)+t.o.Tenant, t.o.ClientID, credential,
		confidential.WithHTTPClient(t.http),
		// Without this MSAL would ask login.microsoftonline.com about a
		// private authority.
		confidential.WithInstanceDiscovery(false),
		// MSAL_FORCE_REGION in the environment would change the host.
		confidential.WithAzureRegion("DisableMsalForceRegion"))
	if err != nil {
		return confidential.Client{}, fmt.Errorf("set up MSAL: %w", err)
	}
	return app, nil
}

// forget drops every token, after a service said that one of a generation is
// not valid: MSAL would hand out the same one again. It does nothing when they
// were dropped since.
func (t *tokens) forget(generation int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if generation != t.generation {
		return nil
	}
	app, err := t.newApp()
	if err != nil {
		return err
	}
	t.app, t.generation = app, generation+1
	return nil
}

// forgetAll drops every token.
func (t *tokens) forgetAll() error {
	_, generation := t.current()
	return t.forget(generation)
}

func (t *tokens) current() (confidential.Client, int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.app, t.generation
}

// get returns a token and its generation. A caller that gives up does not take
// the others down.
func (t *tokens) get(ctx context.Context, scope string) (token string, generation int, err error) {
	app, generation := t.current()
	shared := t.group.DoChan(fmt.Sprint(generation, " ", scope), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tokenDeadline)
		defer cancel()
		r, err := app.AcquireTokenByCredential(ctx, []string{scope})
		return r.AccessToken, err
	})
	select {
	case <-ctx.Done():
		return "", 0, ctx.Err()
	case r := <-shared:
		if r.Err != nil {
			return "", 0, tokenError(r.Err)
		}
		return r.Val.(string), generation, nil
	}
}

// tokenError puts an error of MSAL, whose text holds a whole answer, into our
// words. MSAL keeps what it sends out of it, but an answer that could not be
// read may hold a token.
func tokenError(err error) error {
	var garbled msalerrors.InvalidJsonErr
	if errors.As(err, &garbled) {
		return errUnreadable
	}
	var call msalerrors.CallErr
	if !errors.As(err, &call) || call.Resp == nil {
		return err
	}
	e := &StatusError{Status: call.Resp.StatusCode, Detail: entraDetail(err.Error()), RetryAfter: retryAfter(call.Resp.Header)}
	if call.Resp.Request != nil {
		e.host = call.Resp.Request.URL.Host
	}
	return e
}

// entraDetail cuts the sentence with Entra's number out of MSAL's text.
func entraDetail(text string) string {
	at := strings.Index(text, "AADSTS")
	if at < 0 {
		return shorten(text)
	}
	text = text[at:]
	if end := strings.IndexAny(text, "\"\r\n\\"); end >= 0 {
		text = text[:end]
	}
	return shorten(text)
}
