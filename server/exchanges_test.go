package server_test

import (
	"strings"
	"testing"

	"understudy.example/understudy/server"
)

// TestExchanges are counted by words of closed sets.
func TestExchanges(t *testing.T) {
	exchanges := server.NewExchanges([]string{"Success", "ChallengeExpired"})
	h := open(t, func(h *house) { h.config.Exchanges = exchanges })
	exchanges.Count("validate", "ok", "Success")
	exchanges.Count("validate", "ok", "Success")
	exchanges.Count("token", "ok", "")
	for _, word := range []string{"Invented", "Invented too"} {
		exchanges.Count(word, word, word)
	}
	text := h.api("GET", "/metrics", "").body
	for _, want := range []string{
		`understudy_intune_requests_total{action="validate",code="Success",result="ok"} 2`,
		`understudy_intune_requests_total{action="token",code="",result="ok"} 1`,
		`understudy_intune_requests_total{action="other",code="other",result="other"} 2`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
}
