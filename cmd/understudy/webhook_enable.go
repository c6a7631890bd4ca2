package main

import "net/http"

type webhookEnableCmd struct {
	webhookID `embed:""`
}

// Help shows what to type.
func (webhookEnableCmd) Help() string {
	return `
It goes on where it stopped: what happened while it was disabled is delivered too.

    understudy webhook enable wh_0123456789abcdefg`
}

// Run enables the webhook.
func (c *webhookEnableCmd) Run(a *app) error {
	answer, err := c.call(http.MethodPost, c.path("/enable"), nil, nil)
	if err != nil {
		return err
	}
	return show(a, answer, a.printWebhook)
}
