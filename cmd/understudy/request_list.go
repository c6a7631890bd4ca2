package main

import (
	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/output"
)

type requestListCmd struct {
	clientFlags   `embed:""`
	pageFlags     `embed:""`
	Configuration string `from:"flag" placeholder:"NAME" help:"Of this configuration."`
	State         string `from:"flag" enum:",pending,approved,denied,expired" default:"" placeholder:"STATE" help:"pending, approved, denied or expired (default: all)."`
}

// Help shows what to type.
func (requestListCmd) Help() string {
	return `
Examples:

    understudy request list --state pending
    understudy request list --state pending -o json | jq -r '.items[].id'`
}

// Run lists requests.
func (c *requestListCmd) Run(a *app) error {
	query := map[string][]string{}
	for name, value := range map[string]string{"configuration": c.Configuration, "state": c.State} {
		if value != "" {
			query[name] = []string{value}
		}
	}
	answer, err := c.list(c.clientFlags, "/api/v1/requests", query)
	if err != nil {
		return err
	}
	return show(a, answer, func(list api.List[api.Request]) error {
		table := output.NewTable("REQUEST", "STATE", "ASKED AT", "CONFIGURATION", "DEVICE", "SUBJECT")
		for _, item := range list.Items {
			table.Row(item.ID, item.State, output.Time(item.RequestedAt), item.Configuration.Name, item.Device.Key, item.Subject)
		}
		defer a.more(list.NextCursor)
		return table.Write(a.stdout)
	})
}
