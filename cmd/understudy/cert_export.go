package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/output"
)

type certExportCmd struct {
	clientFlags `embed:""`
	Format      string    `from:"flag" enum:"pem,der,csv,jsonl,zip" default:"pem" help:"pem; of one certificate also der; of many also csv, jsonl (one JSON object to a line) or zip (default: ${default})."`
	Out         string    `from:"flag" placeholder:"FILE" help:"Write to FILE instead of standard output, which is also -."`
	Search      string    `from:"flag" placeholder:"QUERY" help:"Those that match, as for \"cert list\"."`
	AsOf        time.Time `from:"flag" placeholder:"TIME" help:"As it was at this time, as 2026-12-01T00:00:00Z (default: now)."`
	Certificate string    `arg:"" optional:"" name:"serial" help:"Certificate serial in hex, with or without colons, or SHA-256 of the certificate. Default: all certificates."`
}

// Help shows what to type.
func (certExportCmd) Help() string {
	return `
Cells of CSV that a spreadsheet could take for a formula begin with an apostrophe. A file is written whole
or not at all.

    understudy cert export 019a3f… | openssl x509 -noout -text
    understudy cert export 019a3f… --format der --out device.cer
    understudy cert export --format csv --out all.csv
    understudy cert export --search "state:valid expires<30d" --format jsonl | jq -r .subject`
}

// Run writes one certificate, or many.
func (c *certExportCmd) Run(a *app) error {
	if c.Certificate == "" {
		return c.many(a)
	}
	if c.Search != "" || !c.AsOf.IsZero() || c.Format != "pem" && c.Format != "der" {
		return usagef("one certificate is exported as pem or der, and without --search and --as-of")
	}
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
	return exportFlags{Format: c.Format, Out: c.Out}.write(a, text)
}

// many streams what the server exports.
func (c *certExportCmd) many(a *app) error {
	if c.Format == "der" {
		return usagef("--format der is for one certificate: give its serial, or use pem, csv, jsonl or zip")
	}
	query := map[string][]string{"format": {c.Format}}
	for name, value := range map[string]string{"q": c.Search, "as_of": output.Time(c.AsOf)} {
		if value != "" {
			query[name] = []string{value}
		}
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	ctx, stop := interruptible()
	defer stop()
	stream, err := client.Stream(ctx, "/api/v1/certificates/export", query)
	if err != nil {
		return err
	}
	defer stream.Close()
	if c.Out == "" || c.Out == "-" {
		_, err := io.Copy(a.stdout, stream)
		return exported(err)
	}
	if err := writeWhole(c.Out, stream); err != nil {
		return exported(err)
	}
	a.note("Wrote %s.", c.Out)
	return nil
}

func exported(err error) error {
	if err != nil {
		return fmt.Errorf("export certificates: %w", err)
	}
	return nil
}

// writeWhole writes a file that others may read, whole or not at all.
func writeWhole(path string, from io.Reader) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = io.Copy(f, from)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
