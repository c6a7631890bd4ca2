//go:build clients

package conformance

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// micromdm is pinned: what it fails at is written down below.
const micromdm = "github.com/micromdm/scep/v2/cmd/scepserver@v2.3.0"

// knownFailures are what micromdm's server does not do as the list wants it.
var knownFailures = map[int]string{
	4:  "offers Renewal and wants a challenge for it",
	8:  "its CA has no keyEncipherment, and decrypts",
	9:  "knows one path; /scep/pkiclient.exe is 404",
	11: "GetNextCACert is 500",
	13: "POST without operation is 500",
	15: "GET with raw + and / is 500",
	16: "GET with + as a space is 500",
	17: "GET in the URL-safe alphabet or without padding is 500",
	18: "garbage is 500",
	19: "a body over its limit is cut, not refused",
	20: "HEAD and PUT are 404",
	22: "senderNonce is the request's own",
	23: "replies are encrypted with single DES",
	28: "does not check the signature of the CSR, and issues",
	29: "a wrong signature is 500",
	30: "what cannot be decrypted is 500, and the text tells why",
	31: "ciphers that it does not know are 500; a reply to DES is in DES",
	32: "MD5 is 500",
	33: "replies are in DES and SHA-1, whatever the request is in",
	34: "a missing attribute is 500",
	35: "a missing senderNonce is 500",
	36: "an unknown messageType ends the process: the printing of a panic panics",
	37: "messageType 3 is 500",
	38: "UpdateReq is issued for",
	39: "other content types and two signers are issued for",
	40: "a missing signer certificate is 500",
	41: "a signingTime far off is 500",
	43: "a critical authorityKeyIdentifier is 500",
	44: "replies are encrypted to every certificate of the message",
	47: "an EC key is issued for, then the connection breaks off",
	48: "RSA-1024 is issued for",
	49: "the same bytes twice are two certificates",
	50: "another key on the same transaction is issued for",
	52: "a RenewalReq without challenge is refused",
	54: "a RenewalReq of a stranger with a challenge is issued for",
	59: "CertPoll is 500",
	63: "GetCert is 500",
	64: "GetCert is 500",
	65: "GetCRL is 500",
	66: "GetCert and GetCRL are 500",
	67: "elements that run past their parent are 500",
	68: "nested indefinite lengths are 500",
	69: "broken ciphertext breaks off the connection",
	70: "garbage is 500",
	71: "attributes that cannot be printed end the process",
}

// TestMicromdm runs the list against a server that fails much of it, and that
// some cases bring down: exactly the known failures are reported, and the run
// comes to its end.
func TestMicromdm(t *testing.T) {
	const challenge = "conformanceOfMicromdm"
	to := startMicromdm(t, challenge)
	r := conform(t, 5, to, challenge, "--restart", "20s")
	r.compare(t, "failed", r.with("fail"), knownFailures)
	notApplicable := map[int]string{
		6: "no RA", 10: "no next CA", 26: "one challenge for all", 27: "one challenge for all", 55: "no honest renewal", 56: "offers Renewal",
		57: "decides at once", 58: "decides at once", 60: "decides at once", 61: "decides at once", 62: "decides at once",
	}
	r.compare(t, "n/a", r.with("n/a"), notApplicable)
}

// startMicromdm installs and runs scepserver, and starts it again whenever it
// ends, as a service manager would. It returns the SCEP URL.
func startMicromdm(t *testing.T, challenge string) string {
	t.Helper()
	bin := t.TempDir()
	get := exec.CommandContext(t.Context(), "go", "install", micromdm)
	get.Dir = bin // outside of the module, whose dependencies do not matter to it
	get.Env = append(os.Environ(), "GOBIN="+bin, "GOFLAGS=")
	if out, err := get.CombinedOutput(); err != nil {
		t.Fatalf("go install %s: %v\n%s", micromdm, err, out)
	}
	server, dir, address := filepath.Join(bin, "scepserver"), t.TempDir(), freeAddress(t)
	initialise := exec.CommandContext(t.Context(), server, "ca", "-init", "-depot", dir)
	if out, err := initialise.CombinedOutput(); err != nil {
		t.Fatalf("scepserver ca -init: %v\n%s", err, out)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	running.Go(func() {
		for ctx.Err() == nil {
			// -allowrenew 0: a second certificate for the same name is possible.
			_ = exec.CommandContext(ctx, server, "-depot", dir, "-http-addr", address, "-challenge", challenge, "-allowrenew", "0").Run()
		}
	})
	awaitAddress(t, address)
	return "http://" + address + "/scep"
}

// freeAddress returns an address at which nobody listens. Its port is none of
// those that the system gives to whoever asks for any: until scepserver has it,
// and whenever it is started again, it could be another test's.
func freeAddress(t *testing.T) string {
	t.Helper()
	const lowest, beyond = 10_000, 30_000
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", lowest+rand.IntN(beyond-lowest)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

// awaitAddress waits until somebody listens.
func awaitAddress(t *testing.T, address string) {
	t.Helper()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for limit := time.After(time.Minute); ; {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return
		}
		select {
		case <-again.C:
		case <-limit:
			t.Fatal("scepserver does not listen")
		}
	}
}
