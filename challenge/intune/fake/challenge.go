package fake

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// challengeLife is how long Intune accepts a challenge, as its own messages
// say ("challengeExpInterval=60").
const challengeLife = 60 * time.Minute

// The parts of a blob: a mark, the id of the request, a filling that makes it
// as long as the real ones are, and a signature over all of that. Microsoft
// does not publish its format; whoever carries a blob must not look into it.
const (
	blobMark    = "INTUNE-LAB-1"
	blobID      = 16
	blobFilling = 1600
	blobLength  = len(blobMark) + blobID + blobFilling + sha256.Size
)

// A Request is what Intune expects of a CSR, and from whom.
type Request struct {
	// Subject is compared with the CSR's: a comma-separated list of
	// TYPE=VALUE, in order. Empty: any subject, but not none.
	Subject string `json:"subject"`
	// SANs are dns:…, email:…, upn:… and uri:…. None: no SAN is expected.
	SANs []string `json:"sans"`
	// KeyUsage are words of RFC 5280: digitalSignature, keyEncipherment. None:
	// it is not compared.
	KeyUsage []string `json:"key_usage"`
	// ExtendedKeyUsage are dotted OIDs. None: it is not compared.
	ExtendedKeyUsage []string `json:"extended_key_usage"`
	KeyBits          int      `json:"key_bits"` // 0: not compared

	DeviceID string `json:"device_id"`
	UserID   string `json:"user_id"`
	Profile  string `json:"profile"`

	// CreatedAt is now when it is zero.
	CreatedAt time.Time `json:"created_at"`
	// Untargeted: the profile is no longer assigned to the device.
	Untargeted bool `json:"untargeted"`
	// Gone names what Intune knew and does not know any more: request,
	// device, user.
	Gone []string `json:"gone"`
	// RegisteredKeys, when it is there, are the SHA-256 fingerprints of the
	// SubjectPublicKeyInfo of keys that may be certified; an empty list is
	// what AadKeyIdentifierListMissing means.
	RegisteredKeys *[]string `json:"registered_keys"`
	// Signer "other" has the blob signed by a certificate that Intune does not
	// expect, Content "broken" has it hold what cannot be read.
	Signer  string `json:"signer"`
	Content string `json:"content"`
}

// A Challenge is a blob that was given out.
type Challenge struct {
	ID        string    `json:"id"`
	Challenge string    `json:"challenge"`
	ExpiresAt time.Time `json:"expires_at"`
	Request   Request   `json:"request"`
	// Validated counts the requests that it was good for.
	Validated int `json:"validated"`
}

// challengeBook holds what was given out. Its maps are guarded by Cloud.mu.
type challengeBook struct {
	signer, other [32]byte
	given         map[string]*Challenge // by id in hex
}

func (b *challengeBook) make(random io.Reader) error {
	b.given = map[string]*Challenge{}
	if _, err := io.ReadFull(random, b.signer[:]); err != nil {
		return err
	}
	_, err := io.ReadFull(random, b.other[:])
	return err
}

func sign(key [32]byte, content []byte) []byte {
	mac := hmac.New(sha256.New, key[:])
	mac.Write(content)
	return mac.Sum(nil)
}

// IssueChallenge gives out a challenge for a device and a profile, as Intune
// does when it sends a profile to a device.
func (c *Cloud) IssueChallenge(r Request) (Challenge, error) {
	if err := r.check(); err != nil {
		return Challenge{}, err
	}
	if r.CreatedAt.IsZero() {
		r.CreatedAt = c.clock.Now()
	}
	content := make([]byte, blobLength-sha256.Size)
	copy(content, blobMark)
	if _, err := io.ReadFull(c.random, content[len(blobMark):]); err != nil {
		return Challenge{}, fmt.Errorf("read random bytes: %w", err)
	}
	if r.Content == "broken" {
		content[len(content)-1] = 0
	} else {
		content[len(content)-1] |= 1
	}
	key := c.challenges.signer
	if r.Signer == "other" {
		key = c.challenges.other
	}
	id := hex.EncodeToString(content[len(blobMark) : len(blobMark)+blobID])
	given := Challenge{ID: id, ExpiresAt: r.CreatedAt.Add(challengeLife), Request: r,
		Challenge: base64.StdEncoding.EncodeToString(append(content, sign(key, content)...))}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.challenges.given[id] = &given
	return given, nil
}

// clone returns a copy that shares no memory with r.
func (r Request) clone() Request {
	r.SANs, r.KeyUsage, r.ExtendedKeyUsage, r.Gone = slices.Clone(r.SANs), slices.Clone(r.KeyUsage), slices.Clone(r.ExtendedKeyUsage), slices.Clone(r.Gone)
	if r.RegisteredKeys != nil {
		keys := slices.Clone(*r.RegisteredKeys)
		r.RegisteredKeys = &keys
	}
	return r
}

func (r Request) check() error {
	for _, gone := range r.Gone {
		if !slices.Contains([]string{"request", "device", "user"}, gone) {
			return fmt.Errorf("gone: %q is none of request, device, user", gone)
		}
	}
	switch {
	case r.Signer != "" && r.Signer != "other":
		return fmt.Errorf("signer: %q is not other", r.Signer)
	case r.Content != "" && r.Content != "broken":
		return fmt.Errorf("content: %q is not broken", r.Content)
	case r.KeyBits < 0:
		return errors.New("key_bits must not be negative")
	}
	for _, usage := range r.KeyUsage {
		if !slices.Contains(keyUsages, usage) {
			return fmt.Errorf("key_usage: %q is none of %v", usage, keyUsages)
		}
	}
	return nil
}

// Retarget changes what Intune thinks of a challenge that it gave out: the
// profile was taken from the device, the device was deleted. An error changes
// nothing.
func (c *Cloud) Retarget(id string, change func(*Request) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	given, ok := c.challenges.given[id]
	if !ok {
		return fmt.Errorf("challenge %q: %w", id, ErrUnknown)
	}
	after := given.Request.clone()
	if err := change(&after); err != nil {
		return err
	}
	if err := after.check(); err != nil {
		return err
	}
	given.Request = after
	return nil
}

// FindChallenge returns a challenge by its id.
func (c *Cloud) FindChallenge(id string) (Challenge, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	given, ok := c.challenges.given[id]
	if !ok {
		return Challenge{}, fmt.Errorf("challenge %q: %w", id, ErrUnknown)
	}
	return *given, nil
}

// read opens a blob. The code says what is wrong with it, if anything.
func (b *challengeBook) read(blob string) (*Challenge, verdict) {
	raw, err := base64.StdEncoding.DecodeString(blob)
	if err != nil || !bytes.HasPrefix(raw, []byte(blobMark)) || len(raw) != blobLength {
		return nil, verdict{"ChallengeDecodingError", "The challenge could not be decoded."}
	}
	given, known := b.given[hex.EncodeToString(raw[len(blobMark):len(blobMark)+blobID])]
	if !known {
		return nil, verdict{"ChallengeDecryptionError", "The challenge could not be decrypted."}
	}
	content, signature := raw[:blobLength-sha256.Size], raw[blobLength-sha256.Size:]
	switch {
	case hmac.Equal(signature, sign(b.other, content)):
		return nil, verdict{"SigningCertThumbprintMismatch", "The thumbprint of the signing certificate is not the expected one."}
	case !hmac.Equal(signature, sign(b.signer, content)):
		return nil, verdict{"SignatureValidationFailed", "The signature of the challenge is not valid."}
	case content[len(content)-1] == 0:
		return nil, verdict{"ChallengeDeserializationError", "The challenge could not be deserialized."}
	}
	return given, verdict{}
}
