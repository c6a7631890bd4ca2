package main

import "net/http"

type webhookRmCmd struct {
	webhookID `embed:""`
}

// Help shows what to type.
func (webhookRmCmd) Help() string {
	return `
Example:

    understudy webhook rm wh_0123456789abcdefg`
}

// Run removes the webhook.
func (c *webhookRmCmd) Run(a *app) error {
	if _, err := c.call(http.MethodDelete, c.path(), nil, nil); err != nil {
		return err
	}
	a.note("Removed webhook %s.", c.ID)
	return nil
}
