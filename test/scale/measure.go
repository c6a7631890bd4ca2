package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"text/tabwriter"
	"time"
)

// A question is asked of every store in the same words, but for who is meant.
type question struct {
	name string
	ask  func(ctx context.Context, s *store, who device) ([]byte, error)
}

// A device is one that a store holds.
type device struct {
	Key    string `json:"key"`
	Serial string `json:"device_serial"`
}

func questions() []question {
	return []question{
		{"window page, 100 due", func(ctx context.Context, s *store, _ device) ([]byte, error) {
			return s.get(ctx, "/redistribution", url.Values{"state": {"due"}, "limit": {"100"}})
		}},
		{"counts of seven states", func(ctx context.Context, s *store, _ device) ([]byte, error) {
			return s.get(ctx, "/redistribution", url.Values{"state": {"due"}, "limit": {"1"}})
		}},
		{"search by device serial", func(ctx context.Context, s *store, who device) ([]byte, error) {
			return s.get(ctx, "/certificates", url.Values{"q": {"device-serial:" + who.Serial}})
		}},
		{"device view", func(ctx context.Context, s *store, who device) ([]byte, error) {
			return s.get(ctx, "/devices/"+url.PathEscape(who.Key), nil)
		}},
		{"newest 100 certificates", func(ctx context.Context, s *store, _ device) ([]byte, error) {
			return s.get(ctx, "/certificates", url.Values{"limit": {"100"}})
		}},
	}
}

// devices returns some that hold one certificate each.
func devices(ctx context.Context, s *store, n int) ([]device, error) {
	var found []device
	query := url.Values{"limit": {"500"}}
	for len(found) < n {
		body, err := s.get(ctx, "/devices", query)
		if err != nil {
			return nil, err
		}
		var page struct {
			Items []struct {
				device
				Certificates int `json:"certificates"`
			}
			NextCursor *string `json:"next_cursor"`
		}
		if err := json.Unmarshal(body, &page); err != nil {
			return nil, err
		}
		for _, d := range page.Items {
			if d.Certificates == 1 && d.Serial != "" {
				found = append(found, d.device)
			}
		}
		if page.NextCursor == nil {
			break
		}
		query.Set("cursor", *page.NextCursor)
	}
	if len(found) < n {
		return nil, fmt.Errorf("the store of %d has only %d devices with one certificate", s.size, len(found))
	}
	return found[:n], nil
}

// measure asks, and prints a line for each question.
func measure(ctx context.Context, w io.Writer, stores []*store, o options) error {
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprint(table, "stored")
	for _, s := range stores {
		fmt.Fprintf(table, "\t%d", s.size)
	}
	fmt.Fprintln(table, "\tratio of the ends")
	over := ""
	for _, q := range questions() {
		medians, err := compare(ctx, q, stores, o)
		if err != nil {
			return fmt.Errorf("%s: %w", q.name, err)
		}
		fmt.Fprint(table, q.name)
		for _, m := range medians {
			fmt.Fprintf(table, "\t%.3f ms", m.Seconds()*1e3)
		}
		ratio := float64(medians[len(medians)-1]) / float64(medians[0])
		fmt.Fprintf(table, "\t%.2f\n", ratio)
		if o.limit > 0 && ratio > o.limit {
			over = fmt.Sprintf("%s: %.2f times as long in the biggest store as in the smallest, more than %.2f", q.name, ratio, o.limit)
		}
	}
	facts(table, stores)
	if !o.quick {
		if err := exports(ctx, table, stores); err != nil {
			return err
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if over != "" {
		return fmt.Errorf("%s", over)
	}
	return nil
}

// compare returns what an answer took each store: the median over the rounds of
// the fastest in a round.
func compare(ctx context.Context, q question, stores []*store, o options) ([]time.Duration, error) {
	took := make([][]time.Duration, len(stores))
	who := make([][]device, len(stores))
	for i, s := range stores {
		var err error
		if who[i], err = devices(ctx, s, o.each); err != nil {
			return nil, err
		}
	}
	for round := range o.rounds + 1 {
		for i, s := range stores {
			best := time.Duration(0)
			for n := range o.each {
				begin := time.Now()
				if _, err := q.ask(ctx, s, who[i][n]); err != nil {
					return nil, err
				}
				if d := time.Since(begin); best == 0 || d < best {
					best = d
				}
			}
			if round > 0 { // the first one warms up
				took[i] = append(took[i], best)
			}
		}
	}
	medians := make([]time.Duration, len(stores))
	for i := range stores {
		slices.Sort(took[i])
		medians[i] = took[i][len(took[i])/2]
	}
	return medians, nil
}

// row prints one value of each store.
func row(table io.Writer, name string, stores []*store, value func(*store) string) {
	fmt.Fprint(table, name)
	for _, s := range stores {
		fmt.Fprint(table, "\t", value(s))
	}
	fmt.Fprintln(table)
}

// facts prints what does grow with the store.
func facts(table io.Writer, stores []*store) {
	row(table, "seeded in", stores, func(s *store) string {
		if s.seeded == 0 {
			return "(was there)"
		}
		return s.seeded.Round(100 * time.Millisecond).String()
	})
	row(table, "started in", stores, func(s *store) string { return s.started.Round(time.Millisecond).String() })
	row(table, "bytes for each", stores, func(s *store) string { return fmt.Sprint(s.bytes / int64(s.size)) })
}

// exports prints how many certificates a second leave in each form.
func exports(ctx context.Context, table io.Writer, stores []*store) (failed error) {
	for _, format := range []string{"csv", "jsonl", "pem", "zip"} {
		row(table, "export as "+format, stores, func(s *store) string {
			begin := time.Now()
			if err := s.drain(ctx, "/certificates/export", url.Values{"format": {format}}); err != nil {
				failed = err
				return "failed"
			}
			return fmt.Sprintf("%.0f/s", float64(s.size)/time.Since(begin).Seconds())
		})
		if failed != nil {
			return failed
		}
	}
	return nil
}
