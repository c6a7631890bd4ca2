package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/output"
)

type eventsCmd struct {
	clientFlags   `embed:""`
	After         string   `from:"flag" placeholder:"ID" help:"After this event (ev_…; ev_0 is before all). Default: from the first one on; with --follow: only what happens from now on."`
	Types         []string `from:"flag" placeholder:"TYPE" help:"Only these, as redistribution.due,redistribution.missed."`
	Configuration string   `from:"flag" placeholder:"NAME" help:"Only those of this configuration."`
	Limit         int      `from:"flag" default:"100" placeholder:"N" help:"Print at most N, up to 500 (default: ${default}). With --follow: N at a time."`
	Follow        bool     `from:"flag" short:"f" help:"Go on until Ctrl-C with what happens meanwhile. With -o json: one event to a line."`
}

// Help shows what to type.
func (eventsCmd) Help() string {
	return `
Examples:

    understudy events --types certificate.issued,certificate.revoked
    understudy events --after ev_00000000000004d2 --limit 500
    understudy events --follow
    understudy events --follow --after ev_0 -o json | jq -r .type`
}

// followPart is how long one call waits for an event, in the form of the API.
const followPart = "20s"

// Run lists events, or follows them.
func (c *eventsCmd) Run(a *app) error {
	query := map[string][]string{"limit": {fmt.Sprint(c.Limit)}}
	for name, value := range map[string]string{"after": c.After, "types": strings.Join(c.Types, ","), "configuration": c.Configuration} {
		if value != "" {
			query[name] = []string{value}
		}
	}
	if c.Follow {
		return c.follow(a, query)
	}
	answer, err := c.call(http.MethodGet, "/api/v1/events", query, nil)
	if err != nil {
		return err
	}
	return show(a, answer, func(list api.List[api.Event]) error {
		table := output.NewTable("ID", "AT", "TYPE", "CONFIGURATION", "ABOUT", "BY", "MORE")
		for _, e := range list.Items {
			table.Row(e.ID, output.Time(e.At), e.Type, of(e), about(e), e.By, more(e))
		}
		if list.NextCursor != nil {
			defer a.note("There are more: --after %s.", *list.NextCursor)
		}
		return table.Write(a.stdout)
	})
}

// follow prints events until a signal.
func (c *eventsCmd) follow(a *app, query map[string][]string) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	ctx, stop := interruptible()
	defer stop()
	query["wait"] = []string{followPart}
	if c.After == "" { // a store may hold a year of events
		query["after"] = []string{"now"}
	}
	for {
		var page api.EventPage
		err := client.Call(ctx, http.MethodGet, "/api/v1/events", query, nil, &page)
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, item := range page.Items {
			if err := a.followed(item); err != nil {
				return err
			}
		}
		if page.Through != nil {
			query["after"] = []string{*page.Through}
		}
	}
}

// followed prints one event.
func (a *app) followed(item json.RawMessage) error {
	if a.json {
		return output.Line(a.stdout, item)
	}
	var e api.Event
	if err := json.Unmarshal(item, &e); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	line := fmt.Sprintf("%s  %-29s  %s  %s", output.Time(e.At), e.Type, about(e), more(e))
	_, err := fmt.Fprintln(a.stdout, output.Clean(strings.TrimRight(line, " ")))
	return err
}

// of is the configuration of an event.
func of(e api.Event) string {
	if e.Configuration == nil {
		return ""
	}
	return e.Configuration.Name
}

// about is what an event is about, as people know it.
func about(e api.Event) string {
	for _, text := range []string{e.DeviceKey, e.RequestID, e.ChallengeID, e.SubjectID, e.CertificateSerial, of(e)} {
		if text != "" {
			return text
		}
	}
	return ""
}

// more is what else an event says.
func more(e api.Event) string {
	var parts []string
	for _, part := range []struct{ name, value string }{
		{"certificate", e.CertificateSerial}, {"superseded by", e.SupersededBy}, {"command", e.CommandID},
		{"reason", e.Reason}, {"count", count(e.Count)},
	} {
		if part.value != "" {
			parts = append(parts, part.name+" "+part.value)
		}
	}
	return strings.Join(parts, ", ")
}
