package configuration

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/redistribution"
)

// WindowSettings say when the redistribution window of a certificate opens, as
// redistribution.Policy has it.
type WindowSettings struct {
	Kind   string `json:"kind"`
	Value  int    `json:"value"` // days, or percent
	Strict bool   `json:"strict"`
}

// UnmarshalJSON puts the fields of an object over w. Another kind begins anew:
// strict is false unless it is given too.
func (w *WindowSettings) UnmarshalJSON(object []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(object, &fields); err != nil {
		return err
	}
	before := w.Kind
	targets := map[string]any{"kind": &w.Kind, "value": &w.Value, "strict": &w.Strict}
	for name, value := range fields {
		target, known := targets[name]
		if !known || string(value) == "null" {
			return fmt.Errorf("window: %q is unknown or null", name)
		}
		if err := json.Unmarshal(value, target); err != nil {
			return fmt.Errorf("window: %s: %w", name, err)
		}
	}
	if _, given := fields["strict"]; !given && w.Kind != before {
		w.Strict = false
	}
	return nil
}

// windowOf returns the settings of a policy.
func windowOf(p redistribution.Policy) WindowSettings {
	return WindowSettings{Kind: string(p.Kind), Value: p.Value, Strict: p.Strict}
}

// window returns the policy of the settings.
func (s Settings) window() redistribution.Policy {
	return redistribution.Policy{
		Kind: redistribution.Kind(s.Window.Kind), Value: s.Window.Value, Strict: s.Window.Strict, AckTimeout: seconds(s.AckTimeoutSeconds),
	}
}

// validateWindow checks what concerns redistribution.
func (s Settings) validateWindow(wrong *problems) {
	between(wrong, "ack_timeout_seconds", s.AckTimeoutSeconds, redistribution.MinAckTimeout, redistribution.MaxAckTimeout)
	p := s.window()
	p.AckTimeout = redistribution.DefaultAckTimeout // has its own field
	if err := p.Validate(); err != nil {
		wrong.add("window", "%s", strings.TrimPrefix(err.Error(), redistribution.ErrPolicy.Error()+": "))
	}
}

// Window returns when redistribution windows open.
func (l *Live) Window() redistribution.Policy { return redistribution.PolicyOf(l.Record.Policy) }

// warnWindow is Warnings for the redistribution window.
func warnWindow(c depot.ConfigurationPolicy, warn func(when bool, severity Severity, field, detail string)) {
	p := redistribution.PolicyOf(c)
	all := p.Kind == redistribution.DaysBefore && c.Validity <= time.Duration(p.Value)*24*time.Hour
	lead := p.Lead(c.Validity)
	warn(lead == 0, SeverityMedium, "window",
		"no certificate is ever due: its window closes when it opens")
	warn(all && p.Strict, SeverityMedium, "window",
		"certificates do not live longer than the window, so that each is due as soon as it is issued")
	warn(all && !p.Strict, SeverityLow, "window",
		"certificates do not live longer than the window should be open, so that it opens at half of their life")
	warn(lead > 0 && p.AckTimeout >= lead, SeverityLow, "ack_timeout_seconds",
		"acknowledgements count for as long as the window is open, so that a push of which nothing comes never stalls")
}
