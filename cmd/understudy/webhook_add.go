package main

import "net/http"

type webhookAddCmd struct {
	clientFlags   `embed:""`
	URL           string   `arg:"" name:"url" help:"Where to POST events. \"serve --webhook-allow\" must allow its host."`
	Types         []string `from:"flag" placeholder:"TYPE" help:"Only these events, as redistribution.due,redistribution.missed (default: all)."`
	Configuration string   `from:"flag" placeholder:"NAME" help:"Only events of this configuration (default: all)."`
}

// Help shows what to type.
func (webhookAddCmd) Help() string {
	return `
The secret that signs each delivery is shown only this once; docs/mdm-integration.md says how to check it.

    understudy webhook add https://mdm.lab.example/hooks/understudy
    understudy webhook add http://127.0.0.1:9000/ --types redistribution.due,redistribution.stalled,redistribution.missed
    understudy webhook add https://mdm.lab.example/hooks/jamf --configuration jamf -o json | jq -r .secret`
}

// Run adds the webhook.
func (c *webhookAddCmd) Run(a *app) error {
	fields := map[string]any{"url": c.URL}
	if len(c.Types) > 0 {
		fields["types"] = c.Types
	}
	if c.Configuration != "" {
		fields["configuration"] = c.Configuration
	}
	answer, err := c.call(http.MethodPost, "/api/v1/webhooks", nil, fields)
	if err != nil {
		return err
	}
	return show(a, answer, a.printWebhook)
}
