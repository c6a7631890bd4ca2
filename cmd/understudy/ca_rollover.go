package main

import (
	"fmt"
	"net/http"

	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/output"
)

const rolloverPath = "/api/v1/authority/rollover"

// caRolloverCmd groups the steps from one generation of the authority to the
// next.
type caRolloverCmd struct {
	Status   caRolloverStatusCmd   `cmd:"" help:"Show how far a rollover is, and the generations so far."`
	Prepare  caRolloverPrepareCmd  `cmd:"" help:"Make the next issuer and RA. They are announced and issue nothing yet."`
	Activate caRolloverActivateCmd `cmd:"" help:"Let the prepared issuer and RA take over."`
	Cancel   caRolloverCancelCmd   `cmd:"" help:"Forget the prepared issuer and RA."`
}

type caRolloverStatusCmd struct {
	clientFlags `embed:""`
}

// Help shows what to type.
func (caRolloverStatusCmd) Help() string {
	return `
Examples:

    understudy ca rollover status
    understudy ca rollover status -o json | jq -r .next.issuer.sha256`
}

// Run shows the state.
func (c *caRolloverStatusCmd) Run(a *app) error {
	answer, err := c.call(http.MethodGet, rolloverPath, nil, nil)
	if err != nil {
		return err
	}
	return show(a, answer, a.printRollover)
}

type caRolloverPrepareCmd struct {
	clientFlags `embed:""`
}

// Help shows what to type.
func (caRolloverPrepareCmd) Help() string {
	return `
From now on GetNextCACert answers, so that devices can get to know the next certificates in good time.

    understudy ca rollover prepare`
}

// Run prepares.
func (c *caRolloverPrepareCmd) Run(a *app) error { return c.step(a, "/prepare") }

type caRolloverActivateCmd struct {
	clientFlags `embed:""`
}

// Help shows what to type.
func (caRolloverActivateCmd) Help() string {
	return `
Certificates of the old issuer stay valid, and it goes on signing its CRL and OCSP answers. Requests that
are encrypted to the old RA are served for another day.

    understudy ca rollover activate`
}

// Run activates.
func (c *caRolloverActivateCmd) Run(a *app) error { return c.step(a, "/activate") }

type caRolloverCancelCmd struct {
	clientFlags `embed:""`
}

// Help shows what to type.
func (caRolloverCancelCmd) Help() string {
	return `
Devices that asked for the next certificates already hold some that will never be used.

    understudy ca rollover cancel`
}

// Run cancels.
func (c *caRolloverCancelCmd) Run(a *app) error { return c.step(a, "/cancel") }

// step takes one step and shows what it led to.
func (f clientFlags) step(a *app, path string) error {
	answer, err := f.call(http.MethodPost, rolloverPath+path, nil, nil)
	if err != nil {
		return err
	}
	return show(a, answer, a.printRollover)
}

// printRollover shows a rollover to people.
func (a *app) printRollover(r api.Rollover) error {
	facts := []string{"rollover", r.State, "prepared at", optionalTime(r.PreparedAt), "last one at", optionalTime(r.ActivatedAt)}
	if r.Next != nil {
		facts = append(facts, "next issuer", r.Next.Issuer.Subject, "  SHA-256", r.Next.Issuer.SHA256,
			"  not after", output.Time(r.Next.Issuer.NotAfter), "next RA", r.Next.RA.Subject, "  SHA-256", r.Next.RA.SHA256)
		if r.Next.Root.SHA256 == r.Next.Issuer.SHA256 {
			facts = append(facts, "trust", "the next issuer is a root of its own: devices must be given it before it takes over")
		}
	}
	if err := output.Facts(a.stdout, facts...); err != nil {
		return err
	}
	fmt.Fprintln(a.stdout)
	table := output.NewTable("ISSUER", "ISSUES", "SINCE", "UNTIL", "NOT AFTER", "KEY IDENTIFIER")
	for _, g := range r.Generations {
		issues := "no"
		if g.Current {
			issues = "yes"
		}
		table.Row(g.Issuer.SHA256, issues, optionalTime(g.Since), optionalTime(g.Until), output.Time(g.Issuer.NotAfter), g.IssuerSKI)
	}
	return table.Write(a.stdout)
}
