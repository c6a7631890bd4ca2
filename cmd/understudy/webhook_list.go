package main

import (
	"fmt"
	"net/http"

	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/output"
)

type webhookListCmd struct {
	clientFlags `embed:""`
}

// Help shows what to type.
func (webhookListCmd) Help() string {
	return `
Examples:

    understudy webhook list
    understudy webhook list -o json | jq '.items[] | select(.dead > 0) | .id'`
}

// Run lists all webhooks; there are too few for pages.
func (c *webhookListCmd) Run(a *app) error {
	answer, err := c.call(http.MethodGet, "/api/v1/webhooks", nil, nil)
	if err != nil {
		return err
	}
	return show(a, answer, func(list api.List[api.Webhook]) error {
		table := output.NewTable("ID", "URL", "EVENTS", "WAITING", "GIVEN UP", "DISABLED AT")
		for _, w := range list.Items {
			table.Row(w.ID, w.URL, eventTypes(w), fmt.Sprint(w.Waiting), fmt.Sprint(w.Dead), optionalTime(w.DisabledAt))
		}
		return table.Write(a.stdout)
	})
}
