package reliability

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"understudy.example/understudy/test/internal/program"
)

// A relyingParty fetches the CRL of one issuer and remembers what it was shown.
type relyingParty struct {
	issuer *x509.Certificate

	mu      sync.Mutex
	last    *x509.RevocationList // the newest CRL; nil before the first
	revoked map[string]bool      // certificate serials that were on a CRL, or acknowledged as revoked
}

// newRelyingParty takes the issuer from the server, by the key that signed a
// certificate.
func newRelyingParty(t *testing.T, server *program.Server, issued []byte) *relyingParty {
	t.Helper()
	leaf, err := x509.ParseCertificate(issued)
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := x509.ParseCertificate(server.Public(t, fmt.Sprintf("/issuer/%x.cer", leaf.AuthorityKeyId)))
	if err != nil {
		t.Fatal(err)
	}
	if err := leaf.CheckSignatureFrom(issuer); err != nil {
		t.Fatal(err)
	}
	return &relyingParty{issuer: issuer, revoked: map[string]bool{}}
}

func (p *relyingParty) path() string { return fmt.Sprintf("/crl/%x.crl", p.issuer.SubjectKeyId) }

// acknowledged notes that the server said that a certificate is revoked.
func (p *relyingParty) acknowledged(certificateSerial string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revoked[certificateSerial] = true
}

// fetched judges a CRL that was asked for when known was what the relying
// party knew: it must be signed, not be older than one before, be the same one
// if it has the same number, and list everything that was known.
func (p *relyingParty) fetched(der []byte, known map[string]bool) error {
	crl, err := x509.ParseRevocationList(der)
	if err != nil {
		return err
	}
	if err := crl.CheckSignatureFrom(p.issuer); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	listed := map[string]bool{}
	for _, e := range crl.RevokedCertificateEntries {
		serial := hex.EncodeToString(e.SerialNumber.Bytes())
		listed[serial], p.revoked[serial] = true, true
	}
	for serial := range known {
		if !listed[serial] {
			return fmt.Errorf("CRL %s does not list %s any more", crl.Number, serial)
		}
	}
	switch last := p.last; {
	case last == nil:
	case crl.Number.Cmp(last.Number) < 0:
		return fmt.Errorf("CRL %s after %s", crl.Number, last.Number)
	case crl.Number.Cmp(last.Number) == 0 && !bytes.Equal(der, last.Raw):
		return fmt.Errorf("two CRLs have the number %s", crl.Number)
	case crl.ThisUpdate.Before(last.ThisUpdate):
		return fmt.Errorf("CRL of %s after one of %s", crl.ThisUpdate, last.ThisUpdate)
	}
	p.last = crl
	return nil
}

// known is a copy of what was on a CRL or acknowledged so far.
func (p *relyingParty) known() map[string]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[string]bool, len(p.revoked))
	for serial := range p.revoked {
		all[serial] = true
	}
	return all
}

func (p *relyingParty) number() *big.Int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		return new(big.Int)
	}
	return p.last.Number
}

// look fetches the CRL from a server that must answer.
func (p *relyingParty) look(t *testing.T, server *program.Server) {
	t.Helper()
	known := p.known()
	if err := p.fetched(server.Public(t, p.path()), known); err != nil {
		t.Error(err)
	}
}

// TestR18_Kill kills the server at random moments while certificates are
// revoked and the CRL is fetched, starts it again on the same data, and at
// last makes its database anew from the ledger: what was revoked stays on the
// CRL, and no CRL is older than one before or shares its number with another.
func TestR18_Kill(t *testing.T) {
	rounds := pick(4, 200)
	data := filepath.Join(t.TempDir(), "data")
	options := program.Options{Data: data, Arguments: []string{"--rate-limit", "0"}}
	server := understudy.Start(t, options)
	secret := server.SecretKey
	var party *relyingParty
	for round := range rounds {
		f := newFleet(t, server, secret)
		var fresh []receipt
		for _, r := range f.requests(t, fmt.Sprintf("round-%d", round), 10) {
			got, err := f.send(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			fresh = append(fresh, got)
		}
		if party == nil {
			party = newRelyingParty(t, server, fresh[0].der)
		}
		revokeUntilKilled(t, server, party, fresh)
		server = understudy.Start(t, options)
		party.look(t, server)
		if t.Failed() {
			return
		}
	}
	before := party.number()
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(data, "store", "store.db")); err != nil {
		t.Fatal(err)
	}
	if r := understudy.Run(t, nil, "rebuild", "--data", data); r.Code != 0 {
		t.Fatalf("rebuild: exit code %d: %s", r.Code, r.Stderr)
	}
	server = understudy.Start(t, options)
	party.look(t, server)
	if len(party.known()) < rounds {
		t.Errorf("%d certificates revoked in %d rounds: the operator had no chance", len(party.known()), rounds)
	}
	t.Logf("%d rounds, %d certificates revoked, CRL %s before and %s after the rebuild", rounds, len(party.known()), before, party.number())
}

// revokeUntilKilled revokes certificates and fetches the CRL, both as fast as
// it goes, and kills the server at a random moment after the first revocation.
func revokeUntilKilled(t *testing.T, server *program.Server, party *relyingParty, issued []receipt) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	transport := &http.Transport{} // connections to a dead server are not kept
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	public, err := url.Parse(server.SCEPURL)
	if err != nil {
		t.Fatal(err)
	}
	first, killed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var group sync.WaitGroup
	for _, half := range [][]receipt{issued[:len(issued)/2], issued[len(issued)/2:]} {
		group.Go(func() {
			for _, r := range half {
				if err := revoke(ctx, client, server, r.certificateSerial); err != nil {
					afterError(t, killed, err)
					return
				}
				party.acknowledged(r.certificateSerial)
				once.Do(func() { close(first) })
			}
		})
	}
	group.Go(func() {
		for ctx.Err() == nil {
			known := party.known()
			der, err := fetch(ctx, client, public.Scheme+"://"+public.Host+party.path())
			if err == nil {
				err = party.fetched(der, known)
				if err != nil {
					t.Error(err)
					return
				}
				continue
			}
			afterError(t, killed, err)
			return
		}
	})
	select {
	case <-first:
	case <-ctx.Done():
		t.Error("nothing was revoked within a minute")
	}
	time.Sleep(earliest + mathrand.N(latest-earliest)) // as in TestR1_Kill
	close(killed)
	server.Kill()
	group.Wait()
}

func revoke(ctx context.Context, client *http.Client, server *program.Server, certificateSerial string) error {
	token, err := os.ReadFile(server.AdminTokenFile)
	if err != nil {
		return err
	}
	base, err := url.Parse(server.AdminURL)
	if err != nil {
		return err
	}
	to := base.Scheme + "://" + base.Host + "/api/v1/certificates/" + certificateSerial + "/revoke"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(`{"reason":"keyCompromise"}`))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	request.Header.Set("Content-Type", "application/json")
	_, err = do(client, request)
	return err
}

func fetch(ctx context.Context, client *http.Client, from string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	return do(client, request)
}

// do returns the body of an answer with the status 200.
func do(client *http.Client, request *http.Request) ([]byte, error) {
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: status %d: %s", request.Method, request.URL, response.StatusCode, body)
	}
	return body, err
}
