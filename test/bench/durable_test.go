package bench

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

// memoryDisk is a file system on which a sync costs nothing.
const memoryDisk = "/dev/shm"

// BenchmarkDurability compares the rate of enrolments, in wall time, with a
// store in the temporary directory and with one in memory, in turns, and reports
// the share of the rate that the disk takes (lost_%): the median of the rounds,
// with the enrolments a second on both. Nothing is asserted: it says as much
// about the disk and the other work of the machine as about the server.
func BenchmarkDurability(b *testing.B) {
	memory, err := os.MkdirTemp(memoryDisk, "understudy-bench-")
	if err != nil {
		b.Skipf("no file system in memory: %v", err)
	}
	b.Cleanup(func() { os.RemoveAll(memory) })
	for _, issuer := range []string{"rsa2048", "p256"} {
		synced, unsynced := newLab(b, b.TempDir(), issuer), newLab(b, fmt.Sprintf("%s/%s", memory, issuer), issuer)
		for _, devices := range []int{1, 8, 32} {
			b.Run(fmt.Sprintf("issuer=%s/devices=%d", issuer, devices), func(b *testing.B) {
				compareDurability(b, synced, unsynced, devices)
			})
		}
	}
}

func compareDurability(b *testing.B, synced, unsynced *lab, devices int) {
	const each = 48 // enrolments in a turn
	rate := func(l *lab) float64 {
		requests := l.requests(b, each)
		begin := time.Now()
		l.enrol(b, requests, devices)
		return each / time.Since(begin).Seconds()
	}
	rate(synced)
	rate(unsynced)
	var lost, durable, free []float64
	for b.Loop() {
		d, f := rate(synced), rate(unsynced)
		durable, free = append(durable, d), append(free, f)
		lost = append(lost, 100*(1-d/f))
	}
	for _, list := range [][]float64{lost, durable, free} {
		slices.Sort(list)
	}
	n := len(lost)
	b.ReportMetric(lost[n/2], "lost_%")
	b.ReportMetric(lost[n/4], "lost_%_q1")
	b.ReportMetric(lost[n*3/4], "lost_%_q3")
	b.ReportMetric(durable[n/2], "durable/s")
	b.ReportMetric(free[n/2], "in-memory/s")
	b.ReportMetric(0, "ns/op")
}
