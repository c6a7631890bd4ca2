package client

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// maxDepth bounds the nesting of what a server sends: a bundle with
// certificates, the deepest thing that occurs, needs about fifteen levels.
const maxDepth = 32

// tagFragments is an OCTET STRING in fragments, which DER does not know.
const tagFragments = 0x24

var errMalformed = errors.New("not well-formed BER, or nested too deeply")

// definite checks data and returns it with definite lengths and whole OCTET
// STRINGs, as the decoder behind it needs them: servers on BouncyCastle answer
// in BER, and of a string in fragments go.mozilla.org/pkcs7 reads the first.
func definite(data []byte) ([]byte, error) {
	der, err := wellFormed(data)
	if err != nil || der {
		return data, err
	}
	var b cryptobyte.Builder
	rest := addDefinite(&b, data)
	out, err := b.Bytes()
	if err != nil || len(rest) != 0 {
		return nil, errMalformed
	}
	return out, nil
}

// addDefinite copies the first element of well-formed data and returns what
// follows it.
func addDefinite(b *cryptobyte.Builder, data []byte) (rest []byte) {
	constructed, start, end, ok := header(data, 0)
	switch {
	case !ok:
		b.SetError(errMalformed)
		return nil
	case !constructed:
		b.AddBytes(data[:end])
		return data[end:]
	}
	body := data[start:]
	if end >= 0 {
		body, rest = data[start:end], data[end:]
	}
	children := func(b *cryptobyte.Builder) {
		for len(body) > 0 && !(end < 0 && body[0] == 0) {
			body = addDefinite(b, body)
		}
	}
	if data[0] == tagFragments {
		b.AddASN1(cbasn1.OCTET_STRING, func(b *cryptobyte.Builder) { addFragments(b, children) })
	} else {
		b.AddASN1(cbasn1.Tag(data[0]), children)
	}
	if end < 0 && len(body) >= 2 {
		rest = body[2:] // behind the end marker
	}
	return rest
}

// addFragments writes the contents of the OCTET STRINGs that children makes.
func addFragments(b *cryptobyte.Builder, children cryptobyte.BuilderContinuation) {
	var parts cryptobyte.Builder
	children(&parts)
	all, err := parts.Bytes()
	if err != nil {
		b.SetError(err)
		return
	}
	for s := cryptobyte.String(all); !s.Empty(); {
		var part cryptobyte.String
		if !s.ReadASN1(&part, cbasn1.OCTET_STRING) {
			b.SetError(errMalformed)
			return
		}
		b.AddBytes(part)
	}
}

// wellFormed checks in one pass that data is exactly one BER element whose
// parts stay inside each other, and says whether it needs no rewriting. A
// decoder that recurses and lets children run past their parent would need
// exponential time for what fails here.
func wellFormed(data []byte) (der bool, err error) {
	var ends [maxDepth]int // end of each open element; -1 for indefinite length
	open, at := 0, 0
	der = true
	// An element that runs past its parent's end can never hit that end again,
	// so it leaves the parent open until the input is used up.
	for first := true; first || open > 0; first = false {
		if open > 0 && ends[open-1] < 0 && at+2 <= len(data) && data[at] == 0 && data[at+1] == 0 {
			at += 2
			open--
		} else {
			constructed, start, end, ok := header(data, at)
			if !ok || constructed && open == maxDepth {
				return false, errMalformed
			}
			der = der && end >= 0 && data[at] != tagFragments
			at = end
			if constructed {
				ends[open], at = end, start
				open++
			}
		}
		for open > 0 && ends[open-1] == at {
			open--
		}
	}
	if at != len(data) {
		return false, errMalformed
	}
	return der, nil
}

// header reads the tag and length at an offset. end is -1 for indefinite
// length, which only constructed elements may have. An element with the tag of
// the end marker is refused: of its content, wellFormed would know nothing and
// addDefinite would make elements, nested as deeply as a server likes.
func header(data []byte, at int) (constructed bool, start, end int, ok bool) {
	if at+2 > len(data) || data[at]&0x1f == 0x1f || data[at]&^0x20 == 0 {
		return false, 0, 0, false
	}
	constructed = data[at]&0x20 != 0
	length, start := int(data[at+1]), at+2
	switch {
	case length == 0x80:
		return constructed, start, -1, constructed
	case length > 0x84:
		return false, 0, 0, false
	case length > 0x80:
		octets := length & 0x7f
		if start+octets > len(data) {
			return false, 0, 0, false
		}
		var long uint64 // which four octets cannot overflow, as they can an int
		for _, b := range data[start : start+octets] {
			long = long<<8 | uint64(b)
		}
		if long > uint64(len(data)) {
			return false, 0, 0, false
		}
		length = int(long)
		start += octets
	}
	if length > len(data)-start {
		return false, 0, 0, false
	}
	return constructed, start, start + length, true
}
