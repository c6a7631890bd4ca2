package explain

import (
	"fmt"
	"slices"
)

// ocspStatuses are the values of responseStatus (RFC 6960 §4.2.1).
var ocspStatuses = map[string]string{
	"0": "successful", "1": "malformedRequest", "2": "internalError", "3": "tryLater", "5": "sigRequired", "6": "unauthorized",
}

// maxNonce is the longest nonce (RFC 9654 §2.1).
const maxNonce = 32

// ocspRequest explains an OCSPRequest (RFC 6960 §4.1).
func (x *explainer) ocspRequest(n *node) {
	outer := x.list("OCSPRequest", n)
	l := x.list("TBSRequest", outer.take(tagSequence, "tbsRequest"))
	l.maybe(context0 | constructed)
	if requestor := l.maybe(context0 | constructed | 1); requestor != nil {
		_, text := generalName(requestor.kid(0))
		x.add("requestorName", text)
	}
	list := l.take(tagSequence, "requestList")
	x.is(OCSPRequest, "OCSP request for %s", plural(list.childCount(), "certificate"))
	for i := range min(list.childCount(), maxRevoked) {
		f := x.add("certID", "")
		x.certID(list.kid(i).kid(0), f)
	}
	if extensions := l.maybe(context0 | constructed | 2); extensions != nil {
		x.ocspExtensions(x.add("requestExtensions", ""), extensions.kid(0))
	}
	l.done()
	if outer.maybe(context0|constructed) != nil {
		x.add("optionalSignature", "present").note("not checked")
	}
	outer.done()
}

// certID explains a CertID.
func (x *explainer) certID(n *node, f *Field) {
	f.algorithm("hashAlgorithm", n.kid(0))
	f.add("issuerNameHash", octets(n.kid(1).octets()))
	f.add("issuerKeyHash", octets(n.kid(2).octets()))
	f.add("serialNumber", serial(n.kid(3)))
}

func (x *explainer) ocspExtensions(f *Field, n *node) {
	x.extensions(f, n, "OCSP extensions")
	for i := range n.childCount() {
		e := readExtension(n.kid(i))
		if e.oid != oidOCSPNonce {
			continue
		}
		nonce := reparse(e.value).octets()
		f.Fields[min(i, len(f.Fields)-1)].anew()
		if len(nonce) < 1 || len(nonce) > maxNonce {
			x.find(Objection, strict, "RFC 9654 §2.1", "nonce", "it has %s, not 1 to %d", plural(len(nonce), "octet"), maxNonce)
		}
	}
}

// ocspResponse explains an OCSPResponse (RFC 6960 §4.2).
func (x *explainer) ocspResponse(n *node) {
	outer := x.list("OCSPResponse", n)
	status := value(outer.take(tagEnumerated, "responseStatus"))
	x.is(OCSPResponse, "OCSP response: %s", ocspStatuses[status])
	x.add("responseStatus", status+" "+ocspStatuses[status])
	wrapped := outer.maybe(context0 | constructed)
	outer.done()
	if wrapped == nil {
		if status == "0" {
			x.find(Wrong, "every client", "RFC 6960 §4.2.1", "responseBytes", "it says successful and has no response")
		}
		return
	}
	bytes := x.list("ResponseBytes", wrapped.kid(0))
	kind := oidOf(bytes.take(tagOID, "responseType"))
	x.add("responseType", nameOf(kind)).oid(kind)
	body := bytes.take(tagOctetString, "response")
	if kind != oidOCSPBasic || body == nil {
		return
	}
	basic, _, f := parse(body.octets(), x.left)
	if f != nil {
		x.breakOff("BasicOCSPResponse", f.offset, "%s", f.why)
	}
	if basic != nil {
		x.basicResponse(basic)
	}
}

// basicResponse explains a BasicOCSPResponse (RFC 6960 §4.2.1).
func (x *explainer) basicResponse(n *node) {
	outer := x.list("BasicOCSPResponse", n)
	data := outer.take(tagSequence, "tbsResponseData")
	algorithm := outer.take(tagSequence, "signatureAlgorithm")
	signature := outer.take(tagBitString, "signature")
	var inside []*cert
	certificates := outer.maybe(context0 | constructed)
	for i := range min(certificates.kid(0).childCount(), maxCertificates) {
		c := newCert(certificates.kid(0).kid(i))
		inside = append(inside, c)
		x.remember(c)
	}
	outer.done()
	byName, byKey := x.responseData(data)
	for i := range min(certificates.kid(0).childCount(), maxCertificates) {
		x.certificate(certificates.kid(0).kid(i), x.add(fmt.Sprintf("certificate %d", i+1), ""), true)
	}
	if signature == nil {
		return
	}
	root := &Field{}
	root.algorithm("signatureAlgorithm", algorithm)
	line := root.add("signature", octets(bits(signature))).anew()
	x.item.Fields = append(x.item.Fields, root.Fields...)
	at := slices.IndexFunc(x.known, func(c *cert) bool { return c.isNamed(byName, byKey) })
	if at < 0 {
		line.note("not checked: the responder's certificate is not here; --cert gives it")
		return
	}
	responder := x.known[at]
	line.note("by %s", responder.title())
	x.signature(line, "the signature of the response", verify(responder.public, algorithm, 0, data.der(), bits(signature)))
	if !responder.isCA && !responder.isResponder() {
		x.find(Objection, "every verifier", "RFC 6960 §4.2.2.2", "the responder", "its certificate has no OCSPSigning in extKeyUsage")
	}
	if len(inside) == 0 && !responder.isCA {
		x.find(Objection, strict, "RFC 6960 §4.2.2.2", "the responder", "its certificate is not in the response")
	}
}

// responseData explains a ResponseData and returns how it names its responder.
func (x *explainer) responseData(n *node) (byName, byKey []byte) {
	l := x.list("ResponseData", n)
	l.maybe(context0 | constructed)
	switch id := l.any("responderID"); {
	case id.is(context0 | constructed | 1):
		byName = id.kid(0).der()
		x.add("responderID", name(id.kid(0)))
	case id.is(context0 | constructed | 2):
		byKey = id.kid(0).octets()
		x.add("responderID", octets(byKey)).note("SHA-1 of the responder's public key")
	}
	if produced := l.any("producedAt"); produced != nil {
		x.add("producedAt", value(produced)).anew()
	}
	list := l.take(tagSequence, "responses")
	for i := range min(list.childCount(), maxRevoked) {
		x.single(list.kid(i), x.add("response", ""))
	}
	if extensions := l.maybe(context0 | constructed | 1); extensions != nil {
		x.ocspExtensions(x.add("responseExtensions", ""), extensions.kid(0))
	}
	l.done()
	return byName, byKey
}

// single explains a SingleResponse.
func (x *explainer) single(n *node, f *Field) {
	l := x.list("SingleResponse", n)
	if id := l.take(tagSequence, "certID"); id != nil {
		x.certID(id, f)
	}
	switch status := l.any("certStatus"); {
	case status == nil:
	case status.tag == context0:
		f.add("certStatus", "good")
	case status.tag == context0|constructed|1:
		f.add("certStatus", "revoked").note("at %s", value(status.kid(0)))
		if why := status.kid(1); why != nil {
			f.add("revocationReason", reasons[integer(why.kid(0)).Int64()])
		}
	default:
		f.add("certStatus", "unknown")
	}
	if update := l.any("thisUpdate"); update != nil {
		f.add("thisUpdate", value(update)).anew()
	}
	if next := l.maybe(context0 | constructed); next != nil {
		line := f.add("nextUpdate", value(next.kid(0))).anew()
		if t, ok := timeOf(next.kid(0)); ok && !x.o.Now.IsZero() && x.o.Now.After(t) {
			line.note("past")
		}
	}
}

// isNamed says that a certificate is the responder's.
func (c *cert) isNamed(byName, byKey []byte) bool {
	if byName != nil {
		return string(c.subject) == string(byName) && c.public != nil
	}
	return len(byKey) > 0 && c.public != nil && string(c.keyHash()) == string(byKey)
}
