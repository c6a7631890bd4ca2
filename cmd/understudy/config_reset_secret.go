package main

import (
	"net/http"

	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/output"
)

type configResetSecretCmd struct {
	clientFlags `embed:""`
	Name        string `arg:"" help:"Name or id of the configuration."`
	SecretFile  string `from:"flag" placeholder:"FILE" help:"Take the new secret key from FILE (- is stdin) instead of a random one."`
}

// Help shows what to type.
func (configResetSecretCmd) Help() string {
	return `
The old key is refused from now on; enrolments under way are not disturbed. The new key is shown only
this once.

    understudy config reset-secret default
    understudy config reset-secret default --secret-file new-secret.txt`
}

// Run resets the secret key.
func (c *configResetSecretCmd) Run(a *app) error {
	fields := map[string]string{}
	if c.SecretFile != "" {
		secret, err := a.readSecret(c.SecretFile)
		if err != nil {
			return err
		}
		fields["secret_key"] = secret
	}
	answer, err := c.call(http.MethodPost, configurationPath(c.Name, "/reset-secret"), nil, fields)
	if err != nil {
		return err
	}
	return show(a, answer, func(made api.Configuration) error {
		switch {
		case made.SecretKey != "":
			a.note("The secret key is shown only now.")
		case made.Password != "":
			a.note("The password is shown only now.")
		default:
			a.note("The files with the credential were read again.")
		}
		return output.Facts(a.stdout, "name", made.Name, "id", made.ID, "secret key", made.SecretKey, "user name", made.Username, "password", made.Password)
	})
}
