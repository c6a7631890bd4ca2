package explain

import (
	"crypto/x509"
	"fmt"
	"slices"
)

// content explains what was in the envelope: a CSR or a query of a request, a
// bundle of a reply.
func (x *explainer) content(plain []byte) {
	n, rest, f := parse(plain, x.left)
	if f != nil {
		x.breakOff("the content of the envelope", f.offset, "%s", f.why)
	}
	if n == nil {
		x.noContent(plain)
		return
	}
	if len(rest) > 0 {
		x.find(Objection, strict, "X.690", "messageData", "%s after its end", plural(len(rest), "byte"))
	}
	kind := shape(n)
	if x.kind != nil {
		x.wantContent(kind)
	}
	switch {
	case kind == CSR:
		field := x.add("messageData", "CertificationRequest")
		x.inShort("subject", name(n.kid(0).kid(1)))
		x.compareKeys(field, x.csr(n, field))
	case kind == IssuerAndSubject, kind == IssuerAndSerial:
		x.queryFields(n, kind, x.add("messageData", string(kind)))
	case kind == SignedData && oidOf(n.kid(0)) == oidSignedData:
		s := x.readSigned(n)
		s.root.Name, s.root.Value = "messageData", "certs-only SignedData"
		x.bundle(s)
		if x.kind != nil && x.kind.messageType == "3" {
			x.judgeIssued(s)
		}
	case kind == Certificate:
		x.certificate(n, x.add("messageData", "Certificate"), true)
	default:
		x.noContent(plain)
	}
}

// noContent explains what should not be in an envelope. It may be a CSR that
// is damaged, so nothing of it is shown.
func (x *explainer) noContent(plain []byte) {
	x.add("messageData", fmt.Sprintf("%s of no kind that is known here", plural(len(plain), "octet")))
	x.find(Wrong, "everybody", "RFC 8894 §3.3", "messageData", "it is nothing that SCEP puts into an envelope")
}

// wantContent compares what is in the envelope with the message type.
func (x *explainer) wantContent(got Kind) {
	want, known := map[string]Kind{
		"3": SignedData, "17": CSR, "19": CSR, "20": IssuerAndSubject, "21": IssuerAndSerial, "22": IssuerAndSerial,
	}[x.kind.messageType]
	if known && got != want {
		x.find(Wrong, "every server and client", "RFC 8894 §3.3", "messageData", "a %s does not carry this", messageTypes[x.kind.messageType][0])
	}
}

// inShort adds to the summary of the message.
func (x *explainer) inShort(field, value string) {
	if x.short != nil {
		x.short.add(field, value)
	}
}

// query explains an item that is the content of a CertPoll, GetCert or GetCRL.
func (x *explainer) query(n *node, kind Kind) {
	if kind == IssuerAndSubject {
		x.is(kind, "IssuerAndSubject: the content of a CertPoll")
	} else {
		x.is(kind, "IssuerAndSerialNumber: the content of a GetCert or GetCRL")
	}
	root := &Field{}
	x.queryFields(n, kind, root)
	x.item.Fields = append(x.item.Fields, root.Fields...)
}

func (x *explainer) queryFields(n *node, kind Kind, f *Field) {
	f.add("issuer", name(n.kid(0)))
	if kind == IssuerAndSubject {
		f.add("subject", name(n.kid(1)))
		f.device(n.kid(1))
		return
	}
	f.add("serialNumber", serial(n.kid(1))).anew()
}

// isContent says that an eContent begins with a ContentInfo of a type.
func isContent(n *node, oid string) bool {
	return n != nil && oidOf(reparse(n.octets()).kid(0)) == oid
}

// bundleItem explains an item that is a certs-only SignedData.
func (x *explainer) bundleItem(s *signed) {
	certificates, crls := s.certificates.childCount(), s.crls.childCount()
	has := plural(certificates, "certificate")
	if crls > 0 {
		has += " and " + plural(crls, "CRL")
	}
	x.is(CertsOnly, "certs-only bundle with %s: an answer to GetCACert, or what was in the envelope of a reply", has)
	x.bundle(s)
	if certificates > 0 {
		x.judgeCAs(s)
	}
}

// bundle adds the fields of a certs-only SignedData (RFC 8894 §3.4).
func (x *explainer) bundle(s *signed) {
	f := s.root
	x.item.Fields = append(x.item.Fields, f)
	if s.digests != nil && len(s.digests.kids) > 0 {
		x.find(Remark, strict, "RFC 8894 §3.4", "digestAlgorithms", "they are not empty although nobody signed")
	}
	if s.content != nil {
		x.find(Objection, strict, "RFC 8894 §3.4", "eContent", "a certs-only bundle has none")
	}
	if s.signers != nil && len(s.signers.kids) > 0 {
		x.find(Objection, strict, "RFC 8894 §3.4", "signerInfos", "a certs-only bundle has none")
	}
	for i := range min(s.certificates.childCount(), maxCertificates) { // all are known before one is judged
		x.remember(newCert(s.certificates.kid(i)))
	}
	for i := range min(s.certificates.childCount(), maxCertificates) {
		x.certificate(s.certificates.kid(i), f.add(fmt.Sprintf("certificate %d", i+1), ""), true)
	}
	for i := range min(s.crls.childCount(), maxCertificates) {
		x.crl(s.crls.kid(i), f.add(fmt.Sprintf("CRL %d", i+1), ""))
	}
}

// judgeIssued objects to the bundle of a reply.
func (x *explainer) judgeIssued(s *signed) {
	const where = "messageData"
	certificates, crls := s.certificates.childCount(), s.crls.childCount()
	switch {
	case crls > 0 && certificates == 0:
		if crls != 1 {
			x.find(Objection, strict, "RFC 8894 §4.6.1", where, "there are %d CRLs, not one", crls)
		}
		return
	case certificates == 0:
		x.find(Objection, "Apple", "error 22007", where, "there is no certificate in it")
		return
	case certificates > 1:
		x.find(Objection, "Apple, Juniper", "error 22008", where,
			"there are %d certificates, not the issued one alone: a SET OF is sorted, and Apple pairs the first with its key (Cisco ASA wants the CA's there)", certificates)
	}
	first := newCert(s.certificates.kid(0))
	x.inShort("certificate", first.title())
	if first.isCA {
		x.find(Objection, "Apple", "error 22008, mismatching public keys", where, "the first certificate is a CA's, which Apple takes for the device's")
	}
	if !first.hasKey(x.opener) {
		x.find(Remark, "Apple", "error 22008, mismatching public keys", where,
			"the first certificate does not carry the key that opened the envelope: right after a renewal or a GetCert, wrong after an enrolment")
		return
	}
	s.root.note("certificate 1 carries the key that opened the envelope")
}

// judgeCAs objects to a bundle as an answer to GetCACert.
func (x *explainer) judgeCAs(s *signed) {
	const where = "the answer to GetCACert"
	var all []*cert
	for i := range min(s.certificates.childCount(), maxCertificates) {
		all = append(all, newCert(s.certificates.kid(i)))
	}
	if len(all) == 1 && !all[0].isCA && all[0].usage&raUsage != raUsage {
		s.root.note("the issued certificate of a reply: as an answer to GetCACert it would make no sense")
		return
	}
	ra := slices.IndexFunc(all, func(c *cert) bool { return c.usage&raUsage == raUsage })
	leaf := slices.IndexFunc(all, func(c *cert) bool { return c.usage&raUsage == raUsage && !c.isCA })
	switch {
	case ra < 0 && !splitRA(all):
		x.find(Objection, "Apple", `-67731, "SCEP failed to find candidate RA certificates", or 22003`, where,
			"no certificate has both digitalSignature and keyEncipherment, and no two share them")
	case ra >= 0 && leaf >= 0 && ra != leaf:
		x.find(Objection, "Apple", "RFC 8894 §2.1.2", where, "certificate %d, a CA with both usages, stands before the RA, and Apple takes it for the RA", ra+1)
	case leaf > 0:
		x.find(Objection, "clients that take the first for the RA", "reference order: RA, issuing CA, chain", where, "the RA is certificate %d, not the first", leaf+1)
	}
	if !slices.ContainsFunc(all, func(c *cert) bool { return c.isCA && c.selfIssued() }) {
		x.find(Objection, "strongSwan, certmonger", "measured", where, "there is no root in it; both cannot build a chain without")
	}
	for _, c := range all {
		if c.isCA && ra < 0 && c.usage != 0 && c.usage&x509.KeyUsageDigitalSignature == 0 {
			x.find(Remark, strict, "RFC 8894 §2.1.2", "certificate "+c.title(), "the CA has no digitalSignature, so that it cannot sign replies")
		}
	}
}

// splitRA says that two leaves share the usages of an RA, as NDES has it.
func splitRA(all []*cert) bool {
	has := func(usage x509.KeyUsage) bool {
		return slices.ContainsFunc(all, func(c *cert) bool { return !c.isCA && c.usage&usage != 0 })
	}
	return has(x509.KeyUsageDigitalSignature) && has(x509.KeyUsageKeyEncipherment)
}

// nextCA explains an answer to GetNextCACert (RFC 8894 §4.7.1).
func (x *explainer) nextCA(s *signed) {
	x.is(NextCA, "answer to GetNextCACert: the CA certificates that come next, signed")
	facts := &messageFacts{}
	x.showSigned(s, facts)
	n, _, f := parse(s.content.octets(), x.left)
	if f != nil {
		x.breakOff("the next certificates", f.offset, "%s", f.why)
	}
	next := x.readSigned(n)
	next.root.Name, next.root.Value = "next certificates", "certs-only SignedData"
	x.bundle(next)
	c := facts.signer
	switch {
	case c == nil:
		x.find(Objection, strict, "RFC 8894 §4.7.1", "signer", "the signer's certificate is not here")
	case c.isCA && slices.ContainsFunc(x.known, func(k *cert) bool { return k.given && !k.isCA && k.usage&raUsage == raUsage }):
		x.find(Objection, "jscep", `"Invalid Signer"`, "signer", "the CA signed it, as the RFC says; jscep expects the RA that GetCACert named")
	case c.isCA:
		x.find(Remark, "jscep", `"Invalid Signer"`, "signer", "the CA signed it, as the RFC says; where GetCACert names an RA, jscep expects that")
	default:
		x.find(Objection, strict, "RFC 8894 §4.7.1", "signer", "an RA signed it; the RFC wants the current CA (jscep wants the RA)")
	}
}
