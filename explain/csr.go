package explain

import (
	"crypto"
	"crypto/x509"
	"fmt"

	"understudy.example/understudy/scep"
)

// csrItem explains an item that is a PKCS #10 request.
func (x *explainer) csrItem(n *node) {
	x.is(CSR, "certificate request of %s", name(n.kid(0).kid(1)))
	root := &Field{}
	x.csr(n, root)
	x.item.Fields = append(x.item.Fields, root.Fields...)
}

// csr adds the fields of a CertificationRequest (RFC 2986 §4.2) and returns the
// key in it, or nil.
func (x *explainer) csr(n *node, f *Field) crypto.PublicKey {
	const where = "CertificationRequest"
	outer := x.list(where, n)
	tbs := outer.take(tagSequence, "certificationRequestInfo")
	info := x.list("CertificationRequestInfo", tbs)
	if version := info.take(tagInteger, "version"); version != nil {
		f.add("version", decimal(version))
		if integer(version).Sign() != 0 {
			x.find(Objection, strict, "RFC 2986 §4.1", where, "version is %s, not 0", decimal(version))
		}
	}
	subject := info.take(tagSequence, "subject")
	if subject != nil {
		f.add("subject", name(subject))
		f.device(subject)
	}
	var public crypto.PublicKey
	if spki := info.take(tagSequence, "subjectPKInfo"); spki != nil {
		x.publicKey(spki, f.add("subjectPKInfo", ""))
		public, _ = x509.ParsePKIXPublicKey(spki.der())
	}
	if attributes := info.maybe(context0 | constructed); attributes != nil {
		x.csrAttributes(f.add("attributes", ""), attributes)
	}
	info.done()
	algorithm := outer.take(tagSequence, "signatureAlgorithm")
	signed := outer.take(tagBitString, "signature")
	outer.done()
	if signed == nil {
		return public
	}
	f.algorithm("signatureAlgorithm", algorithm)
	if signatures[oidOf(algorithm.kid(0))] == crypto.SHA1 {
		x.find(Remark, "servers that refuse SHA-1", "RFC 8894 §2.9", where, "it is signed with SHA-1")
	} else {
		x.judgeDigest(oidOf(algorithm.kid(0)), where)
	}
	s := f.add("signature", octets(bits(signed))).anew()
	if public == nil {
		s.note("not checked: the key cannot be read")
		return nil
	}
	if err := verify(public, algorithm, 0, tbs.der(), bits(signed)); err == nil {
		s.note("holds: who made the request has the private key (proof of possession)")
	} else {
		x.signature(s, "the signature of the CSR", err)
	}
	return public
}

// csrAttributes explains the attributes of a CSR (RFC 2985 §5.4).
func (x *explainer) csrAttributes(f *Field, n *node) {
	passwords := 0
	for i := range n.kids {
		attribute := &n.kids[i]
		oid := oidOf(attribute.kid(0))
		values := attribute.kid(1)
		line := f.add(nameOf(oid), "").oid(oid)
		if values == nil || len(values.kids) == 0 {
			x.find(Objection, strict, "RFC 2986 §4.1", "attributes", "%s has no value", nameOf(oid))
			continue
		}
		switch first := values.kid(0); oid {
		case oidChallengePassword:
			if passwords++; passwords == 2 {
				x.find(Objection, "understudy", "RFC 2985 §5.4.1", "attributes", "there is more than one challengePassword")
			}
			x.challenge(line, values)
		case oidExtensionRequest, oidMSExtensions:
			x.extensions(line, first, "extensionRequest")
		case "1.2.840.113549.1.9.2", "1.2.840.113549.1.9.8", "1.3.6.1.4.1.311.13.2.3":
			line.Value = value(first)
		default:
			line.Value = fmt.Sprintf("%s, %s", tagName(first.tag), plural(len(first.body), "octet"))
		}
	}
	if passwords == 0 {
		f.note("no challengePassword")
	}
}

// challenge explains a challengePassword without telling it.
func (x *explainer) challenge(f *Field, values *node) {
	const where = "challengePassword"
	if len(values.kids) != 1 {
		x.find(Objection, "understudy", "RFC 2985 §5.4.1", where, "it has %d values, not one", len(values.kids))
	}
	first := values.kid(0)
	text, ok := textOf(first)
	f.Value, f.secret = fmt.Sprint(scep.NewPassword(text)), text
	if !ok {
		f.secret = string(first.octets())
		x.find(Objection, "understudy", "RFC 2985 §5.4.1", where, "it is a %s, not a string that can be read", tagName(first.tag))
		return
	}
	f.note("%s, %s", tagName(first.tag), plural(runes(text), "character"))
	if x.o.ShowChallenge {
		f.Value = text
	}
	if text == "" {
		x.find(Remark, "SCEP servers", "RFC 8894 §2.4", where, "it is empty, which counts as none")
	}
	if !isPrintableString(text) {
		x.find(Objection, "Windows clients", "CRYPT_E_INVALID_PRINTABLE_STRING, 0x2ab0003", where,
			"it has a character that a PrintableString cannot hold; Windows refuses such a challenge, macOS takes it")
		if first.is(tagPrintableString) {
			x.find(Objection, strict, "X.680 §41.4", where, "it is a PrintableString with a character that is none of its")
		}
	}
}

// A mismatch of keys is told by what they are, not by what they might mean.
func (x *explainer) compareKeys(f *Field, public crypto.PublicKey) {
	signer := x.keyOf
	if signer == nil || public == nil {
		return
	}
	line := f.add("signer's key", "the CSR's key")
	if signer.hasKey(public) {
		line.note("the message is signed with the key that the certificate is for")
		return
	}
	line.Value = "another key than the CSR's"
	if signer.selfIssued() {
		x.find(Objection, "understudy", "RFC 8894 §2.3", "signer",
			"a self-signed certificate over another key than the CSR's signed the message: it proves nothing")
		return
	}
	line.note("as in a renewal, which the old certificate signs")
	x.find(Remark, "SCEP servers", "RFC 8894 §2.3", "signer",
		"the signer's key is not the CSR's: understudy takes that only from a live certificate of its own for the same device")
}
