package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// The headers of a delivery.
const (
	// HeaderSignature is t=<unix>,v1=<hex HMAC-SHA256(secret, t + "." + body)>.
	HeaderSignature = "X-Signature"
	// HeaderDelivery tells attempts apart: webhook id, event id and number of
	// the attempt, with dots between them. Duplicates have one event id.
	HeaderDelivery = "X-Delivery"
)

// KeySize is the length of the key from which the secrets of webhooks are
// derived, in bytes.
const KeySize = 32

// ErrSignature: a delivery is not from whom it should be, or too old.
var ErrSignature = errors.New("signature is not good")

// A Key is what the secrets of all webhooks are derived from, so that no store
// and no backup of one holds them.
type Key struct{ secret [KeySize]byte }

// NewKey returns the key of these 32 bytes.
func NewKey(secret []byte) (Key, error) {
	if len(secret) != KeySize {
		return Key{}, fmt.Errorf("key of the webhooks has %d bytes, not %d", len(secret), KeySize)
	}
	return Key{[KeySize]byte(secret)}, nil
}

// String hides the key.
func (Key) String() string { return "[secret]" }

// GoString hides the key.
func (Key) GoString() string { return "[secret]" }

// LogValue hides the key.
func (Key) LogValue() slog.Value { return slog.StringValue("[secret]") }

// Secret returns the signing secret of a webhook: base64url, without padding,
// of HMAC-SHA256(key, id + ":" + generation). Its text, not what it encodes,
// is the key of signatures.
func (k Key) Secret(webhookID string, generation int) string {
	return base64.RawURLEncoding.EncodeToString(sum(k.secret[:], webhookID, ":", strconv.Itoa(generation)))
}

func sum(key []byte, parts ...string) []byte {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		h.Write([]byte(p))
	}
	return h.Sum(nil)
}

// Sign returns the value of X-Signature for a body sent at a time.
func Sign(secret string, body []byte, at time.Time) string {
	t := strconv.FormatInt(at.Unix(), 10)
	return "t=" + t + ",v1=" + hex.EncodeToString(sum([]byte(secret), t, ".", string(body)))
}

// Verify is for receivers: it says whether a body with this X-Signature was
// signed with the secret, no further from now than the tolerance; 0 accepts
// any time. Of several v1 values one must be good; what else is in the header
// is passed over. ErrSignature.
func Verify(secret, header string, body []byte, now time.Time, tolerance time.Duration) error {
	var t string
	var signatures [][]byte
	for part := range strings.SplitSeq(header, ",") {
		name, value, _ := strings.Cut(part, "=")
		switch name {
		case "t":
			if t != "" {
				return fmt.Errorf("%w: it has two times", ErrSignature)
			}
			t = value
		case "v1":
			if s, err := hex.DecodeString(value); err == nil {
				signatures = append(signatures, s)
			}
		}
	}
	seconds, err := strconv.ParseInt(t, 10, 64)
	if err != nil {
		return fmt.Errorf("%w: it has no time", ErrSignature)
	}
	want := sum([]byte(secret), t, ".", string(body))
	good := false
	for _, s := range signatures {
		good = hmac.Equal(s, want) || good
	}
	if !good {
		return fmt.Errorf("%w: body, time or secret is another one", ErrSignature)
	}
	if age := now.Sub(time.Unix(seconds, 0)).Abs(); tolerance > 0 && age > tolerance {
		return fmt.Errorf("%w: it was made %s from now", ErrSignature, age)
	}
	return nil
}
