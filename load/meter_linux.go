package load

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ticksPerSecond is USER_HZ, which Linux keeps at 100 on every machine that Go
// runs on.
const ticksPerSecond = 100

// readTimes reads a process's CPU clock, in nanoseconds, and the parts from
// /proc, in ticks.
func readTimes(pid int) (processTimes, error) {
	var t processTimes
	var err error
	if t.total, err = cpuClock(int32(^pid<<3 | 2)); err != nil { // clock_getcpuclockid(3)
		return t, fmt.Errorf("process %d: %w", pid, err)
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return t, err
	}
	// Field 2, the name, may hold anything; the others follow its last ")".
	_, rest, _ := strings.Cut(string(text[strings.LastIndexByte(string(text), ')')+1:]), " ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return t, fmt.Errorf("process %d: /proc/%d/stat is too short", pid, pid)
	}
	for i, to := range []*time.Duration{&t.user, &t.system} {
		ticks, err := strconv.ParseInt(fields[11+i], 10, 64)
		if err != nil {
			return t, fmt.Errorf("process %d: %w", pid, err)
		}
		*to = time.Duration(ticks) * time.Second / ticksPerSecond
	}
	return t, nil
}

func cpuClock(id int32) (time.Duration, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(id, &now); err != nil {
		return 0, err
	}
	return time.Duration(now.Nano()), nil
}

// ownCPU is the CPU time of this process.
func ownCPU() time.Duration {
	now, err := cpuClock(unix.CLOCK_PROCESS_CPUTIME_ID)
	if err != nil {
		return 0
	}
	return now
}

// readMemory returns the most resident memory that a process ever had and its
// anonymous memory now, in bytes.
func readMemory(pid int) (peak, anonymous int64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		to := map[string]*int64{"VmHWM": &peak, "RssAnon": &anonymous}[name]
		if to == nil {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("/proc/%d/status: %s: %w", pid, name, err)
		}
		*to = kib << 10
	}
	if peak == 0 {
		return 0, 0, fmt.Errorf("/proc/%d/status has no VmHWM", pid)
	}
	return peak, anonymous, nil
}
