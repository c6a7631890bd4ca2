package explain

import (
	"crypto/x509"
	"fmt"
)

// maxRevoked is how many entries of a CRL are listed.
const maxRevoked = 50

// reasons are the revocation reasons (RFC 5280 §5.3.1).
var reasons = map[int64]string{
	0: "unspecified", 1: "keyCompromise", 2: "cACompromise", 3: "affiliationChanged", 4: "superseded",
	5: "cessationOfOperation", 6: "certificateHold", 8: "removeFromCRL", 9: "privilegeWithdrawn", 10: "aACompromise",
}

// crlItem explains an item that is a CRL.
func (x *explainer) crlItem(n *node) {
	root := &Field{}
	entries := x.crl(n, root)
	x.is(CRL, "certificate revocation list with %s", plural(entries, "entry"))
	x.item.Fields = append(x.item.Fields, root.Fields...)
}

// crl adds the fields of a CertificateList (RFC 5280 §5.1) and returns the
// number of its entries.
func (x *explainer) crl(n *node, f *Field) int {
	const where = "CertificateList"
	outer := x.list(where, n)
	tbs := outer.take(tagSequence, "tbsCertList")
	l := x.list("TBSCertList", tbs)
	version := int64(1)
	if v := l.maybe(tagInteger); v != nil {
		version = integer(v).Int64() + 1
	}
	f.add("version", fmt.Sprint(version))
	l.take(tagSequence, "signature")
	issuer := l.take(tagSequence, "issuer")
	f.add("issuer", name(issuer))
	if update := l.any("thisUpdate"); update != nil {
		f.add("thisUpdate", value(update)).anew()
	}
	x.nextUpdate(l, f)
	entries := 0
	if revoked := l.maybe(tagSequence); revoked != nil {
		entries = len(revoked.kids)
		x.revoked(f, revoked)
	} else {
		f.add("revokedCertificates", "none")
	}
	numbered := false
	if extensions := l.maybe(context0 | constructed); extensions != nil {
		e := f.add("crlExtensions", "")
		x.extensions(e, extensions.kid(0), where)
		for _, one := range e.Fields {
			numbered = numbered || one.OID == oidCRLNumber
			if one.OID == oidDeltaCRL {
				x.find(Remark, "clients that know only whole CRLs", "RFC 5280 §5.2.4", where, "it is a delta CRL: it lists changes alone")
			}
		}
	}
	l.done()
	if !numbered {
		x.find(Objection, strict, "RFC 5280 §5.2.3", where, "there is no cRLNumber")
	}
	algorithm := outer.take(tagSequence, "signatureAlgorithm")
	signed := outer.take(tagBitString, "signatureValue")
	outer.done()
	if signed == nil {
		return entries
	}
	f.algorithm("signatureAlgorithm", algorithm)
	x.judgeDigest(oidOf(algorithm.kid(0)), where)
	s := f.add("signatureValue", octets(bits(signed))).anew()
	by, ok, err := x.issued(issuer.der(), algorithm, tbs.der(), bits(signed))
	if !ok {
		s.note("not checked: the issuer's certificate is not here; --cert gives it")
		return entries
	}
	x.signature(s, "the signature of the CRL", err)
	if err == nil && by.usage != 0 && !by.signsCRLs() {
		x.find(Objection, strict, "RFC 5280 §6.3.3", where, "the issuer has no cRLSign")
	}
	return entries
}

func (c *cert) signsCRLs() bool { return c.usage&x509.KeyUsageCRLSign != 0 }

// nextUpdate takes nextUpdate, which the profile of the Internet demands.
func (x *explainer) nextUpdate(l *list, f *Field) {
	n := l.peek()
	if !isTime(n) {
		x.find(Objection, strict, "RFC 5280 §5.1.2.5", "CertificateList", "there is no nextUpdate")
		return
	}
	l.next++
	line := f.add("nextUpdate", value(n)).anew()
	if t, ok := timeOf(n); ok && !x.o.Now.IsZero() && x.o.Now.After(t) {
		line.note("past: a newer CRL is due")
		x.find(Remark, "verifiers", "RFC 5280 §6.3.3", "nextUpdate", "it is past: the list must not be relied on any more")
	}
}

// revoked lists the entries of a CRL.
func (x *explainer) revoked(f *Field, n *node) {
	list := f.add("revokedCertificates", fmt.Sprint(len(n.kids)))
	for i := range n.kids {
		if i == maxRevoked {
			list.note("the first %d", maxRevoked)
			break
		}
		entry := &n.kids[i]
		line := list.add("userCertificate", serial(entry.kid(0)))
		line.add("revocationDate", value(entry.kid(1)))
		for j := range entry.kid(2).childCount() {
			e := readExtension(entry.kid(2).kid(j))
			text := value(reparse(e.value))
			if e.oid == oidReasonCode {
				text = reasons[integer(reparse(e.value)).Int64()]
			}
			line.add(nameOf(e.oid), text).oid(e.oid)
		}
	}
}
