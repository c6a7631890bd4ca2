package explain_test

import (
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"understudy.example/understudy/explain"
)

// Whatever comes in, there is an answer, in bounded time, and every text of it
// can be printed. Run it with -fuzzminimizetime 10x.
func FuzzExplain(f *testing.F) {
	for _, name := range samples(f) {
		f.Add(sample(f, name))
	}
	f.Add([]byte{0x30, 0x80})
	f.Add([]byte("GetCACaps\n\x1b[2J\nAES"))
	o := options(f, "chain.pem")
	f.Fuzz(func(t *testing.T, input []byte) {
		began := time.Now()
		d := explain.Explain(input, o)
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%d bytes took %v", len(input), took)
		}
		text := d.Text()
		wantPrintable(t, strings.ReplaceAll(text, "\n", ""))
		if strings.Contains(text, challenge) && !strings.Contains(string(input), challenge) {
			t.Error("the challenge is told")
		}
		wantPrintable(t, strings.ReplaceAll(explain.Compare(d, explain.Explain(input, explain.Options{})).Text(), "\n", ""))
		for _, i := range d.Items {
			if i.Break != nil && (i.Break.Offset < 0 || i.Break.Offset > explain.MaxInput) {
				t.Errorf("breaks off at %d", i.Break.Offset)
			}
		}
	})
}

func wantPrintable(t *testing.T, text string) {
	t.Helper()
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) }) {
		t.Errorf("cannot be printed: %q", text)
	}
}
