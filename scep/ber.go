package scep

import (
	"encoding/binary"

	"understudy.example/understudy/refusal"
)

const bitString = 0x03 // tag of BIT STRING, the one string that cannot be joined by bytes

// toDER rewrites BER in the forms of DER: lengths definite and minimal, strings
// in one piece. Apple and Windows send indefinite lengths, and DER is what the
// parsers behind read and what a signature covers. Values stay as they are; so
// does the order of a SET. ber must have passed the guard, which bounds the
// depth of the recursion and the work.
//
// The cost is the input's size times its depth, for moving the content of each
// level once.
func toDER(ber []byte) ([]byte, error) {
	der, _, err := appendDER(make([]byte, 0, len(ber)), ber)
	return der, err
}

// appendDER appends the element that ber begins with and returns what follows
// it.
func appendDER(dst, ber []byte) (out, rest []byte, err error) {
	h, f := readHeader(ber)
	if f != faultNone {
		return nil, nil, refusal.New(refusal.BadMessage, "BER %v", f)
	}
	rest = ber[h.size:]
	tag := h.tag
	split := isSplitString(tag)
	if split {
		tag &^= 0x20
	}
	if split && tag == bitString {
		return nil, nil, refusal.New(refusal.BadMessage, "BER has a BIT STRING in pieces")
	}
	dst = append(dst, tag)
	start := len(dst)
	switch {
	case !h.constructed:
		dst, rest = append(dst, rest[:h.length]...), rest[h.length:]
	case split:
		dst, rest, err = appendPieces(dst, rest, h)
	default:
		dst, rest, err = appendChildren(dst, rest, h, appendDER)
	}
	if err != nil {
		return nil, nil, err
	}
	return insertLength(dst, start), rest, nil
}

// appendPieces appends the content of the pieces of a string. A piece may be in
// pieces itself.
func appendPieces(dst, rest []byte, h header) ([]byte, []byte, error) {
	return appendChildren(dst, rest, h, func(dst, ber []byte) ([]byte, []byte, error) {
		piece, f := readHeader(ber)
		switch {
		case f != faultNone:
			return nil, nil, refusal.New(refusal.BadMessage, "BER %v", f)
		case piece.constructed && isSplitString(piece.tag):
			return appendPieces(dst, ber[piece.size:], piece)
		case piece.constructed:
			return nil, nil, refusal.New(refusal.BadMessage, "BER string has a piece that is no string")
		}
		end := piece.size + piece.length
		return append(dst, ber[piece.size:end]...), ber[end:], nil
	})
}

// appendChildren calls add for each child of the constructed element h, whose
// content begins at rest, and returns what follows the element.
func appendChildren(dst, rest []byte, h header, add func(dst, ber []byte) (out, rest []byte, err error)) ([]byte, []byte, error) {
	content, after := rest, []byte(nil)
	if !h.indefinite {
		content, after = rest[:h.length], rest[h.length:]
	}
	for {
		if h.indefinite && isEndMarker(content) {
			return dst, content[2:], nil
		}
		if len(content) == 0 && !h.indefinite {
			return dst, after, nil
		}
		var err error
		if dst, content, err = add(dst, content); err != nil {
			return nil, nil, err
		}
	}
}

// insertLength puts the length of dst[start:] before it.
func insertLength(dst []byte, start int) []byte {
	length := len(dst) - start
	var octets [5]byte
	var field []byte
	if length < 0x80 {
		field = append(octets[:0], byte(length))
	} else {
		binary.BigEndian.PutUint32(octets[1:], uint32(length))
		first := 1
		for octets[first] == 0 {
			first++
		}
		octets[first-1] = 0x80 | byte(len(octets)-first)
		field = octets[first-1:]
	}
	dst = append(dst, field...)
	copy(dst[start+len(field):], dst[start:start+length])
	copy(dst[start:], field)
	return dst
}
