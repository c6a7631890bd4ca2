package server_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/smallstep/pkcs7"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/depot"
)

// ownAuthority gives a house an authority that nobody else uses.
func ownAuthority(shape ca.Shape) func(*house) {
	return func(h *house) {
		h.t.Helper()
		o := ca.Options{Shape: shape, Clock: h.clock}
		if shape == ca.ShapeChain {
			o.IssuerKey = ca.KeyP256
		}
		var err error
		if h.authority, err = ca.Create(filepath.Join(h.t.TempDir(), "authority"), o); err != nil {
			h.t.Fatal(err)
		}
	}
}

const rolloverPath = "/api/v1/authority/rollover"

// TestRollover goes through the steps and looks at both listeners.
func TestRollover(t *testing.T) {
	for _, shape := range []ca.Shape{ca.ShapeChain, ca.ShapeSingle} {
		t.Run(string(shape), func(t *testing.T) { testRollover(t, shape) })
	}
}

func testRollover(t *testing.T, shape ca.Shape) {
	h := open(t, inMemory, ownAuthority(shape))
	state := func(method, step string, status int) map[string]any {
		t.Helper()
		return h.object(method, rolloverPath+step, "", status)
	}
	capability := func() bool {
		return slices.Contains(strings.Fields(h.get("/scep?operation=GetCACaps").body), "GetNextCACert")
	}
	if got := state("GET", "", 200); got["state"] != "none" || got["next"] != nil || fmt.Sprint(len(got["generations"].([]any))) != "1" {
		t.Errorf("before: %v", got)
	}
	if a := h.get("/scep?operation=GetNextCACert"); a.status != 404 || capability() {
		t.Errorf("GetNextCACert before: %d, capability %v", a.status, capability())
	}
	for _, step := range []string{"/activate", "/cancel"} {
		if got := state("POST", step, 409); got["type"] != "urn:understudy:problem:no-rollover" {
			t.Errorf("%s before: %v", step, got)
		}
	}
	if got := state("POST", "/prepare", 200); got["state"] != "prepared" || got["next"] == nil || got["prepared_at"] == nil {
		t.Errorf("prepared: %v", got)
	}
	if got := state("POST", "/prepare", 409); got["type"] != "urn:understudy:problem:rollover-prepared" {
		t.Errorf("prepared twice: %v", got)
	}
	if got := state("POST", "/cancel", 200); got["state"] != "none" || capability() {
		t.Errorf("cancelled: %v", got)
	}
	state("POST", "/prepare", 200)
	if !capability() {
		t.Error("no capability while a rollover is prepared")
	}
	next, before := h.authority.NextChain(false), h.authority.InForce()
	h.nextCA(next, before.Issuer)
	old := h.enrol("C02XL0GTJGH5")

	oldURL := "/pki/" + h.authority.ID() + "/scep/" + h.live.Record.ID
	got := state("POST", "/activate", 200)
	if got["state"] != "none" || got["activated_at"] == nil || len(got["generations"].([]any)) != 2 || capability() {
		t.Errorf("activated: %v", got)
	}
	if a := h.get("/scep?operation=GetNextCACert"); a.status != 404 {
		t.Errorf("GetNextCACert after: %d", a.status)
	}
	if !slices.EqualFunc(h.authority.Chain(false), next, (*x509.Certificate).Equal) {
		t.Error("the announced chain is not in force")
	}
	if err := h.enrol("C02XL0GTJGH6").CheckSignatureFrom(h.authority.Issuer()); err != nil {
		t.Errorf("new certificate: %v", err)
	}
	if err := old.CheckSignatureFrom(before.Issuer); err != nil {
		t.Errorf("old certificate: %v", err)
	}
	newURL := "/pki/" + h.authority.ID() + "/scep/" + h.live.Record.ID
	if same := oldURL == newURL; same != (shape == ca.ShapeChain) {
		t.Errorf("URLs %s and %s", oldURL, newURL)
	}
	for _, url := range []string{oldURL, newURL} {
		if a := h.get(url + "?operation=GetCACaps"); a.status != 200 {
			t.Errorf("%s: %d", url, a.status)
		}
	}
}

// nextCA compares what GetNextCACert answers with the chain that it must hold
// and with who must have signed it.
func (h *house) nextCA(chain []*x509.Certificate, signer *x509.Certificate) {
	h.t.Helper()
	a := h.get("/scep?operation=GetNextCACert")
	if a.status != 200 || a.header.Get("Content-Type") != "application/x-x509-next-ca-cert" {
		h.t.Fatalf("GetNextCACert: %d %v %.80q", a.status, a.header, a.body)
	}
	signed, err := pkcs7.Parse([]byte(a.body))
	if err != nil {
		h.t.Fatal(err)
	}
	if err := signed.Verify(); err != nil || !signed.GetOnlySigner().Equal(signer) {
		h.t.Errorf("signed by %v: %v", signed.GetOnlySigner().Subject, err)
	}
	bundle, err := pkcs7.Parse(signed.Content)
	if err != nil {
		h.t.Fatal(err)
	}
	if !slices.EqualFunc(bundle.Certificates, chain, (*x509.Certificate).Equal) {
		h.t.Errorf("GetNextCACert has %d certificates, not the prepared chain of %d", len(bundle.Certificates), len(chain))
	}
	if again := h.get("/scep?operation=GetNextCACert"); again.body != a.body {
		h.t.Error("the answer was signed twice")
	}
}

// Clients that know only the RA can have it sign.
func TestNextCASigner(t *testing.T) {
	h := open(t, inMemory, ownAuthority(ca.ShapeChain))
	h.object("POST", rolloverPath+"/prepare", "", 200)
	h.nextCA(h.authority.NextChain(false), h.authority.Issuer())
	h.object("PATCH", "/api/v1/configurations/default", `{"next_ca_signer":"ra","chain":"no-root"}`, 200)
	ra, _ := h.authority.RA()
	h.nextCA(h.authority.NextChain(true), ra)
}

// TestRolloverIsOnRecord: the ledger hears of a generation before it issues,
// and once more when it is in force.
func TestRolloverIsOnRecord(t *testing.T) {
	var seen *recording
	h := open(t, inMemory, ownAuthority(ca.ShapeChain), func(h *house) {
		h.wrap = func(d depot.Depot) depot.Depot { seen = &recording{Depot: d, authority: h.authority}; return seen }
	})
	h.object("POST", rolloverPath+"/prepare", "", 200)
	next := h.authority.Rollover().Next
	seen.fails = true
	h.object("POST", rolloverPath+"/activate", "", 500)
	if h.authority.Rollover().State != ca.RolloverPrepared {
		t.Fatal("activated without a record")
	}
	seen.fails = false
	h.object("POST", rolloverPath+"/activate", "", 200)
	if fmt.Sprint(seen.inForce) != "[false true]" {
		t.Errorf("recorded when in force: %v, want before and after", seen.inForce)
	}
	for _, r := range seen.records {
		if !slices.Equal(r.Issuer, next.Issuer.Raw) || !slices.Equal(r.RA, next.RA.Raw) {
			t.Error("another generation is on record")
		}
	}
}

// recording notes what was recorded, and whether it was in force by then.
type recording struct {
	depot.Depot
	authority *ca.Authority
	fails     bool
	records   []depot.AuthorityGeneration
	inForce   []bool
}

func (d *recording) RecordAuthority(_ context.Context, g depot.AuthorityGeneration) error {
	if d.fails {
		return errors.New("no room")
	}
	d.records = append(d.records, g)
	d.inForce = append(d.inForce, slices.Equal(d.authority.Issuer().Raw, g.Issuer))
	return nil
}
