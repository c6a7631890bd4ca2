package challenge_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"understudy.example/understudy/challenge"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/refusal"
)

const key = "Abcdefghijklmnop0123456789ZYXWVU"

func newStatic(t testing.TB, text string) *challenge.Static {
	t.Helper()
	h, err := challenge.HashSecretKey(nil, challenge.NewSecret(text))
	if err != nil {
		t.Fatal(err)
	}
	s, err := challenge.NewStatic(h)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStatic(t *testing.T) {
	s := newStatic(t, key)
	tests := []struct {
		name      string
		challenge string
		want      refusal.Reason // empty: granted
	}{
		{"right", key, ""},
		{"absent", "", refusal.ChallengeMissing},
		{"wrong", strings.Repeat("x", len(key)), refusal.ChallengeWrong},
		{"right beginning", key[:len(key)-1], refusal.ChallengeWrong},
		{"right and more", key + "x", refusal.ChallengeWrong},
		{"other case", strings.ToLower(key), refusal.ChallengeWrong},
		{"trailing space", key + " ", refusal.ChallengeWrong},
		{"leading space", " " + key, refusal.ChallengeWrong},
		{"trailing newline", key + "\n", refusal.ChallengeWrong},
		{"trailing NUL", key + "\x00", refusal.ChallengeWrong},
		{"only NUL", "\x00", refusal.ChallengeWrong},
		{"only a space", " ", refusal.ChallengeWrong},
		{"NUL inside", key[:5] + "\x00" + key[5:], refusal.ChallengeWrong},
		{"Cyrillic lookalike", strings.Replace(key, "A", "А", 1), refusal.ChallengeWrong},
		{"full-width lookalike", strings.Replace(key, "A", "Ａ", 1), refusal.ChallengeWrong},
		{"no UTF-8", key[:len(key)-1] + "\xff", refusal.ChallengeWrong},
		{"as UTF-16", utf16(key), refusal.ChallengeWrong},
		{"printed secret", "[secret]", refusal.ChallengeWrong},
		{"greatest length", strings.Repeat("x", challenge.MaxChallenge), refusal.ChallengeWrong},
		{"too long", strings.Repeat("x", challenge.MaxChallenge+1), refusal.ChallengeWrong},
		{"right and far too long", key + strings.Repeat("\x00", 100<<10), refusal.ChallengeWrong},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			grant, err := s.Validate(t.Context(), challenge.Attempt{Challenge: challenge.NewSecret(tt.challenge)})
			if got := s.Matches(challenge.NewSecret(tt.challenge)); got != (tt.want == "") {
				t.Errorf("Matches = %v", got)
			}
			if tt.want == "" {
				if err != nil || grant == nil {
					t.Fatalf("Validate = %v, %v; want a grant", grant, err)
				}
				return
			}
			r, ok := refusal.Of(err)
			if !ok || r.Reason != tt.want || grant != nil {
				t.Fatalf("Validate = %v, %v; want the refusal %s", grant, err, tt.want)
			}
			if r.Text != "" {
				t.Errorf("the client is told %q", r.Text)
			}
			if tt.challenge != "" && len(tt.challenge) > 1 && strings.Contains(err.Error(), tt.challenge) {
				t.Errorf("the refusal holds the challenge: %q", err)
			}
		})
	}
	if _, err := s.Validate(t.Context(), challenge.Attempt{}); !hasReason(err, refusal.ChallengeMissing) {
		t.Errorf("zero Secret: %v", err)
	}
}

func hasReason(err error, want refusal.Reason) bool {
	r, ok := refusal.Of(err)
	return ok && r.Reason == want
}

func utf16(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		b.Write([]byte{0, c})
	}
	return b.String()
}

// A challenge may have the greatest length and not one byte more, whatever was
// hashed.
func TestStaticLimit(t *testing.T) {
	for length, want := range map[int]bool{challenge.MaxChallenge: true, challenge.MaxChallenge + 1: false} {
		salt, text := bytes.Repeat([]byte{7}, 16), strings.Repeat("x", length)
		sum := sha256.Sum256(append(bytes.Clone(salt), text...))
		s, err := challenge.NewStatic(depot.SecretHash{Salt: salt, Hash: sum[:]})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Matches(challenge.NewSecret(text)); got != want {
			t.Errorf("%d bytes: Matches = %v, want %v", length, got, want)
		}
	}
}

func TestGrantEndsOnce(t *testing.T) {
	s := newStatic(t, key)
	issued := func(g challenge.Grant) error { return g.Issued(context.Background(), nil) }
	failed := func(g challenge.Grant) error { return g.Failed(context.Background(), io.ErrUnexpectedEOF) }
	ends := map[string][2]func(challenge.Grant) error{
		"issued, issued": {issued, issued}, "issued, failed": {issued, failed},
		"failed, issued": {failed, issued}, "failed, failed": {failed, failed},
	}
	for name, end := range ends {
		g, err := s.Validate(t.Context(), challenge.Attempt{Challenge: challenge.NewSecret(key)})
		if err != nil {
			t.Fatal(err)
		}
		if g.Spends() != (depot.ChallengeRef{}) {
			t.Errorf("%s: a secret key is spent: %v", name, g.Spends())
		}
		if err := end[0](g); err != nil {
			t.Errorf("%s: first end: %v", name, err)
		}
		if err := end[1](g); !errors.Is(err, challenge.ErrGrantEnded) {
			t.Errorf("%s: second end: %v, want ErrGrantEnded", name, err)
		}
	}

	g, _ := s.Validate(t.Context(), challenge.Attempt{Challenge: challenge.NewSecret(key)})
	var won atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if issued(g) == nil {
				won.Add(1)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d of 8 ended the grant, want 1", won.Load())
	}
}

func TestNewStaticRefusesDamage(t *testing.T) {
	good, err := challenge.HashSecretKey(nil, challenge.NewSecret(key))
	if err != nil {
		t.Fatal(err)
	}
	for name, h := range map[string]depot.SecretHash{
		"empty":      {},
		"no hash":    {Salt: good.Salt},
		"no salt":    {Hash: good.Hash},
		"short salt": {Salt: good.Salt[:15], Hash: good.Hash},
		"short hash": {Salt: good.Salt, Hash: good.Hash[:31]},
		"long hash":  {Salt: good.Salt, Hash: append(bytes.Clone(good.Hash), 0)},
	} {
		if s, err := challenge.NewStatic(h); err == nil {
			t.Errorf("%s: NewStatic = %v, want an error", name, s)
		}
	}
	s, err := challenge.NewStatic(good)
	if err != nil {
		t.Fatal(err)
	}
	clear(good.Salt)
	clear(good.Hash)
	if !s.Matches(challenge.NewSecret(key)) {
		t.Error("the validator shares memory with the record")
	}
}

func TestCheckSecretKey(t *testing.T) {
	const sixteen = "abcdefABCDEF0189"
	good := []string{sixteen, key, strings.Repeat("z", 256)}
	bad := []string{"", sixteen[:15], strings.Repeat("z", 257), sixteen + " ", sixteen + "\n", sixteen + "_", sixteen + "-",
		sixteen + "é", sixteen + "\x00", strings.Repeat("А", 16), sixteen + "@", sixteen + "[", sixteen + "`", sixteen + "{", sixteen + "/", sixteen + ":"}
	for _, text := range good {
		if err := challenge.CheckSecretKey(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if _, err := challenge.HashSecretKey(nil, challenge.NewSecret(text)); err != nil {
			t.Errorf("hash %q: %v", text, err)
		}
	}
	for _, text := range bad {
		err := challenge.CheckSecretKey(text)
		if err == nil {
			t.Errorf("%q: want an error", text)
			continue
		}
		if text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("the error holds the secret key: %v", err)
		}
		if h, err := challenge.HashSecretKey(nil, challenge.NewSecret(text)); err == nil {
			t.Errorf("hash %q = %v, want an error", text, h)
		}
	}
}

func TestHashSecretKeySalts(t *testing.T) {
	one, err := challenge.HashSecretKey(nil, challenge.NewSecret(key))
	if err != nil {
		t.Fatal(err)
	}
	two, err := challenge.HashSecretKey(nil, challenge.NewSecret(key))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(one.Salt, two.Salt) || bytes.Equal(one.Hash, two.Hash) {
		t.Error("two hashes of one secret key are alike")
	}
	if _, err := challenge.HashSecretKey(strings.NewReader("short"), challenge.NewSecret(key)); err == nil {
		t.Error("a random source that ends is no error")
	}
}

func TestGenerateSecretKey(t *testing.T) {
	counts := map[rune]int{}
	const keys = 2000
	for range keys {
		s, err := challenge.GenerateSecretKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := challenge.CheckSecretKey(s.Reveal()); err != nil || len(s.Reveal()) != 32 {
			t.Fatalf("generated %q: %v", s.Reveal(), err)
		}
		for _, c := range s.Reveal() {
			counts[c]++
		}
	}
	// χ² with 61 degrees of freedom exceeds 130 once in a million runs; b % 62
	// would give about 500 here.
	expected := float64(keys*32) / 62
	chi := 0.0
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789" {
		d := float64(counts[c]) - expected
		chi += d * d / expected
	}
	if chi > 130 {
		t.Errorf("characters are not equally likely: χ² = %.0f", chi)
	}
}

type constant byte

func (c constant) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(c)
	}
	return len(p), nil
}

func TestGenerateSecretKeyFromBadSource(t *testing.T) {
	for name, r := range map[string]io.Reader{"ends": strings.NewReader("short"), "only bytes that are thrown away": constant(255)} {
		if s, err := challenge.GenerateSecretKey(r); err == nil || !s.Empty() {
			t.Errorf("%s: got a key of %d characters and %v", name, len(s.Reveal()), err)
		}
	}
}

// TestSecretNeverPrints looks for the text in everything that writes values.
func TestSecretNeverPrints(t *testing.T) {
	type outer struct {
		Public  challenge.Secret
		private challenge.Secret
		pointer *challenge.Secret
		Attempt challenge.Attempt
		Map     map[string]challenge.Secret
	}
	s := challenge.NewSecret(key)
	whole := outer{s, s, &s, challenge.Attempt{Challenge: s}, map[string]challenge.Secret{"k": s}}
	values := map[string]any{"value": s, "pointer": &s, "struct": whole, "pointer to struct": &whole, "slice": []challenge.Secret{s}, "array": [1]challenge.Secret{s}}
	var out strings.Builder
	for name, v := range values {
		for _, flag := range []string{"", "+", "#", "-", " ", "0", "40", ".40"} {
			for verb := 'A'; verb <= 'z'; verb++ {
				fmt.Fprintf(&out, "%"+flag+string(verb)+"\n", v)
			}
		}
		fmt.Fprintln(&out, name, v)
		j, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(j)
		for _, h := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
			slog.New(h).Info(name, "v", v, slog.Group("g", "v", v))
		}
		fmt.Fprintln(&out, fmt.Errorf("wrapped %v %w", v, errors.New(fmt.Sprint(v))))
	}
	printed := strings.ToLower(out.String())
	for _, encoding := range []string{"%s", "%x", "%q", "%v", "% x", "%#v"} {
		for _, form := range []any{key, []byte(key)} {
			if text := strings.ToLower(strings.Trim(fmt.Sprintf(encoding, form), "[]")); strings.Contains(printed, text) {
				t.Errorf("printed as %s: %s", encoding, text)
			}
		}
	}
	if got := fmt.Sprintf("%v %s %q %d %#v %+v", s, s, s, s, s, s); got != strings.TrimSpace(strings.Repeat("[secret] ", 6)) {
		t.Errorf("printed as %q", got)
	}
	if s.String() != "[secret]" || s.Reveal() != key || s.Empty() || !(challenge.Secret{}).Empty() || !challenge.NewSecret("").Empty() {
		t.Error("String, Reveal or Empty is wrong")
	}
}

// BenchmarkStaticTiming reports Welch's t of the times for a challenge with a
// right beginning against one that is wrong from the first character. Under
// 4.5 nobody can tell them apart; a noisy machine needs more than one try.
func BenchmarkStaticTiming(b *testing.B) {
	s := newStatic(b, key)
	attempts := [2]challenge.Attempt{
		{Challenge: challenge.NewSecret(key[:len(key)-1] + "x")},
		{Challenge: challenge.NewSecret(strings.Repeat("x", len(key)))},
	}
	var samples [2][]float64
	for i := 0; b.Loop(); i++ {
		for j := range 2 {
			which := (i + j) % 2
			begin := time.Now()
			for range 8 {
				if _, err := s.Validate(b.Context(), attempts[which]); err == nil {
					b.Fatal("granted")
				}
			}
			samples[which] = append(samples[which], float64(time.Since(begin)))
		}
	}
	if len(samples[0]) > 100 {
		b.ReportMetric(math.Abs(welch(samples[0], samples[1])), "welch-t")
	}
}

// welch returns Welch's t of two samples.
func welch(x, y []float64) float64 {
	mean := func(s []float64) (m, v float64) {
		for _, f := range s {
			m += f / float64(len(s))
		}
		for _, f := range s {
			v += (f - m) * (f - m) / float64(len(s)-1)
		}
		return m, v / float64(len(s))
	}
	mx, vx := mean(x)
	my, vy := mean(y)
	return (mx - my) / math.Sqrt(vx+vy)
}
