package notify_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/notify"
)

func key(t testing.TB) notify.Key {
	t.Helper()
	k, err := notify.NewKey(bytes.Repeat([]byte{7}, notify.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// The values were made by other programs:
//
//	printf wh_1:1 | openssl dgst -sha256 -mac HMAC -macopt hexkey:0707…07 -binary | basenc --base64url | tr -d =
//	printf '1790000000.{"id":"ev_1"}' | openssl dgst -sha256 -hmac SECRET
func TestSignatureVector(t *testing.T) {
	secret := key(t).Secret("wh_1", 1)
	if want := "RLEuyb426AZjAetU7Nws7PnwTndo9gaCvAVAdWtijvA"; secret != want {
		t.Errorf("secret is %s, want %s", secret, want)
	}
	got := notify.Sign(secret, []byte(`{"id":"ev_1"}`), time.Unix(1790000000, 999))
	if want := "t=1790000000,v1=a2cdb70629a7f63f7a39733ee7f0945d3259872b8412651aedd01c24767c7cd9"; got != want {
		t.Errorf("signature is %s, want %s", got, want)
	}
}

func TestSecrets(t *testing.T) {
	k := key(t)
	other, err := notify.NewKey(bytes.Repeat([]byte{8}, notify.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, s := range []string{k.Secret("wh_1", 1), k.Secret("wh_1", 2), k.Secret("wh_2", 1), other.Secret("wh_1", 1)} {
		if seen[s] || len(s) != 43 {
			t.Errorf("secret %q is there twice or not of 43 characters", s)
		}
		seen[s] = true
	}
	if again := key(t).Secret("wh_1", 1); !seen[again] {
		t.Error("a secret changes by itself")
	}
	for _, n := range []int{0, 31, 33} {
		if _, err := notify.NewKey(make([]byte, n)); err == nil {
			t.Errorf("a key of %d bytes was taken", n)
		}
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("key", "key", k)
	text := fmt.Sprintf("%v %+v %#v %s %x", k, k, k, k, k.String()) + log.String()
	if !strings.Contains(text, "[secret]") || strings.Contains(text, "7 7 7") || strings.Contains(text, "0x7") {
		t.Errorf("a key shows itself: %s", text)
	}
}

func TestVerify(t *testing.T) {
	const secret = "secret"
	body := []byte(`{"id":"ev_1"}`)
	at := time.Unix(1790000000, 0)
	good := notify.Sign(secret, body, at)
	signature := strings.TrimPrefix(good, "t=1790000000,")
	for name, c := range map[string]struct {
		secret, header string
		body           string
		now            time.Time
		tolerance      time.Duration
		good           bool
	}{
		"good":              {secret, good, string(body), at, time.Minute, true},
		"just young enough": {secret, good, string(body), at.Add(time.Minute), time.Minute, true},
		"too old":           {secret, good, string(body), at.Add(time.Minute + time.Second), time.Minute, false},
		"too early":         {secret, good, string(body), at.Add(-time.Minute - time.Second), time.Minute, false},
		"any age":           {secret, good, string(body), at.AddDate(9, 0, 0), 0, true},
		"other secret":      {"other", good, string(body), at, time.Minute, false},
		"other body":        {secret, good, string(body) + " ", at, time.Minute, false},
		"other time":        {secret, "t=1790000001," + signature, string(body), at, time.Minute, false},
		"time twice":        {secret, good + ",t=1790000000", string(body), at, time.Minute, false},
		"no time":           {secret, signature, string(body), at, time.Minute, false},
		"no signature":      {secret, "t=1790000000", string(body), at, time.Minute, false},
		"short signature":   {secret, good[:len(good)-2], string(body), at, time.Minute, false},
		"empty":             {secret, "", string(body), at, time.Minute, false},
		"one of several":    {secret, "t=1790000000,v1=00,v0=xx," + signature, string(body), at, time.Minute, true},
	} {
		err := notify.Verify(c.secret, c.header, []byte(c.body), c.now, c.tolerance)
		if (err == nil) != c.good || err != nil && !errors.Is(err, notify.ErrSignature) {
			t.Errorf("%s: %v, want it good: %v", name, err, c.good)
		}
	}
}
