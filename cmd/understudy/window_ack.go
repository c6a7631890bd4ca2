package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/output"
)

type windowAckCmd struct {
	clientFlags    `embed:""`
	IDs            []string  `arg:"" optional:"" name:"id" help:"Ids of items (rd_…), or certificate serials."`
	Device         string    `from:"flag" placeholder:"KEY" help:"The item of this device that is not superseded, instead of an id; see \"device list\"."`
	Configuration  string    `from:"flag" placeholder:"NAME" help:"The configuration, if several know the device."`
	CommandID      string    `from:"flag" name:"command-id" placeholder:"ID" help:"The MDM's own id of the push. Saying the same again changes nothing."`
	IdempotencyKey string    `from:"flag" placeholder:"KEY" help:"Saying it again with the same KEY changes nothing, not even after the push stalled: for scripts that retry."`
	RequestedBy    string    `from:"flag" placeholder:"NAME" help:"Who asked for it, as jamf."`
	RequestedAt    time.Time `from:"flag" placeholder:"TIME" help:"When, as 2026-12-01T00:00:00Z."`
	windowRule     `embed:""`
}

// Help shows what to type.
func (windowAckCmd) Help() string {
	return `
An item that is due or stalled becomes acknowledged, and stalls after the configuration's --ack-timeout
unless the device enrols again. With several ids each is told what became of it; exit code 4 if one was
not acknowledged. What "window list" shows as due with --days, --percent or --strict is acknowledged with the
same flags.

    understudy window ack rd_019a3f… --command-id 7F3A --requested-by jamf
    understudy window ack --device serial:C02XL0GTJGH5 --idempotency-key push-4711
    understudy window list --all -o json | jq -r '.items[].id' | xargs understudy window ack`
}

// ackPage is how many items one call acknowledges, the most that the server
// allows.
const ackPage = 500

// Run acknowledges.
func (c *windowAckCmd) Run(a *app) error {
	if strings.ContainsFunc(c.IdempotencyKey, func(r rune) bool { return r < ' ' || r > '~' }) {
		return usagef("--idempotency-key %q: it goes into a header, so give printable ASCII", c.IdempotencyKey)
	}
	fields := map[string]any{}
	if c.CommandID != "" {
		fields["command_id"] = c.CommandID
	}
	if c.RequestedBy != "" {
		fields["requested_by"] = c.RequestedBy
	}
	if !c.RequestedAt.IsZero() {
		fields["requested_at"] = output.Time(c.RequestedAt)
	}
	rule, err := c.values()
	if err != nil {
		return err
	}
	if len(c.IDs) > 1 && c.Device == "" {
		return c.many(a, rule, fields)
	}
	target := windowTarget{clientFlags: c.clientFlags, Device: c.Device, Configuration: c.Configuration}
	if len(c.IDs) > 0 {
		target.ID = c.IDs[0]
	}
	id, err := target.item()
	if err != nil {
		return err
	}
	answer, err := c.callWith(c.header(), http.MethodPost, itemPath(id, "/ack"), rule, fields)
	if err != nil {
		return err
	}
	return show(a, answer, a.printWindowItem)
}

// header holds the key by which the server knows a repeated call.
func (c *windowAckCmd) header() http.Header {
	header := http.Header{}
	if c.IdempotencyKey != "" {
		header.Set("Idempotency-Key", c.IdempotencyKey)
	}
	return header
}

// many acknowledges several items, and says what became of each.
func (c *windowAckCmd) many(a *app, rule map[string][]string, fields map[string]any) error {
	ids := make([]string, len(c.IDs))
	for i, text := range c.IDs {
		id, err := itemID(text)
		if err != nil {
			return err
		}
		ids[i] = id
	}
	results := []json.RawMessage{}
	for part := range slices.Chunk(ids, ackPage) {
		fields["ids"] = part
		answer, err := c.callWith(c.header(), http.MethodPost, "/api/v1/redistribution:ack", rule, fields)
		if err != nil {
			return err
		}
		var page struct{ Results []json.RawMessage }
		if err := json.Unmarshal(answer, &page); err != nil {
			return fmt.Errorf("read the server's answer: %w", err)
		}
		results = append(results, page.Results...)
	}
	return c.tell(a, results)
}

func (c *windowAckCmd) tell(a *app, results []json.RawMessage) error {
	text, err := json.Marshal(map[string]any{"results": results})
	if err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	var read api.Acknowledged
	if err := json.Unmarshal(text, &read); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	table, refused := output.NewTable("ID", "STATUS"), 0
	for _, r := range read.Results {
		table.Row(r.ID, r.Status)
		if r.Status != "acknowledged" {
			refused++
		}
	}
	if err := show(a, text, func(api.Acknowledged) error { return table.Write(a.stdout) }); err != nil {
		return err
	}
	if refused > 0 {
		return &exitError{code: exitRefused, err: fmt.Errorf("%d of %d were not acknowledged", refused, len(read.Results))}
	}
	return nil
}
