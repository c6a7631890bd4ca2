package main

import "net/http"

type configRmCmd struct {
	clientFlags `embed:""`
	Name        string `arg:"" help:"Name or id of the configuration."`
}

// Help shows what to type.
func (configRmCmd) Help() string {
	return `
Its URL answers 404 from now on. Certificates that it issued stay valid and listed. The name may be
used again, the id never.

    understudy config rm lab-macs`
}

// Run removes the configuration.
func (c *configRmCmd) Run(a *app) error {
	if _, err := c.call(http.MethodDelete, configurationPath(c.Name), nil, nil); err != nil {
		return err
	}
	a.note("Removed configuration %s.", c.Name)
	return nil
}
