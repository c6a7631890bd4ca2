package main

import (
	"net/http"
	"time"

	"understudy.example/understudy/cmd/understudy/internal/output"
)

type certUsedCmd struct {
	clientFlags `embed:""`
	Certificate string    `arg:"" name:"serial" help:"Certificate serial in hex, with or without colons, or SHA-256 of the certificate."`
	At          time.Time `from:"flag" placeholder:"TIME" help:"When it was seen, as 2026-12-01T00:00:00Z (default: now)."`
}

// Help shows what to type.
func (certUsedCmd) Help() string {
	return `
A certificate that was used once is not revoked by the policy --revoke-unused-after any more.

    understudy cert used 019a3f…
    understudy cert used 019a3f… --at 2026-12-01T00:00:00Z`
}

// Run notes the use.
func (c *certUsedCmd) Run(a *app) error {
	fields := map[string]any{}
	if !c.At.IsZero() {
		fields["at"] = output.Time(c.At)
	}
	answer, err := c.call(http.MethodPost, certificatePath(c.Certificate)+"/used", nil, fields)
	if err != nil {
		return err
	}
	return show(a, answer, a.printIdentity)
}
