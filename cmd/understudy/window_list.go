package main

import (
	"fmt"
	"slices"
	"strings"

	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/output"
)

type windowListCmd struct {
	clientFlags `embed:""`
	pageFlags   `embed:""`
	windowQuery `embed:""`
	State       []string `from:"flag" placeholder:"due,stalled" help:"valid, due, acknowledged, stalled, superseded, expired, revoked, or several of them (default: due,stalled)."`
	Device      string   `from:"flag" placeholder:"KEY" help:"Of this device; see \"device list\"."`
	Profile     string   `from:"flag" placeholder:"UUID" help:"Of this profile, as the subject names it."`
}

// Help shows what to type.
func (windowListCmd) Help() string {
	return `
A window opens so long before expiry as the configuration says (30 days unless changed) and closes with it.

    understudy window list
    understudy window list --state due --days 30 --as-of 2027-10-23T00:00:00Z
    understudy window list --configuration default --state expired
    understudy window list --all -o json | jq -r '.items[] | .device.profile_uuid'`
}

// Run lists items.
func (c *windowListCmd) Run(a *app) error {
	query, err := c.values()
	if err != nil {
		return err
	}
	for _, state := range c.State {
		if !slices.Contains(windowStates(), state) {
			return usagef("--state %q: give %s", state, strings.Join(windowStates(), ", "))
		}
	}
	for name, value := range map[string]string{"state": strings.Join(c.State, ","), "device": c.Device, "profile": c.Profile} {
		if value != "" {
			query[name] = []string{value}
		}
	}
	answer, err := c.list(c.clientFlags, c.path(), query)
	if err != nil {
		return err
	}
	return show(a, answer, func(list api.WindowList) error {
		table := output.NewTable("ID", "STATE", "OPENS AT", "CLOSES AT", "CONFIGURATION", "DEVICE", "ATTEMPTS")
		for _, item := range list.Items {
			table.Row(item.ID, item.State, output.Time(item.Window.OpensAt), output.Time(item.Window.ClosesAt),
				item.Configuration.Name, item.Device.Key, fmt.Sprint(item.Attempts))
		}
		defer a.more(list.NextCursor)
		return table.Write(a.stdout)
	})
}
