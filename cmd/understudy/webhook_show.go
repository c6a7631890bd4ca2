package main

import "net/http"

type webhookShowCmd struct {
	webhookID `embed:""`
}

// Help shows what to type.
func (webhookShowCmd) Help() string {
	return `
Examples:

    understudy webhook show wh_0123456789abcdefg
    understudy webhook show wh_0123456789abcdefg -o json | jq .waiting`
}

// Run shows one webhook.
func (c *webhookShowCmd) Run(a *app) error {
	answer, err := c.call(http.MethodGet, c.path(), nil, nil)
	if err != nil {
		return err
	}
	return show(a, answer, a.printWebhook)
}
