//go:build clients

package clients

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/test/internal/program"
)

// clientLimit bounds one run of one client.
const clientLimit = time.Minute

// A target is a server as its clients see it.
type target struct {
	server    *program.Server
	url       string
	challenge string
	shape     string // of the authority: chain or single
	root      string // files: the root, the issuer, and the issuer with the root
	issuer    string
	between   string
	tlsCA     string // empty without TLS
}

// newTarget starts a server with an authority of the given shape.
func newTarget(t *testing.T, shape string, arguments ...string) target {
	t.Helper()
	server := understudy.Start(t, program.Options{Arguments: append([]string{"--authority", shape}, arguments...)})
	if server.SecretKey == "" {
		t.Fatalf("the ready line of a fresh server shows no secret key: %s", server.Stdout)
	}
	it := target{server: server, url: server.SCEPURL, challenge: server.SecretKey, shape: shape}.refetched(t)
	if address, err := url.Parse(it.url); err == nil && address.Scheme == "https" {
		it.tlsCA = server.TLSRoot()
	}
	return it
}

// refetched is the same server with the CA certificates that it has now.
func (it target) refetched(t *testing.T) target {
	t.Helper()
	dir := t.TempDir()
	it.root, it.issuer, it.between = filepath.Join(dir, "root.pem"), filepath.Join(dir, "ca.pem"), filepath.Join(dir, "chain.pem")
	write(t, it.root, it.server.Public(t, "/root.pem"))
	write(t, it.issuer, it.server.Public(t, "/ca.pem"))
	write(t, it.between, it.server.Public(t, "/chain.pem"))
	return it
}

// origin is the scheme and the address of the public listener.
func (it target) origin(t *testing.T) string {
	t.Helper()
	address, err := url.Parse(it.url)
	if err != nil {
		t.Fatalf("parse the SCEP URL: %v", err)
	}
	return address.Scheme + "://" + address.Host
}

// withChallenge is the same server seen by a client with another challenge.
func (it target) withChallenge(challenge string) target {
	it.challenge = challenge
	return it
}

// A client is a SCEP client that somebody else wrote.
type client struct {
	name string
	// enrol makes a key in dir, enrols it for CN=cn and returns the file of
	// the certificate. Its error means that the client saw the enrolment fail.
	enrol func(t *testing.T, it target, dir, cn string) (certificate string, err error)
	// extra is what the client puts into the subject besides the CN.
	extra []string
}

// allClients is every client of the matrix.
func allClients() []client {
	return []client{
		{name: "strongswan-aes", enrol: strongSwan("aes", "sha256")},
		{name: "strongswan-3des", enrol: strongSwan("des3", "sha1")},
		{name: "strongswan-sha512", enrol: strongSwan("aes", "sha512")},
		{name: "certmonger", enrol: enrolWithCertmonger},
		{name: "scepclient-2.1.0", enrol: scepclient("/usr/bin/scepclient"), extra: []string{"C=US", "O=scep-client", "OU=MDM"}},
		{name: "scepclient-2.3.0", enrol: scepclient(scepclient23), extra: []string{"C=US", "O=scep-client", "OU=MDM"}},
		{name: "handmade", enrol: byHand()},
		{name: "handmade-get", enrol: byHand("--method", "GET", "--digest", "sha1", "--cipher", "3des")},
	}
}

// A failure is a client's own word that it got no certificate.
type failure struct {
	command string
	code    int
	output  string
}

func (f *failure) Error() string {
	return fmt.Sprintf("%s: exit code %d\n%s", f.command, f.code, f.output)
}

// command runs a client to its end and returns what it printed to standard
// output. A client that cannot be run or that does not end is a failed test,
// an exit code other than 0 is a *failure.
func command(t *testing.T, dir string, env []string, name string, arguments ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), clientLimit)
	defer cancel()
	c := exec.CommandContext(ctx, name, arguments...)
	c.Dir = dir
	c.Env = append(os.Environ(), env...)
	var stdout, stderr strings.Builder
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		t.Fatalf("%s did not end within %v:\n%s%s", name, clientLimit, stdout.String(), stderr.String())
	case errors.As(err, &exit):
		return stdout.String(), &failure{filepath.Base(name), exit.ExitCode(), stdout.String() + stderr.String()}
	case err != nil:
		t.Fatalf("run %s: %v", name, err)
	}
	return stdout.String(), nil
}

// systemTrust are Debian's trusted certificates in one file.
const systemTrust = "/etc/ssl/certs/ca-certificates.crt"

// trusting returns the command line that runs name with its arguments on a
// machine that trusts the TLS server. strongSwan cannot be told whom to trust,
// and certmonger forgets it when it posts, so the file of the system's trusted
// certificates is replaced, for this one process. Without TLS nothing changes.
func trusting(it target, name string, arguments ...string) (string, []string) {
	if it.tlsCA == "" {
		return name, arguments
	}
	script := `mount --bind "$0" ` + systemTrust + ` && exec "$@"`
	return "unshare", append([]string{"--mount", "sh", "-c", script, it.tlsCA, name}, arguments...)
}

// pki runs strongSwan's command.
func pki(t *testing.T, it target, dir string, arguments ...string) (string, error) {
	t.Helper()
	name, arguments := trusting(it, "pki", arguments...)
	return command(t, dir, nil, name, arguments...)
}

// strongSwan drives `pki --scep`, which wants to have fetched the CA
// certificates with `pki --scepca` before.
func strongSwan(cipher, digest string) func(*testing.T, target, string, string) (string, error) {
	return func(t *testing.T, it target, dir, cn string) (string, error) {
		if _, err := pki(t, it, dir, "--scepca", "--url", it.url, "--caout", "ca.crt", "--raout", "ra.crt",
			"--outform", "pem", "--force"); err != nil {
			return "", err
		}
		key, err := pki(t, it, dir, "--gen", "--type", "rsa", "--size", "2048", "--outform", "pem")
		if err != nil {
			return "", err
		}
		write(t, filepath.Join(dir, "key.pem"), []byte(key))
		arguments := []string{"--scep", "--url", it.url, "--in", "key.pem", "--dn", "CN=" + cn,
			"--password", it.challenge, "--cipher", cipher, "--digest", digest,
			"--interval", "1", "--maxpolltime", "5", "--outform", "pem"}
		if it.shape == "single" { // no RA: the CA is all there is
			arguments = append(arguments, "--cacert-enc", "ca.crt", "--cacert-sig", "ca.crt")
		} else {
			arguments = append(arguments, "--cacert-enc", "ra.crt", "--cacert-sig", it.issuer, "--cacert", it.root)
		}
		certificate, err := pki(t, it, dir, arguments...)
		if err != nil {
			return "", err
		}
		path := filepath.Join(dir, "cert.pem")
		write(t, path, []byte(certificate))
		return path, nil
	}
}

// scepclient drives either generation of micromdm's client.
func scepclient(path string) func(*testing.T, target, string, string) (string, error) {
	return func(t *testing.T, it target, dir, cn string) (string, error) {
		var env []string
		if it.tlsCA != "" {
			env = []string{"SSL_CERT_FILE=" + it.tlsCA}
		}
		_, err := command(t, dir, env, path, "-server-url", it.url, "-challenge", it.challenge, "-cn", cn,
			"-private-key", "key.pem", "-certificate", "cert.pem", "-keySize", "2048", "-debug")
		return filepath.Join(dir, "cert.pem"), err
	}
}

// An answer is what the handmade client prints.
type answer struct {
	Status       string   `json:"status"`
	FailInfo     string   `json:"fail_info"`
	FailInfoText string   `json:"fail_info_text"`
	HTTPStatus   int      `json:"http_status"`
	Error        string   `json:"error"`
	Complaints   []string `json:"complaints"`
	Capabilities []string `json:"capabilities"`
}

// handmade runs the handmade client. rdns are TYPE=VALUE. Unlike the others it
// is asked about complaints as well: it reads replies more strictly than any
// client in the field.
func handmade(t *testing.T, it target, dir string, rdns []string, switches ...string) answer {
	t.Helper()
	secret := filepath.Join(dir, "challenge")
	write(t, secret, []byte(it.challenge))
	script, err := filepath.Abs("handmade/handmade.py")
	if err != nil {
		t.Fatal(err)
	}
	arguments := []string{script, "--url", it.url, "--out", dir, "--challenge-file", secret, "--lenient"}
	for _, rdn := range rdns {
		arguments = append(arguments, "--rdn", rdn)
	}
	if it.tlsCA != "" {
		arguments = append(arguments, "--tls-ca", it.tlsCA)
	}
	env := []string{"PYTHONDONTWRITEBYTECODE=1"}
	stdout, failed := command(t, dir, env, "python3", append(arguments, switches...)...)
	var a answer
	if err := json.Unmarshal([]byte(stdout), &a); err != nil {
		t.Fatalf("read what the handmade client printed: %v\n%v", err, failed)
	}
	return a
}

func byHand(switches ...string) func(*testing.T, target, string, string) (string, error) {
	return func(t *testing.T, it target, dir, cn string) (string, error) {
		a := handmade(t, it, dir, []string{"CN=" + cn}, switches...)
		for _, complaint := range a.Complaints {
			t.Errorf("the handmade client complains: %s", complaint)
		}
		if a.Status != "SUCCESS" {
			return "", fmt.Errorf("%+v", a)
		}
		return filepath.Join(dir, "cert.pem"), nil
	}
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
