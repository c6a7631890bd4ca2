package readme

import (
	"regexp"
	"strings"
	"testing"
)

// TestLabClock lives through the years that docs/lab-clock.md shows.
func TestLabClock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	address, secret := serve(t, dir, labShown)
	years := block(t, labClockShown)
	script := strings.ReplaceAll(years.Text, "127.0.0.1:8080", address)
	out, err := shell(t, dir, script, "UNDERSTUDY_CHALLENGE="+secret, "UNDERSTUDY_OUTPUT=").CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", years.Where(), err, out)
	}
	for _, want := range []string{
		`moved +no\n`, `moved +336d ahead`, `lab time +2035-01-01T00:\d\d:\d\dZ`, `lab time +2034-12-31T00:\d\d:\d\dZ`, `frozen +yes`,
		`under a clock +336d ahead of the machine's clock`, `holds`,
	} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("%s: nothing of %s in\n%s", years.Where(), want, out)
		}
	}
}
