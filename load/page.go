package load

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"
)

//go:embed page.html
var pageText string

// WriteHTML writes the report as one page that needs nothing else: no script,
// no other file, no network.
func (p *Report) WriteHTML(w io.Writer) error {
	page, err := template.New("page").Funcs(template.FuncMap{"micros": micros, "mebibytes": mebibytes}).Parse(pageText)
	if err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	err = page.Execute(w, struct {
		*Report
		Pace                    string
		Latencies, Rates, Share chart
		Bars                    chart
	}{p, p.Target.pace(), p.latencyChart(), p.rateChart(), p.shareChart(), p.histogramChart()})
	if err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

// The drawing area of every chart, in SVG units.
const (
	plotLeft, plotTop     = 70.0, 12.0
	plotWidth, plotHeight = 620.0, 200.0
)

// A chart is what the template draws.
type chart struct {
	Title          string
	XTicks, YTicks []tick
	Lines          []line
	Bars           []bar
}

type tick struct {
	At   string
	Text string
}

type line struct{ Class, Name, Points string }

type bar struct{ X, Y, Width, Height, Title string }

// A scale maps values to the drawing area.
type scale struct {
	low, high float64
	log       bool
}

func (s scale) share(v float64) float64 {
	low, high := s.low, s.high
	if s.log {
		v, low, high = math.Log(max(v, s.low)), math.Log(low), math.Log(high)
	}
	if high <= low {
		return 0
	}
	return min(1, max(0, (v-low)/(high-low)))
}

func (s scale) x(v float64) string { return number(plotLeft + plotWidth*s.share(v)) }
func (s scale) y(v float64) string { return number(plotTop + plotHeight*(1-s.share(v))) }

func number(v float64) string { return fmt.Sprintf("%.1f", v) }

// ticks are round values on a scale, with their texts. A logarithmic scale has
// them at 1, 2 and 5.
func (s scale) ticks(at func(float64) string, text func(float64) string) []tick {
	var list []tick
	add := func(v float64) { list = append(list, tick{at(v), text(v)}) }
	if s.log {
		for decade := math.Pow(10, math.Floor(math.Log10(s.low))); decade <= s.high; decade *= 10 {
			for _, m := range []float64{1, 2, 5} {
				if v := decade * m; v >= s.low && v <= s.high {
					add(v)
				}
			}
		}
		return list
	}
	step := math.Pow(10, math.Floor(math.Log10(max(s.high-s.low, 1e-9))))
	for (s.high-s.low)/step < 4 {
		step /= 2
	}
	for v := s.low; v <= s.high*1.0001; v += step {
		add(v)
	}
	return list
}

func (s scale) polyline(points []point, x scale) string {
	var b strings.Builder
	for _, p := range points {
		b.WriteString(x.x(p.x) + "," + s.y(p.y) + " ")
	}
	return strings.TrimSpace(b.String())
}

func microsTick(v float64) string { return micros(int64(math.Round(v))) }

func secondsTick(v float64) string { return fmt.Sprintf("%.3g s", v/1e6) }

func countTick(v float64) string { return fmt.Sprintf("%.4g", v) }

// latencyChart is latency over time.
func (p *Report) latencyChart() chart {
	x := scale{0, float64(max(1, p.ElapsedUS)), false}
	y := scale{math.Max(1, float64(p.Latency.MinUS)), math.Max(2, float64(p.Latency.MaxUS)), true}
	c := chart{Title: "Latency over time", XTicks: x.ticks(x.x, secondsTick), YTicks: y.ticks(y.y, microsTick)}
	for _, l := range []struct {
		class, name string
		of          func(Percentiles) int64
	}{
		{"max", "maximum", func(p Percentiles) int64 { return p.MaxUS }},
		{"p95", "95 %", func(p Percentiles) int64 { return p.P95US }},
		{"p50", "median", func(p Percentiles) int64 { return p.P50US }},
	} {
		var points []point
		for _, s := range p.Timeline {
			if s.Latency.MaxUS > 0 {
				points = append(points, point{p.middle(s), float64(l.of(s.Latency))})
			}
		}
		c.Lines = append(c.Lines, line{l.class, l.name, y.polyline(points, x)})
	}
	return c
}

// sliceUS is the length of the timeline's slices.
func (p *Report) sliceUS() float64 {
	return math.Max(1, float64(p.ElapsedUS)/float64(max(1, len(p.Timeline))))
}

func (p *Report) middle(s Slice) float64 { return float64(s.StartUS) + p.sliceUS()/2 }

// rateChart is certificates and failures a second over time.
func (p *Report) rateChart() chart {
	x := scale{0, float64(max(1, p.ElapsedUS)), false}
	var good, bad []point
	top := 1.0
	for _, s := range p.Timeline {
		ok, failed := float64(s.OK)*1e6/p.sliceUS(), float64(s.Failed)*1e6/p.sliceUS()
		top = math.Max(top, math.Max(ok, failed))
		good, bad = append(good, point{p.middle(s), ok}), append(bad, point{p.middle(s), failed})
	}
	y := scale{0, top, false}
	return chart{
		Title: "Certificates a second", XTicks: x.ticks(x.x, secondsTick), YTicks: y.ticks(y.y, countTick),
		Lines: []line{{"p50", "certificates", y.polyline(good, x)}, {"bad", "failures", y.polyline(bad, x)}},
	}
}

// histogramChart has bins of equal ratio on a logarithmic scale.
func (p *Report) histogramChart() chart {
	c := chart{Title: "Latencies"}
	if len(p.Histogram) == 0 {
		return c
	}
	x := scale{float64(p.Histogram[0].FromUS), float64(p.Histogram[len(p.Histogram)-1].ToUS), true}
	y := scale{0, 1, false}
	for _, b := range p.Histogram {
		y.high = math.Max(y.high, float64(b.Count))
	}
	c.XTicks, c.YTicks = x.ticks(x.x, microsTick), y.ticks(y.y, countTick)
	for _, b := range p.Histogram {
		left, right := x.share(float64(b.FromUS))*plotWidth, x.share(float64(b.ToUS))*plotWidth
		height := y.share(float64(b.Count)) * plotHeight
		c.Bars = append(c.Bars, bar{
			number(plotLeft + left), number(plotTop + plotHeight - height), number(math.Max(0.5, right-left-1)), number(height),
			fmt.Sprintf("%s to %s: %d", micros(b.FromUS), micros(b.ToUS), b.Count),
		})
	}
	return c
}

// shareChart is the share of messages that were answered within a time.
func (p *Report) shareChart() chart {
	c := chart{Title: "Share answered within"}
	points := cumulative(p.Histogram)
	if len(points) == 0 {
		return c
	}
	x := scale{math.Max(1, points[0].x), math.Max(2, points[len(points)-1].x), true}
	y := scale{0, 1, false}
	c.XTicks = x.ticks(x.x, microsTick)
	c.YTicks = y.ticks(y.y, func(v float64) string { return fmt.Sprintf("%.0f %%", 100*v) })
	c.Lines = []line{{"p50", "share", y.polyline(points, x)}}
	return c
}
