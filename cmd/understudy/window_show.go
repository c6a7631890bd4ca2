package main

import (
	"net/http"
	"time"

	"understudy.example/understudy/cmd/understudy/internal/output"
)

type windowShowCmd struct {
	windowTarget `embed:""`
	AsOf         time.Time `from:"flag" placeholder:"TIME" help:"As it was or will be at this time, as 2027-10-23T00:00:00Z (default: now)."`
}

// Help shows what to type.
func (windowShowCmd) Help() string {
	return `
Examples:

    understudy window show rd_019a3f…
    understudy window show --device serial:C02XL0GTJGH5
    understudy window show --device serial:C02XL0GTJGH5 --as-of 2027-10-23T00:00:00Z`
}

// Run shows one item.
func (c *windowShowCmd) Run(a *app) error {
	id, err := c.item()
	if err != nil {
		return err
	}
	query := map[string][]string{}
	if !c.AsOf.IsZero() {
		query["as_of"] = []string{output.Time(c.AsOf)}
	}
	answer, err := c.call(http.MethodGet, itemPath(id), query, nil)
	if err != nil {
		return err
	}
	return show(a, answer, a.printWindowItem)
}
