package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/output"
)

type deviceShowCmd struct {
	clientFlags   `embed:""`
	Key           string    `arg:"" help:"Key of the device; see \"device list\"."`
	Configuration string    `from:"flag" placeholder:"NAME" help:"The configuration, if several know the device."`
	AsOf          time.Time `from:"flag" placeholder:"TIME" help:"With its certificates as they were at this time, as 2026-12-01T00:00:00Z (default: now)."`
	Limit         int       `from:"flag" default:"100" placeholder:"N" help:"Print at most N certificates, up to 500 (default: ${default})."`
	Cursor        string    `from:"flag" placeholder:"C" help:"Go on where an earlier list of certificates ended."`
}

// Help shows what to type.
func (deviceShowCmd) Help() string {
	return `
Its certificates come newest first: Okta Verify would choose the first good one.

    understudy device show serial:C02XY12ZJG5J
    understudy device show serial:C02XY12ZJG5J --configuration lab-macs`
}

// Run shows one device.
func (c *deviceShowCmd) Run(a *app) error {
	query := map[string][]string{"limit": {strconv.Itoa(c.Limit)}}
	for name, value := range map[string]string{"configuration": c.Configuration, "as_of": output.Time(c.AsOf), "cursor": c.Cursor} {
		if value != "" {
			query[name] = []string{value}
		}
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
		if d.NextCursor != nil {
			defer a.note("There are more: --cursor %s.", *d.NextCursor)
		}
		return a.printIdentities(d.Certificates)
	})
}
