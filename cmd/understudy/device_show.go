package main

import (
	"fmt"
	"net/http"
	"net/url"

	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/output"
)

type deviceShowCmd struct {
	clientFlags   `embed:""`
	Key           string `arg:"" help:"Key of the device; see \"device list\"."`
	Configuration string `from:"flag" placeholder:"NAME" help:"The configuration, if several know the device."`
}

// Help shows what to type.
func (deviceShowCmd) Help() string {
	return `
Examples:

    understudy device show serial:C02XY12ZJG5J
    understudy device show serial:C02XY12ZJG5J --configuration lab-macs`
}

// Run shows one device.
func (c *deviceShowCmd) Run(a *app) error {
	query := map[string][]string{}
	if c.Configuration != "" {
		query["configuration"] = []string{c.Configuration}
	}
	answer, err := c.call(http.MethodGet, "/api/v1/devices/"+url.PathEscape(c.Key), query, nil)
	if err != nil {
		return err
	}
	return show(a, answer, func(d api.Device[[]api.Identity]) error {
		err := output.Facts(a.stdout,
			"device", d.Key,
			"configuration", d.Configuration.Name,
			"device serial", d.DeviceSerial,
			"profile UUID", d.ProfileUUID,
			"UDID", d.UDID,
			"UPN", d.UPN,
			"device id", d.DeviceID,
			"computer name", d.ComputerName,
			"first seen", output.Time(d.FirstSeen),
			"last seen", output.Time(d.LastSeen),
		)
		if err != nil {
			return err
		}
		fmt.Fprintln(a.stdout)
		return a.printIdentities(d.Certificates)
	})
}
