package main

import (
	"net/http"

	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/output"
)

type configListCmd struct {
	clientFlags `embed:""`
}

// Help shows what to type.
func (configListCmd) Help() string {
	return `
Examples:

    understudy config list
    understudy config list -o json | jq -r '.items[].scep_url'`
}

// Run lists all configurations; there are too few for pages.
func (c *configListCmd) Run(a *app) error {
	answer, err := c.call(http.MethodGet, "/api/v1/configurations", nil, nil)
	if err != nil {
		return err
	}
	return show(a, answer, func(list api.List[api.Configuration]) error {
		table := output.NewTable("NAME", "MODE", "PURPOSE", "VALIDITY", "SCEP URL")
		for _, item := range list.Items {
			table.Row(item.Name, item.Mode, item.Purpose, output.Seconds(item.Policy.ValiditySeconds), item.SCEPURL)
			if item.Unavailable != "" {
				a.note("%s refuses everybody: %s", item.Name, item.Unavailable)
			}
		}
		return table.Write(a.stdout)
	})
}
