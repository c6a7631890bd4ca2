package program

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Microsoft is a running `understudy fake-microsoft`.
type Microsoft struct {
	Authority      string `json:"authority_url"`
	GraphURL       string `json:"graph_url"`
	IntuneResource string `json:"intune_resource"`
	CAFile         string `json:"ca_file"`
	Tenant         string `json:"tenant"`
	ClientID       string `json:"client_id"`
	ClientSecret   string `json:"client_secret"`
	LabURL         string `json:"lab_url"`

	SecretFile string // holds ClientSecret
	client     *http.Client
}

// A MicrosoftCall is one call in its record.
type MicrosoftCall struct {
	Service string   `json:"service"`
	Body    string   `json:"body"`
	Status  int      `json:"status"`
	Code    string   `json:"code"`
	Strange []string `json:"strange"`
}

// StartMicrosoft runs `fake-microsoft` on a free port until the test ends.
func (b Binary) StartMicrosoft(t testing.TB, arguments ...string) *Microsoft {
	t.Helper()
	dir := t.TempDir()
	command := exec.Command(string(b), append([]string{"fake-microsoft", "--json", "--listen", "127.0.0.1:0",
		"--ca-out", filepath.Join(dir, "microsoft.pem")}, arguments...)...)
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatalf("start fake-microsoft: %v", err)
	}
	t.Cleanup(func() {
		command.Process.Kill()
		command.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	m := &Microsoft{SecretFile: filepath.Join(dir, "client-secret")}
	if err == nil {
		err = json.Unmarshal([]byte(line), m)
	}
	if err != nil {
		t.Fatalf("read the ready line %q of fake-microsoft: %v", line, err)
	}
	if err := os.WriteFile(m.SecretFile, []byte(m.ClientSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := os.ReadFile(m.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(root)
	m.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}, Timeout: time.Minute}
	return m
}

// Lab uses one of its controls; path begins with a slash. The answer is put
// into into, if that is not nil.
func (m *Microsoft) Lab(t testing.TB, method, path, body string, into any) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, m.LabURL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := m.client.Do(request)
	if err != nil {
		t.Fatalf("%s %s of the fake cloud: %v", method, path, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode > 299 {
		t.Fatalf("%s %s of the fake cloud: status %d, %v: %s", method, path, response.StatusCode, err, answer)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(answer, into); err != nil {
		t.Fatalf("%s %s of the fake cloud: %v", method, path, err)
	}
}

// Challenge is what Intune gives a device that is to ask for a subject.
func (m *Microsoft) Challenge(t testing.TB, subject string) string {
	t.Helper()
	body, err := json.Marshal(map[string]string{"subject": subject})
	if err != nil {
		t.Fatal(err)
	}
	var given struct{ Challenge string }
	m.Lab(t, http.MethodPost, "/intune/challenges", string(body), &given)
	return given.Challenge
}

// Calls is what a service was asked since ForgetCalls.
func (m *Microsoft) Calls(t testing.TB, service string) []MicrosoftCall {
	t.Helper()
	var all struct{ Items []MicrosoftCall }
	m.Lab(t, http.MethodGet, "/calls", "", &all)
	var calls []MicrosoftCall
	for _, c := range all.Items {
		if c.Service == service {
			calls = append(calls, c)
		}
	}
	return calls
}

// ForgetCalls empties the record.
func (m *Microsoft) ForgetCalls(t testing.TB) {
	t.Helper()
	m.Lab(t, http.MethodDelete, "/calls", "", nil)
}

// Fail arms a fault, given in JSON.
func (m *Microsoft) Fail(t testing.TB, fault string) {
	t.Helper()
	m.Lab(t, http.MethodPost, "/faults", fault, nil)
}

// Heal takes every fault away.
func (m *Microsoft) Heal(t testing.TB) {
	t.Helper()
	m.Lab(t, http.MethodDelete, "/faults", "", nil)
}

// AwaitFaults returns when every fault has spoiled as many calls as it should.
func (m *Microsoft) AwaitFaults(t testing.TB) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		var all struct{ Items []any }
		m.Lab(t, http.MethodGet, "/faults", "", &all)
		if len(all.Items) == 0 {
			return
		}
	}
	t.Fatal("the faults of the fake cloud spoil no calls")
}

// Configuration is a configuration of a server that asks Microsoft.
type Configuration struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	SCEPURL string `json:"scep_url"`
}

// Configure adds a configuration of mode intune to a server. Without arguments
// it proves itself by the client secret.
func (m *Microsoft) Configure(t testing.TB, s *Server, name string, credential ...string) Configuration {
	t.Helper()
	if len(credential) == 0 {
		credential = []string{"--client-secret-file", m.SecretFile}
	}
	r := s.Verb(t, append([]string{"config", "add", name, "--mode", "intune", "--authority", m.Authority, "--graph-url", m.GraphURL,
		"--intune-resource", m.IntuneResource, "--ca-file", m.CAFile, "--tenant", m.Tenant, "--client-id", m.ClientID, "-o", "json"}, credential...)...)
	var c Configuration
	if err := json.Unmarshal([]byte(r.Stdout), &c); err != nil || r.Code != 0 {
		t.Fatalf("config add %s: exit code %d, %v\n%s%s", name, r.Code, err, r.Stdout, r.Stderr)
	}
	return c
}
