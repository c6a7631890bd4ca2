package inspect

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"understudy.example/understudy/depot"
)

// never is the time of what did not happen, in a search.
const never = "never"

// A moment is what a time is compared with: a time, or one that lies so far
// from now.
type moment struct {
	at       time.Time // zero: so far from now
	from     time.Duration
	duration bool // so written
	given    bool
}

// in returns the moment as a time.
func (m moment) in(now time.Time) time.Time {
	if m.at.IsZero() {
		return now.Add(m.from)
	}
	return m.at
}

// maxAge is the longest duration in a search.
const maxAge = 200 * 365 * 24 * time.Hour

// readMoment reads 30d, 12h, now, 2027-01-01 or 2027-01-01T08:00:00Z.
func readMoment(text string) (m moment, canonical string, err error) {
	if strings.EqualFold(text, "now") {
		return moment{given: true}, "now", nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if at, err := time.Parse(layout, strings.ToUpper(text)); err == nil && at.Year() > 0 {
			at = at.UTC().Truncate(time.Second)
			if layout == time.DateOnly {
				return moment{at: at, given: true}, at.Format(time.DateOnly), nil
			}
			return moment{at: at, given: true}, at.Format(time.RFC3339), nil
		}
	}
	units := map[byte]time.Duration{'d': 24 * time.Hour, 'h': time.Hour, 'm': time.Minute, 's': time.Second}
	if text != "" {
		n, wrong := strconv.ParseUint(text[:len(text)-1], 10, 32)
		unit, ok := units[text[len(text)-1]|0x20]
		if wrong == nil && ok && n <= uint64(maxAge/unit) {
			return moment{from: time.Duration(n) * unit, duration: true, given: true}, strconv.FormatUint(n, 10) + strings.ToLower(text[len(text)-1:]), nil
		}
	}
	return moment{}, "", errors.New("what follows is a duration such as 30d or 12h, a day such as 2027-01-01, a time such as 2027-01-01T08:00:00Z, or now")
}

// ahead compares a time that is to come: a duration counts forwards, and less
// is earlier.
func ahead(of func(*depot.Identity) time.Time) func(*term) error {
	return func(t *term) error { return t.readTime(of, false) }
}

// ago compares a time that has passed: a duration counts backwards, so less is
// later.
func ago(of func(*depot.Identity) time.Time) func(*term) error {
	return func(t *term) error { return t.readTime(of, true) }
}

// readTime reads a comparison with a time. What did not happen is neither
// earlier nor later.
func (t *term) readTime(of func(*depot.Identity) time.Time, backwards bool) error {
	text, ok := t.value.exact()
	if t.op == ':' {
		if _, err := t.word(never); err != nil {
			return err
		}
		t.fits = func(f *facts) bool { return of(f.identity).IsZero() }
		return nil
	}
	if !ok {
		text = "*"
	}
	when, canonical, err := readMoment(text)
	if err != nil {
		return err
	}
	earlier := t.op == '<'
	if backwards && when.duration {
		when.from, earlier = -when.from, !earlier
	}
	t.value, t.when = plain(canonical), when
	t.fits = func(f *facts) bool {
		at, limit := of(f.identity), when.in(f.now)
		switch {
		case at.IsZero():
			return false
		case earlier:
			return at.Before(limit)
		default:
			return at.After(limit)
		}
	}
	t.earlier = earlier
	return nil
}
