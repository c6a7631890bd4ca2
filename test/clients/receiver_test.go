//go:build clients

package clients

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// failures is how often a receiver fails before it takes an event.
const failures = 2

// A notice is an event as a receiver gets it.
type notice struct {
	ID        string    `json:"id"`
	Type      string    `json:"type"`
	CreatedAt time.Time `json:"created_at"`
	Data      struct {
		ID                string `json:"id"`
		State             string `json:"state"`
		CertificateSerial string `json:"certificate_serial"`
	} `json:"data"`
	CertificateSerial string `json:"certificate_serial"`
}

// A receiver is an MDM's end of a webhook. It fails twice for each event, and
// it checks every signature with nothing of ours.
type receiver struct {
	url    string
	secret string // set before the first event

	mu         sync.Mutex
	attempts   map[string]int // by event
	taken      map[string]notice
	complaints []string
	changed    chan struct{} // closed at the next delivery
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{attempts: map[string]int{}, taken: map[string]notice{}, changed: make(chan struct{})}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.url = server.URL + "/hook"
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() {
		close(r.changed)
		r.changed = make(chan struct{})
	}()
	if err == nil {
		err = r.verify(request, body)
	}
	var n notice
	if err == nil {
		err = json.Unmarshal(body, &n)
	}
	if err != nil {
		r.complaints = append(r.complaints, fmt.Sprintf("%v: %s", err, body))
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.attempts[n.ID]++
	if r.attempts[n.ID] <= failures {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	if _, twice := r.taken[n.ID]; twice {
		r.complaints = append(r.complaints, n.ID+" came again after it was taken")
	}
	r.taken[n.ID] = n
	w.WriteHeader(http.StatusNoContent)
}

// verify checks X-Signature. Its time is the real one, not the lab's.
func (r *receiver) verify(request *http.Request, body []byte) error {
	fields := map[string]string{}
	for _, part := range strings.Split(request.Header.Get("X-Signature"), ",") {
		name, value, _ := strings.Cut(part, "=")
		fields[name] = value
	}
	mac := hmac.New(sha256.New, []byte(r.secret))
	fmt.Fprintf(mac, "%s.%s", fields["t"], body)
	at, err := strconv.ParseInt(fields["t"], 10, 64)
	switch {
	case err != nil:
		return err
	case hex.EncodeToString(mac.Sum(nil)) != fields["v1"]:
		return fmt.Errorf("signature %q is not good", request.Header.Get("X-Signature"))
	case time.Since(time.Unix(at, 0)).Abs() > time.Minute:
		return fmt.Errorf("signed at %v", time.Unix(at, 0))
	case request.Header.Get("X-Delivery") == "":
		return fmt.Errorf("it has no X-Delivery")
	}
	return nil
}

// story is what was taken about a certificate, as it happened.
func (r *receiver) story(certificateSerial string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var types []string
	for _, id := range r.inOrder() {
		if n := r.taken[id]; n.CertificateSerial == certificateSerial {
			types = append(types, n.Type)
		}
	}
	return types
}

// inOrder returns the ids of what was taken, which sort as events happened.
func (r *receiver) inOrder() []string {
	var ids []string
	for id := range r.taken {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// await waits until these events were taken, and no others; each took one
// attempt more than it should fail.
func (r *receiver) await(t *testing.T, want []string) {
	t.Helper()
	limit := time.After(clientLimit)
	for {
		r.mu.Lock()
		complete, changed := len(r.taken) >= len(want), r.changed
		r.mu.Unlock()
		if complete {
			break
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("%d of %d events came within %v", len(r.taken), len(want), clientLimit)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if got := r.inOrder(); !slices.Equal(got, want) {
		t.Errorf("events %q were delivered, want %q", got, want)
	}
	for id, n := range r.attempts {
		if n != failures+1 {
			t.Errorf("%s came %d times, want %d", id, n, failures+1)
		}
	}
	for _, complaint := range r.complaints {
		t.Errorf("the receiver complains: %s", complaint)
	}
}
