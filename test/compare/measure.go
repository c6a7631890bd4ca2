package main

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cell is one server at one concurrency and fill.
type cell struct {
	server      string
	concurrency int
	stored      int
	r           time.Duration // of the core, while the cell ran
	cost        float64       // R an enrolment
	rate        float64       // certificates a second
	p50, p99    time.Duration
	peak, anon  int64 // bytes
	start       time.Duration
	failed      string
}

func (c cell) String() string {
	if c.failed != "" {
		return fmt.Sprintf("%s c=%d stored=%d: %s", c.server, c.concurrency, c.stored, c.failed)
	}
	return fmt.Sprintf("%-22s c=%-2d stored=%-7d %.2f R (R %v) %.0f/s p50 %v p99 %v peak %d MiB start %v", c.server, c.concurrency,
		c.stored, c.cost, c.r.Round(10*time.Microsecond), c.rate, c.p50.Round(100*time.Microsecond),
		c.p99.Round(100*time.Microsecond), c.peak>>20, c.start.Round(time.Millisecond))
}

// measure runs one cell. What goes wrong stands in it.
func (h *house) measure(ctx context.Context, s server, concurrency, stored int) cell {
	c := cell{server: s.name, concurrency: concurrency, stored: stored}
	if err := h.fill(ctx, s, &c); err != nil {
		c.failed = err.Error()
	}
	return c
}

func (h *house) fill(ctx context.Context, s server, c *cell) error {
	dir := filepath.Join(h.dir, "cell")
	defer os.RemoveAll(dir)
	template, err := h.filled(s, c.stored)
	if err != nil {
		return err
	}
	if err := copyDir(dir, template); err != nil {
		return err
	}
	p, err := h.start(ctx, &s, dir)
	if err != nil {
		return err
	}
	defer p.stop()
	c.start = p.took
	reference, err := h.reference(ctx)
	if err != nil {
		return err
	}
	report, err := h.load(ctx, s, p, c.concurrency)
	r, referenceErr := reference()
	if err = errors.Join(err, referenceErr); err != nil {
		return err
	}
	c.r = r
	c.cost = float64(report.Server.CPU) * float64(time.Microsecond) / float64(c.r)
	c.rate = report.Rate
	c.p50, c.p99 = time.Duration(report.Latency.P50)*time.Microsecond, time.Duration(report.Latency.P99)*time.Microsecond
	c.peak, c.anon = report.Server.Peak, report.Server.Anonymous
	return nil
}

// filled returns a directory of a server with that many certificates, which is
// made once.
func (h *house) filled(s server, stored int) (string, error) {
	if stored == 0 {
		return s.template, nil
	}
	dir := filepath.Join(h.dir, fmt.Sprintf("%s-%d", s.name, stored))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := copyDir(dir, s.template); err != nil {
		return "", err
	}
	return dir, s.seed(dir, stored)
}

// measureVerb has this program measure R instead of comparing.
const measureVerb = "measure-r"

// report is what of understudy load's report is wanted here.
type report struct {
	Rate    float64 `json:"rate_per_second"`
	Failed  int     `json:"failed"`
	Latency struct {
		P50 int64 `json:"p50_us"`
		P99 int64 `json:"p99_us"`
	} `json:"latency"`
	Server struct {
		CPU       int64 `json:"cpu_per_request_us"`
		Peak      int64 `json:"peak_rss_bytes"`
		Anonymous int64 `json:"peak_anonymous_bytes"`
	} `json:"server"`
}

// load runs the generator on its own core.
func (h *house) load(ctx context.Context, s server, p *process, concurrency int) (*report, error) {
	c := exec.CommandContext(ctx, "taskset", "-c", strconv.Itoa(h.plan.core), h.understudy, "load", "--url", p.url,
		"--requests", s.messages, "--concurrency", strconv.Itoa(concurrency), "--pid", strconv.Itoa(p.command.Process.Pid), "-o", "json")
	var notes strings.Builder
	c.Stderr = &notes
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("load %s: %w: %s", s.name, err, notes.String())
	}
	var r report
	return &r, json.Unmarshal(out, &r)
}

// reference begins to measure R, in a process of its own on the servers' core:
// this program's, which is pure Go. The function that it returns ends that and
// returns the mean.
func (h *house) reference(ctx context.Context) (func() (time.Duration, error), error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := exec.CommandContext(ctx, "taskset", "-c", strconv.Itoa(h.plan.serverCore), self, measureVerb)
	end, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	out := new(strings.Builder)
	c.Stdout = out
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("measure R: %w", err)
	}
	return func() (time.Duration, error) {
		if err := errors.Join(end.Close(), c.Wait()); err != nil {
			return 0, fmt.Errorf("measure R: %w", err)
		}
		n, err := strconv.ParseInt(strings.TrimSpace(out.String()), 10, 64)
		return time.Duration(n), err
	}, nil
}

// measureR signs a few times every little while, until its standard input
// ends, and prints the mean CPU time of a signature in nanoseconds. It takes
// a tenth of the core. The neighbours that slow the server down slow it too.
func measureR() error {
	const burst, pause = 4, 50 * time.Millisecond
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	digest := sha256.Sum256([]byte("understudy"))
	var total time.Duration
	for n := int64(1); ; n += burst {
		begin := cpu()
		for range burst {
			if _, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:]); err != nil {
				return err
			}
		}
		if n > 1 { // the first burst warms up
			total += cpu() - begin
		}
		select {
		case <-ended:
			if n == 1 {
				return errors.New("the cell ended before R was measured")
			}
			_, err := fmt.Println(int64(total) / (n - 1))
			return err
		case <-time.After(pause):
		}
	}
}

func cpu() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		os.Exit(2)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
