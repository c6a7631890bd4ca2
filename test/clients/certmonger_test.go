//go:build clients

package clients

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// certmonger is its daemon, in a D-Bus session and in directories of its own.
type certmonger struct {
	dir string
	env []string
}

// session starts the daemon behind a bus, shows the bus's address, and ends
// both when its standard input does.
const session = `/usr/lib/certmonger/certmonger-session -n -d 3 >daemon.log 2>&1 &
echo "$DBUS_SESSION_BUS_ADDRESS"
cat >/dev/null
kill $!
wait
`

// startCertmonger starts the daemon and tells it about the CA at it, then
// waits until it has learned the CA's capabilities: a request made before that
// is refused.
func startCertmonger(t *testing.T, it target, dir string) *certmonger {
	t.Helper()
	m := &certmonger{dir: dir, env: []string{"HOME=" + dir}}
	for variable, sub := range map[string]string{
		"CERTMONGER_CONFIG_DIR": "conf", "CERTMONGER_REQUESTS_DIR": "requests", "CERTMONGER_CAS_DIR": "cas",
		"CERTMONGER_LOCAL_CA_DIR": "local", "CERTMONGER_TMPDIR": "tmp",
	} {
		path := filepath.Join(dir, sub)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		m.env = append(m.env, variable+"="+path)
	}
	m.startDaemon(t, it)
	// The daemon takes its name on the bus a moment after it was started.
	add := []string{"add-scep-ca", "-s", "-c", "lab", "-u", it.url}
	if it.shape == "single" { // it cannot chain a reply to a CA that it was not given
		add = append(add, "-N", it.root)
	}
	if it.tlsCA != "" {
		add = append(add, "-R", it.tlsCA)
	}
	m.until(t, "the CA is added", func() bool {
		_, err := m.getcert(t, add...)
		return err == nil
	})
	m.until(t, "the capabilities are learned", func() bool {
		files, _ := filepath.Glob(filepath.Join(dir, "cas", "*"))
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err == nil && strings.Contains(string(b), "ca_capabilities=") {
				return true
			}
		}
		return false
	})
	return m
}

func (m *certmonger) startDaemon(t *testing.T, it target) {
	t.Helper()
	name, arguments := trusting(it, "dbus-run-session", "--", "sh", "-c", session)
	c := exec.Command(name, arguments...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Dir = m.dir
	c.Env = append(os.Environ(), m.env...)
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		c.Wait()
		// Its helpers outlive it by a moment, and write.
		syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		m.until(t, "its helpers are gone", func() bool {
			return errors.Is(syscall.Kill(-c.Process.Pid, 0), syscall.ESRCH)
		})
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(m.dir, "daemon.log"))
			t.Logf("certmonger's log:\n%s", log[max(0, len(log)-4000):])
		}
	})
	address, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("start certmonger: %v", err)
	}
	m.env = append(m.env, "DBUS_SESSION_BUS_ADDRESS="+strings.TrimSpace(address))
}

func (m *certmonger) getcert(t *testing.T, arguments ...string) (string, error) {
	t.Helper()
	return command(t, m.dir, m.env, "getcert", arguments...)
}

// until polls, since nothing else tells what the daemon has done.
func (m *certmonger) until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(clientLimit); !done(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("certmonger: not within %v: %s", clientLimit, what)
		}
	}
}

// request asks for a certificate and returns the status that certmonger comes
// to rest at.
func (m *certmonger) request(t *testing.T, it target, cn string) string {
	t.Helper()
	if out, err := m.getcert(t, "request", "-s", "-c", "lab", "-I", "req1", "-k", m.path("key.pem"), "-f", m.path("cert.pem"),
		"-N", "CN="+cn, "-L", it.challenge, "-g", "2048", "-G", "rsa"); err != nil {
		t.Fatalf("getcert request: %v\n%s", err, out)
	}
	return m.rest(t)
}

var statusLine = regexp.MustCompile(`(?m)^\s*status: (\S+)$`)

// rest waits for a status that does not change by itself.
func (m *certmonger) rest(t *testing.T) string {
	t.Helper()
	status := ""
	m.until(t, "a final status", func() bool {
		list, err := m.getcert(t, "list", "-s", "-i", "req1")
		found := statusLine.FindStringSubmatch(list)
		if err != nil || found == nil {
			return false
		}
		status = found[1]
		switch status {
		case "MONITORING", "CA_REJECTED", "CA_UNREACHABLE", "CA_UNCONFIGURED", "CA_WORKING", "NEED_GUIDANCE":
			return true
		}
		return false
	})
	return status
}

func (m *certmonger) path(name string) string { return filepath.Join(m.dir, name) }

func enrolWithCertmonger(t *testing.T, it target, dir, cn string) (string, error) {
	m := startCertmonger(t, it, dir)
	if status := m.request(t, it, cn); status != "MONITORING" {
		list, _ := m.getcert(t, "list", "-s")
		return "", fmt.Errorf("certmonger: status %s\n%s", status, list)
	}
	return m.path("cert.pem"), nil
}
