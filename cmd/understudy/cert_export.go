package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"understudy.example/understudy/cmd/understudy/internal/api"
)

type certExportCmd struct {
	clientFlags `embed:""`
	exportFlags `embed:""`
	Certificate string `arg:"" name:"serial" help:"Certificate serial in hex, with or without colons, or SHA-256 of the certificate."`
}

// Help shows what to type.
func (certExportCmd) Help() string {
	return `
Examples:

    understudy cert export 019a3f… | openssl x509 -noout -text
    understudy cert export 019a3f… --format der --out device.cer`
}

// Run writes the certificate.
func (c *certExportCmd) Run(a *app) error {
	answer, err := c.call(http.MethodGet, certificatePath(c.Certificate), nil, nil)
	if err != nil {
		return err
	}
	var found api.Identity // the file is known by its certificate serial only
	if err := json.Unmarshal(answer, &found); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	text, err := client.Bytes(context.Background(), certificatePath(found.CertificateSerial)+".pem")
	if err != nil {
		return err
	}
	return c.write(a, text)
}
