//go:build clients

package clients

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/test/internal/program"
)

// A year is a lab in which a year passes, and what its devices hold.
type year struct {
	target
	receiver *receiver
	webhook  string
	first    time.Time // when the first certificate of the three ends
	last     time.Time // and the last one
}

const day = 24 * time.Hour

// TestYear lets a year pass in seconds: three devices enrol with clients that
// we did not write. One is pushed and enrols again, one never does, one does
// after its push has stalled. A receiver that fails twice each time is told.
func TestYear(t *testing.T) {
	t.Parallel()
	y := newYear(t)
	fulfilled, missed, stalled := y.enrol(t, "C02XLYEAR001"), y.enrol(t, "C02XLYEAR002"), y.enrol(t, "C02XLYEAR003")
	y.ends(t, fulfilled, missed, stalled)

	// What will be due when, without waiting for it.
	y.due(t, nil, "--as-of", stamp(y.first.Add(-31*day)))
	y.due(t, []string{fulfilled, missed, stalled}, "--as-of", stamp(y.last.Add(-30*day)))

	y.clock(t, y.first.Add(-31*day))
	y.due(t, nil)
	y.clock(t, y.last.Add(-30*day))
	y.due(t, []string{fulfilled, missed, stalled})

	y.verb(t, "window", "ack", "rd_"+fulfilled, "rd_"+stalled, "--command-id", "push-1", "--requested-by", "test")
	y.due(t, []string{missed})
	y.states(t, map[string]string{fulfilled: "acknowledged", missed: "due", stalled: "acknowledged"})

	renewed := y.enrol(t, "C02XLYEAR001")
	y.verb(t, "window", "wait", "rd_"+fulfilled, "--timeout", "30s")
	y.states(t, map[string]string{fulfilled: "superseded", renewed: "valid", stalled: "acknowledged"})

	y.clock(t, y.last.Add(-29*day+time.Minute)) // the push is a day old
	y.states(t, map[string]string{missed: "due", stalled: "stalled"})
	y.due(t, []string{missed})
	late := y.enrol(t, "C02XLYEAR003")
	y.states(t, map[string]string{stalled: "superseded", late: "valid"})

	y.clock(t, y.last)
	y.states(t, map[string]string{fulfilled: "superseded", missed: "expired", stalled: "superseded", renewed: "valid", late: "valid"})

	y.tells(t, map[string][]string{
		fulfilled: {"certificate.issued", "redistribution.due", "redistribution.acknowledged", "certificate.superseded", "redistribution.fulfilled"},
		missed:    {"certificate.issued", "redistribution.due", "redistribution.missed"},
		stalled: {"certificate.issued", "redistribution.due", "redistribution.acknowledged", "redistribution.stalled",
			"certificate.superseded", "redistribution.fulfilled"},
		renewed: {"certificate.issued"},
		late:    {"certificate.issued"},
	})
}

func newYear(t *testing.T) *year {
	t.Helper()
	y := &year{target: newTarget(t, "chain", "--lab", "--webhook-allow", "127.0.0.1"), receiver: newReceiver(t)}
	var webhook struct{ ID, Secret string }
	types := "certificate.issued,certificate.superseded,certificate.revoked,redistribution.due,redistribution.acknowledged," +
		"redistribution.stalled,redistribution.fulfilled,redistribution.missed"
	y.read(t, &webhook, "webhook", "add", y.receiver.url, "--types", types)
	y.webhook, y.receiver.secret = webhook.ID, webhook.Secret
	return y
}

// verb runs a verb that must succeed.
func (y *year) verb(t *testing.T, arguments ...string) string {
	t.Helper()
	r := y.server.Verb(t, arguments...)
	if r.Code != 0 {
		t.Fatalf("understudy %s: exit code %d: %s", strings.Join(arguments, " "), r.Code, r.Stderr)
	}
	return r.Stdout
}

// read runs a verb and reads its JSON.
func (y *year) read(t *testing.T, into any, arguments ...string) {
	t.Helper()
	text := y.verb(t, append(arguments, "-o", "json")...)
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("understudy %s: %v\n%s", strings.Join(arguments, " "), err, text)
	}
}

// enrol enrols a device anew, with Debian's scepclient or with strongSwan, and
// returns the certificate's serial. The client finds the certificate good by
// its own clock, which nobody moves.
func (y *year) enrol(t *testing.T, cn string) string {
	t.Helper()
	with := scepclient("/usr/bin/scepclient")
	if strings.HasSuffix(cn, "3") {
		with = strongSwan("aes", "sha256")
	}
	path, err := with(t, y.target, t.TempDir(), cn)
	if err != nil {
		t.Fatal(err)
	}
	return certificateSerial(t, path)
}

// clock moves the server's clock.
func (y *year) clock(t *testing.T, to time.Time) {
	t.Helper()
	y.verb(t, "lab", "clock", "set", stamp(to))
}

func stamp(at time.Time) string { return at.UTC().Format(time.RFC3339) }

// ends notes when certificates end.
func (y *year) ends(t *testing.T, certificates ...string) {
	t.Helper()
	for _, serial := range certificates {
		var c struct {
			NotAfter time.Time `json:"not_after"`
		}
		y.read(t, &c, "cert", "show", serial)
		if y.first.IsZero() || c.NotAfter.Before(y.first) {
			y.first = c.NotAfter
		}
		if c.NotAfter.After(y.last) {
			y.last = c.NotAfter
		}
	}
}

// due compares what `window list --state due` lists.
func (y *year) due(t *testing.T, want []string, more ...string) {
	t.Helper()
	var list struct{ Items []struct{ ID string } }
	y.read(t, &list, append([]string{"window", "list", "--state", "due"}, more...)...)
	var got []string
	for _, item := range list.Items {
		got = append(got, strings.TrimPrefix(item.ID, "rd_"))
	}
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("due %v: %q, want %q", more, got, want)
	}
}

// states compares where certificates stand, one by one and in sum.
func (y *year) states(t *testing.T, want map[string]string) {
	t.Helper()
	for serial, state := range want {
		var item struct{ State string }
		if y.read(t, &item, "window", "show", serial); item.State != state {
			t.Errorf("certificate %s is %s, want %s", serial, item.State, state)
		}
	}
}

// tells compares what the receiver was told, with the server's own events too.
func (y *year) tells(t *testing.T, want map[string][]string) {
	t.Helper()
	var events struct{ Items []notice }
	y.read(t, &events, "events", "--limit", "500")
	var about []string
	for _, e := range events.Items {
		if strings.HasPrefix(e.Type, "certificate.") || strings.HasPrefix(e.Type, "redistribution.") {
			about = append(about, e.ID)
		}
	}
	y.receiver.await(t, about)
	for serial, types := range want {
		if got := y.receiver.story(serial); !slices.Equal(got, types) {
			t.Errorf("of %s the receiver was told %q, want %q", serial, got, types)
		}
	}
	var webhook struct{ Waiting, Dead int }
	for end := time.Now().Add(clientLimit); ; time.Sleep(5 * time.Millisecond) {
		if y.read(t, &webhook, "webhook", "show", y.webhook); webhook.Waiting == 0 || time.Now().After(end) {
			break
		}
	}
	if webhook.Waiting != 0 || webhook.Dead != 0 {
		t.Errorf("%d events wait and %d were given up", webhook.Waiting, webhook.Dead)
	}
}

// TestYearSurvivesRestarts kills the server after each step of a year; nothing
// is told twice or forgotten.
func TestYearSurvivesRestarts(t *testing.T) {
	t.Parallel()
	y := newYear(t)
	serial := y.enrol(t, "C02XLYEAR011")
	y.ends(t, serial)
	for _, to := range []time.Time{y.first.Add(-30 * day), y.first.Add(-time.Second), y.first} {
		y.killed(t)
		y.clock(t, to)
	}
	y.killed(t)
	var events struct{ Items []notice }
	y.read(t, &events, "events", "--limit", "500")
	var about []string
	for _, e := range events.Items {
		if e.CertificateSerial == serial {
			about = append(about, strings.TrimPrefix(e.Type, "redistribution."))
		}
	}
	if want := []string{"certificate.issued", "due", "missed"}; !slices.Equal(about, want) {
		t.Errorf("events %q, want %q", about, want)
	}
}

// TestYearIsSettled asks for what follows from a move of the clock the moment
// that the move is answered.
func TestYearIsSettled(t *testing.T) {
	t.Parallel()
	y := newYear(t)
	serial := y.enrol(t, "C02XLYEAR021")
	y.ends(t, serial)
	for _, step := range []struct {
		to   time.Time
		want string
	}{
		{y.first.Add(-30 * day), "redistribution.due"},
		{y.first.Add(-28 * day), "redistribution.stalled"},
		{y.first, "redistribution.missed"},
	} {
		if step.want == "redistribution.stalled" {
			y.verb(t, "window", "ack", serial)
		}
		if status, answer := y.server.Admin(t, http.MethodPut, "/lab/clock", fmt.Sprintf(`{"at":%q}`, stamp(step.to))); status != http.StatusOK {
			t.Fatalf("move the clock: status %d: %s", status, answer)
		}
		_, answer := y.server.Admin(t, http.MethodGet, "/api/v1/events?types="+step.want, "")
		if !strings.Contains(string(answer), serial) {
			t.Errorf("when the clock was at %s there was no %s", stamp(step.to), step.want)
		}
	}
}

// killed ends the server as kill -9 does, and starts another one on its data.
func (y *year) killed(t *testing.T) {
	t.Helper()
	y.server.Kill()
	y.server = understudy.Start(t, program.Options{Data: y.server.Data, Arguments: []string{"--lab", "--webhook-allow", "127.0.0.1"}})
	y.url = y.server.SCEPURL
	if y.url == "" {
		t.Fatal(fmt.Errorf("%s: no SCEP URL", filepath.Base(y.server.Data)))
	}
}
