package main

import (
	"fmt"
	"net/http"

	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/output"
)

type inventCmd struct {
	clientFlags `embed:""`
}

// Help shows what to type.
func (inventCmd) Help() string {
	return `
The states are those of "window counts".

    understudy inventory
    understudy inventory -o json | jq '.items[] | {name: .configuration.name, certificates}'`
}

// Run prints the totals.
func (c *inventCmd) Run(a *app) error {
	answer, err := c.call(http.MethodGet, "/api/v1/inventory", nil, nil)
	if err != nil {
		return err
	}
	return show(a, answer, func(list api.List[api.Inventory]) error {
		table := output.NewTable("CONFIGURATION", "VALID", "DUE", "ACKNOWLEDGED", "STALLED", "SUPERSEDED", "EXPIRED", "REVOKED")
		for _, item := range list.Items {
			cells := []string{item.Configuration.Name}
			for _, state := range windowStates() {
				cells = append(cells, fmt.Sprint(item.Certificates[state]))
			}
			table.Row(cells...)
		}
		return table.Write(a.stdout)
	})
}
