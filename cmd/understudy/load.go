package main

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"understudy.example/understudy/cmd/understudy/internal/output"
	"understudy.example/understudy/cmd/understudy/internal/setting"
	"understudy.example/understudy/load"
	"understudy.example/understudy/scep/client"
)

type loadCmd struct {
	URL           string   `name:"url" required:"" placeholder:"URL" help:"SCEP URL of any server, as an MDM would have it."`
	ChallengeFile string   `placeholder:"FILE" help:"Read the challenge from FILE (- is stdin). Or set UNDERSTUDY_CHALLENGE."`
	Challenge     string   `from:"env" secret:"" placeholder:"TEXT" help:"The challenge. Others on this machine can read it in the list of processes: prefer --challenge-file."`
	CAFingerprint string   `name:"ca-fingerprint" placeholder:"HEX" help:"SHA-256 or SHA-1 of the CA's certificate; without it, the server is believed."`
	TLSRoot       string   `name:"tls-root" placeholder:"FILE" help:"Trust these certificates (PEM) for https, instead of the system's."`
	AllowRemote   bool     `from:"flag" help:"Allow a server that is not on this machine's loopback. It and the way to it must be yours."`
	Count         int      `from:"flag" default:"1000" placeholder:"N" help:"Messages to send, besides those that warm up (default: ${default})."`
	WarmUp        int      `from:"flag" default:"20" placeholder:"N" help:"Messages to send before the clock starts (default: ${default})."`
	Concurrency   int      `short:"c" from:"flag" default:"8" placeholder:"N" help:"Requests in flight at most (default: ${default})."`
	Rate          float64  `from:"flag" default:"0" placeholder:"N" help:"Begin N requests a second, whatever the server does, and count latency from then on. 0: a connection sends its next request when it has its answer."`
	Get           bool     `from:"flag" help:"Send messages by GET."`
	Cipher        string   `from:"flag" enum:"aes128,aes256,3des" default:"aes128" help:"Cipher of the messages: aes128, aes256 or 3des (default: ${default})."`
	Digest        string   `from:"flag" enum:"sha1,sha256,sha384,sha512" default:"sha256" help:"Digest of the messages: sha1, sha256, sha384 or sha512 (default: ${default})."`
	Keys          int      `from:"flag" default:"8" placeholder:"N" help:"Distinct client keys (default: ${default})."`
	KeySize       int      `from:"flag" default:"2048" placeholder:"BITS" help:"Bits of each (default: ${default})."`
	Name          string   `from:"flag" default:"{serial} {uuid}" placeholder:"TEXT" help:"CommonName to ask for, with {n}, {serial} or {uuid} in it (default: ${default})."`
	Save          string   `from:"flag" placeholder:"FILE" help:"Build the messages, save them with their keys to a new FILE, and send nothing."`
	Requests      string   `from:"flag" placeholder:"FILE" help:"Send the messages of FILE, instead of building some."`
	Skip          int      `from:"flag" default:"0" placeholder:"N" help:"Leave out the first N messages of --requests: they were sent before."`
	Timeout       duration `from:"flag" default:"30s" placeholder:"30s" help:"How long to wait for an answer (default: ${default})."`
	VerifyEvery   int      `from:"flag" default:"50" placeholder:"N" help:"Verify one reply in N completely, after the clock has stopped (default: ${default})."`
	PID           int      `name:"pid" from:"flag" default:"0" placeholder:"PID" help:"The server's process: report its CPU time and memory."`
	HTML          string   `name:"html" from:"flag" placeholder:"FILE" help:"Write a page with plots to FILE."`
}

// Help shows what to type.
func (loadCmd) Help() string {
	return `
Builds the messages before the clock starts, reads the pkiStatus of every reply and verifies a sample completely.
Exits with 1 after any failure. Give the generator a core of its own (taskset), or it is measured too.

    export UNDERSTUDY_CHALLENGE=…
    understudy load --url http://127.0.0.1:8080/scep/default --count 2000 --concurrency 8 --pid 1234
    understudy load --url … --rate 50 --cipher 3des --digest sha1 --html load.html
    understudy load --url … --count 20000 --save messages
    understudy load --url … --requests messages --skip 1000 --count 1000 -o json`
}

// Run puts the server under load.
func (c *loadCmd) Run(a *app) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if c.Requests != "" && c.Save != "" {
		return usagef("--save builds messages and --requests has them: keep one")
	}
	target, err := c.target()
	if err != nil {
		return err
	}
	certificates, err := target.CACertificates(ctx)
	if err != nil {
		return codedLoadError(err)
	}
	requests, err := c.requests(ctx, a, certificates)
	if err != nil {
		return err
	}
	if c.Save != "" {
		if err := requests.Save(c.Save); err != nil {
			return err
		}
		a.note("Saved %d messages to %s. It holds their private keys.", requests.Len(), c.Save)
		return nil
	}
	report, err := load.Run(ctx, target, requests, c.options())
	if err != nil {
		return err
	}
	return c.print(a, report)
}

func (c *loadCmd) options() load.Options {
	o := load.Options{
		Concurrency: c.Concurrency, Rate: c.Rate, WarmUp: c.WarmUp, Timeout: time.Duration(c.Timeout),
		VerifyEvery: c.VerifyEvery, PID: c.PID,
	}
	if c.Get {
		o.Method = client.GET
	}
	return o
}

func (c *loadCmd) target() (*load.Target, error) {
	o := load.TargetOptions{CAFingerprint: c.CAFingerprint, AllowRemote: c.AllowRemote, UserAgent: "understudy/" + version()}
	if c.TLSRoot != "" {
		trust, err := tlsTrust(c.TLSRoot)
		if err != nil {
			return nil, err
		}
		o.Transport = func() *http.Transport { return &http.Transport{TLSClientConfig: trust.Clone()} }
	}
	target, err := load.NewTarget(c.URL, o)
	if err != nil {
		return nil, &exitError{code: exitUsage, err: err}
	}
	return target, nil
}

// requests reads the messages from a file or builds them.
func (c *loadCmd) requests(ctx context.Context, a *app, certificates *client.CACertificates) (*load.Requests, error) {
	secret, err := challengeOf(a, c.ChallengeFile, c.Challenge)
	if err != nil {
		return nil, err
	}
	if c.Requests != "" {
		return c.saved(a, certificates, client.Password(secret))
	}
	if c.Skip != 0 {
		return nil, usagef("--skip is for --requests")
	}
	a.note("Building %d messages…", c.Count+c.WarmUp)
	requests, err := load.Build(ctx, certificates, load.Spec{
		Count: c.Count + c.WarmUp, Keys: c.Keys, KeyBits: c.KeySize, Name: c.Name, Challenge: client.Password(secret),
		Cipher: ciphers[c.Cipher], Digest: digests[c.Digest],
	})
	if err != nil {
		return nil, &exitError{code: exitUsage, err: err}
	}
	return requests, nil
}

// saved reads messages. What they are like was decided when they were built.
func (c *loadCmd) saved(a *app, certificates *client.CACertificates, secret client.Password) (*load.Requests, error) {
	for _, flag := range []string{"cipher", "digest", "keys", "key-size", "name"} {
		if a.given[flag] {
			return nil, usagef("--%s is for building messages: those of %s are what they are", flag, c.Requests)
		}
	}
	requests, err := load.ReadRequests(c.Requests, certificates, secret)
	if err == nil {
		err = requests.Skip(c.Skip)
	}
	if err == nil && (a.given["count"] || c.Count+c.WarmUp < requests.Len()) {
		err = requests.Limit(c.Count + c.WarmUp)
	}
	if err != nil {
		return nil, &exitError{code: exitUsage, err: err}
	}
	return requests, nil
}

// print writes the report, and the page when one is wanted.
func (c *loadCmd) print(a *app, report *load.Report) error {
	var err error
	if a.json {
		err = output.JSON(a.stdout, report)
	} else {
		err = report.WriteText(a.stdout)
	}
	if c.HTML != "" {
		err = errors.Join(err, writePage(c.HTML, report.WriteHTML))
	}
	if err == nil && report.Failed > 0 {
		err = fmt.Errorf("%d of %d messages failed", report.Failed, report.Requests+report.Target.WarmUp)
	}
	return err
}

func writePage(path string, write func(io.Writer) error) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return write(f)
}

// codedLoadError is codedSCEPError for a server that load must not reach.
func codedLoadError(err error) error {
	if errors.Is(err, load.ErrRemote) {
		return &exitError{code: exitUsage, err: load.ErrRemote}
	}
	return codedSCEPError(err)
}

// ciphers and digests are by their names in flags; auto is none of them.
var (
	ciphers = map[string]client.Cipher{"aes128": client.AES128CBC, "aes256": client.AES256CBC, "3des": client.TripleDESCBC}
	digests = map[string]crypto.Hash{"sha1": crypto.SHA1, "sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512}
)

// challengeOf returns the challenge from a file or as it was given; a request
// without one is possible.
func challengeOf(a *app, file, text string) (string, error) {
	switch {
	case file == "":
		return text, nil
	case text == "" || a.given["challenge-file"] && !a.given["challenge"]:
		return a.readSecret(file)
	default:
		return "", usagef("the challenge is given twice: keep one of --challenge-file, --challenge and %s", setting.Variable("challenge"))
	}
}
