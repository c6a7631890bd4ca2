package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/operator"
	"understudy.example/understudy/cmd/understudy/internal/output"
	"understudy.example/understudy/cmd/understudy/internal/subject"
	"understudy.example/understudy/conformance"
	"understudy.example/understudy/scep/client"
)

type conformCmd struct {
	URL           string   `name:"url" xor:"what" required:"" placeholder:"URL" help:"SCEP URL of any server, as an MDM would have it."`
	List          bool     `from:"flag" xor:"what" required:"" help:"List the cases instead of running them."`
	ChallengeFile string   `placeholder:"FILE" help:"Read the challenge from FILE (- is stdin). Or set UNDERSTUDY_CHALLENGE."`
	Challenge     string   `from:"env" secret:"" placeholder:"TEXT" help:"The challenge. Others on this machine can read it in the list of processes: prefer --challenge-file."`
	CAFingerprint string   `name:"ca-fingerprint" placeholder:"HEX" help:"SHA-256 or SHA-1 of the CA's certificate; without it, the server is believed."`
	TLSRoot       string   `name:"tls-root" placeholder:"FILE" help:"Trust these certificates (PEM) for https, instead of the system's."`
	Only          cases    `from:"flag" placeholder:"1,5-9" help:"Run only these cases."`
	Require       cases    `from:"flag" placeholder:"52-55" help:"These cases must apply: here n/a is a failure."`
	Subject       string   `from:"flag" default:"CN={id}" placeholder:"NAME" help:"Subject to ask for, with {id} in it, which is new for each device (default: ${default})."`
	FreshKeys     bool     `from:"flag" help:"Use a new key for every request, for servers that refuse one they know. Takes longer."`
	Flood         int      `from:"flag" default:"100" placeholder:"N" help:"Bad messages that case 70 sends, 16 at a time (default: ${default})."`
	Timeout       duration `from:"flag" default:"10s" placeholder:"10s" help:"How long to wait for an answer (default: ${default})."`
	Restart       duration `from:"flag" default:"3s" placeholder:"3s" help:"How long to wait for a server that went down to be back (default: ${default})."`
	Verbose       bool     `short:"v" from:"flag" help:"Show every check in the table, not only those that fail."`

	NewChallenge     string `from:"flag" group:"Commands of the server's operator (sh -c):" placeholder:"CMD" help:"Print a challenge that works once."`
	ExpiredChallenge string `from:"flag" group:"Commands of the server's operator (sh -c):" placeholder:"CMD" help:"Print a challenge whose time ran out."`
	Approve          string `from:"flag" group:"Commands of the server's operator (sh -c):" placeholder:"CMD" help:"Approve the request of transaction $$1, subject $$2."`
	Deny             string `from:"flag" group:"Commands of the server's operator (sh -c):" placeholder:"CMD" help:"Deny the request of transaction $$1, subject $$2."`
	Revoke           string `from:"flag" group:"Commands of the server's operator (sh -c):" placeholder:"CMD" help:"Revoke the certificate of serial $$1 (hex), subject $$2."`
	PrepareNextCA    string `name:"prepare-next-ca" from:"flag" group:"Commands of the server's operator (sh -c):" placeholder:"CMD" help:"Make a next CA, for GetNextCACert."`
	CancelNextCA     string `name:"cancel-next-ca" from:"flag" group:"Commands of the server's operator (sh -c):" placeholder:"CMD" help:"Take the next CA back."`

	Admin     string `from:"flag" group:"Or, for a server of ours:" placeholder:"URL" help:"Admin URL: its API does what the commands do, and counts certificates."`
	TokenFile string `from:"flag" group:"Or, for a server of ours:" placeholder:"FILE" help:"File with the admin token."`
}

// Help shows what to type.
func (conformCmd) Help() string {
	return `
Runs a list of 71 cases against any SCEP server (RFC 8894) and prints a table. Each case passes, fails, or does not
apply (n/a), with the reason. Exits with 5 when a case fails, 7 when the server cannot be reached.

It enrols some two hundred devices called CONF…, and sends broken and hostile messages of the smallest size that can
tell. Use it on a server that is yours, and on no other.

What nobody can show from outside needs the server's operator: commands, run by sh -c. In the command $1 is the
transaction's id or the certificate serial and $2 the subject; a program that it calls finds them in
SCEP_TRANSACTION_ID, SCEP_CERTIFICATE_SERIAL, SCEP_CERTIFICATE_SHA256, SCEP_SUBJECT and SCEP_URL. Cases without what
they need are n/a.

    export UNDERSTUDY_CHALLENGE=…
    understudy conformance --url https://scep.example/scep
    understudy conformance --url … --only 28-41,67-71 --verbose
    understudy conformance --url … --approve "./approve.sh" --deny "./deny.sh" --revoke "./revoke.sh" -o junit
    understudy conformance --url … --admin http://127.0.0.1:8081 --token-file understudy-data/admin.token --require 52-55
    understudy conformance --list`
}

// cases are numbers of cases, written 1,5-9.
type cases []int

// UnmarshalText reads the flag.
func (c *cases) UnmarshalText(text []byte) error {
	for part := range strings.SplitSeq(string(text), ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		first, err := strconv.Atoi(from)
		last := first
		if err == nil && isRange {
			last, err = strconv.Atoi(to)
		}
		if most := len(conformance.Cases()); err != nil || first < 1 || last < first || last > most {
			return fmt.Errorf("%q are no cases: write numbers from 1 to %d, as in 1,5-9", part, most)
		}
		for n := first; n <= last; n++ {
			*c = append(*c, n)
		}
	}
	return nil
}

// Run runs the list.
func (c *conformCmd) Run(a *app) error {
	if c.List {
		return c.list(a)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	options, err := c.options(a)
	if err != nil {
		return err
	}
	report, err := conformance.Run(ctx, options)
	if err != nil {
		return codedSCEPError(err)
	}
	switch a.output {
	case outputJSON:
		err = output.JSON(a.stdout, report)
	case outputJUnit:
		err = report.WriteJUnit(a.stdout)
	default:
		err = report.WriteText(a.stdout, c.Verbose)
	}
	if err == nil && report.Summary.Fail > 0 {
		err = &quietError{code: exitFindings}
	}
	return err
}

// list prints the cases.
func (c *conformCmd) list(a *app) error {
	type item struct {
		Number  int    `json:"number"`
		Group   string `json:"group"`
		Section string `json:"section"`
		Title   string `json:"title"`
	}
	var items []item
	table := output.NewTable("CASE", "GROUP", "RFC 8894", "TITLE")
	for _, one := range conformance.Cases() {
		items = append(items, item{one.Number, one.Group, one.Section, one.Title})
		table.Row(strconv.Itoa(one.Number), one.Group, one.Section, one.Title)
	}
	switch a.output {
	case outputJSON:
		return output.JSON(a.stdout, map[string]any{"items": items, "next_cursor": nil})
	case outputJUnit:
		return usagef("--output junit is for results: --list has none")
	}
	return table.Write(a.stdout)
}

func (c *conformCmd) options(a *app) (conformance.Options, error) {
	secret, err := challengeOf(a, c.ChallengeFile, c.Challenge)
	if err != nil {
		return conformance.Options{}, err
	}
	if _, err := client.New(c.URL); err != nil {
		return conformance.Options{}, &exitError{code: exitUsage, err: err}
	}
	o := conformance.Options{
		URL: c.URL, CAFingerprint: c.CAFingerprint, UserAgent: "understudy/" + version(), Challenge: client.Password(secret),
		Only: c.Only, Require: c.Require, FreshKeys: c.FreshKeys, Flood: c.Flood, Timeout: time.Duration(c.Timeout), Restart: time.Duration(c.Restart),
		Subject: func(id string) ([]byte, error) { return subject.Parse(strings.ReplaceAll(c.Subject, "{id}", id)) },
	}
	if _, err := o.Subject("id"); err != nil || !strings.Contains(c.Subject, "{id}") {
		return o, usagef("--subject %q: write a name with {id} in it, such as CN={id},O=Lab", c.Subject)
	}
	if o.HTTPClient, err = c.httpClient(); err != nil {
		return o, err
	}
	if err := c.admin(&o); err != nil {
		return o, err
	}
	operator.Commands{
		NewChallenge: c.NewChallenge, ExpiredChallenge: c.ExpiredChallenge, Approve: c.Approve, Deny: c.Deny, Revoke: c.Revoke,
		PrepareNextCA: c.PrepareNextCA, CancelNextCA: c.CancelNextCA, URL: c.URL, Stderr: a.stderr,
	}.Fill(&o.Operator)
	return o, nil
}

// admin takes the help of a server of ours. Commands come before it.
func (c *conformCmd) admin(o *conformance.Options) error {
	switch {
	case c.Admin == "" && c.TokenFile == "":
		return nil
	case c.Admin == "" || c.TokenFile == "":
		return usagef("--admin and --token-file belong together")
	}
	server, err := api.Find("", c.Admin, c.TokenFile)
	if err != nil {
		return err
	}
	operator.Admin{Client: server}.Fill(&o.Operator)
	return nil
}

// httpClient keeps connections: a run is several hundred requests.
func (c *conformCmd) httpClient() (*http.Client, error) {
	const kept = 16
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: kept, ExpectContinueTimeout: 2 * time.Second,
	}
	if c.TLSRoot != "" {
		trust, err := tlsTrust(c.TLSRoot)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = trust
	}
	return &http.Client{Transport: transport}, nil
}
