package main

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
)

// exportFlags say how and where certificates are written.
type exportFlags struct {
	Format string `from:"flag" enum:"pem,der" default:"pem" help:"pem or der (default: ${default})."`
	Out    string `from:"flag" placeholder:"FILE" help:"Write to FILE instead of standard output, which is also -."`
}

// write writes PEM certificates in the wanted form.
func (f exportFlags) write(a *app, text []byte) error {
	if f.Format == "der" {
		block, rest := pem.Decode(text)
		if block == nil {
			return errors.New("the server's answer is not PEM")
		}
		if len(bytes.TrimSpace(rest)) > 0 {
			return usagef("DER holds one certificate: export root, issuer or ra, or use --format pem")
		}
		text = block.Bytes
	}
	if f.Out == "" || f.Out == "-" {
		if _, err := a.stdout.Write(text); err != nil {
			return fmt.Errorf("write certificate: %w", err)
		}
		return nil
	}
	if err := os.WriteFile(f.Out, text, 0o644); err != nil { //nolint:gosec // certificates are public
		return fmt.Errorf("write certificate: %w", err)
	}
	a.note("Wrote %s.", f.Out)
	return nil
}
