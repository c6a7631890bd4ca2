package server

import (
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	maxLimit     = 500
	defaultLimit = 100
	noLimit      = "must be a number from 1 to 500"
	noTime       = "must be a time like 2026-01-31T12:00:00Z"
)

// parameters are the query parameters of a list. A parameter that does not
// exist is an error: a filter with a typing mistake must not list everything.
type parameters struct{ values url.Values }

// readParameters reads the query of a list that knows these names.
func readParameters(r *http.Request, known ...string) (parameters, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return parameters{}, newProblem(http.StatusBadRequest, "invalid-parameter", "the query is not well escaped")
	}
	for name, given := range values {
		if !slices.Contains(known, name) {
			return parameters{}, badParameter(printable(name, 64), "unknown parameter")
		}
		if len(given) > 1 {
			return parameters{}, badParameter(name, "given twice")
		}
	}
	return parameters{values}, nil
}

// text returns a parameter, empty when it is absent.
func (p parameters) text(name string) string { return p.values.Get(name) }

// limit returns how many items a page may have.
func (p parameters) limit() (int, error) {
	text := p.text("limit")
	if text == "" {
		return defaultLimit, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxLimit {
		return 0, badParameter("limit", noLimit)
	}
	return n, nil
}

// time returns a point in time, zero when it is absent.
func (p parameters) time(name string) (time.Time, error) {
	text := p.text(name)
	if text == "" {
		return time.Time{}, nil
	}
	t, ok := parseTime(text)
	if !ok {
		return time.Time{}, badParameter(name, noTime)
	}
	return t, nil
}

// parseTime reads a time in RFC 3339. One that is not in the years 1 to 9999 in
// UTC too could not be written as it was read, and the first of all would be
// taken for none.
func parseTime(text string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339, text)
	t = t.UTC()
	return t, err == nil && !t.IsZero() && t.Year() >= 1 && t.Year() <= 9999
}

// words returns the parts of a list with commas, nil when it is absent.
func (p parameters) words(name string) []string {
	if p.text(name) == "" {
		return nil
	}
	return strings.Split(p.text(name), ",")
}

// choice returns one of the words, of which the first is what an absent
// parameter means.
func (p parameters) choice(name string, words ...string) (string, error) {
	text := p.text(name)
	if text == "" {
		return words[0], nil
	}
	if !slices.Contains(words, text) {
		return "", badParameter(name, "must be "+strings.Trim(strings.Join(words, " or "), " or"))
	}
	return text, nil
}

// wait returns how long to wait for something to happen; 0 when it is absent.
func (p parameters) wait() (time.Duration, error) {
	text := p.text("wait")
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > maxPoll {
		return 0, badParameter("wait", "must be a duration like 30s, up to 10m")
	}
	return d, nil
}

// sha256 returns a fingerprint, zero when it is absent.
func (p parameters) sha256(name string) (sum [32]byte, err error) {
	text := p.text(name)
	if text == "" {
		return sum, nil
	}
	sum, ok := parseSHA256(text)
	if !ok {
		return sum, badParameter(name, "must be a SHA-256 in hex")
	}
	return sum, nil
}

// parseSHA256 reads a fingerprint as people write it.
func parseSHA256(text string) (sum [32]byte, ok bool) {
	raw, err := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
	if err != nil || len(raw) != len(sum) {
		return sum, false
	}
	return [32]byte(raw), true
}

// maxSerialDigits is the length of a certificate serial of 20 octets, the most
// that RFC 5280 section 4.1.2.2 allows.
const maxSerialDigits = 40

// parseCertificateSerial reads a certificate serial as people write it (any
// case, colons, leading zeros) and returns it as the depot has it.
func parseCertificateSerial(text string) (string, bool) {
	digits := strings.TrimLeft(strings.ToLower(strings.ReplaceAll(text, ":", "")), "0")
	if len(digits)%2 == 1 {
		digits = "0" + digits
	}
	if _, err := hex.DecodeString(digits); err != nil || digits == "" || len(digits) > maxSerialDigits {
		return "", false
	}
	return digits, true
}
