package main

import (
	"strconv"

	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/output"
)

type deviceListCmd struct {
	clientFlags   `embed:""`
	pageFlags     `embed:""`
	Configuration string `from:"flag" placeholder:"NAME" help:"Of this configuration."`
}

// Help shows what to type.
func (deviceListCmd) Help() string {
	return `
Examples:

    understudy device list --configuration default
    understudy device list -o json | jq -r '.items[].key'`
}

// Run lists devices.
func (c *deviceListCmd) Run(a *app) error {
	query := map[string][]string{}
	if c.Configuration != "" {
		query["configuration"] = []string{c.Configuration}
	}
	answer, err := c.list(c.clientFlags, "/api/v1/devices", query)
	if err != nil {
		return err
	}
	return show(a, answer, func(list api.List[api.Device[int]]) error {
		table := output.NewTable("CONFIGURATION", "DEVICE", "CERTIFICATES", "LATEST", "LAST SEEN")
		for _, item := range list.Items {
			table.Row(item.Configuration.Name, item.Key, strconv.Itoa(item.Certificates), item.LatestCertificateSerial, output.Time(item.LastSeen))
		}
		defer a.more(list.NextCursor)
		return table.Write(a.stdout)
	})
}
