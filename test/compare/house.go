package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// The challenge of every server.
const challenge = "0123456789abcdefABCDEF"

// Versions of the other servers.
const (
	micromdmModule = "github.com/micromdm/scep/v2/cmd/scepserver@v2.3.0"
	stepModule     = "github.com/smallstep/certificates/cmd/step-ca@v0.30.2"
)

// house is everything that the cells share.
type house struct {
	plan       plan
	dir        string
	understudy string // our binary
	servers    []server
}

// newHouse builds and installs the servers, makes the one CA, and saves the
// messages.
func newHouse(ctx context.Context, p plan) (*house, error) {
	dir, err := os.MkdirTemp("", "understudy-compare-")
	if err != nil {
		return nil, err
	}
	h := &house{plan: p, dir: dir, understudy: filepath.Join(dir, "bin-understudy")}
	if err := h.furnish(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return h, nil
}

func (h *house) furnish(ctx context.Context) error {
	if err := h.build(ctx, h.understudy); err != nil {
		return err
	}
	if err := h.install(ctx, "scepserver", micromdmModule); err != nil {
		return err
	}
	if err := h.install(ctx, "step-ca", stepModule, "CGO_ENABLED=0"); err != nil {
		return err
	}
	h.servers = h.contestants()
	if boring := h.understudy + "-boring"; h.build(ctx, boring, "GOEXPERIMENT=boringcrypto", "CGO_ENABLED=1") == nil {
		h.servers = append(h.servers, h.boring(boring)...)
	} else {
		fmt.Fprintln(os.Stderr, "no BoringCrypto build: is a C compiler there?")
	}
	for i := range h.servers {
		if err := h.prepare(ctx, &h.servers[i]); err != nil {
			return fmt.Errorf("prepare %s: %w", h.servers[i].name, err)
		}
	}
	return nil
}

func (h *house) build(ctx context.Context, path string, env ...string) error {
	return command(ctx, env, "go", "build", "-o", path, "./cmd/understudy")
}

// install installs a module's command unless it is there.
func (h *house) install(ctx context.Context, name, module string, env ...string) error {
	if _, err := os.Stat(filepath.Join(h.plan.peers, name)); err == nil {
		return nil
	}
	fmt.Fprintln(os.Stderr, "installing", module)
	return command(ctx, append(env, "GOBIN="+h.plan.peers), "go", "install", module)
}

func command(ctx context.Context, env []string, name string, arguments ...string) error {
	c := exec.CommandContext(ctx, name, arguments...)
	c.Env = append(os.Environ(), env...)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, arguments[0], err, out)
	}
	return nil
}

// prepare makes a server's template directory and its messages, once.
func (h *house) prepare(ctx context.Context, s *server) error {
	s.template = filepath.Join(h.dir, s.name)
	if err := os.MkdirAll(s.template, 0o700); err != nil {
		return err
	}
	if err := s.make(s.template); err != nil {
		return err
	}
	s.messages = filepath.Join(h.dir, s.set+".messages")
	if _, err := os.Stat(s.messages); err == nil {
		return nil
	}
	running, err := h.start(ctx, s, s.template)
	if err != nil {
		return err
	}
	defer running.stop()
	return command(ctx, []string{"UNDERSTUDY_CHALLENGE=" + challenge}, h.understudy, "load", "--url", running.url,
		"--count", strconv.Itoa(h.plan.count), "--warm-up", "20", "--save", s.messages)
}

// authority is the CA of all servers with one certificate: Understudy makes
// it, the others take it.
func (h *house) authority() (certificate, key []byte, err error) {
	dir := filepath.Join(h.dir, "understudy", "data", "authority")
	if certificate, err = os.ReadFile(filepath.Join(dir, "root.pem")); err != nil {
		return nil, nil, err
	}
	if key, err = os.ReadFile(filepath.Join(dir, "root.key.pem")); err != nil {
		return nil, nil, err
	}
	block, _ := pem.Decode(key)
	if block == nil {
		return nil, nil, errors.New("the CA's key is no PEM")
	}
	if _, err := x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
		return nil, nil, fmt.Errorf("read the CA's key: %w", err)
	}
	return certificate, key, nil
}

// A process is a server that runs.
type process struct {
	command *exec.Cmd
	url     string
	output  *bytes.Buffer
	took    time.Duration // from the start until it took a connection
}

// start runs a server on a directory, pinned, and waits until it listens.
func (h *house) start(ctx context.Context, s *server, dir string) (*process, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	arguments, err := s.command(dir, port)
	if err != nil {
		return nil, err
	}
	p := &process{output: new(bytes.Buffer), url: fmt.Sprintf("http://127.0.0.1:%d%s", port, s.path)}
	pinned := append([]string{"-c", strconv.Itoa(h.plan.serverCore)}, arguments...)
	p.command = exec.CommandContext(ctx, "taskset", pinned...)
	p.command.Dir = dir
	p.command.Env = append(os.Environ(), "UNDERSTUDY_STATIC_SECRET="+challenge)
	p.command.Stdout, p.command.Stderr = p.output, p.output
	begin := time.Now()
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	for time.Since(begin) < time.Minute {
		if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			p.took = time.Since(begin)
			c.Close()
			return p, nil
		}
		time.Sleep(2 * time.Millisecond)
	}
	p.stop()
	return nil, fmt.Errorf("%s does not listen:\n%s", s.name, p.output)
}

// stop asks the process to end, and ends it if it does not.
func (p *process) stop() {
	_ = p.command.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(10*time.Second, func() { _ = p.command.Process.Kill() })
	_ = p.command.Wait()
	late.Stop()
}

// copyDir copies with permissions: keys must stay private.
func copyDir(to, from string) error {
	return command(context.Background(), nil, "cp", "-a", from, to)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
