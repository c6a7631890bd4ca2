package main

import "net/http"

type webhookRotateSecretCmd struct {
	webhookID `embed:""`
}

// Help shows what to type.
func (webhookRotateSecretCmd) Help() string {
	return `
What is delivered from now on is signed with the new secret, which is shown only this once. What waits
is signed when it is sent.

    understudy webhook rotate-secret wh_0123456789abcdefg -o json | jq -r .secret`
}

// Run rotates the secret.
func (c *webhookRotateSecretCmd) Run(a *app) error {
	answer, err := c.call(http.MethodPost, c.path("/rotate-secret"), nil, nil)
	if err != nil {
		return err
	}
	return show(a, answer, a.printWebhook)
}
