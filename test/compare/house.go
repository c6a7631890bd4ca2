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
// messages, or finds what an earlier run with the same plan made of them.
func newHouse(ctx context.Context, p plan) (*house, error) {
	dir := filepath.Join(p.peers, fmt.Sprintf("house-%d-%d", p.count, p.growthRounds))
	if p.fresh {
		if err := os.RemoveAll(dir); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	h := &house{plan: p, dir: dir, understudy: filepath.Join(dir, "bin-understudy")}
	ready := filepath.Join(dir, "ready")
	if _, err := os.Stat(ready); err == nil {
		fmt.Fprintln(os.Stderr, "going on with what is in", dir)
	} else if err := h.furnish(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	h.servers = h.contestants()
	if boring := h.boringBinary(); isFile(boring) {
		h.servers = append(h.servers, h.boring(boring)...)
	}
	for i := range h.servers {
		h.place(&h.servers[i])
	}
	return h, os.WriteFile(ready, nil, 0o600)
}

func (h *house) boringBinary() string { return h.understudy + "-boring" }

// stepseed is the program that fills step-ca's database.
func (h *house) stepseed() string { return filepath.Join(h.dir, "bin-stepseed") }

func isFile(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (h *house) furnish(ctx context.Context) error {
	if err := h.build(ctx, h.understudy); err != nil {
		return err
	}
	if err := command(ctx, []string{"CGO_ENABLED=0"}, "go", "build", "-C", "test/compare/stepseed", "-o", h.stepseed(), "."); err != nil {
		return err
	}
	if err := h.install(ctx, "scepserver", micromdmModule); err != nil {
		return err
	}
	if err := h.install(ctx, "step-ca", stepModule, "CGO_ENABLED=0"); err != nil {
		return err
	}
	servers := h.contestants()
	if h.build(ctx, h.boringBinary(), "GOEXPERIMENT=boringcrypto", "CGO_ENABLED=1") == nil {
		servers = append(servers, h.boring(h.boringBinary())...)
	} else {
		fmt.Fprintln(os.Stderr, "no BoringCrypto build: is a C compiler there?")
	}
	for i := range servers {
		if err := h.prepare(ctx, &servers[i]); err != nil {
			return fmt.Errorf("prepare %s: %w", servers[i].name, err)
		}
	}
	return nil
}

func (h *house) build(ctx context.Context, path string, env ...string) error {
	return command(ctx, env, "go", "build", "-o", path, "./cmd/understudy")
}

// install installs a module's command unless it is there.
func (h *house) install(ctx context.Context, name, module string, env ...string) error {
	if isFile(filepath.Join(h.plan.peers, name)) {
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

// place says where a server's template directory and messages are.
func (h *house) place(s *server) {
	s.template, s.messages = filepath.Join(h.dir, s.name), filepath.Join(h.dir, s.set+".messages")
}

// prepare makes a server's template directory and its messages, once.
func (h *house) prepare(ctx context.Context, s *server) error {
	h.place(s)
	if err := os.MkdirAll(s.template, 0o700); err != nil {
		return err
	}
	if err := s.make(s.template); err != nil {
		return err
	}
	if isFile(s.messages) {
		return nil
	}
	running, err := h.start(ctx, s, s.template)
	if err != nil {
		return err
	}
	defer running.stop()
	return command(ctx, []string{"UNDERSTUDY_CHALLENGE=" + challenge}, h.understudy, "load", "--url", running.url,
		"--count", strconv.Itoa(h.plan.messages()), "--warm-up", "0", "--save", s.messages)
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
