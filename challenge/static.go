package challenge

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/refusal"
)

// MaxChallenge is the greatest length of a challenge in bytes. Microsoft
// Intune's are the longest in use, at a few KiB.
const MaxChallenge = 8 << 10

// Limits of a secret key. Windows encodes the challenge as a PrintableString
// and refuses everything else, so only letters and digits are sure to arrive.
const (
	minSecretKey       = 16
	maxSecretKey       = 256
	generatedSecretKey = 32
	secretKeyAlphabet  = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	saltSize           = 16
)

// ErrGrantEnded: Issued or Failed was called on a grant a second time. It is
// a mistake of the caller.
var ErrGrantEnded = errors.New("grant was ended before")

// Static judges challenges by one secret key that all devices of a
// configuration share. It keeps a hash of the key only.
type Static struct {
	salt []byte
	hash [sha256.Size]byte
}

// NewStatic returns a validator for the secret key behind h. It refuses a hash
// that is not whole, so that no configuration comes to life without a
// challenge.
func NewStatic(h depot.SecretHash) (*Static, error) {
	if len(h.Hash) == 0 {
		return nil, errors.New("there is no secret key")
	}
	if len(h.Hash) != sha256.Size || len(h.Salt) < saltSize {
		return nil, fmt.Errorf("hash of the secret key is damaged: %d bytes with %d bytes of salt", len(h.Hash), len(h.Salt))
	}
	return &Static{salt: append([]byte(nil), h.Salt...), hash: [sha256.Size]byte(h.Hash)}, nil
}

// Validate compares the challenge with the secret key. The refusals are
// challenge_missing and challenge_wrong; the client sees no difference between
// them. The time does not depend on how much of the challenge is right.
func (s *Static) Validate(_ context.Context, a Attempt) (Grant, error) {
	matches := s.Matches(a.Challenge)
	switch length := len(a.Challenge.Reveal()); {
	case matches:
		return &staticGrant{}, nil
	case length == 0:
		return nil, refusal.New(refusal.ChallengeMissing, "the request has no challenge")
	case length > MaxChallenge:
		return nil, refusal.New(refusal.ChallengeWrong, "the challenge has %d bytes, more than %d", length, MaxChallenge)
	default:
		return nil, refusal.New(refusal.ChallengeWrong, "the challenge is not the secret key")
	}
}

// Matches says whether the challenge is the secret key. It compares hashes, in
// constant time, whatever the challenge is; one that is too long never matches.
func (s *Static) Matches(challenge Secret) bool {
	sum := saltedHash(s.salt, challenge.Reveal())
	return subtle.ConstantTimeCompare(sum[:], s.hash[:]) == 1 && len(challenge.Reveal()) <= MaxChallenge
}

// staticGrant is a grant that costs nothing and tells nobody.
type staticGrant struct{ ended atomic.Bool }

// Spends returns nothing: a secret key is good for every device.
func (*staticGrant) Spends() depot.ChallengeRef { return depot.ChallengeRef{} }

// HoldsBack is false: nobody else has to be told.
func (*staticGrant) HoldsBack() bool { return false }

// Issued ends the grant.
func (g *staticGrant) Issued(context.Context, *x509.Certificate) error { return g.end() }

// Failed ends the grant.
func (g *staticGrant) Failed(context.Context, error) error { return g.end() }

func (g *staticGrant) end() error {
	if g.ended.Swap(true) {
		return ErrGrantEnded
	}
	return nil
}

// GenerateSecretKey returns a new secret key of 32 letters and digits, each
// equally likely: 190 bits. A nil random means crypto/rand.
func GenerateSecretKey(random io.Reader) (Secret, error) {
	text, err := randomText(random, secretKeyAlphabet, generatedSecretKey)
	if err != nil {
		return Secret{}, fmt.Errorf("generate secret key: %w", err)
	}
	return NewSecret(text), nil
}

// randomText returns n characters of the alphabet, each equally likely.
func randomText(random io.Reader, alphabet string, n int) (string, error) {
	// Bytes from limit on would favour the alphabet's beginning.
	limit := 256 - 256%len(alphabet)
	text := make([]byte, 0, n)
	buffer := make([]byte, n)
	for range 64 { // a source that gives only unusable bytes must not hold us
		if _, err := io.ReadFull(source(random), buffer); err != nil {
			return "", err
		}
		for _, b := range buffer {
			if int(b) < limit && len(text) < n {
				text = append(text, alphabet[int(b)%len(alphabet)])
			}
		}
		if len(text) == n {
			return string(text), nil
		}
	}
	return "", errors.New("random source gives no usable bytes")
}

func source(random io.Reader) io.Reader {
	if random == nil {
		return rand.Reader
	}
	return random
}

// CheckSecretKey says whether text may be a secret key: 16 to 256 letters and
// digits of ASCII. The error never holds the text.
func CheckSecretKey(text string) error {
	if len(text) < minSecretKey || len(text) > maxSecretKey {
		return fmt.Errorf("secret key must have %d to %d characters, not %d", minSecretKey, maxSecretKey, len(text))
	}
	for _, c := range []byte(text) {
		if !(c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9') {
			return errors.New("secret key must consist of A-Z, a-z and 0-9: Windows refuses other characters")
		}
	}
	return nil
}

// HashSecretKey returns what is kept of a secret key: a new salt and the hash
// over both. A key that CheckSecretKey refuses is refused here as well. A nil
// random means crypto/rand.
func HashSecretKey(random io.Reader, s Secret) (depot.SecretHash, error) {
	if err := CheckSecretKey(s.Reveal()); err != nil {
		return depot.SecretHash{}, fmt.Errorf("hash secret key: %w", err)
	}
	salt := make([]byte, saltSize)
	if _, err := io.ReadFull(source(random), salt); err != nil {
		return depot.SecretHash{}, fmt.Errorf("hash secret key: %w", err)
	}
	sum := saltedHash(salt, s.Reveal())
	return depot.SecretHash{Salt: salt, Hash: sum[:]}, nil
}

// saltedHash is SHA-256 over salt and text.
func saltedHash(salt []byte, text string) [sha256.Size]byte {
	b := make([]byte, 0, len(salt)+len(text))
	b = append(b, salt...)
	b = append(b, text...)
	return sha256.Sum256(b)
}
