package main

import "net/http"

type configShowCmd struct {
	clientFlags `embed:""`
	Name        string `arg:"" help:"Name or id of the configuration."`
}

// Help shows what to type.
func (configShowCmd) Help() string {
	return `
The secret key is kept as a hash and cannot be shown.

    understudy config show default`
}

// Run shows one configuration.
func (c *configShowCmd) Run(a *app) error {
	answer, err := c.call(http.MethodGet, configurationPath(c.Name), nil, nil)
	if err != nil {
		return err
	}
	return show(a, answer, a.printConfiguration)
}
