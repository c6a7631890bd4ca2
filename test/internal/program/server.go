package program

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Options of a server process.
type Options struct {
	Data      string   // the data directory; empty: a fresh one
	Arguments []string // after the listeners, --data and --json
	Env       []string // added to the test's own
}

// Ready is the line that `serve --json` prints when every listener is up.
type Ready struct {
	SCEPURL        string `json:"scep_url"`
	SecretKey      string `json:"secret_key"`
	CASHA256       string `json:"ca_sha256"`
	RootSHA256     string `json:"root_sha256"`
	RootSHA1       string `json:"root_sha1"`
	AdminURL       string `json:"admin_url"`
	AdminTokenFile string `json:"admin_token_file"`
	Version        string `json:"version"`
}

// A Server is a running `understudy serve`.
type Server struct {
	Ready
	Binary  Binary
	Data    string
	LogFile string // its standard error
	Stdout  string // what it printed up to and including the ready line
	command *exec.Cmd
	ended   chan error
}

// startLimit bounds the time to the ready line. The keys of a new authority
// are made in it, on a machine that may be busy.
const startLimit = 2 * time.Minute

// Start runs `serve` on free loopback ports and waits for its ready line. The
// process is killed when the test ends, and a failed test shows the end of its
// log.
func (b Binary) Start(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := b.TryStart(t, o)
	if err != nil {
		t.Fatalf("start understudy: %v", err)
	}
	return s
}

// TryStart is Start for a test that expects the start to fail.
func (b Binary) TryStart(t testing.TB, o Options) (*Server, error) {
	t.Helper()
	dependOnSources(t)
	if o.Data == "" {
		o.Data = filepath.Join(t.TempDir(), "data")
	}
	log, err := os.CreateTemp(t.TempDir(), "server-*.log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s := &Server{Binary: b, Data: o.Data, LogFile: log.Name(), ended: make(chan error, 1)}
	arguments := append([]string{"serve", "--json", "--data", o.Data,
		"--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}, o.Arguments...)
	s.command = exec.Command(string(b), arguments...)
	s.command.Env = append(os.Environ(), o.Env...)
	s.command.Stderr = log
	stdout, err := s.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.command.Start(); err != nil {
		return nil, err
	}
	t.Cleanup(func() { s.cleanUp(t) })
	return s, s.awaitReady(stdout)
}

func (s *Server) awaitReady(stdout io.Reader) error {
	line := make(chan string, 1)
	go func() {
		r := bufio.NewReader(stdout)
		first, _ := r.ReadString('\n')
		line <- first
		io.Copy(io.Discard, r)
		s.ended <- s.command.Wait()
	}()
	select {
	case s.Stdout = <-line:
	case <-time.After(startLimit):
		return fmt.Errorf("not ready after %v:\n%s", startLimit, s.logTail())
	}
	if err := json.Unmarshal([]byte(s.Stdout), &s.Ready); err != nil {
		s.command.Process.Kill()
		<-s.ended
		s.ended <- nil
		return fmt.Errorf("read the ready line %q: %w\n%s", s.Stdout, err, s.logTail())
	}
	return nil
}

func (s *Server) cleanUp(t testing.TB) {
	s.Kill()
	if t.Failed() {
		t.Logf("end of the server's log:\n%s", s.logTail())
	}
}

// PID is the server's process id.
func (s *Server) PID() int { return s.command.Process.Pid }

// Kill ends the process as kill -9 does and waits until it is gone.
func (s *Server) Kill() {
	s.command.Process.Kill()
	err := <-s.ended
	s.ended <- err
}

// Stop asks the process to end and returns how it ended.
func (s *Server) Stop() error {
	if err := s.command.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop understudy: %w", err)
	}
	select {
	case err := <-s.ended:
		s.ended <- err
		return err
	case <-time.After(time.Minute):
		return fmt.Errorf("stop understudy: still running after a minute")
	}
}

// Log returns everything that the server wrote to standard error so far.
func (s *Server) Log() string {
	b, err := os.ReadFile(s.LogFile)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (s *Server) logTail() string {
	lines := strings.Split(strings.TrimSpace(s.Log()), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

// Verb runs a verb of the command line against this server.
func (s *Server) Verb(t testing.TB, arguments ...string) Result {
	t.Helper()
	env := []string{"UNDERSTUDY_SERVER=" + s.AdminURL, "UNDERSTUDY_TOKEN_FILE=" + s.AdminTokenFile}
	return s.Binary.Run(t, env, arguments...)
}

// Admin sends a request to the admin API and returns its status and body.
// path begins with a slash.
func (s *Server) Admin(t testing.TB, method, path, body string) (int, []byte) {
	t.Helper()
	token, err := os.ReadFile(s.AdminTokenFile)
	if err != nil {
		t.Fatalf("read the admin token: %v", err)
	}
	base, err := url.Parse(s.AdminURL)
	if err != nil {
		t.Fatalf("parse the admin URL: %v", err)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, base.Scheme+"://"+base.Host+path, strings.NewReader(body))
	if err != nil {
		t.Fatalf("make admin request: %v", err)
	}
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return response.StatusCode, answer
}

// TLSRoot is where a server that runs with --tls-self keeps the certificate
// that its clients must trust.
func (s *Server) TLSRoot() string { return filepath.Join(s.Data, "tls-root.pem") }

// Public fetches a path from the public listener, such as /root.pem, and fails
// the test unless the status is 200.
func (s *Server) Public(t testing.TB, path string) []byte {
	t.Helper()
	base, err := url.Parse(s.SCEPURL)
	if err != nil {
		t.Fatalf("parse the SCEP URL: %v", err)
	}
	client := http.DefaultClient
	if base.Scheme == "https" {
		pem, err := os.ReadFile(s.TLSRoot())
		if err != nil {
			t.Fatalf("read the TLS root: %v", err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}
	}
	response, err := client.Get(base.Scheme + "://" + base.Host + path)
	if err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: status %d, %v", path, response.StatusCode, err)
	}
	return body
}
