package main

import (
	"bufio"
	"context"
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
	"time"
)

// build builds the binary that is measured.
func build(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "understudy")
	command := exec.CommandContext(ctx, "go", "build", "-o", path, "./cmd/understudy")
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build understudy (from the module's root): %w\n%s", err, out)
	}
	return path, nil
}

// A store is a server on a seeded data directory.
type store struct {
	size    int
	seeded  time.Duration // 0: it was there
	started time.Duration
	bytes   int64 // of all its files
	command *exec.Cmd
	admin   string
	token   string
	client  *http.Client
}

// open seeds a store, unless it is there, and starts a server on it.
func open(ctx context.Context, binary, dir string, n int) (*store, error) {
	s := &store{size: n, client: &http.Client{Timeout: 10 * time.Minute}}
	data := filepath.Join(dir, fmt.Sprint("store-", n))
	if _, err := os.Stat(data); err != nil {
		begin := time.Now()
		seed := exec.CommandContext(ctx, binary, "seed", "--lab", "--data", data, "-n", fmt.Sprint(n))
		if out, err := seed.CombinedOutput(); err != nil {
			os.RemoveAll(data)
			return nil, fmt.Errorf("seed %d: %w\n%s", n, err, out)
		}
		s.seeded = time.Since(begin)
	}
	if err := s.start(binary, data); err != nil {
		return nil, err
	}
	err := filepath.WalkDir(data, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			s.bytes += info.Size()
		}
		return err
	})
	return s, err
}

// start runs the server until it says that it is ready.
func (s *store) start(binary, data string) error {
	begin := time.Now()
	s.command = exec.Command(binary, "serve", "--json", "--data", data, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	s.command.Stderr = io.Discard
	stdout, err := s.command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.command.Start(); err != nil {
		return fmt.Errorf("start server of %d: %w", s.size, err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	s.started = time.Since(begin)
	var ready struct {
		AdminURL       string `json:"admin_url"`
		AdminTokenFile string `json:"admin_token_file"`
	}
	if err == nil {
		err = json.Unmarshal([]byte(line), &ready)
	}
	if err != nil {
		return fmt.Errorf("server of %d: read its ready line %q: %w", s.size, line, err)
	}
	token, err := os.ReadFile(ready.AdminTokenFile)
	s.admin, s.token = ready.AdminURL, strings.TrimSpace(string(token))
	return err
}

func (s *store) stop() error {
	if s.command == nil || s.command.Process == nil {
		return nil
	}
	if err := s.command.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return s.command.Wait()
}

// get asks the admin API and returns the answer.
func (s *store) get(ctx context.Context, path string, query url.Values) ([]byte, error) {
	body, err := s.ask(ctx, path, query)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

// drain asks for an answer of any length and throws it away.
func (s *store) drain(ctx context.Context, path string, query url.Values) error {
	body, err := s.ask(ctx, path, query)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(io.Discard, body)
	return err
}

func (s *store) ask(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.admin+"/api/v1"+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+s.token)
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		defer response.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		return nil, fmt.Errorf("%s of the store of %d: status %d: %s", path, s.size, response.StatusCode, text)
	}
	return response.Body, nil
}
