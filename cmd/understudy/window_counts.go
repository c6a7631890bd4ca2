package main

import (
	"encoding/json"
	"fmt"
	"net/http"

	"understudy.example/understudy/cmd/understudy/internal/output"
)

type windowCountsCmd struct {
	clientFlags `embed:""`
	windowQuery `embed:""`
}

// Help shows what to type.
func (windowCountsCmd) Help() string {
	return `
Examples:

    understudy window counts
    understudy window counts --configuration default --as-of 2027-10-23T00:00:00Z
    understudy window counts -o json | jq .counts.expired`
}

// windowCounts is how counts are printed.
type windowCounts struct {
	AsOf   string          `json:"as_of"`
	Policy json.RawMessage `json:"policy"`
	Counts json.RawMessage `json:"counts"`
}

// Run counts.
func (c *windowCountsCmd) Run(a *app) error {
	query, err := c.values()
	if err != nil {
		return err
	}
	query["limit"] = []string{"1"} // the counts come with every page
	answer, err := c.call(http.MethodGet, c.path(), query, nil)
	if err != nil {
		return err
	}
	var read windowCounts
	if err := json.Unmarshal(answer, &read); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	if a.json {
		return output.JSON(a.stdout, read)
	}
	var counts map[string]int
	if err := json.Unmarshal(read.Counts, &counts); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	table := output.NewTable("STATE", "CERTIFICATES")
	for _, state := range windowStates() {
		table.Row(state, fmt.Sprint(counts[state]))
	}
	return table.Write(a.stdout)
}
