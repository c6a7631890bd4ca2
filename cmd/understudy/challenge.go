package main

import (
	"net/http"
	"strings"

	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/output"
)

// chalCmd groups the verbs on one-time challenges.
type chalCmd struct {
	New challengeNewCmd `cmd:"" help:"Make a one-time challenge."`
}

type challengeNewCmd struct {
	clientFlags   `embed:""`
	Configuration string    `arg:"" help:"Name or id of a configuration of mode dynamic."`
	For           []string  `from:"flag" placeholder:"NAME=VALUE" help:"Bind it to a device: device-serial=…, profile-uuid=…, udid=…, upn=…."`
	TTL           *duration `from:"flag" name:"ttl" placeholder:"60m" help:"How long it is good. Default: as the configuration says."`
}

// Help shows what to type.
func (challengeNewCmd) Help() string {
	return `
The challenge is good for one certificate, and shown only this once.

    understudy challenge new jamf
    understudy challenge new jamf --for device-serial=C02XL0GTJGH5 --ttl 5m -o json | jq -r .challenge`
}

// Run makes a challenge.
func (c *challengeNewCmd) Run(a *app) error {
	fields := map[string]any{"configuration": c.Configuration}
	for _, binding := range c.For {
		name, value, ok := strings.Cut(binding, "=")
		field := strings.ReplaceAll(name, "-", "_")
		switch field {
		case "device_serial", "profile_uuid", "udid", "upn":
		default:
			ok = false
		}
		if !ok || value == "" {
			return usagef("--for %q: give device-serial=…, profile-uuid=…, udid=… or upn=…", binding)
		}
		fields[field] = value
	}
	if c.TTL != nil {
		seconds, err := c.TTL.seconds()
		if err != nil {
			return err
		}
		if seconds == 0 { // to the API that is none given
			return usagef("--ttl %s: a challenge must live for a second", c.TTL)
		}
		fields["ttl_seconds"] = seconds
	}
	answer, err := c.call(http.MethodPost, "/api/v1/challenges", nil, fields)
	if err != nil {
		return err
	}
	return show(a, answer, func(made api.Challenge) error {
		return output.Facts(a.stdout, "challenge", made.Text, "id", made.ID, "configuration", made.Configuration, "expires at", output.Time(made.ExpiresAt))
	})
}
