package main

import (
	"fmt"

	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/output"
)

type webhookDeliveriesCmd struct {
	webhookID `embed:""`
	pageFlags `embed:""`
	State     string `from:"flag" enum:"waiting,dead" default:"waiting" placeholder:"STATE" help:"waiting (tried again later) or dead (given up); default: ${default}."`
}

// Help shows what to type.
func (webhookDeliveriesCmd) Help() string {
	return `
What was delivered at the first attempt is not listed.

    understudy webhook deliveries wh_0123456789abcdefg
    understudy webhook deliveries wh_0123456789abcdefg --state dead -o json | jq -r '.items[].event'`
}

// Run lists deliveries.
func (c *webhookDeliveriesCmd) Run(a *app) error {
	answer, err := c.list(c.clientFlags, c.path("/deliveries"), map[string][]string{"state": {c.State}})
	if err != nil {
		return err
	}
	return show(a, answer, func(list api.List[api.Delivery]) error {
		table := output.NewTable("EVENT", "STATE", "ATTEMPTS", "LAST AT", "STATUS", "NEXT AT", "ERROR")
		for _, d := range list.Items {
			table.Row(d.Event, d.State, fmt.Sprint(d.Attempts), optionalTime(d.LastAt), count(d.LastStatus), optionalTime(d.NextAt), d.LastError)
		}
		defer a.more(list.NextCursor)
		return table.Write(a.stdout)
	})
}
