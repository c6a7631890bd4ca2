package main

import (
	"time"

	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/output"
)

type certListCmd struct {
	clientFlags   `embed:""`
	pageFlags     `embed:""`
	Search        string    `from:"flag" placeholder:"QUERY" help:"That match, as \"device-serial:C02* expires<30d\"."`
	AsOf          time.Time `from:"flag" placeholder:"TIME" help:"As it was at this time, without what came later, as 2026-12-01T00:00:00Z (default: now)."`
	Configuration string    `from:"flag" placeholder:"NAME" help:"Of this configuration."`
	Device        string    `from:"flag" placeholder:"KEY" help:"Of this device; see \"device list\"; needs --configuration."`
	Transaction   string    `from:"flag" placeholder:"ID" help:"Of this SCEP transaction; needs --configuration."`
	PublicKey     string    `from:"flag" placeholder:"SHA256" help:"For this public key."`
	NotAfterFrom  time.Time `from:"flag" placeholder:"TIME" help:"That end at this time or later, as 2026-12-01T00:00:00Z."`
	NotAfterTo    time.Time `from:"flag" placeholder:"TIME" help:"That end before this time."`
	Order         string    `from:"flag" enum:",issued,not_after" default:"" help:"issued: latest first. not_after: soonest end first, which is quick where the search is for an end (default: issued; where the search is for an end, not_after)."`
}

// Help shows what to type.
func (certListCmd) Help() string {
	return `
Examples:

    understudy cert list --configuration default
    understudy cert list --search "device-serial:C02* expires<30d"
    understudy cert list --not-after-to 2026-12-01T00:00:00Z --order not_after
    understudy cert list --all -o json | jq -r '.items[].certificate_serial'`
}

// Run lists certificates.
func (c *certListCmd) Run(a *app) error {
	query := map[string][]string{}
	for name, value := range map[string]string{
		"configuration":  c.Configuration,
		"device":         c.Device,
		"transaction":    c.Transaction,
		"public_key":     c.PublicKey,
		"not_after_from": output.Time(c.NotAfterFrom),
		"not_after_to":   output.Time(c.NotAfterTo),
		"q":              c.Search,
		"as_of":          output.Time(c.AsOf),
		"order":          c.Order,
	} {
		if value != "" {
			query[name] = []string{value}
		}
	}
	answer, err := c.list(c.clientFlags, "/api/v1/certificates", query)
	if err != nil {
		return err
	}
	return show(a, answer, func(list api.List[api.Identity]) error {
		defer a.more(list.NextCursor)
		return a.printIdentities(list.Items)
	})
}
