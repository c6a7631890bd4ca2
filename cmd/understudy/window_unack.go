package main

import "net/http"

type windowUnackCmd struct {
	windowTarget `embed:""`
}

// Help shows what to type.
func (windowUnackCmd) Help() string {
	return `
The item is due again, if its window is open. Without an acknowledgement nothing changes.

    understudy window unack rd_019a3f…
    understudy window unack --device serial:C02XL0GTJGH5`
}

// Run takes the acknowledgement back.
func (c *windowUnackCmd) Run(a *app) error {
	id, err := c.item()
	if err != nil {
		return err
	}
	if _, err := c.call(http.MethodDelete, itemPath(id, "/ack"), nil, nil); err != nil {
		return err
	}
	answer, err := c.call(http.MethodGet, itemPath(id), nil, nil)
	if err != nil {
		return err
	}
	return show(a, answer, a.printWindowItem)
}
