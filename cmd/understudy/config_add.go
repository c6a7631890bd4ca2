package main

import "net/http"

type configAddCmd struct {
	clientFlags `embed:""`
	Name        string `arg:"" help:"Name of the new configuration: a-z, 0-9 and -, at most 63."`
	Mode        string `from:"flag" default:"static" help:"How challenges are judged: static, dynamic or intune (default: ${default})."`
	SecretFile  string `from:"flag" placeholder:"FILE" help:"Take the secret key from FILE (- is stdin) instead of a random one."`
	policyFlags `embed:"" group:"Policy:"`
}

// Help shows what to type.
func (configAddCmd) Help() string {
	return `
The SCEP URL and the secret key are printed; the key is shown only this once.

    understudy config add lab-macs
    understudy config add jamf --mode dynamic --challenge-ttl 60m
    understudy config add intune --mode intune --cloud public --tenant contoso.onmicrosoft.com --client-id … --client-secret-file secret.txt
    understudy config add attest --purpose management-attestation --validity 30d
    understudy config add guarded --approval manual --devices devices.csv
    understudy config add lab-macs -o json | jq -r .secret_key`
}

// Run adds the configuration.
func (c *configAddCmd) Run(a *app) error {
	fields, err := c.fields()
	if err != nil {
		return err
	}
	fields["name"], fields["mode"] = c.Name, c.Mode
	if c.SecretFile != "" {
		secret, err := a.readSecret(c.SecretFile)
		if err != nil {
			return err
		}
		fields["secret_key"] = secret
	}
	answer, err := c.call(http.MethodPost, "/api/v1/configurations", nil, fields)
	if err != nil {
		return err
	}
	return show(a, answer, a.printConfiguration)
}
