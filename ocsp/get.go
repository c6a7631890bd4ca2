package ocsp

import (
	"encoding/base64"
	"net/url"
	"strings"
)

// maxPath is the most characters that MaxRequest octets take: each base64
// character may be escaped by three.
const maxPath = 3 * (MaxRequest + 2) / 3 * 4

// urlAlphabet turns the variants of base64 that clients put into a URL into
// the one of RFC 6960: the alphabet for URLs, and a "+" that something on the
// way took for a space.
var urlAlphabet = strings.NewReplacer("-", "+", "_", "/", " ", "+")

// FromPath returns the request in the path of a GET (RFC 6960 appendix A.1):
// what follows the responder's own URL, base64 in URL escapes. Characters that
// should have been escaped and were not do no harm, and padding may be
// missing. The path should be the one that the client wrote
// (url.URL.EscapedPath): a server that makes one slash out of two spoils the
// base64. The error is ErrMalformed; the octets are for ParseRequest to judge.
func FromPath(path string) ([]byte, error) {
	if len(path) > maxPath {
		return nil, malformed("path of %d characters, more than %d", len(path), maxPath)
	}
	// A request begins with "M", so that slashes before it are the URL's.
	text, err := url.PathUnescape(strings.TrimLeft(path, "/"))
	if err != nil {
		return nil, malformed("path is not escaped as it should be")
	}
	text = strings.TrimRight(urlAlphabet.Replace(text), "=")
	der, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil || len(der) == 0 {
		return nil, malformed("path is not base64")
	}
	return der, nil
}
