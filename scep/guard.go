package scep

import "understudy.example/understudy/refusal"

// Limits of the guard. Messages of real clients have 37 to 213 elements and a
// depth of at most 9.
const (
	maxDepth        = 24
	maxElements     = 4096
	maxLengthOctets = 4
)

// A fault is what the guard found. It is a small number, so that finding one
// allocates nothing either.
type fault uint8

const (
	faultNone fault = iota
	faultEmpty
	faultTruncated
	faultDepth
	faultElements
	faultTag
	faultLength
	faultOverrun
	faultIndefinite
	faultEndMarker
	faultTrailing
)

func (f fault) String() string {
	switch f {
	case faultEmpty:
		return "is empty"
	case faultTruncated:
		return "is truncated"
	case faultDepth:
		return "is nested too deeply"
	case faultElements:
		return "has too many elements"
	case faultTag:
		return "has a tag number above 30"
	case faultLength:
		return "has a length of more than four octets"
	case faultOverrun:
		return "has an element that ends after the one around it"
	case faultIndefinite:
		return "has a primitive element of indefinite length"
	case faultEndMarker:
		return "has an end marker out of place"
	case faultTrailing:
		return "has bytes after its end"
	default:
		return "is well formed"
	}
}

// guard refuses ber unless scan finds it well formed. It says whether ber is
// written in the forms of DER already. what names the bytes in the refusal.
func guard(what string, ber []byte) (der bool, err error) {
	der, f := scan(ber)
	if f != faultNone {
		return false, refusal.New(refusal.BadMessage, "%s %v", what, f)
	}
	return der, nil
}

// scan looks at the shape of BER before anybody parses it: every element ends
// within the nearest enclosing element of definite length, the first one ends
// with the input, and nesting, number, tags and lengths stay within the limits.
// It is one pass, without recursion and without allocation, and does not look
// into primitive elements. der says that all lengths are definite and minimal
// and that no string is in pieces.
func scan(ber []byte) (der bool, f fault) {
	if len(ber) == 0 {
		return false, faultEmpty
	}
	// The open elements. ends holds the end of each; limits holds the end of
	// the nearest element of definite length, which for those is their own.
	var ends, limits [maxDepth]int
	const indefinite = -1
	open, limit, elements, pos := 0, len(ber), 0, 0
	der = true
	for {
		if open > 0 && ends[open-1] == indefinite && isEndMarker(ber[pos:limit]) {
			pos += 2
			open--
		} else {
			h, f := readHeader(ber[pos:limit])
			if f != faultNone {
				return false, f
			}
			if elements++; elements > maxElements {
				return false, faultElements
			}
			der = der && h.der
			pos += h.size
			switch {
			case !h.constructed:
				pos += h.length
			case open == maxDepth:
				return false, faultDepth
			case h.indefinite:
				ends[open], limits[open] = indefinite, limit
				open++
			default:
				ends[open], limits[open] = pos+h.length, pos+h.length
				open++
			}
		}
		for open > 0 && ends[open-1] == pos {
			open--
		}
		if open == 0 {
			break
		}
		limit = limits[open-1]
	}
	if pos != len(ber) {
		return false, faultTrailing
	}
	return der, faultNone
}

func isEndMarker(b []byte) bool { return len(b) >= 2 && b[0] == 0 && b[1] == 0 }

// A header is the identifier and length of an element.
type header struct {
	tag         byte // as in the encoding: class, constructed bit and number
	constructed bool
	indefinite  bool
	der         bool // the length is minimal, and the element no string in pieces
	size        int  // of the header itself
	length      int  // of the content, 0 if indefinite
}

// readHeader reads the header of the element that b begins with. The content
// must end within b.
func readHeader(b []byte) (header, fault) {
	if len(b) < 2 {
		return header{}, faultTruncated
	}
	h := header{tag: b[0], constructed: b[0]&0x20 != 0, size: 2}
	h.der = !isSplitString(h.tag)
	switch {
	case h.tag&0x1f == 0x1f:
		return header{}, faultTag
	case h.tag&^0x20 == 0:
		return header{}, faultEndMarker
	case b[1] == 0x80:
		h.indefinite, h.der = true, false
		if !h.constructed {
			return header{}, faultIndefinite
		}
		return h, faultNone
	case b[1] < 0x80:
		h.length = int(b[1])
	default:
		octets := int(b[1] & 0x7f)
		if octets > maxLengthOctets {
			return header{}, faultLength
		}
		if len(b) < 2+octets {
			return header{}, faultTruncated
		}
		var length uint64 // 32 bits at most, so that int cannot overflow below
		for _, c := range b[2 : 2+octets] {
			length = length<<8 | uint64(c)
		}
		if length > uint64(len(b)) {
			return header{}, faultOverrun
		}
		h.size, h.length = 2+octets, int(length)
		h.der = h.der && h.length >= 0x80 && b[2] != 0
	}
	if h.length > len(b)-h.size {
		return header{}, faultOverrun
	}
	return h, faultNone
}

// isSplitString says that the tag is a universal string type in constructed
// encoding: its pieces follow as elements of their own.
func isSplitString(tag byte) bool {
	const constructed, classMask = 0x20, 0xc0
	if tag&constructed == 0 || tag&classMask != 0 {
		return false
	}
	switch tag & 0x1f {
	case 8, 11, 16, 17: // EXTERNAL, EMBEDDED PDV, SEQUENCE, SET
		return false
	default:
		return true
	}
}
