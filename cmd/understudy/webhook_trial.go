package main

import (
	"encoding/json"
	"fmt"
	"net/http"

	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/output"
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
	var trial api.Trial
	if err := json.Unmarshal(answer, &trial); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	if a.json {
		if err := output.JSON(a.stdout, answer); err != nil {
			return err
		}
	}
	switch {
	case trial.Delivered:
		a.note("The receiver answered %d.", trial.Status)
		return nil
	case trial.Error != "":
		return fmt.Errorf("the receiver did not take it: %s", trial.Error)
	}
	return fmt.Errorf("the receiver did not take it: it answered %d", trial.Status)
}
