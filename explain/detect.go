package explain

import "fmt"

// object explains one object of the input.
func (x *explainer) object(o object) {
	if o.text {
		if all := words(o.data); all != nil {
			x.caps(o.data, all)
			return
		}
		x.item.Title = fmt.Sprintf("text of %s in which nothing is encoded that is known here", plural(runes(string(o.data)), "character"))
		return
	}
	x.bytes(o.data)
}

// bytes explains an item from its bytes.
func (x *explainer) bytes(data []byte) {
	n, rest, f := parse(data, x.left)
	if n != nil {
		x.structure(n)
	}
	if f != nil {
		// The first place of damage is what people want to know, not what was
		// found missing because of it.
		x.item.Break = &Break{"the encoding", f.offset, f.why}
	}
	if n == nil {
		return
	}
	if len(rest) > 0 {
		x.find(Objection, strict, "X.690", "the encoding", "%s after the end of the object", plural(len(rest), "byte"))
	}
	x.ber = n.ber
	if n.ber && f == nil {
		x.find(Remark, "decoders that read only DER", "X.690 §10.1", "the encoding",
			"it is BER: lengths are indefinite or not minimal, or strings come in pieces")
	}
}

// structure explains a whole object by its shape.
func (x *explainer) structure(n *node) {
	switch kind := shape(n); kind {
	case SignedData:
		x.contentInfo(n)
	case Certificate:
		x.certificateItem(n)
	case CSR:
		x.csrItem(n)
	case CRL:
		x.crlItem(n)
	case OCSPRequest:
		x.ocspRequest(n)
	case OCSPResponse:
		x.ocspResponse(n)
	case IssuerAndSubject, IssuerAndSerial:
		x.query(n, kind)
	case PrivateKey:
		x.is(PrivateKey, "private key: it is not shown")
		x.privateKey(n)
	case PublicKey:
		x.is(PublicKey, "public key")
		x.publicKey(n, x.add("subjectPublicKeyInfo", ""))
	default:
		x.unknown(n)
	}
}

// shape tells what a SEQUENCE may be, by the types of its first elements.
// SignedData stands for every ContentInfo, also one of another type.
func shape(n *node) Kind {
	first, second, third := n.kid(0), n.kid(1), n.kid(2)
	switch {
	case !n.is(tagSequence) || first == nil:
		return Unknown
	case first.is(tagOID):
		return SignedData
	case first.is(tagEnumerated):
		return OCSPResponse
	case isName(first) && second.is(tagInteger):
		return IssuerAndSerial
	case isName(first) && isName(second) && third == nil && (len(first.kids) > 0 || len(second.kids) > 0):
		return IssuerAndSubject
	case first.is(tagInteger) && (isAlgorithm(second) && third.is(tagOctetString) || second.is(tagInteger) && len(n.kids) >= 8 ||
		second.is(tagOctetString) && len(n.kids) <= 4), isAlgorithm(first) && second.is(tagOctetString):
		return PrivateKey
	case isAlgorithm(first) && second.is(tagBitString):
		return PublicKey
	case first.is(tagSequence):
		return signedShape(first)
	default:
		return Unknown
	}
}

// signedShape tells what is signed, by the beginning of what is signed.
func signedShape(tbs *node) Kind {
	a, b, c, d := tbs.kid(0), tbs.kid(1), tbs.kid(2), tbs.kid(3)
	switch {
	case a.is(context0|constructed) && b.is(tagInteger):
		return Certificate
	case a.is(tagInteger) && isAlgorithm(b) && isTime(d), isAlgorithm(a) && isTime(c):
		return CRL
	case a.is(tagInteger) && isAlgorithm(b):
		return Certificate // version 1
	case a.is(tagInteger) && isName(b):
		return CSR
	}
	for i := range tbs.kids { // of a TBSRequest, behind version and requestorName
		if id := tbs.kids[i].kid(0).kid(0); tbs.kids[i].is(tagSequence) && isAlgorithm(id.kid(0)) && id.kid(1).is(tagOctetString) {
			return OCSPRequest
		}
	}
	return Unknown
}

func isName(n *node) bool {
	return n.is(tagSequence) && (len(n.kids) == 0 || n.kids[0].is(tagSet))
}

func isAlgorithm(n *node) bool { return n.is(tagSequence) && n.kid(0).is(tagOID) }

func isTime(n *node) bool { return n.is(tagUTCTime) || n.is(tagGeneralizedTime) }

// maxOutline is how many elements of something unknown are listed.
const maxOutline = 200

// unknown lists the elements of what nobody knows. Texts are shown only beside
// the type of a name, so that no challenge gets out by way of damage.
func (x *explainer) unknown(n *node) {
	x.item.Title = "ASN.1 of no kind that is known here"
	left := maxOutline
	outline(x.add("element", ""), n, &left, false)
}

func outline(f *Field, n *node, left *int, named bool) {
	if *left--; *left < 0 {
		return
	}
	f.Value = fmt.Sprintf("%s, %s at %d", tagName(n.tag), plural(len(n.body), "octet"), n.offset)
	switch {
	case n.is(tagOID):
		f.note("%s", nameOf(oidOf(n))).oid(oidOf(n))
	case n.is(tagInteger) && len(n.body) <= 8, n.is(tagBoolean), isTime(n):
		f.note("%s", value(n))
	case named:
		if text, ok := textOf(n); ok {
			f.note("%s", text)
		}
	}
	named = n.is(tagSequence) && isNameType(oidOf(n.kid(0)))
	for i := range n.kids {
		if *left <= 0 {
			f.note("more is left out")
			return
		}
		outline(f.add("element", ""), &n.kids[i], left, named)
	}
}

// isNameType says that an attribute type belongs to names.
func isNameType(oid string) bool {
	const x520, pilot = "2.5.4.", "0.9.2342.19200300.100.1."
	return len(oid) > len(x520) && oid[:len(x520)] == x520 || len(oid) > len(pilot) && oid[:len(pilot)] == pilot
}
