package client

import (
	"context"
	"crypto"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Capabilities are the words that a server answered to GetCACaps, in its order.
// An old server answers none.
type Capabilities []string

// Capabilities asks the server what it can. A server that does not know the
// operation (HTTP 400, 404, 405 or 501) has none: RFC 8894 §3.5.2 wants
// clients to go on.
func (c *Client) Capabilities(ctx context.Context) (Capabilities, error) {
	a, err := c.call(ctx, http.MethodGet, "GetCACaps", c.identified(), nil)
	if err != nil {
		if h, ok := errors.AsType[*HTTPError](err); ok && slices.Contains(withoutCapabilities, h.StatusCode) {
			return nil, nil
		}
		return nil, err
	}
	return ParseCapabilities(a.body), nil
}

var withoutCapabilities = []int{
	http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented,
}

// ParseCapabilities splits the answer to GetCACaps as Apple does: at CR and
// LF, whole words, without folding case.
func ParseCapabilities(body []byte) Capabilities {
	var words Capabilities
	for word := range strings.FieldsFuncSeq(string(body), func(r rune) bool { return r == '\r' || r == '\n' }) {
		if word = strings.TrimSpace(word); word != "" {
			words = append(words, word)
		}
	}
	return words
}

// Has says whether the server answered a word, exactly as written.
func (s Capabilities) Has(word string) bool { return slices.Contains(s, word) }

// Standard says that the server promises AES, SHA-256 and POST in one word.
func (s Capabilities) Standard() bool { return s.Has("SCEPStandard") }

// POST says that PKIOperation may be posted.
func (s Capabilities) POST() bool { return s.Has("POSTPKIOperation") || s.Standard() }

// Renewal says that a RenewalReq is understood.
func (s Capabilities) Renewal() bool { return s.Has("Renewal") }

// Cipher returns what a device encrypts with: AES-128-CBC when offered, else
// Triple DES.
func (s Capabilities) Cipher() Cipher {
	if s.Has("AES") || s.Standard() {
		return AES128CBC
	}
	return TripleDESCBC
}

// Digest returns what a device signs with: the first of SHA-512, SHA-256 and
// SHA-1 that is offered, as Apple chooses; SHA-1 when nothing was answered.
// It fails when words were answered and none is a digest (Apple: error 22006).
func (s Capabilities) Digest() (crypto.Hash, error) {
	switch {
	case s.Has("SHA-512"):
		return crypto.SHA512, nil
	case s.Has("SHA-256") || s.Standard():
		return crypto.SHA256, nil
	case s.Has("SHA-1") || len(s) == 0:
		return crypto.SHA1, nil
	}
	return 0, broken("RFC 8894 §3.5.2", "GetCACaps names no digest")
}

// identified is the query of the two Get operations that carry the CA
// identifier.
func (c *Client) identified() url.Values {
	query := url.Values{}
	if c.CAIdentifier != "" {
		query.Set("message", c.CAIdentifier)
	}
	return query
}
