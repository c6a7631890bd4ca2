package main

import (
	"context"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/cmd/understudy/internal/output"
	"understudy.example/understudy/cmd/understudy/internal/subject"
	"understudy.example/understudy/scep/client"
)

type macEnrollCmd struct {
	URL           string   `name:"url" required:"" placeholder:"URL" help:"SCEP URL, as an MDM would have it."`
	Subject       string   `required:"" placeholder:"NAME" help:"Subject to ask for, such as CN=C02XL0GTJGH5,OU=Lab."`
	Out           string   `required:"" placeholder:"DIR" help:"Directory for key.pem, cert.pem and chain.pem."`
	ChallengeFile string   `placeholder:"FILE" help:"Read the challenge from FILE (- is stdin). Or set UNDERSTUDY_CHALLENGE."`
	Challenge     string   `from:"env" secret:"" placeholder:"TEXT" help:"The challenge. Others on this machine can read it in the list of processes: prefer --challenge-file."`
	CAFingerprint string   `name:"ca-fingerprint" placeholder:"HEX" help:"SHA-256 or SHA-1 of the CA's certificate; without it, the server is believed."`
	TLSRoot       string   `name:"tls-root" placeholder:"FILE" help:"Trust these certificates (PEM) for https, instead of the system's."`
	KeyFile       string   `placeholder:"FILE" help:"Use this RSA key (PEM) instead of a new one."`
	KeySize       int      `from:"flag" default:"2048" placeholder:"BITS" help:"Bits of the new key (default: ${default})."`
	Cipher        string   `from:"flag" enum:"auto,aes128,aes256,3des" default:"auto" help:"Cipher of the request: auto, aes128, aes256 or 3des."`
	Digest        string   `from:"flag" enum:"auto,sha1,sha256,sha384,sha512" default:"auto" help:"Digest of the request: auto, sha1, sha256, sha384 or sha512."`
	Get           bool     `from:"flag" help:"Send requests by GET, even where POST is offered."`
	PollInterval  duration `default:"10s" placeholder:"10s" help:"How often to ask while an operator has to approve (default: ${default})."`
	PollTimeout   duration `default:"5m" placeholder:"5m" help:"How long to ask; 0 does not wait (default: ${default})."`
}

// Help shows what to type.
func (macEnrollCmd) Help() string {
	return `
Prints one line of JSON. Exits with 4 if the server refuses, 6 if it still has not decided, 7 if it cannot
be reached. After 6, the same key can go on asking: --key-file DIR/key.pem. Where a lab moved the clock of
the server, this Mac goes by it too.

    export UNDERSTUDY_CHALLENGE=…
    understudy mac enroll --url http://127.0.0.1:8080/scep/default --subject CN=C02XL0GTJGH5 --out mac1
    understudy mac enroll --url … --subject "CN=C02XL0GTJGH5 8D5F…" --challenge-file secret.txt --get --out mac2`
}

// enrolled, refused and undecided are the lines that are printed.
type (
	enrolled struct {
		Status            string    `json:"status"`
		CertificateSerial string    `json:"certificate_serial"`
		SHA256            string    `json:"sha256"`
		NotAfter          time.Time `json:"not_after"`
		Dir               string    `json:"dir"`
		TransactionID     string    `json:"transaction_id"`
		Warnings          []string  `json:"warnings"`
	}
	refused struct {
		Status        string  `json:"status"`
		FailInfo      string  `json:"fail_info"`
		FailInfoText  *string `json:"fail_info_text"`
		TransactionID string  `json:"transaction_id"`
	}
	undecided struct {
		Status        string `json:"status"`
		Dir           string `json:"dir"`
		TransactionID string `json:"transaction_id"`
	}
)

// Run enrols.
func (c *macEnrollCmd) Run(a *app) error {
	scep, err := c.client(a)
	if err != nil {
		return err
	}
	sent := &sending{next: scep.HTTPClient.Transport}
	scep.HTTPClient.Transport = sent
	request, err := c.enrolment(a)
	if err != nil {
		return err
	}
	if c.CAFingerprint == "" {
		a.note("No --ca-fingerprint: whoever answers at this URL is taken for the CA.")
	}
	wallet, err := openWallet(c.Out, c.KeyFile, c.KeySize)
	if err != nil {
		return err
	}
	request.Key = wallet.key
	result, err := scep.Enrol(context.Background(), request)
	switch {
	case err == nil:
		return c.finish(a, wallet, result)
	case sent.request.Load() && mayBeIssued(err):
		a.note("What became of the request is not known. The key is kept in %s; ask again with --key-file.", wallet.keyPath())
		return codedSCEPError(err)
	}
	return errors.Join(codedSCEPError(err), wallet.discard())
}

// sending notes that a request for a certificate was sent.
type sending struct {
	next    http.RoundTripper
	request atomic.Bool
}

// RoundTrip does what next does.
func (s *sending) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Query().Get("operation") == "PKIOperation" {
		s.request.Store(true)
	}
	return s.next.RoundTrip(r)
}

// mayBeIssued says whether there may be a certificate, although no reply that
// can be read says so. A server that answers 4xx or 503 took nothing.
func mayBeIssued(err error) bool {
	var status *client.HTTPError
	return !errors.As(err, &status) || status.StatusCode >= 500 && status.StatusCode != http.StatusServiceUnavailable
}

// client returns a SCEP client for the URL.
func (c *macEnrollCmd) client(a *app) (*client.Client, error) {
	scep, err := client.New(c.URL)
	if err != nil {
		return nil, &exitError{code: exitUsage, err: err}
	}
	scep.CAFingerprint = c.CAFingerprint
	scep.UserAgent = "understudy/" + version()
	scep.Tolerant = true
	if c.Get {
		scep.Method = client.GET
	}
	transport := http.DefaultTransport
	if c.TLSRoot != "" {
		trust, err := tlsTrust(c.TLSRoot)
		if err != nil {
			return nil, err
		}
		transport = &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: trust}
	}
	here := clock.NewLab(clock.System{})
	scep.Clock = here
	scep.HTTPClient = &http.Client{Transport: &labTime{next: transport, clock: here, said: func(now time.Time) {
		a.note("The clock of this server is moved, and this Mac goes by it: it is %s.", output.Time(now))
	}}}
	return scep, nil
}

// tlsTrust returns how https is spoken with a server whose roots are in a file.
func tlsTrust(path string) (*tls.Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, usagef("--tls-root: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, usagef("--tls-root %s holds no certificate in PEM", path)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}, nil
}

// enrolment returns what is asked for, still without a key.
func (c *macEnrollCmd) enrolment(a *app) (client.Enrolment, error) {
	name, err := subject.Parse(c.Subject)
	if err != nil {
		return client.Enrolment{}, &exitError{code: exitUsage, err: err}
	}
	secret, err := challengeOf(a, c.ChallengeFile, c.Challenge)
	if err != nil {
		return client.Enrolment{}, err
	}
	return client.Enrolment{
		RawSubject: name,
		Challenge:  client.Password(secret),
		Cipher:     ciphers[c.Cipher],
		Digest:     digests[c.Digest],
		Poll:       client.Poll{Interval: time.Duration(c.PollInterval), MaxTime: time.Duration(c.PollTimeout)},
	}, nil
}

// finish keeps and prints what came of it.
func (c *macEnrollCmd) finish(a *app, w *wallet, result *client.Result) error {
	switch result.Status {
	case client.Success:
		line, err := w.keep(result)
		if err != nil {
			return err
		}
		return printLine(a, exitOK, line)
	case client.Pending:
		a.note("Not decided yet. The key is in %s; ask again with --key-file.", w.keyPath())
		return printLine(a, exitPending, undecided{Status: "pending", Dir: c.Out, TransactionID: result.TransactionID})
	default:
		line := refused{Status: "failure", FailInfo: result.FailInfo.Name(), TransactionID: result.TransactionID}
		if result.FailInfoText != "" {
			line.FailInfoText = &result.FailInfoText
		}
		a.note("Refused: %s. The server's log has the reason.", strings.TrimSpace(line.FailInfo+" "+result.FailInfoText))
		return errors.Join(printLine(a, exitRefused, line), w.discard())
	}
}

// codedSCEPError gives an error of the SCEP client its exit code.
func codedSCEPError(err error) error {
	var (
		unreachable *client.UnreachableError
		status      *client.HTTPError
	)
	switch {
	case errors.As(err, &unreachable):
		return &exitError{code: exitUnreachable, err: err}
	case errors.As(err, &status) && status.StatusCode == http.StatusNotFound:
		return &exitError{code: exitNotFound, err: err}
	case errors.As(err, &status) && status.StatusCode < 500 && status.StatusCode != http.StatusTooManyRequests:
		return &exitError{code: exitRefused, err: err}
	default:
		return err
	}
}

// checkKey says why an RSA key cannot be used.
func checkKey(key any) (*rsa.PrivateKey, error) {
	pair, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("it is no RSA key, which SCEP needs")
	}
	if err := pair.Validate(); err != nil {
		return nil, err
	}
	return pair, nil
}
