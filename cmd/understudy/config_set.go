package main

import (
	"errors"
	"net/http"

	"understudy.example/understudy/cmd/understudy/internal/api"
)

type configSetCmd struct {
	clientFlags `embed:""`
	Name        string  `arg:"" help:"Name or id of the configuration."`
	Rename      *string `from:"flag" placeholder:"NAME" help:"Give it another name. Its SCEP URL stays, its short URL changes."`
	policyFlags `embed:"" group:"Policy:"`
	NoDevices   bool `from:"flag" xor:"devices" group:"Policy:" help:"Let every device enrol again."`
}

// Help shows what to type.
func (configSetCmd) Help() string {
	return `
Only what is given changes. Requests that are under way end by the old policy.

    understudy config set default --validity 1d
    understudy config set default --sha1 refuse --key-checks strict
    understudy config set default --renewal --renewal-window 30d
    understudy config set default --devices devices.csv`
}

// Run changes the configuration.
func (c *configSetCmd) Run(a *app) error {
	fields, err := c.fields()
	if err != nil {
		return err
	}
	if c.Rename != nil {
		fields["name"] = *c.Rename
	}
	if len(fields) == 0 && !c.NoDevices {
		return &exitError{code: exitUsage, err: errNothingGiven}
	}
	if c.NoDevices {
		fields["devices_file"] = ""
	}
	answer, err := c.call(http.MethodPatch, configurationPath(c.Name), nil, fields)
	if err == nil && c.NoDevices {
		err = c.forgetDevices(fields["name"])
	}
	if err != nil {
		return err
	}
	return show(a, answer, a.printConfiguration)
}

// forgetDevices removes a list that came by the API. One from a file is gone
// with the file's name.
func (c *configSetCmd) forgetDevices(renamed any) error {
	name := c.Name
	if text, ok := renamed.(string); ok {
		name = text
	}
	_, err := c.call(http.MethodDelete, configurationPath(name, "/devices"), nil, nil)
	var problem *api.Problem
	if errors.As(err, &problem) && problem.Status == http.StatusNotFound {
		return nil
	}
	return err
}
