package reliability

import (
	"context"
	"crypto/rsa"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/scep/client"
	"understudy.example/understudy/test/internal/program"
)

// A fleet is what devices know of a server.
type fleet struct {
	scep   *client.Client
	ca     *client.CACertificates
	secret string
	key    *rsa.PrivateKey
}

// newFleet asks a server for its certificates. All its devices share a key:
// making one takes longer than everything else.
func newFleet(t *testing.T, server *program.Server, secret string) *fleet {
	t.Helper()
	scep, err := client.New(server.SCEPURL)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	t.Cleanup(transport.CloseIdleConnections)
	scep.HTTPClient = &http.Client{Transport: transport}
	ca, err := scep.CACertificates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &fleet{scep, ca, secret, makeKeys(t)[0]}
}

// requests makes messages, each in a transaction of its own.
func (f *fleet) requests(t *testing.T, prefix string, n int) []*client.Request {
	t.Helper()
	all := make([]*client.Request, n)
	for i := range all {
		var err error
		all[i], err = client.BuildRequest(nil, client.Enrolment{
			Key: f.key, Challenge: client.Password(f.secret),
			Subject:       pkix.Name{CommonName: fmt.Sprintf("C02FLEET%03d", i)},
			TransactionID: fmt.Sprintf("%s-%d", prefix, i),
		}, f.ca, time.Now())
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// send delivers a message and reads the reply, which must be a SUCCESS.
func (f *fleet) send(ctx context.Context, r *client.Request) (receipt, error) {
	raw, err := f.scep.Send(ctx, r.Raw, client.POST)
	if err != nil {
		return receipt{}, err
	}
	reply, err := r.ReadReply(raw, time.Now())
	if err != nil {
		return receipt{}, err
	}
	if reply.Status != client.Success {
		return receipt{}, fmt.Errorf("status %s %s", reply.Status, reply.FailInfoText)
	}
	return receipt{fmt.Sprintf("%x", reply.Certificate.SerialNumber.Bytes()), r.TransactionID, reply.Certificate.Raw}, nil
}

// unavailable says whether an error is a 503 that says when to come again.
func unavailable(err error) bool {
	var answer *client.HTTPError
	return errors.As(err, &answer) && answer.StatusCode == http.StatusServiceUnavailable && answer.RetryAfter != ""
}

// ready is the status of /readyz, 0 when nobody answers.
func ready(server *program.Server) int {
	response, err := http.Get(strings.TrimSuffix(server.AdminURL, "/") + "/readyz")
	if err != nil {
		return 0
	}
	response.Body.Close()
	return response.StatusCode
}

// copyDir copies a data directory with the modes that a server wants.
func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(to, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return os.Chmod(path, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}
