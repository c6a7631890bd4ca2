package explain

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/big"
)

// A signed is a SignedData (RFC 5652 §5.1), taken apart.
type signed struct {
	root         *Field
	contentType  string
	content      *node // nil when it is absent
	certificates *node
	crls         *node
	signers      *node
	digests      *node
	node         *node
}

// contentInfo explains a ContentInfo (RFC 5652 §3).
func (x *explainer) contentInfo(n *node) {
	switch oid := oidOf(n.kid(0)); oid {
	case oidSignedData:
		x.signedData(n)
	case oidEnvelopedData, oidAuthEnveloped:
		x.is(EnvelopedData, "EnvelopedData: the envelope of a SCEP message, without the message")
		if e := x.envelope(n, x.add("EnvelopedData", "")); e != nil {
			x.opened(e, EnvelopedData)
		}
	default:
		x.item.Title = "ContentInfo of type " + nameOf(oid)
		x.unknown(n)
	}
}

// signedData explains a SignedData, which most of SCEP is.
func (x *explainer) signedData(n *node) {
	s := x.readSigned(n)
	switch {
	case s.signers.childCount() == 0 && isContent(s.content, oidEnvelopedData):
		x.message(s)
	case s.signers.childCount() == 0:
		x.bundleItem(s)
	case hasSCEPAttributes(s):
		x.message(s)
	case isContent(s.content, oidSignedData):
		x.nextCA(s)
	default:
		x.is(SignedData, "SignedData of type %s that is no SCEP message", nameOf(s.contentType))
		x.showSigned(s, &messageFacts{})
		if s.content != nil {
			x.add("content", octets(s.content.octets()))
		}
	}
}

// readSigned takes a SignedData apart.
func (x *explainer) readSigned(n *node) *signed {
	s := &signed{node: n, root: &Field{Name: "SignedData"}}
	info := x.list("ContentInfo", n)
	info.take(tagOID, "contentType")
	data := x.list("SignedData", x.list("content", info.take(context0|constructed, "content")).take(tagSequence, "SignedData"))
	s.root.add("version", value(data.take(tagInteger, "version")))
	s.digests = data.take(tagSet, "digestAlgorithms")
	encap := x.list("EncapsulatedContentInfo", data.take(tagSequence, "encapContentInfo"))
	s.contentType = oidOf(encap.take(tagOID, "eContentType"))
	if explicit := encap.maybe(context0 | constructed); explicit != nil {
		s.content = explicit.kid(0)
	}
	encap.done()
	s.certificates = data.maybe(context0 | constructed)
	s.crls = data.maybe(context0 | constructed | 1)
	s.signers = data.take(tagSet, "signerInfos")
	data.done()
	return s
}

// showSigned adds the fields of a SignedData and checks its signature. It
// returns the signed attributes.
func (x *explainer) showSigned(s *signed, facts *messageFacts) []attribute {
	root := s.root
	x.item.Fields = append(x.item.Fields, root)
	root.digests(s.digests)
	x.encapsulated(s, facts)
	shown := map[string]*Field{}
	if s.certificates != nil {
		list := root.add("certificates", fmt.Sprint(len(s.certificates.kids)))
		for i := range min(len(s.certificates.kids), maxCertificates) {
			f := list.add(fmt.Sprintf("certificate %d", i+1), "")
			shown[string(x.certificate(&s.certificates.kids[i], f, false).der)] = f
		}
	} else {
		root.add("certificates", "absent")
	}
	if s.signers == nil {
		return nil
	}
	if n := len(s.signers.kids); n != 1 {
		x.find(Objection, "every server and client", "RFC 8894 §3.2", "signerInfos", "there are %d SignerInfos, not one", n)
	}
	var attributes []attribute
	for i := range min(len(s.signers.kids), maxSigners) {
		f := root.add("signerInfo", "")
		if a := x.signerInfo(&s.signers.kids[i], f, s, facts); i == 0 {
			attributes = a
		}
	}
	if c := facts.signer; c != nil && shown[string(c.der)] != nil {
		shown[string(c.der)].Name = "signer's certificate"
	}
	return attributes
}

func (f *Field) digests(set *node) {
	if set == nil {
		return
	}
	if len(set.kids) == 0 {
		f.add("digestAlgorithms", "empty")
	}
	for i := range set.kids {
		f.algorithm("digestAlgorithms", &set.kids[i])
	}
}

func (x *explainer) encapsulated(s *signed, facts *messageFacts) {
	f := s.root.add("eContentType", nameOf(s.contentType)).oid(s.contentType)
	if facts.scep && s.contentType != oidData {
		x.find(Objection, "every server and client", "RFC 8894 §3.2", "eContentType", "it is %s, not id-data", nameOf(s.contentType))
		f.note("should be id-data")
	}
	switch {
	case s.content == nil:
		s.root.add("eContent", "absent")
	case len(s.content.octets()) == 0:
		s.root.add("eContent", "an empty OCTET STRING")
	default:
		s.root.add("eContent", fmt.Sprintf("%d octets", len(s.content.octets())))
	}
}

// An attribute is a signed attribute.
type attribute struct {
	oid    string
	node   *node
	values []node
}

func (a attribute) value() *node {
	if len(a.values) == 0 {
		return nil
	}
	return &a.values[0]
}

// readAttributes reads signed attributes (RFC 5652 §5.3).
func readAttributes(n *node) []attribute {
	var all []attribute
	for i := range n.childCount() {
		one := n.kid(i)
		a := attribute{oid: oidOf(one.kid(0)), node: one}
		if values := one.kid(1); values != nil {
			a.values = values.kids
		}
		all = append(all, a)
	}
	return all
}

// signerInfo explains a SignerInfo (RFC 5652 §5.3).
func (x *explainer) signerInfo(n *node, f *Field, s *signed, facts *messageFacts) []attribute {
	l := x.list("SignerInfo", n)
	f.add("version", value(l.take(tagInteger, "version")))
	sid := l.any("sid")
	signer := x.signer(sid, f, s, facts)
	digest := l.take(tagSequence, "digestAlgorithm")
	facts.digest = oidOf(digest.kid(0))
	f.algorithm("digestAlgorithm", digest)
	signedAttrs := l.maybe(context0 | constructed)
	all := readAttributes(signedAttrs)
	list := f.add("signedAttrs", fmt.Sprint(len(all)))
	x.attributes(list, all, s, facts)
	algorithm := l.take(tagSequence, "signatureAlgorithm")
	signature := l.take(tagOctetString, "signature")
	l.maybe(context0 | constructed | 1)
	l.done()
	if signature == nil {
		return all
	}
	facts.signature = oidOf(algorithm.kid(0))
	f.algorithm("signatureAlgorithm", algorithm)
	line := f.add("signature", octets(signature.octets())).anew()
	switch {
	case signer == nil:
		line.note("not checked: the signer's certificate is not here")
	case signer.public == nil:
		line.note("not checked: the signer's key cannot be read")
	default:
		message := s.content.octets()
		if signedAttrs != nil {
			message = asSet(all)
		}
		x.signature(line, "the signature of the message", verify(signer.public, algorithm, digests[facts.digest], message, signature.octets()))
	}
	return all
}

// asSet encodes attributes as the signature covers them: with the tag of a SET
// and in the order of DER (RFC 5652 §5.4).
func asSet(all []attribute) []byte {
	members := make([][]byte, len(all))
	for i, a := range all {
		members[i] = a.node.der()
	}
	sortBytes(members)
	return element(tagSet, bytes.Join(members, nil))
}

// signer finds the certificate that a SignerInfo names.
func (x *explainer) signer(sid *node, f *Field, s *signed, facts *messageFacts) *cert {
	if sid == nil {
		return nil
	}
	var issuer, keyID []byte
	var number *big.Int
	if sid.is(tagSequence) {
		issuer, number = sid.kid(0).der(), integer(sid.kid(1))
		f.add("sid", "issuerAndSerialNumber").add("issuer", name(sid.kid(0)))
		f.Fields[len(f.Fields)-1].add("serialNumber", serial(sid.kid(1))).anew()
	} else {
		keyID = sid.octets()
		f.add("sid", "subjectKeyIdentifier").add("subjectKeyIdentifier", octets(keyID))
		x.find(Objection, "understudy and other strict readers", "RFC 8894 §3.1", "sid", "the signer is named by subject key identifier, not by issuer and serial number")
	}
	line := f.Fields[len(f.Fields)-1]
	for _, c := range x.known {
		byName := issuer != nil && bytes.Equal(c.issuer, issuer) && c.serial.Cmp(number) == 0
		byKey := len(keyID) > 0 && bytes.Equal(c.keyID, keyID)
		if !byName && !byKey {
			continue
		}
		facts.signer = c
		x.keyOf = c
		facts.signerInside = s.holds(c)
		where := "in the message"
		if !facts.signerInside {
			where = "among the certificates that were given"
		}
		line.note("%s, %s", c.title(), where)
		return c
	}
	line.note("there is no such certificate here")
	return nil
}

// holds says that the certificates of the message have this one.
func (s *signed) holds(c *cert) bool {
	for i := range s.certificates.childCount() {
		if bytes.Equal(s.certificates.kid(i).der(), c.der) {
			return true
		}
	}
	return false
}

// attributes shows signed attributes; those of SCEP are remembered.
func (x *explainer) attributes(f *Field, all []attribute, s *signed, facts *messageFacts) {
	seen := map[string]bool{}
	for _, a := range all {
		label := nameOf(a.oid)
		if seen[a.oid] {
			x.find(Objection, "understudy and other strict readers", "RFC 5652 §5.3", label, "the attribute is there twice")
		}
		if len(a.values) != 1 {
			x.find(Objection, "understudy and other strict readers", "RFC 8894 §3.2.1", label, "the attribute has %d values, not one", len(a.values))
		}
		line := f.add(label, value(a.value())).oid(a.oid)
		switch a.oid {
		case oidContentType:
			if facts.scep && oidOf(a.value()) != oidData {
				x.find(Objection, strict, "RFC 5652 §11.1", label, "the signed contentType is not id-data")
			}
		case oidMessageDigest:
			line.anew()
			x.messageDigest(line, a.value(), s, facts)
		case oidSigningTime:
			line.anew()
			facts.signingTime, _ = timeOf(a.value())
		default:
			if !seen[a.oid] {
				x.scepAttribute(line, a, facts)
			}
		}
		seen[a.oid] = true
	}
	facts.seen = seen
}

func (x *explainer) messageDigest(f *Field, n *node, s *signed, facts *messageFacts) {
	f.Value = hex.EncodeToString(n.octets())
	h := digests[facts.digest]
	if !h.Available() {
		f.note("not compared: the digest is not known")
		return
	}
	hash := h.New()
	hash.Write(s.content.octets())
	if bytes.Equal(hash.Sum(nil), n.octets()) {
		f.note("is that of the content")
		return
	}
	f.note("IS NOT that of the content")
	x.find(Wrong, "everybody", "RFC 5652 §11.2", "messageDigest", "it is not the digest of the content: the content was changed")
}
