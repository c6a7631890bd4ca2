package server_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
)

// Challenges and revocations are counted in whatever way they come about, from
// the start of the server on.
func TestEventMetrics(t *testing.T) {
	type refused struct{ id, name, reason, source string }
	var told []refused
	h := open(t, func(h *house) {
		h.config.Rejected = func(id, name, reason, source string) { told = append(told, refused{id, name, reason, source}) }
	})
	made := h.object("POST", "/api/v1/configurations", `{"name":"one-time","mode":"dynamic"}`, http.StatusCreated)
	text := func() (challenge, id string) {
		c := h.object("POST", "/api/v1/challenges", `{"configuration":"one-time","ttl_seconds":60}`, http.StatusCreated)
		return c["challenge"].(string), c["id"].(string)
	}
	enrol := func(device, challenge string) {
		r := h.message(device, challenge)
		do(h.Public(), httptest.NewRequest("POST", "/scep/one-time?operation=PKIOperation", bytes.NewReader(r.Raw)))
	}
	want := func(series, value string) {
		t.Helper()
		if got := h.metric(series); got != value {
			t.Errorf("%s is %q, want %s", series, got, value)
		}
	}
	want("understudy_challenges_issued_total", "0")
	spent, _ := text()
	late, _ := text()
	_, id := text()
	enrol("SERIAL1", spent)
	enrol("SERIAL2", spent)
	h.api("DELETE", "/api/v1/challenges/"+id, "")
	h.clock.Advance(2 * time.Minute)
	enrol("SERIAL3", late)
	h.enrol("SERIAL4") // a secret key is no one-time challenge
	want("understudy_challenges_issued_total", "3")
	want("understudy_challenges_redeemed_total", "1")
	want("understudy_challenges_withdrawn_total", "1")
	want("understudy_challenges_expired_total", "1")
	want(`understudy_challenges_rejected_total{reason="challenge_expired"}`, "1")
	want(`understudy_challenges_rejected_total{reason="challenge_used"}`, "1")
	want(`understudy_challenges_rejected_total{reason="challenge_wrong"}`, "0")
	want("understudy_challenges_issued_total", "3") // looking counts nothing twice

	serial := h.enrol("SERIAL5").SerialNumber.Text(16)
	h.api("POST", "/api/v1/certificates/"+serial+"/revoke", `{"reason":"keyCompromise"}`)
	want(`understudy_certificates_revoked_total{reason="keyCompromise"}`, "1")

	wanted := []refused{
		{made["id"].(string), "one-time", "challenge_used", "192.0.2.1"}, {made["id"].(string), "one-time", "challenge_expired", "192.0.2.1"},
	}
	if fmt.Sprint(told) != fmt.Sprint(wanted) {
		t.Errorf("told of %v, want %v", told, wanted)
	}
}

// What is true now, in the server's time.
func TestStateMetrics(t *testing.T) {
	unready := false
	h := open(t, func(h *house) {
		h.wrap = func(d depot.Depot) depot.Depot {
			return &faultyDepot{Depot: d, ready: func(ctx context.Context) error {
				if unready {
					return depot.ErrUnavailable
				}
				return d.Ready(ctx)
			}}
		}
	})
	want := func(series string, value float64) {
		t.Helper()
		var got float64
		if _, err := fmt.Sscan(h.metric(series), &got); err != nil || got != value {
			t.Errorf("%s is %v, want %v", series, got, value)
		}
	}
	ra, _ := h.authority.RA()
	want(`understudy_ca_certificate_not_after_seconds{certificate="root"}`, float64(h.authority.Root().NotAfter.Unix()))
	want(`understudy_ca_certificate_not_after_seconds{certificate="issuer"}`, float64(h.authority.Issuer().NotAfter.Unix()))
	want(`understudy_ca_certificate_not_after_seconds{certificate="ra"}`, float64(ra.NotAfter.Unix()))
	want("understudy_clock_offset_seconds", 0)
	want("understudy_store_ready", 1)
	unready = true
	want("understudy_store_ready", 0)
	crl, err := h.config.Revocation.Publisher.CRL(t.Context(), h.authority.Issuer())
	if err != nil {
		t.Fatal(err)
	}
	want("understudy_crl_next_update_seconds", float64(crl.NextUpdate.Unix()))

	silent := open(t, func(h *house) { h.silent, h.config.Clock = true, ahead{h.clock} })
	if got := silent.metric("understudy_crl_next_update_seconds"); got != "" {
		t.Errorf("without CRLs one ends at %s", got)
	}
	if got := silent.metric("understudy_clock_offset_seconds"); got != "90" {
		t.Errorf("offset is %s", got)
	}
}

// ahead is a clock that a lab moved.
type ahead struct{ clock.Clock }

func (ahead) Offset() time.Duration { return 90 * time.Second }
