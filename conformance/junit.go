package conformance

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
)

// The elements that CI systems read. There is no schema; these are the common
// ground of those who write and read such files.
type (
	junitSuite struct {
		XMLName   xml.Name    `xml:"testsuite"`
		Name      string      `xml:"name,attr"`
		Tests     int         `xml:"tests,attr"`
		Failures  int         `xml:"failures,attr"`
		Errors    int         `xml:"errors,attr"`
		Skipped   int         `xml:"skipped,attr"`
		Time      string      `xml:"time,attr"`
		Timestamp string      `xml:"timestamp,attr"`
		Hostname  string      `xml:"hostname,attr"`
		Cases     []junitCase `xml:"testcase"`
	}
	junitCase struct {
		ClassName string       `xml:"classname,attr"`
		Name      string       `xml:"name,attr"`
		Time      string       `xml:"time,attr"`
		Failure   *junitReason `xml:"failure"`
		Skipped   *junitReason `xml:"skipped"`
		Output    string       `xml:"system-out,omitempty"`
	}
	junitReason struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// WriteJUnit writes the report as a JUnit test suite: a case is a test case, a
// case that does not apply is a skipped one.
func (r *Report) WriteJUnit(w io.Writer) error {
	suite := junitSuite{
		Name: "scep-conformance", Tests: len(r.Cases), Failures: r.Summary.Fail, Skipped: r.Summary.NotApplicable,
		Time: seconds(r.DurationMS), Timestamp: r.StartedAt.Format(time.RFC3339), Hostname: r.URL,
	}
	for _, c := range r.Cases {
		suite.Cases = append(suite.Cases, c.junit())
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(w)
	encoder.Indent("", "  ")
	if err := encoder.Encode(suite); err != nil {
		return fmt.Errorf("write JUnit: %w", err)
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (c *Result) junit() junitCase {
	name := fmt.Sprintf("%02d %s", c.Number, c.Title)
	if c.Section != "" {
		name += " (RFC 8894 §" + c.Section + ")"
	}
	out := junitCase{ClassName: "scep." + strings.ReplaceAll(c.Group, " ", ""), Name: name, Time: seconds(c.DurationMS)}
	var failed, all strings.Builder
	first := ""
	for _, k := range c.Checks {
		line := fmt.Sprintf("%s: expected %s; seen %s\n", k.Name, k.Expected, k.Seen)
		all.WriteString(line)
		if !k.OK {
			failed.WriteString(line)
			first = cmpOr(first, strings.TrimSpace(line))
		}
	}
	switch c.Verdict {
	case Fail:
		out.Failure = &junitReason{Message: first, Text: failed.String()}
	case NotApplicable:
		out.Skipped = &junitReason{Message: *c.Reason}
	}
	out.Output = all.String()
	return out
}

func seconds(ms int64) string { return fmt.Sprintf("%.3f", float64(ms)/1000) }
