package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// answersAsked is how many times each answer that never changes is asked for.
const answersAsked = 5000

// answers measures the CPU of the server for a GetCACaps and a GetCACert, over
// one connection that is kept.
func (h *house) answers(ctx context.Context, p *process, c *cell) (err error) {
	if c.Caps, err = p.answer(ctx, "GetCACaps"); err == nil {
		c.Cert, err = p.answer(ctx, "GetCACert")
	}
	return err
}

func (p *process) answer(ctx context.Context, operation string) (time.Duration, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: 1}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	ask := func() error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"?operation="+operation, nil)
		if err != nil {
			return err
		}
		answer, err := client.Do(r)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, answer.Body)
		if err = errors.Join(err, answer.Body.Close()); err == nil && answer.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s", operation, answer.Status)
		}
		return err
	}
	for range 200 {
		if err := ask(); err != nil {
			return 0, err
		}
	}
	before, err := cpuOf(p.command.Process.Pid)
	for range answersAsked {
		err = errors.Join(err, ask())
	}
	after, err2 := cpuOf(p.command.Process.Pid)
	return (after - before) / answersAsked, errors.Join(err, err2)
}

// cpuOf is the CPU time of a process so far, in steps of 10 ms. taskset has
// become the server by exec, so its process is the server's.
func cpuOf(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err, err2)
}
