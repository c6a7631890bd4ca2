//go:build clients

package clients

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A waiting is a request that the server lists for its operator.
type waiting struct {
	ID            string `json:"id"`
	State         string `json:"state"`
	TransactionID string `json:"transaction_id"`
	Subject       string `json:"subject"`
	Serial        string `json:"certificate_serial"`
}

// configure changes the configuration called default.
func configure(t *testing.T, it target, flags ...string) {
	t.Helper()
	if r := it.server.Verb(t, append([]string{"config", "set", "default"}, flags...)...); r.Code != 0 {
		t.Fatalf("understudy config set default %s: exit code %d: %s", strings.Join(flags, " "), r.Code, r.Stderr)
	}
}

// requests lists the requests in a state, as the command line shows them.
func requests(t *testing.T, it target, state string) []waiting {
	t.Helper()
	r := it.server.Verb(t, "request", "list", "--state", state, "-o", "json")
	var list struct {
		Items []waiting `json:"items"`
	}
	if err := json.Unmarshal([]byte(r.Stdout), &list); r.Code != 0 || err != nil {
		t.Fatalf("understudy request list: exit code %d, %v: %s%s", r.Code, err, r.Stdout, r.Stderr)
	}
	return list.Items
}

// decide waits for a request of the device and approves or denies it.
func decide(t *testing.T, it target, verb, cn string) waiting {
	t.Helper()
	for deadline := time.Now().Add(clientLimit); ; time.Sleep(100 * time.Millisecond) {
		for _, request := range requests(t, it, "pending") {
			if !strings.Contains(request.Subject, cn) {
				continue
			}
			if r := it.server.Verb(t, "request", verb, request.ID); r.Code != 0 {
				t.Fatalf("understudy request %s: exit code %d: %s", verb, r.Code, r.Stderr)
			}
			return request
		}
		if time.Now().After(deadline) {
			t.Fatalf("no pending request for %s within %v", cn, clientLimit)
		}
	}
}

// An enrolment is one that runs while the operator does something else.
type enrolment struct {
	certificate string
	err         error
}

// TestManualApproval has each client that can wait wait for its operator.
// strongSwan sends CertPoll, the two generations of scepclient send their
// PKCSReq again after half a minute.
func TestManualApproval(t *testing.T) {
	t.Parallel()
	it := newTarget(t, "chain")
	configure(t, it, "--approval", "manual")
	for _, c := range allClients() {
		if !strings.HasPrefix(c.name, "strongswan") && !strings.HasPrefix(c.name, "scepclient") {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cn := "C02XL0GTM" + strings.ToUpper(c.name[len(c.name)-3:])
			done := make(chan enrolment, 1)
			dir := t.TempDir()
			go func() {
				var e enrolment
				defer func() { done <- e }() // also when the client's failure ends this goroutine
				e.certificate, e.err = c.enrol(t, it, dir, cn)
			}()
			request := decide(t, it, "approve", cn)
			e := <-done
			if e.err != nil || e.certificate == "" {
				t.Fatalf("after approval: %v", e.err)
			}
			checkCertificate(t, it, e.certificate, append(c.extra, "CN="+cn))
			checkStored(t, it, e.certificate)
			for _, approved := range requests(t, it, "approved") {
				if approved.ID == request.ID && approved.Serial == certificateSerial(t, e.certificate) {
					return
				}
			}
			t.Errorf("request %s is not listed as approved with certificate %s", request.ID, certificateSerial(t, e.certificate))
		})
	}
}

// TestDenied shows that a client that polls understands that it is refused.
func TestDenied(t *testing.T) {
	t.Parallel()
	it, dir := newTarget(t, "single"), t.TempDir()
	configure(t, it, "--approval", "manual")
	done := make(chan enrolment, 1)
	go func() {
		var e enrolment
		defer func() { done <- e }()
		e.certificate, e.err = strongSwan("aes", "sha256")(t, it, dir, "C02XL0GTMDEN")
	}()
	decide(t, it, "deny", "C02XL0GTMDEN")
	if e := <-done; e.err == nil || !strings.Contains(e.err.Error(), "badRequest") {
		t.Errorf("strongSwan after the request was denied: %v", e.err)
	}
	checkDevices(t, it, map[device]int{})
}

// TestCertmongerWaits takes certmonger from CA_WORKING to MONITORING, and then
// through a second approval when it resubmits.
func TestCertmongerWaits(t *testing.T) {
	t.Parallel()
	it, dir := newTarget(t, "chain"), t.TempDir()
	configure(t, it, "--approval", "manual")
	m := startCertmonger(t, it, dir)
	if status := m.request(t, it, "C02XL0GTMCM1"); status != "CA_WORKING" {
		t.Fatalf("before approval: status %s", status)
	}
	decide(t, it, "approve", "C02XL0GTMCM1")
	m.refresh(t)
	first := certificateSerial(t, m.path("cert.pem"))
	checkCertificate(t, it, m.path("cert.pem"), []string{"CN=C02XL0GTMCM1"})

	if out, err := m.getcert(t, "resubmit", "-s", "-i", "req1"); err != nil {
		t.Fatalf("getcert resubmit: %v\n%s", err, out)
	}
	decide(t, it, "approve", "C02XL0GTMCM1")
	m.refresh(t)
	m.until(t, "another certificate", func() bool { return certificateSerial(t, m.path("cert.pem")) != first })
	checkDevices(t, it, map[device]int{{"C02XL0GTMCM1", ""}: 2})
}

// refresh makes certmonger ask again until it has its certificate.
func (m *certmonger) refresh(t *testing.T) {
	t.Helper()
	m.until(t, "MONITORING", func() bool {
		if m.rest(t) == "MONITORING" {
			return true
		}
		m.getcert(t, "refresh", "-s", "-i", "req1")
		return false
	})
}

// TestPendingSurvivesRestart has strongSwan wait while the server is killed
// and started again on the same ports' data.
func TestPendingSurvivesRestart(t *testing.T) {
	t.Parallel()
	it, dir := newTarget(t, "chain"), t.TempDir()
	configure(t, it, "--approval", "manual")
	m := startCertmonger(t, it, dir)
	if status := m.request(t, it, "C02XL0GTMRST"); status != "CA_WORKING" {
		t.Fatalf("before approval: status %s", status)
	}
	it = it.restarted(t)
	decide(t, it, "approve", "C02XL0GTMRST")
	m.refresh(t)
	if _, err := os.Stat(filepath.Join(dir, "cert.pem")); err != nil {
		t.Error(err)
	}
	checkStored(t, it, m.path("cert.pem"))
}
