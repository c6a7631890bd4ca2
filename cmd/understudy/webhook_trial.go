package main

import (
	"fmt"
	"net/http"

	"understudy.example/understudy/cmd/understudy/internal/api"
)

// webhookTestCmd is in a file of another name because Go takes _test.go for a
// test.
type webhookTestCmd struct {
	webhookID `embed:""`
}

// Help shows what to type.
func (webhookTestCmd) Help() string {
	return `
Nothing is tried again. Exit code 1 when the receiver did not take it.

    understudy webhook test wh_0123456789abcdefg`
}

// Run sends a trial event.
func (c *webhookTestCmd) Run(a *app) error {
	answer, err := c.call(http.MethodPost, c.path("/test"), nil, nil)
	if err != nil {
		return err
	}
	taken := true
	err = show(a, answer, func(r api.Trial) error {
		taken = r.Delivered
		if taken {
			a.note("The receiver answered %d.", r.Status)
			return nil
		}
		return fmt.Errorf("the receiver did not take it: %s", r.Error)
	})
	return err
}
