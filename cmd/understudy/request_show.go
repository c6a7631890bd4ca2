package main

import "net/http"

type requestShowCmd struct {
	clientFlags `embed:""`
	ID          string `arg:"" name:"request" help:"Id of the request; see \"request list\"."`
}

// Help shows what to type.
func (requestShowCmd) Help() string {
	return `
Examples:

    understudy request show rq_0123456789abcdefg
    understudy request show rq_0123456789abcdefg -o json`
}

// Run shows one request.
func (c *requestShowCmd) Run(a *app) error {
	answer, err := c.call(http.MethodGet, requestPath(c.ID), nil, nil)
	if err != nil {
		return err
	}
	return show(a, answer, a.printRequest)
}
