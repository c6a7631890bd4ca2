package explain

import (
	"encoding/binary"
	"fmt"
)

// Bounds of what is read. A message of a real client has at most 213 elements
// and 9 levels; the number is for CRLs, which have about five an entry.
const (
	maxDepth    = 32
	maxElements = 1 << 17
)

// Identifier octets of ASN.1 (X.690 §8.1.2).
const (
	tagBoolean         = 0x01
	tagInteger         = 0x02
	tagBitString       = 0x03
	tagOctetString     = 0x04
	tagNull            = 0x05
	tagOID             = 0x06
	tagEnumerated      = 0x0a
	tagUTF8String      = 0x0c
	tagNumericString   = 0x12
	tagPrintableString = 0x13
	tagT61String       = 0x14
	tagIA5String       = 0x16
	tagUTCTime         = 0x17
	tagGeneralizedTime = 0x18
	tagVisibleString   = 0x1a
	tagUniversalString = 0x1c
	tagBMPString       = 0x1e

	constructed = 0x20
	tagSequence = 0x30
	tagSet      = 0x31
	context0    = 0x80 // [0], primitive; with constructed, [0] constructed
)

// A node is an element of BER, and below it those inside, as far as they can
// be read. A node that is damaged is kept: explaining is more than parsing.
type node struct {
	tag    byte // class, constructed bit and number, as encoded
	offset int  // of the element in the bytes that were parsed
	raw    []byte
	body   []byte // what is inside, without an end marker
	kids   []node // of a constructed element
	cut    bool   // the element is shorter than it says
	ber    bool   // it, or something in it, is not written as DER asks
}

// A fault is the first place where bytes are no well-formed BER.
type fault struct {
	offset int
	why    string
}

// A reader parses one piece of BER in one pass. Its bounds hold whatever the
// bytes are: a child never reaches beyond its parent.
type reader struct {
	left  *int // elements that may still be read; shared by the pieces of an input
	fault *fault
}

func (r *reader) fail(offset int, format string, args ...any) {
	if r.fault == nil {
		r.fault = &fault{offset, fmt.Sprintf(format, args...)}
	}
}

// parse reads the first element of b. rest is what follows it.
func parse(b []byte, left *int) (n *node, rest []byte, f *fault) {
	r := &reader{left: left}
	first, size := r.element(b, 0, 0)
	if size == 0 {
		return nil, b, r.fault
	}
	return &first, b[size:], r.fault
}

// element reads the element that b begins with, which is at an offset. Its size
// is 0 when not even its header can be read.
func (r *reader) element(b []byte, offset, depth int) (n node, size int) {
	if *r.left <= 0 {
		r.fail(offset, "there are more elements than are read here")
		return n, 0
	}
	*r.left--
	tag, header, length, minimal := readHeader(b)
	if header == 0 {
		r.fail(offset, "%s", badHeader(b))
		return n, 0
	}
	n = node{tag: tag, offset: offset, ber: !minimal || isSplitString(tag)}
	if length < 0 {
		return r.indefinite(n, b, header, depth)
	}
	if uint64(length) > uint64(len(b)-header) {
		r.fail(offset, "%s says that it has %d octets, and %d are left", tagName(tag), length, len(b)-header)
		n.cut, length = true, int64(len(b)-header)
	}
	size = header + int(length)
	n.raw, n.body = b[:size], b[header:size]
	if tag&constructed != 0 {
		r.children(&n, n.body, offset+header, depth, false)
	}
	return n, size
}

// indefinite reads on behind the header of an element of indefinite length.
func (r *reader) indefinite(n node, b []byte, header, depth int) (node, int) {
	n.ber = true
	if n.tag&constructed == 0 {
		r.fail(n.offset, "%s is primitive and has an indefinite length", tagName(n.tag))
		return n, 0
	}
	used := r.children(&n, b[header:], n.offset+header, depth, true)
	n.body = b[header : header+used]
	size := header + used
	if len(b)-size >= 2 && b[size] == 0 && b[size+1] == 0 {
		size += 2
	} else {
		r.fail(n.offset+size, "%s of indefinite length has no end marker", tagName(n.tag))
		n.cut = true
	}
	n.raw = b[:size]
	return n, size
}

// children reads the elements in b into n and returns how much of b they are.
// With untilEnd they stop before an end marker.
func (r *reader) children(n *node, b []byte, offset, depth int, untilEnd bool) (used int) {
	if depth+1 >= maxDepth {
		r.fail(offset, "nesting is deeper than %d levels", maxDepth)
		n.cut = true
		return len(b)
	}
	for used < len(b) {
		rest := b[used:]
		if untilEnd && len(rest) >= 2 && rest[0] == 0 && rest[1] == 0 {
			break
		}
		kid, size := r.element(rest, offset+used, depth+1)
		if size == 0 {
			n.cut = true
			return len(b)
		}
		n.ber = n.ber || kid.ber
		n.cut = n.cut || kid.cut
		n.kids = append(n.kids, kid)
		used += size
	}
	return used
}

// readHeader reads identifier and length. The length is -1 when indefinite; the
// size of the header is 0 when there is none that can be read.
func readHeader(b []byte) (tag byte, size int, length int64, minimal bool) {
	if len(b) < 2 || b[0]&0x1f == 0x1f || b[0] == 0 {
		return 0, 0, 0, false
	}
	switch octets := int(b[1] & 0x7f); {
	case b[1] < 0x80:
		return b[0], 2, int64(b[1]), true
	case octets == 0:
		return b[0], 2, -1, false
	case octets > 4 || len(b) < 2+octets:
		return 0, 0, 0, false
	default:
		for _, c := range b[2 : 2+octets] {
			length = length<<8 | int64(c)
		}
		return b[0], 2 + octets, length, length >= 0x80 && b[2] != 0
	}
}

// badHeader says why readHeader found none.
func badHeader(b []byte) string {
	switch {
	case len(b) < 2:
		return "the bytes end where an element begins"
	case b[0] == 0:
		return "there is an end marker out of place"
	case b[0]&0x1f == 0x1f:
		return "there is a tag number above 30"
	case b[1]&0x7f > 4:
		return "there is a length of more than four octets"
	default:
		return "the bytes end inside a length"
	}
}

// isSplitString says that a tag is a universal string in pieces.
func isSplitString(tag byte) bool {
	return tag&0xc0 == 0 && tag&constructed != 0 && tag != tagSequence && tag != tagSet && tag&0x1f != 8 && tag&0x1f != 11
}

// octets returns the content of a string, whose pieces it joins.
func (n *node) octets() []byte {
	if n == nil {
		return nil
	}
	if n.tag&constructed == 0 {
		return n.body
	}
	var all []byte
	for i := range n.kids {
		all = append(all, n.kids[i].octets()...)
	}
	return all
}

// der returns the element with definite, minimal lengths and strings in one
// piece: what a signature covers and what other parsers read.
func (n *node) der() []byte {
	if n == nil {
		return nil
	}
	if !n.ber {
		return n.raw
	}
	switch {
	case isSplitString(n.tag):
		return element(n.tag&^constructed, n.octets())
	case n.tag&constructed == 0:
		return element(n.tag, n.body)
	}
	var body []byte
	for i := range n.kids {
		body = append(body, n.kids[i].der()...)
	}
	return element(n.tag, body)
}

// element encodes an element in DER.
func element(tag byte, body []byte) []byte {
	out := []byte{tag}
	if len(body) < 0x80 {
		out = append(out, byte(len(body)))
	} else {
		var octets [4]byte
		binary.BigEndian.PutUint32(octets[:], uint32(len(body)))
		first := 0
		for octets[first] == 0 {
			first++
		}
		out = append(append(out, 0x80|byte(len(octets)-first)), octets[first:]...)
	}
	return append(out, body...)
}

// is says that a node is there and has a tag.
func (n *node) is(tag byte) bool { return n != nil && n.tag == tag }

// kid returns a child by its number, or nil.
func (n *node) kid(i int) *node {
	if n == nil || i < 0 || i >= len(n.kids) {
		return nil
	}
	return &n.kids[i]
}

// A list takes children one after the other, as the ASN.1 of a SEQUENCE has
// them. The first that is not there stops it; whatever is asked for afterwards
// is nil.
type list struct {
	x     *explainer
	what  string // the SEQUENCE, in the standard's words
	of    *node
	next  int
	ended bool
}

func (x *explainer) list(what string, of *node) *list {
	l := &list{x: x, what: what, of: of}
	if of == nil {
		l.ended = true
	} else if of.tag&constructed == 0 {
		l.ended = true
		x.breakOff(what, of.offset, "%s stands where %s should be", tagName(of.tag), what)
	}
	return l
}

func (l *list) peek() *node {
	if l.ended {
		return nil
	}
	return l.of.kid(l.next)
}

// any takes the next child, whatever it is.
func (l *list) any(field string) *node {
	n := l.peek()
	if n == nil {
		l.stop(field, "")
		return nil
	}
	l.next++
	return n
}

// take takes the next child, which must have the tag.
func (l *list) take(tag byte, field string) *node {
	n := l.peek()
	if !n.is(tag) && !(n != nil && isSplitString(n.tag) && n.tag&^constructed == tag) {
		l.stop(field, tagName(tag))
		return nil
	}
	l.next++
	return n
}

// maybe takes the next child if it has the tag.
func (l *list) maybe(tag byte) *node {
	n := l.peek()
	if !n.is(tag) {
		return nil
	}
	l.next++
	return n
}

// done objects to children that the standard does not know.
func (l *list) done() {
	if n := l.peek(); n != nil {
		l.x.breakOff(l.what, n.offset, "%s is left over at the end of %s", tagName(n.tag), l.what)
	}
}

func (l *list) stop(field, want string) {
	if l.ended {
		return
	}
	l.ended = true
	at, found := 0, "nothing is left"
	if n := l.of.kid(l.next); n != nil {
		at, found = n.offset, tagName(n.tag)+" stands there"
	} else {
		at = l.of.offset + len(l.of.raw)
	}
	if want != "" {
		want = " (" + want + ")"
	}
	l.x.breakOff(l.what, at, "%s%s should come, and %s", field, want, found)
}
