package reliability

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"understudy.example/understudy/scep/client"
	"understudy.example/understudy/test/internal/program"
)

const (
	// roundsVariable asks for so many rounds.
	roundsVariable = "UNDERSTUDY_KILL_ROUNDS"
	// lookAtAll is how many rounds lie between two looks at everything that was
	// ever received; the others look at what their own round received.
	lookAtAll = 20
	// devices enrol at once, each with its own key.
	devices = 6
	// A server dies this long after the first enrolment of its round, at a
	// random moment: some die at once, some in the middle of a group commit.
	earliest, latest = 5 * time.Millisecond, 250 * time.Millisecond
)

// A receipt is a certificate that a device received.
type receipt struct {
	certificateSerial string
	transactionID     string
	der               []byte
}

// TestR1_Kill kills the server at random moments while devices enrol, starts it
// again on the same data, and looks for every certificate that a device had
// received by then.
func TestR1_Kill(t *testing.T) {
	rounds := pick(4, 500)
	if text := os.Getenv(roundsVariable); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("%s: %v", roundsVariable, err)
		}
		rounds = n
	}
	data, keys := filepath.Join(t.TempDir(), "data"), makeKeys(t)
	server := understudy.Start(t, program.Options{Data: data})
	secret := server.SecretKey
	var received []receipt
	for round := range rounds {
		fresh := enrolUntilKilled(t, server, secret, keys)
		received = append(received, fresh...)
		server = understudy.Start(t, program.Options{Data: data})
		if round%lookAtAll == 0 {
			fresh = received
		}
		lookFor(t, server, fresh)
		if t.Failed() {
			return
		}
	}
	lookFor(t, server, received)
	if len(received) < rounds {
		t.Fatalf("%d certificates in %d rounds: the devices had no chance", len(received), rounds)
	}
	checkWhole(t, server, received)
	if err := server.Stop(); err != nil {
		t.Errorf("stop after the last round: %v", err)
	}
	t.Logf("%d rounds, %d certificates received, all found", rounds, len(received))
}

func makeKeys(t *testing.T) []*rsa.PrivateKey {
	t.Helper()
	return deviceKeys()
}

// deviceKeys are the same for all tests.
var deviceKeys = sync.OnceValue(func() []*rsa.PrivateKey {
	keys := make([]*rsa.PrivateKey, devices)
	for i := range keys {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		keys[i] = key
	}
	return keys
})

// enrolUntilKilled lets every device enrol again and again, kills the server
// at a random moment after the first success, and returns what was received.
func enrolUntilKilled(t *testing.T, server *program.Server, secret string, keys []*rsa.PrivateKey) []receipt {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	scep, err := client.New(server.SCEPURL)
	if err != nil {
		t.Fatal(err)
	}
	// Connections to a dead server must not be kept for the next one.
	transport := &http.Transport{MaxIdleConnsPerHost: devices}
	defer transport.CloseIdleConnections()
	scep.HTTPClient = &http.Client{Transport: transport}
	ca, err := scep.CACertificates(ctx)
	if err != nil {
		t.Fatal(err)
	}
	capabilities, err := scep.Capabilities(ctx)
	if err != nil {
		t.Fatal(err)
	}

	var mu sync.Mutex
	var received []receipt
	first, killed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var group sync.WaitGroup
	for i, key := range keys {
		group.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				e := client.Enrolment{
					Key: key, Challenge: client.Password(secret), CA: ca, Capabilities: capabilities,
					Subject:       pkix.Name{CommonName: fmt.Sprintf("C02CRASH%03d", i)},
					TransactionID: rand.Text(),
				}
				result, err := scep.Enrol(ctx, e)
				if err != nil {
					afterError(t, killed, err)
					return
				}
				if result.Status != client.Success {
					t.Errorf("device %d: %s %s", i, result.Status, result.FailInfoText)
					return
				}
				r := receipt{hex.EncodeToString(result.Certificate.SerialNumber.Bytes()), e.TransactionID, result.Certificate.Raw}
				mu.Lock()
				received = append(received, r)
				mu.Unlock()
				once.Do(func() { close(first) })
			}
		})
	}
	select {
	case <-first:
	case <-ctx.Done():
		t.Error("no device got a certificate within a minute")
	}
	// The one sleep in our tests that is not a wait for something: the moment
	// of death is what is being varied.
	time.Sleep(earliest + mathrand.N(latest-earliest))
	close(killed)
	server.Kill()
	group.Wait()
	return received
}

// afterError tells an enrolment that the kill interrupted from one that failed.
func afterError(t *testing.T, killed <-chan struct{}, err error) {
	select {
	case <-killed:
	default:
		t.Errorf("an enrolment failed before the server was killed: %v", err)
	}
}

// lookFor asks the server for each certificate by its certificate serial and
// compares it byte for byte.
func lookFor(t *testing.T, server *program.Server, received []receipt) {
	t.Helper()
	lost := 0
	for _, r := range received {
		status, der := server.Admin(t, http.MethodGet, "/api/v1/certificates/"+r.certificateSerial+".cer", "")
		switch {
		case status != http.StatusOK:
			lost++
		case !bytes.Equal(der, r.der):
			t.Errorf("certificate %s: stored otherwise than received", r.certificateSerial)
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d certificates that devices received are lost", lost, len(received))
	}
}

// checkWhole lists everything that is stored, which is more than was received:
// a server may die between its commit and its reply. No transaction may have
// two certificates, no certificate serial two owners, and every certificate
// must be whole.
func checkWhole(t *testing.T, server *program.Server, received []receipt) {
	t.Helper()
	transactions, serials := map[string]bool{}, map[string]bool{}
	cursor := ""
	for {
		var page struct {
			Items []struct {
				CertificateSerial string `json:"certificate_serial"`
				TransactionID     string `json:"transaction_id"`
				SHA256            string `json:"sha256"`
			} `json:"items"`
			NextCursor *string `json:"next_cursor"`
		}
		status, body := server.Admin(t, http.MethodGet, "/api/v1/certificates?limit=100&cursor="+url.QueryEscape(cursor), "")
		if err := json.Unmarshal(body, &page); err != nil || status != http.StatusOK {
			t.Fatalf("list certificates: status %d, %v: %s", status, err, body)
		}
		for _, item := range page.Items {
			if transactions[item.TransactionID] {
				t.Errorf("transaction %s has two certificates", item.TransactionID)
			}
			if serials[item.CertificateSerial] {
				t.Errorf("certificate serial %s is listed twice", item.CertificateSerial)
			}
			transactions[item.TransactionID], serials[item.CertificateSerial] = true, true
		}
		if page.NextCursor == nil {
			break
		}
		cursor = *page.NextCursor
	}
	for _, r := range received {
		if !transactions[r.transactionID] || !serials[r.certificateSerial] {
			t.Errorf("certificate %s was received and is not listed", r.certificateSerial)
		}
	}
	if log := server.Log(); strings.Contains(log, "level=ERROR") || strings.Contains(log, `"level":"ERROR"`) {
		t.Errorf("the server logged errors after a restart:\n%s", log)
	}
}
