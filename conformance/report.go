package conformance

import (
	"bufio"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"understudy.example/understudy/scep/client"
)

// A Verdict says how a case ended.
type Verdict string

// The verdicts.
const (
	Pass          Verdict = "pass"
	Fail          Verdict = "fail"
	NotApplicable Verdict = "n/a"
)

// A Report is what a run came to. Its JSON form is a contract: fields are
// added, never renamed.
type Report struct {
	URL        string    `json:"url"`
	StartedAt  time.Time `json:"started_at"`
	DurationMS int64     `json:"duration_ms"`
	Server     Server    `json:"server"`
	Summary    Summary   `json:"summary"`
	Cases      []Result  `json:"cases"`
}

// Server is what the server said about itself.
type Server struct {
	Capabilities client.Capabilities `json:"capabilities"` // the words of GetCACaps
	Certificates []Certificate       `json:"certificates"` // of GetCACert, in its order
}

// Certificate names one certificate.
type Certificate struct {
	Subject    string `json:"subject"`
	CommonName string `json:"common_name"` // of the subject; may be empty
	SHA256     string `json:"sha256"`      // of the DER, lower-case hex
}

func certificateOf(c *x509.Certificate) Certificate {
	sum := sha256.Sum256(c.Raw)
	return Certificate{c.Subject.String(), c.Subject.CommonName, hex.EncodeToString(sum[:])}
}

// Summary counts the cases.
type Summary struct {
	Pass          int `json:"pass"`
	Fail          int `json:"fail"`
	NotApplicable int `json:"not_applicable"`
}

// A Result is how one case ended.
type Result struct {
	Number     int     `json:"number"`
	Group      string  `json:"group"`
	Section    string  `json:"section"` // of RFC 8894; empty where it is silent
	Title      string  `json:"title"`
	Verdict    Verdict `json:"verdict"`
	Reason     *string `json:"reason"` // why a case does not apply, else nil
	Checks     []Check `json:"checks"` // in the order in which they were made
	DurationMS int64   `json:"duration_ms"`
}

// A Check is one thing that a case looked at.
type Check struct {
	Name     string `json:"name"`
	Expected string `json:"expected"`
	Seen     string `json:"seen"`
	OK       bool   `json:"ok"`
}

func (r *Report) add(one Result) {
	r.Cases = append(r.Cases, one)
	switch one.Verdict {
	case Pass:
		r.Summary.Pass++
	case Fail:
		r.Summary.Fail++
	default:
		r.Summary.NotApplicable++
	}
}

// WriteText writes the report as a table for people: one line for each case,
// below it what failed, or why it does not apply. With all, every check is
// shown.
func (r *Report) WriteText(w io.Writer, all bool) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "%s\n", r.URL)
	for i, c := range r.Server.Certificates {
		fmt.Fprintf(out, "%-13s %s\n", []string{"certificates", ""}[min(i, 1)], clean(cmpOr(c.CommonName, c.Subject)))
	}
	fmt.Fprintf(out, "%-13s %s\n\n", "capabilities", cmpOr(clean(strings.Join(r.Server.Capabilities, " ")), "none"))
	section := len("RFC 8894")
	for _, c := range r.Cases {
		section = max(section, len(c.Section))
	}
	fmt.Fprintf(out, "CASE  VERDICT  %-*s  TITLE\n", section, "RFC 8894")
	for _, c := range r.Cases {
		fmt.Fprintf(out, "%4d  %-7s  %-*s  %s\n", c.Number, c.Verdict, section, cmpOr(c.Section, "-"), c.Title)
		c.writeDetails(out, all)
	}
	s := r.Summary
	fmt.Fprintf(out, "\n%d pass, %d fail, %d n/a, in %.1f s\n", s.Pass, s.Fail, s.NotApplicable, float64(r.DurationMS)/1000)
	return out.Flush()
}

// clean replaces what could move a terminal's cursor; a server may say
// anything.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

func (c *Result) writeDetails(w io.Writer, all bool) {
	const indent = "               "
	if c.Reason != nil {
		fmt.Fprintf(w, "%s%s\n", indent, *c.Reason)
	}
	for _, k := range c.Checks {
		switch {
		case !k.OK:
			fmt.Fprintf(w, "%s%s\n%s  expected  %s\n%s  seen      %s\n", indent, k.Name, indent, k.Expected, indent, k.Seen)
		case all:
			fmt.Fprintf(w, "%s%s: %s\n", indent, k.Name, k.Seen)
		}
	}
}
