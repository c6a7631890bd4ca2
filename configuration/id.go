package configuration

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
)

// The form of ids: Okta's begin with rac and have 20 characters.
const (
	idPrefix   = "rac"
	idRandom   = 17
	idAlphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
)

// NewID returns a new configuration id: rac and 17 of [a-z0-9], each equally
// likely. A nil random means crypto/rand.
func NewID(random io.Reader) (string, error) {
	if random == nil {
		random = rand.Reader
	}
	const fair = 256 - 256%len(idAlphabet) // bytes from here on would favour the first letters
	id := []byte(idPrefix)
	var buffer [2 * idRandom]byte
	for range 64 { // a source that gives only unusable bytes must not hold us
		if _, err := io.ReadFull(random, buffer[:]); err != nil {
			return "", fmt.Errorf("make configuration id: %w", err)
		}
		for _, b := range buffer {
			if int(b) < fair && len(id) < len(idPrefix)+idRandom {
				id = append(id, idAlphabet[int(b)%len(idAlphabet)])
			}
		}
		if len(id) == len(idPrefix)+idRandom {
			return string(id), nil
		}
	}
	return "", errors.New("make configuration id: random source gives no usable bytes")
}
