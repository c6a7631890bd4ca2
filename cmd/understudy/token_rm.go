package main

import (
	"net/http"
	"net/url"
)

type tokenRmCmd struct {
	clientFlags `embed:""`
	Name        string `arg:"" name:"token" help:"Name or id (tk_…) of the token."`
}

// Help shows what to type.
func (tokenRmCmd) Help() string {
	return `
The name may be used again.

    understudy token rm jamf`
}

// Run removes the token.
func (c *tokenRmCmd) Run(a *app) error {
	if _, err := c.call(http.MethodDelete, "/api/v1/tokens/"+url.PathEscape(c.Name), nil, nil); err != nil {
		return err
	}
	a.note("Removed token %s.", c.Name)
	return nil
}
