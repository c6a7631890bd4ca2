package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"understudy.example/understudy/cmd/understudy/internal/api"
)

type windowWaitCmd struct {
	windowTarget `embed:""`
	Timeout      duration `from:"flag" default:"10m" placeholder:"10m" help:"How long to wait (default: ${default}), by this machine's clock."`
}

// Help shows what to type.
func (windowWaitCmd) Help() string {
	return `
Ends with exit code 0 as soon as a newer certificate of the device has taken the place of this one, with 6
when the time is over, and with 1 when it cannot happen any more: the certificate expired or was revoked.

    understudy window wait --device serial:C02XL0GTJGH5 --timeout 10m
    understudy window wait rd_019a3f… -o json | jq -r .superseded_by`
}

// waitPart is how long one call waits. It is shorter than a client's patience
// with a call.
const waitPart = 20 * time.Second

// Run waits.
func (c *windowWaitCmd) Run(a *app) error {
	id, err := c.item()
	if err != nil {
		return err
	}
	for end := time.Now().Add(time.Duration(c.Timeout)); ; {
		left := max(time.Until(end), 0)
		part := min(left, waitPart).Round(time.Millisecond)
		answer, err := c.call(http.MethodGet, itemPath(id), map[string][]string{"wait": {part.String()}}, nil)
		if err != nil {
			return err
		}
		var item api.WindowItem
		if err := json.Unmarshal(answer, &item); err != nil {
			return fmt.Errorf("read the server's answer: %w", err)
		}
		if over := c.outcome(item, time.Until(end) <= 0); over != nil || item.State == "superseded" {
			if err := show(a, answer, a.printWindowItem); err != nil {
				return err
			}
			return over
		}
	}
}

// outcome is why the waiting ends without a successor; nil when it ends well,
// or goes on.
func (c *windowWaitCmd) outcome(item api.WindowItem, timedOut bool) error {
	switch {
	case item.State == "superseded":
		return nil
	case item.State == "expired", item.State == "revoked":
		return fmt.Errorf("%s has not enrolled again, and its certificate is %s", item.Device.Key, item.State)
	case timedOut:
		return &exitError{code: exitPending, err: fmt.Errorf("%s has not enrolled again within %s", item.Device.Key, c.Timeout)}
	}
	return nil
}
