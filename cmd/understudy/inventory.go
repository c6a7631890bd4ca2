package main

import (
	"fmt"
	"net/http"
	"time"

	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/output"
)

type inventCmd struct {
	clientFlags   `embed:""`
	Configuration string    `from:"flag" placeholder:"NAME" help:"Of this configuration."`
	AsOf          time.Time `from:"flag" placeholder:"TIME" help:"As it was or will be at this time, as 2027-10-23T00:00:00Z (default: now)."`
}

// Help shows what to type.
func (inventCmd) Help() string {
	return `
The states are those of "window counts".

    understudy inventory
    understudy inventory --as-of 2027-10-23T00:00:00Z
    understudy inventory -o json | jq '.items[] | {name: .configuration.name, certificates}'`
}

// Run prints the totals.
func (c *inventCmd) Run(a *app) error {
	query := map[string][]string{}
	for name, value := range map[string]string{"configuration": c.Configuration, "as_of": output.Time(c.AsOf)} {
		if value != "" {
			query[name] = []string{value}
		}
	}
	answer, err := c.call(http.MethodGet, "/api/v1/inventory", query, nil)
	if err != nil {
		return err
	}
	return show(a, answer, func(list api.Inventory) error {
		table := output.NewTable("CONFIGURATION", "VALID", "DUE", "ACKNOWLEDGED", "STALLED", "SUPERSEDED", "EXPIRED", "REVOKED")
		row := func(name string, counts map[string]int) {
			cells := []string{name}
			for _, state := range windowStates() {
				cells = append(cells, fmt.Sprint(counts[state]))
			}
			table.Row(cells...)
		}
		for _, item := range list.Items {
			row(item.Configuration.Name, item.Certificates)
		}
		row("total", list.Totals)
		return table.Write(a.stdout)
	})
}
