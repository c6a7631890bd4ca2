package load

import (
	"sync"
	"time"
)

// usage is what a run cost.
type usage struct {
	generator time.Duration // CPU of this process; 0 where it cannot be read
	server    *serverUsage
}

// serverUsage is read from the server's process.
type serverUsage struct {
	pid          int
	cpu          time.Duration // user and system, while the clock ran
	user, system time.Duration // the same in parts, in ticks of 10 ms
	peakRSS      int64         // bytes, since the process began (VmHWM)
	anonymous    int64         // bytes, the most that was seen while the clock ran (RssAnon)
}

// memoryEvery is how often the server's anonymous memory is looked at.
const memoryEvery = 50 * time.Millisecond

// meter reads the clocks of this process and the server's.
type meter struct {
	pid       int
	generator time.Duration
	begin     processTimes

	end       chan struct{}
	wait      sync.WaitGroup
	anonymous int64
}

// processTimes are a process's CPU times since it began.
type processTimes struct{ total, user, system time.Duration }

func newMeter(pid int) (*meter, error) {
	m := &meter{pid: pid, end: make(chan struct{})}
	if pid == 0 {
		return m, nil
	}
	if _, err := readTimes(pid); err != nil {
		return nil, err
	}
	_, _, err := readMemory(pid)
	return m, err
}

func (m *meter) start() {
	if m.pid != 0 {
		m.begin, _ = readTimes(m.pid)
		m.wait.Go(m.watchMemory)
	}
	m.generator = ownCPU()
}

func (m *meter) watchMemory() {
	ticker := time.NewTicker(memoryEvery)
	defer ticker.Stop()
	for {
		if _, anonymous, err := readMemory(m.pid); err == nil {
			m.anonymous = max(m.anonymous, anonymous)
		}
		select {
		case <-m.end:
			return
		case <-ticker.C:
		}
	}
}

func (m *meter) stop() (usage, error) {
	u := usage{generator: ownCPU() - m.generator}
	if m.pid == 0 {
		return u, nil
	}
	end, err := readTimes(m.pid)
	close(m.end)
	m.wait.Wait()
	if err != nil {
		return usage{}, err // it died under the load
	}
	peak, anonymous, err := readMemory(m.pid)
	u.server = &serverUsage{
		pid: m.pid, cpu: end.total - m.begin.total, user: end.user - m.begin.user, system: end.system - m.begin.system,
		peakRSS: peak, anonymous: max(m.anonymous, anonymous),
	}
	return u, err
}
