package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"

	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/output"
)

type crlCmd struct {
	clientFlags `embed:""`
	Issuer      string `from:"flag" default:"current" placeholder:"SKI" help:"Subject key identifier of the issuer, see \"ca rollover status\" (default: the one in force)."`
	Out         string `from:"flag" placeholder:"FILE" help:"Write the CRL itself, in DER, to FILE; - is standard output, and nothing else goes there then."`
}

// Help shows what to type.
func (crlCmd) Help() string {
	return `
The CRL is made anew when something was revoked, and before it runs out.

    understudy crl
    understudy crl --out lab.crl
    understudy crl -o json | jq -r '.items[].certificate_serial'`
}

// Run shows or writes a CRL.
func (c *crlCmd) Run(a *app) error {
	path := "/api/v1/crls/" + url.PathEscape(c.Issuer)
	answer, err := c.call(http.MethodGet, path, nil, nil)
	if err != nil {
		return err
	}
	if c.Out != "" {
		client, err := c.client()
		if err != nil {
			return err
		}
		der, err := client.Bytes(context.Background(), path+".crl")
		if err != nil {
			return err
		}
		if c.Out == "-" {
			if _, err := a.stdout.Write(der); err != nil {
				return fmt.Errorf("write CRL: %w", err)
			}
			return nil
		}
		if err := os.WriteFile(c.Out, der, 0o644); err != nil { //nolint:gosec // CRLs are public
			return fmt.Errorf("write CRL: %w", err)
		}
		a.note("Wrote %s.", c.Out)
	}
	return show(a, answer, a.printCRL)
}

// printCRL shows a CRL to people.
func (a *app) printCRL(c api.CRL) error {
	err := output.Facts(a.stdout,
		"issuer", c.Issuer,
		"key identifier", c.IssuerSKI,
		"number", c.Number,
		"this update", output.Time(c.ThisUpdate),
		"next update", output.Time(c.NextUpdate),
		"URL", c.URL,
		"revoked", fmt.Sprint(len(c.Items)),
	)
	if err != nil || len(c.Items) == 0 {
		return err
	}
	fmt.Fprintln(a.stdout)
	table := output.NewTable("CERTIFICATE SERIAL", "REVOKED AT", "REASON")
	for _, item := range c.Items {
		table.Row(item.CertificateSerial, output.Time(item.RevokedAt), item.Reason)
	}
	return table.Write(a.stdout)
}
