package reliability

import (
	"context"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"understudy.example/understudy/scep/client"
	"understudy.example/understudy/test/internal/program"
)

// TestR10_KillMoving kills the server at random moments while a lab moves its
// clock and a device enrols. The next process goes by the last move that was
// answered, or by the one that was asked for when the server died, and by no
// other; the log has every move that was answered, each once and in order; no
// certificate says that another time was in force; and the ledger holds.
func TestR10_KillMoving(t *testing.T) {
	options := program.Options{Data: filepath.Join(t.TempDir(), "data"), Arguments: []string{"--lab", "--rate-limit", "0"}}
	server := understudy.Start(t, options)
	secret := server.SecretKey
	var m mover
	rounds, interrupted := pick(4, 200), 0
	for round := range rounds {
		m.untilKilled(t, server, newFleet(t, server, secret), fmt.Sprintf("round-%d", round))
		if m.asked != m.answered {
			interrupted++
		}
		server = understudy.Start(t, options)
		m.look(t, server)
		if r := server.Verb(t, "audit", "verify"); r.Code != 0 {
			t.Errorf("audit verify: %s%s", r.Stdout, r.Stderr)
		}
		if t.Failed() {
			return
		}
		m.asked = m.answered
	}
	if err := server.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if r := understudy.Run(t, nil, "audit", "verify", "--data", options.Data); r.Code != 0 {
		t.Errorf("audit verify --data: %s%s", r.Stdout, r.Stderr)
	}
	if err := os.Remove(filepath.Join(options.Data, "store", "store.db")); err != nil {
		t.Fatal(err)
	}
	if r := understudy.Run(t, nil, "rebuild", "--data", options.Data); r.Code != 0 {
		t.Fatalf("rebuild: exit code %d: %s", r.Code, r.Stderr)
	}
	if moved := m.look(t, understudy.Start(t, options)); moved == 0 {
		t.Error("no certificate was issued under a moved clock")
	}
	t.Logf("%d rounds, %d moves, and %d under way at a death", rounds, len(m.moves), interrupted)
}

// A mover moves a clock further ahead each time, so that every move is known by
// its offset.
type mover struct {
	asked, answered int   // offsets in seconds: of the last move that was asked for, and answered
	moves           []int // all that are in force or were, in order
}

// untilKilled moves the clock and lets a device enrol, both as fast as it goes,
// and kills the server at a random moment after the first move.
func (m *mover) untilKilled(t *testing.T, server *program.Server, f *fleet, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	transport := &http.Transport{} // connections to a dead server are not kept
	defer transport.CloseIdleConnections()
	admin := &http.Client{Transport: transport}
	first, killed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var group sync.WaitGroup
	group.Go(func() {
		for ctx.Err() == nil {
			m.asked += 60
			if err := move(ctx, admin, server, m.asked); err != nil {
				afterError(t, killed, err)
				return
			}
			m.answered = m.asked
			m.moves = append(m.moves, m.answered)
			once.Do(func() { close(first) })
		}
	})
	requests := f.requests(t, name, 5)
	group.Go(func() {
		for _, r := range requests {
			// Not read: the device's clock is not the lab's.
			if _, err := f.scep.Send(ctx, r.Raw, client.POST); err != nil {
				afterError(t, killed, err)
				return
			}
		}
	})
	select {
	case <-first:
	case <-ctx.Done():
		t.Error("the clock was not moved within a minute")
	}
	time.Sleep(mathrand.N(latest)) // as in TestR1_Kill
	close(killed)
	server.Kill()
	group.Wait()
}

// look compares a server with the moves, and notes the one that was under way
// when the last died, if it came to pass. It returns how many certificates were
// issued under a moved clock.
func (m *mover) look(t *testing.T, server *program.Server) (moved int) {
	t.Helper()
	var now struct {
		OffsetSeconds int  `json:"offset_seconds"`
		Frozen        bool `json:"frozen"`
	}
	status, body := server.Admin(t, http.MethodGet, "/lab/clock", "")
	if err := json.Unmarshal(body, &now); err != nil || status != http.StatusOK || now.Frozen {
		t.Fatalf("clock: status %d, %v: %s", status, err, body)
	}
	switch now.OffsetSeconds {
	case m.answered:
	case m.asked:
		m.answered = m.asked
		m.moves = append(m.moves, m.asked)
	default:
		t.Errorf("the clock is %d s ahead; %d was answered and %d asked for", now.OffsetSeconds, m.answered, m.asked)
	}
	if told := movesTold(t, server); !slices.Equal(told, m.moves) {
		t.Errorf("the log tells of the moves %v; want %v", told, m.moves)
	}
	status, body = server.Admin(t, http.MethodGet, "/api/v1/certificates?limit=500", "")
	var issued struct {
		Items []struct {
			CertificateSerial  string `json:"certificate_serial"`
			ClockOffsetSeconds int    `json:"clock_offset_seconds"`
		} `json:"items"`
	}
	if err := json.Unmarshal(body, &issued); err != nil || status != http.StatusOK {
		t.Fatalf("certificates: status %d, %v: %s", status, err, body)
	}
	for _, c := range issued.Items {
		if c.ClockOffsetSeconds == 0 {
			continue
		}
		if moved++; !slices.Contains(m.moves, c.ClockOffsetSeconds) {
			t.Errorf("certificate %s was issued %d s ahead, which the clock never was", c.CertificateSerial, c.ClockOffsetSeconds)
		}
	}
	return moved
}

// movesTold are the moves of which the log tells.
func movesTold(t *testing.T, server *program.Server) (told []int) {
	t.Helper()
	for after := ""; ; {
		var page struct {
			Items []struct {
				OffsetSeconds int `json:"offset_seconds"`
			} `json:"items"`
			NextCursor *string `json:"next_cursor"`
		}
		status, body := server.Admin(t, http.MethodGet, "/api/v1/events?types=clock.moved&limit=500&after="+url.QueryEscape(after), "")
		if err := json.Unmarshal(body, &page); err != nil || status != http.StatusOK {
			t.Fatalf("events: status %d, %v: %s", status, err, body)
		}
		for _, e := range page.Items {
			told = append(told, e.OffsetSeconds)
		}
		if page.NextCursor == nil || len(page.Items) == 0 {
			break
		}
		after = *page.NextCursor
	}
	return told
}

// move sets a lab's clock ahead of the machine's.
func move(ctx context.Context, admin *http.Client, server *program.Server, seconds int) error {
	token, err := os.ReadFile(server.AdminTokenFile)
	if err != nil {
		return err
	}
	base, err := url.Parse(server.AdminURL)
	if err != nil {
		return err
	}
	body := fmt.Sprintf(`{"offset_seconds":%d}`, seconds)
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, base.Scheme+"://"+base.Host+"/lab/clock", strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	request.Header.Set("Content-Type", "application/json")
	_, err = do(admin, request)
	return err
}
