package main

import "net/http"

type certShowCmd struct {
	clientFlags `embed:""`
	Certificate string `arg:"" name:"serial" help:"Certificate serial in hex, with or without colons, or SHA-256 of the certificate."`
}

// Help shows what to type.
func (certShowCmd) Help() string {
	return `
Examples:

    understudy cert show 01:9A:3F:…
    understudy cert show 019a3f… -o json`
}

// Run shows one certificate.
func (c *certShowCmd) Run(a *app) error {
	answer, err := c.call(http.MethodGet, certificatePath(c.Certificate), nil, nil)
	if err != nil {
		return err
	}
	return show(a, answer, a.printIdentity)
}
