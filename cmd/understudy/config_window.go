package main

import (
	"fmt"

	"understudy.example/understudy/cmd/understudy/internal/api"
)

// windowFlags say when certificates are due to be replaced.
type windowFlags struct {
	WindowDays    *int      `from:"flag" xor:"window" placeholder:"30" help:"Certificates are due so many days before their end, or at half of a life that is no longer than that."`
	WindowPercent *int      `from:"flag" xor:"window" placeholder:"20" help:"Certificates are due when so many percent of their life are left."`
	WindowStrict  *bool     `from:"flag" negatable:"" help:"With days: certificates that live no longer than that are due at once."`
	AckTimeout    *duration `from:"flag" placeholder:"24h" help:"How long an acknowledged push may take before it counts as stalled."`
}

// window returns what was given, as the admin API names it.
func (w windowFlags) window() map[string]any {
	fields := map[string]any{}
	switch {
	case w.WindowDays != nil:
		fields["kind"], fields["value"] = "days_before", *w.WindowDays
	case w.WindowPercent != nil:
		fields["kind"], fields["value"] = "percent_remaining", *w.WindowPercent
	}
	if w.WindowStrict != nil {
		fields["strict"] = *w.WindowStrict
	}
	return fields
}

// window is when certificates are due.
func window(w api.Window) string {
	switch {
	case w.Kind == "percent_remaining":
		return fmt.Sprintf("opens when %d %% of the life are left", w.Value)
	case w.Strict:
		return fmt.Sprintf("opens %d days before the end, strictly", w.Value)
	}
	return fmt.Sprintf("opens %d days before the end", w.Value)
}
