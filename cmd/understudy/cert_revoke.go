package main

import "net/http"

type certRevokeCmd struct {
	clientFlags `embed:""`
	Certificate string `arg:"" name:"serial" help:"Certificate serial in hex, with or without colons, or SHA-256 of the certificate."`
	Reason      string `from:"flag" default:"unspecified" placeholder:"REASON" help:"unspecified, keyCompromise, affiliationChanged, superseded, cessationOfOperation, certificateHold, removeFromCRL (lifts a hold), privilegeWithdrawn, cACompromise or aACompromise (default: ${default})."`
	Note        string `from:"flag" placeholder:"TEXT" help:"Keep TEXT with the revocation."`
}

// Help shows what to type.
func (certRevokeCmd) Help() string {
	return `
CRL and OCSP say so from now on. Nothing but lifting a hold takes a revocation back.

    understudy cert revoke 019a3f… --reason keyCompromise
    understudy cert revoke 019a3f… --reason certificateHold
    understudy cert revoke 019a3f… --reason removeFromCRL`
}

// Run revokes.
func (c *certRevokeCmd) Run(a *app) error {
	fields := map[string]any{"reason": c.Reason}
	if c.Note != "" {
		fields["note"] = c.Note
	}
	answer, err := c.call(http.MethodPost, certificatePath(c.Certificate)+"/revoke", nil, fields)
	if err != nil {
		return err
	}
	return show(a, answer, a.printIdentity)
}
