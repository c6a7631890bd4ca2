package intune_test

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/challenge/intune"
	"understudy.example/understudy/challenge/intune/fake"
)

// TestOnTheWire holds every call against what Microsoft's reference client
// (Intune-Resource-Access, src/CsrValidation) sends: method, path, headers and
// all members of the body.
func TestOnTheWire(t *testing.T) {
	w := newWorld(t)
	c, s := w.client(t), w.good(t)
	issued, _ := certificate(t, time.Date(2026, 11, 22, 1, 42, 9, 0, time.UTC))
	revocation, err := w.RequestRevocation("0ABCDE", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, call := range []func() error{
		func() error { return c.Validate(t.Context(), s) },
		func() error {
			return c.NotifySuccess(t.Context(), s, intune.Issued{Certificate: issued, Issuer: "CN=Issuer,DC=lab"})
		},
		func() error { return c.NotifyFailure(t.Context(), s, "the disk is full") },
		func() error { _, err := c.Revocations(t.Context(), 50); return err },
		func() error {
			return c.ReportRevocations(t.Context(), []intune.RevocationResult{
				{Context: revocation.RequestContext}, {Context: revocation.RequestContext, Code: intune.ResultConflict, Message: "revoked already"},
			})
		},
	} {
		if err := call(); err != nil {
			t.Fatal(err)
		}
	}
	csr := base64.StdEncoding.EncodeToString(s.CSR)
	about := fmt.Sprintf(`"transactionId":"T-1","certificateRequest":%q,"callerInfo":"Understudy test"`, csr)
	const scep, connector = "/RACerts/StatelessScepRequestValidationService/ScepActions/", "/RACerts/StatelessPkiConnectorService/CertificateAuthorityRequests/"
	for service, want := range map[fake.Service]struct{ path, version, body string }{
		fake.ServiceValidate: {scep + "validateRequest", "2018-02-20", `{"request":{` + about + `}}`},
		fake.ServiceSuccess: {scep + "successNotification", "2018-02-20", fmt.Sprintf(`{"notification":{%s,"certificateThumbprint":"%X",
			"certificateSerialNumber":"ABCDE","certificateExpirationDateUtc":"2026-11-22T02:42:09.000Z",
			"issuingCertificateAuthority":"CN=Issuer,DC=lab","caConfiguration":null,"certificateAuthority":null}}`, about, sha1.Sum(issued.Raw))},
		fake.ServiceFailure:  {scep + "failureNotification", "2018-02-20", `{"notification":{` + about + `,"hResult":-2147467259,"errorDescription":"the disk is full"}}`},
		fake.ServiceDownload: {connector + "downloadRevocationRequests", "5019-05-05", `{"downloadParameters":{"maxRequests":50,"issuerName":null}}`},
		fake.ServiceUpload: {connector + "uploadRevocationResults", "5019-05-05", fmt.Sprintf(`{"results":[
			{"requestContext":%[1]q,"succeeded":true,"errorCode":"0","errorMessage":""},
			{"requestContext":%[1]q,"succeeded":false,"errorCode":"4005","errorMessage":"revoked already"}]}`, revocation.RequestContext)},
	} {
		calls := w.CallsTo(service)
		if len(calls) != 1 {
			t.Fatalf("%d calls to %s", len(calls), service)
		}
		call := calls[0]
		if call.Method != http.MethodPost || !strings.HasSuffix(call.Path, want.path) || strings.Contains(call.Path, "?") {
			t.Errorf("%s: %s %s", service, call.Method, call.Path)
		}
		if got := unmarshal(t, call.Body); !reflect.DeepEqual(got, unmarshal(t, want.body)) {
			t.Errorf("%s: body %s\nwant %s", service, call.Body, want.body)
		}
		if strings.ContainsAny(call.Body, "\r\n") || strings.Contains(call.Body, `\n`) {
			t.Errorf("%s: the body has line breaks", service)
		}
		for name, value := range map[string]string{"Api-Version": want.version, "Content-Type": "application/json", "Useragent": "Understudy test"} {
			if got := call.Header.Get(name); got != value {
				t.Errorf("%s: %s is %q, want %q", service, name, got, value)
			}
		}
	}
	graph := w.CallsTo(fake.ServiceGraph)[0]
	if graph.Method != http.MethodGet || graph.Path != "/graph/v1.0/servicePrincipals/appId=0000000a-0000-0000-c000-000000000000/endpoints" || graph.Body != "" {
		t.Errorf("Graph: %s %s %s", graph.Method, graph.Path, graph.Body)
	}
	seen := map[string]bool{}
	for _, call := range append(w.Calls(), graph) {
		id := call.Header.Get("client-request-id")
		if call.Service != fake.ServiceOpenID && call.Service != fake.ServiceToken && (!strings.HasPrefix(call.Header.Get("Authorization"), "Bearer ") || len(id) != 36) {
			t.Errorf("%s: headers %v", call.Service, call.Header)
		}
		if seen[id] && call.Service != fake.ServiceGraph {
			t.Errorf("%s: the request id %s was there before", call.Service, id)
		}
		seen[id] = true
	}
	w.checkScopes(t)
}

// checkScopes looks at what tokens were asked for: Graph's resource without
// the slash at its end, Intune's with it.
func (w *world) checkScopes(t *testing.T) {
	t.Helper()
	var scopes []string
	for _, call := range w.CallsTo(fake.ServiceToken) {
		form := strings.NewReplacer("%3A", ":", "%2F", "/").Replace(call.Body)
		_, scope, _ := strings.Cut(form, "scope=")
		scope, _, _ = strings.Cut(scope, "+")
		scopes = append(scopes, scope)
	}
	if want := []string{w.GraphURL() + ".default", "https://api.manage.microsoft.com//.default"}; !reflect.DeepEqual(scopes, want) {
		t.Errorf("scopes %q, want %q", scopes, want)
	}
}

func unmarshal(t *testing.T, text string) (v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}
