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
	Server      string
	Concurrency int
	Stored      int
	Round       int
	R           time.Duration // of the core, while the cell ran
	Cost        float64       // R an enrolment
	Rate        float64       // certificates a second
	P50, P99    time.Duration
	Peak, Anon  int64 // bytes
	Start       time.Duration
	Caps, Cert  time.Duration // CPU of a GetCACaps and a GetCACert; 0: not asked for
	Failed      string
}

func (c cell) String() string {
	if c.Failed != "" {
		return fmt.Sprintf("%s c=%d stored=%d: %s", c.Server, c.Concurrency, c.Stored, c.Failed)
	}
	return fmt.Sprintf("%-22s c=%-2d stored=%-7d %.2f R (R %v) %.0f/s p50 %v p99 %v peak %d MiB start %v", c.Server, c.Concurrency,
		c.Stored, c.Cost, c.R.Round(10*time.Microsecond), c.Rate, c.P50.Round(100*time.Microsecond),
		c.P99.Round(100*time.Microsecond), c.Peak>>20, c.Start.Round(time.Millisecond))
}

// measure does one task. What goes wrong stands in the cell.
func (h *house) measure(ctx context.Context, w task) cell {
	c := cell{Server: w.server.name, Concurrency: w.concurrency, Stored: w.stored, Round: w.round}
	if err := h.fill(ctx, w, &c); err != nil {
		c.Failed = err.Error()
	}
	return c
}

// fill measures a cell: on a fresh copy of the empty store, or in the filled
// one, which a few hundred certificates more do not change and which would take
// longer to copy than to measure.
func (h *house) fill(ctx context.Context, w task, c *cell) error {
	dir := filepath.Join(h.dir, "cell")
	if w.stored > 0 {
		var err error
		if dir, err = h.filled(ctx, w.server, w.stored); err != nil {
			return err
		}
	} else {
		defer os.RemoveAll(dir)
		if err := copyDir(dir, w.server.template); err != nil {
			return err
		}
	}
	p, err := h.start(ctx, &w.server, dir)
	if err != nil {
		return err
	}
	defer p.stop()
	c.Start = p.took
	reference, err := h.reference(ctx)
	if err != nil {
		return err
	}
	if w.stored == 0 && w.concurrency == h.plan.concurrency[0] { // before the load, after which ours audits keys
		err = h.answers(ctx, p, c)
	}
	if err != nil {
		_, referenceErr := reference()
		return errors.Join(err, referenceErr)
	}
	report, err := h.load(ctx, w, p)
	r, referenceErr := reference()
	if err = errors.Join(err, referenceErr); err != nil {
		return err
	}
	c.R = r
	c.Cost = float64(report.Server.CPU) * float64(time.Microsecond) / float64(c.R)
	c.Rate = report.Rate
	c.P50, c.P99 = time.Duration(report.Latency.P50)*time.Microsecond, time.Duration(report.Latency.P99)*time.Microsecond
	c.Peak, c.Anon = report.Server.Peak, report.Server.Anonymous
	return nil
}

// filled returns a directory of a server with that many certificates, which is
// made once.
func (h *house) filled(ctx context.Context, s server, stored int) (string, error) {
	dir := filepath.Join(h.dir, fmt.Sprintf("%s-%d", s.name, stored))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	filling := filepath.Join(h.dir, "filling")
	defer os.RemoveAll(filling)
	if err := copyDir(filling, s.template); err != nil {
		return "", err
	}
	begin := time.Now()
	if err := s.seed(ctx, filling, stored); err != nil {
		return "", fmt.Errorf("store %d certificates: %w", stored, err)
	}
	fmt.Fprintf(os.Stderr, "%s: %d certificates stored in %v\n", s.name, stored, time.Since(begin).Round(time.Second))
	return dir, os.Rename(filling, dir)
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
func (h *house) load(ctx context.Context, w task, p *process) (*report, error) {
	skip := w.round % max(h.plan.growthRounds, 1) * h.plan.slice()
	c := exec.CommandContext(ctx, "taskset", "-c", strconv.Itoa(h.plan.core), h.understudy, "load", "--url", p.url,
		"--requests", w.server.messages, "--skip", strconv.Itoa(skip), "--count", strconv.Itoa(h.plan.count), "--warm-up", strconv.Itoa(warmUp),
		"--concurrency", strconv.Itoa(w.concurrency), "--pid", strconv.Itoa(p.command.Process.Pid), "-o", "json")
	var notes strings.Builder
	c.Stderr = &notes
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("load %s: %w: %s", w.server.name, err, notes.String())
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
