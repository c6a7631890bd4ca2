package main

import "net/http"

type configSetCmd struct {
	clientFlags `embed:""`
	Name        string  `arg:"" help:"Name or id of the configuration."`
	Rename      *string `from:"flag" placeholder:"NAME" help:"Give it another name. Its SCEP URL stays, its short URL changes."`
	policyFlags `embed:"" group:"Policy:"`
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
	if len(fields) == 0 {
		return &exitError{code: exitUsage, err: errNothingGiven}
	}
	answer, err := c.call(http.MethodPatch, configurationPath(c.Name), nil, fields)
	if err != nil {
		return err
	}
	return show(a, answer, a.printConfiguration)
}
