package main

import (
	"net/http"

	"understudy.example/understudy/cmd/understudy/internal/api"
)

type webhookRedeliverCmd struct {
	webhookID `embed:""`
	Events    []string `arg:"" optional:"" name:"event" help:"Ids of events (ev_…). Default: all that were given up."`
}

// Help shows what to type.
func (webhookRedeliverCmd) Help() string {
	return `
Each is tried as often again as a new one.

    understudy webhook redeliver wh_0123456789abcdefg
    understudy webhook redeliver wh_0123456789abcdefg ev_00000000000004d2`
}

// Run has them delivered again.
func (c *webhookRedeliverCmd) Run(a *app) error {
	fields := map[string]any{}
	if len(c.Events) > 0 {
		fields["events"] = c.Events
	}
	answer, err := c.call(http.MethodPost, c.path("/redeliver"), nil, fields)
	if err != nil {
		return err
	}
	return show(a, answer, func(r api.Redelivery) error {
		a.note("%d are tried again.", r.Count)
		return nil
	})
}
