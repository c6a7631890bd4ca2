package load

import (
	"math"
	"slices"
	"time"
)

// percentiles takes each by the nearest rank: a value that was measured, and
// never one below the share that it stands for.
func percentiles(d []time.Duration) Percentiles {
	if len(d) == 0 {
		return Percentiles{}
	}
	sorted := slices.Sorted(slices.Values(d))
	at := func(share float64) int64 {
		rank := int(math.Ceil(share * float64(len(sorted))))
		return sorted[max(rank, 1)-1].Microseconds()
	}
	return Percentiles{at(0), at(0.50), at(0.95), at(0.99), at(1)}
}

// slices of a run in its timeline, at most.
const maxSlices = 60

// timeline cuts a run into pieces of equal length, each of about 20 results or
// more.
func timeline(results []result, elapsed time.Duration) []Slice {
	n := min(maxSlices, max(1, len(results)/20))
	width := elapsed/time.Duration(n) + 1
	list := make([]Slice, n)
	latencies := make([][]time.Duration, n)
	for i := range list {
		list[i].StartUS = (time.Duration(i) * width).Microseconds()
	}
	index := func(t time.Duration) int { return min(max(int(t/width), 0), n-1) }
	for _, r := range results {
		if r.failure != (failure{}) {
			list[index(r.done)].Failed++
			continue
		}
		list[index(r.done)].OK++
		due := index(r.due)
		latencies[due] = append(latencies[due], r.latency())
	}
	for i := range list {
		list[i].Latency = percentiles(latencies[i])
	}
	return list
}

// binsPerDoubling makes bins that are about 9 % wide.
const binsPerDoubling = 8

// histogram counts latencies in bins whose widths grow with the latency, from
// the first that is used to the last.
func histogram(d []time.Duration) []Bin {
	counts := map[int]int{}
	low, high := math.MaxInt, math.MinInt
	for _, one := range d {
		i := binOf(one)
		counts[i]++
		low, high = min(low, i), max(high, i)
	}
	bins := []Bin{}
	for i := low; i <= high; i++ {
		bins = append(bins, Bin{binStart(i), binStart(i + 1), counts[i]})
	}
	return bins
}

func binStart(i int) int64 { return int64(math.Round(math.Exp2(float64(i) / binsPerDoubling))) }

func binOf(d time.Duration) int {
	us := max(1, d.Microseconds())
	i := int(math.Floor(math.Log2(float64(us)) * binsPerDoubling))
	for binStart(i+1) <= us { // what rounding moved
		i++
	}
	for binStart(i) > us {
		i--
	}
	return i
}

// A point of a curve.
type point struct{ x, y float64 }

// cumulative returns the share of latencies (y) below each bound of the
// histogram in microseconds (x).
func cumulative(bins []Bin) []point {
	total := 0
	for _, b := range bins {
		total += b.Count
	}
	if total == 0 {
		return nil
	}
	points := []point{{float64(bins[0].FromUS), 0}}
	below := 0
	for _, b := range bins {
		below += b.Count
		points = append(points, point{float64(b.ToUS), float64(below) / float64(total)})
	}
	return points
}
