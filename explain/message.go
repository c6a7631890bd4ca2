package explain

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // clients name transactions by it
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// messageFacts are what one part of a SCEP message must know of another.
type messageFacts struct {
	scep                        bool // it has attributes of SCEP
	messageType, status, fail   string
	transactionID               string
	senderNonce, recipientNonce []byte
	signingTime                 time.Time
	digest, signature           string // object identifiers
	signer                      *cert
	signerInside                bool // the signer's certificate is in the message
	seen                        map[string]bool
}

// The values of messageType, pkiStatus and failInfo (RFC 8894 §3.2.1).
var (
	messageTypes = map[string][2]string{
		"3":  {"CertRep", "the server's answer"},
		"17": {"RenewalReq", "a client asks for a new certificate with its old one"},
		"18": {"UpdateReq", "of old drafts; no server should take it"},
		"19": {"PKCSReq", "a client asks for a certificate"},
		"20": {"CertPoll", "a client asks whether its request was approved"},
		"21": {"GetCert", "a client asks for a certificate by its serial number"},
		"22": {"GetCRL", "a client asks for a CRL"},
	}
	statuses = map[string][2]string{
		"0": {"SUCCESS", "the envelope has what was asked for"},
		"2": {"FAILURE", "refused; failInfo says why, roughly"},
		"3": {"PENDING", "somebody has to approve it; the client polls"},
	}
	failInfos = map[string]string{
		"0": "badAlg", "1": "badMessageCheck", "2": "badRequest", "3": "badTime", "4": "badCertId",
	}
)

// scepAttributes says that a SignedData has signed attributes of SCEP.
func hasSCEPAttributes(s *signed) bool {
	for i := range s.signers.childCount() {
		info := s.signers.kid(i)
		for j := range info.kids {
			if !info.kids[j].is(context0 | constructed) {
				continue
			}
			for _, a := range readAttributes(&info.kids[j]) {
				if strings.HasPrefix(a.oid, "2.16.840.1.113733.1.9.") {
					return true
				}
			}
		}
	}
	return false
}

// message explains a pkiMessage (RFC 8894 §3.2).
func (x *explainer) message(s *signed) {
	facts := &messageFacts{scep: true}
	x.kind = facts
	summary := &Field{}
	x.item.Fields = append(x.item.Fields, summary)
	x.showSigned(s, facts)
	switch {
	case s.signers.childCount() == 0: // without attributes nobody knows which way it goes
		x.is(Request, "SCEP message without its end, so that its type is not known")
	case facts.messageType == "3":
		x.is(Reply, "SCEP reply: CertRep, %s", nameIn(statuses, facts.status))
	default:
		x.is(Request, "SCEP request: %s", nameIn(messageTypes, facts.messageType))
	}
	*summary = *x.summary(facts)
	x.short = summary
	if s.signers.childCount() > 0 {
		x.judgeAttributes(facts)
		x.judgeSigner(s, facts)
	}
	var e *envelope
	if content := s.content.octets(); len(content) > 0 {
		e = x.inner(content)
		if e != nil {
			x.opened(e, x.item.Kind)
		}
	}
	if facts.messageType == "3" {
		x.judgeReply(s, facts)
		return
	}
	if len(s.content.octets()) == 0 {
		x.find(Wrong, "every server", "RFC 8894 §3.2.2", "eContent", "there is no envelope in the request")
	}
	x.checkOwn(s.node.raw, e)
}

// inner reads the content of a message, which must be an envelope.
func (x *explainer) inner(content []byte) *envelope {
	n, rest, f := parse(content, x.left)
	if f != nil {
		x.breakOff("pkcsPKIEnvelope", f.offset, "%s", f.why)
	}
	if n == nil {
		return nil
	}
	if len(rest) > 0 {
		x.find(Objection, strict, "X.690", "pkcsPKIEnvelope", "%s after the end of the envelope", plural(len(rest), "byte"))
	}
	if n.ber && f == nil {
		x.find(Remark, "decoders that read only DER", "X.690 §10.1", "pkcsPKIEnvelope", "it is BER: lengths are indefinite, or strings come in pieces")
	}
	if oid := oidOf(n.kid(0)); oid != oidEnvelopedData && oid != oidAuthEnveloped {
		x.find(Wrong, "everybody", "RFC 8894 §3.2.2", "pkcsPKIEnvelope", "the content is no EnvelopedData")
		x.unknown(n)
		return nil
	}
	return x.envelope(n, x.add("pkcsPKIEnvelope", "EnvelopedData"))
}

func nameIn(table map[string][2]string, value string) string {
	if entry, known := table[value]; known {
		return entry[0]
	}
	return "unknown " + printable(value)
}

// summary is what people look for first.
func (x *explainer) summary(facts *messageFacts) *Field {
	f := &Field{Name: "in short"}
	if facts.seen == nil {
		return f.note("the attributes that say what it is are missing")
	}
	kind := f.add("messageType", facts.messageType+" "+nameIn(messageTypes, facts.messageType))
	if entry, known := messageTypes[facts.messageType]; known {
		kind.note("%s", entry[1])
	}
	if facts.messageType == "3" {
		status := f.add("pkiStatus", facts.status+" "+nameIn(statuses, facts.status))
		if entry, known := statuses[facts.status]; known {
			status.note("%s", entry[1])
		}
		if facts.seen[oidFailInfo] {
			f.add("failInfo", facts.fail+" "+failInfos[facts.fail])
		}
	}
	id := f.add("transactionID", facts.transactionID).anew()
	if form := idForm(facts.transactionID, facts.signer); form != "" {
		id.note("%s", form)
	}
	if facts.signer != nil {
		f.add("signed by", facts.signer.title())
	}
	return f
}

// idForm says whose way of making a transactionID this is.
func idForm(id string, signer *cert) string {
	if signer == nil || id == "" {
		return ""
	}
	spki := reparse(signer.spki)
	for _, key := range [][]byte{signer.spki, bits(spki.kid(1))} {
		sum := sha1.Sum(key) //nolint:gosec // see the import
		switch id {
		case strings.ToUpper(hex.EncodeToString(sum[:])):
			return "SHA-1 of the signer's public key in upper-case hex, as Apple writes it"
		case hex.EncodeToString(sum[:]):
			return "SHA-1 of the signer's public key in hex"
		case base64.StdEncoding.EncodeToString(sum[:]):
			return "SHA-1 of the signer's public key in base64, as scepclient writes it"
		}
	}
	if strings.Trim(id, "0123456789") == "" && len(id) > 30 {
		return "decimal digits, as certmonger writes it"
	}
	return ""
}

// scepAttribute explains an attribute of RFC 8894 §3.2.1.
func (x *explainer) scepAttribute(f *Field, a attribute, facts *messageFacts) {
	text, _ := textOf(a.value())
	switch a.oid {
	case oidMessageType:
		facts.messageType = text
		f.explain(text, messageTypes)
		x.wantPrintable("messageType", a.value())
	case oidPKIStatus:
		facts.status = text
		f.explain(text, statuses)
		x.wantPrintable("pkiStatus", a.value())
	case oidFailInfo:
		facts.fail = text
		f.Value = strings.TrimSpace(text + " " + failInfos[text])
		x.wantPrintable("failInfo", a.value())
	case oidTransactionID:
		facts.transactionID = text
		f.anew()
		x.wantPrintable("transactionID", a.value())
	case oidSenderNonce:
		facts.senderNonce = a.value().octets()
		f.anew().note("%s", plural(len(facts.senderNonce), "octet"))
		x.wantOctets("senderNonce", a.value())
	case oidRecipientNonce:
		facts.recipientNonce = a.value().octets()
		f.anew().note("%s; echoes the senderNonce of the request", plural(len(facts.recipientNonce), "octet"))
		x.wantOctets("recipientNonce", a.value())
	case oidFailInfoText:
		if a.value() != nil && !a.value().is(tagUTF8String) {
			x.find(Objection, strict, "RFC 8894 §3.2.1.4", "failInfoText", "it is a %s, not a UTF8String", tagName(a.value().tag))
		}
	default:
		f.note("not of SCEP")
	}
}

func (f *Field) explain(text string, table map[string][2]string) {
	f.Value = text
	if entry, known := table[text]; known {
		f.Value += " " + entry[0]
		f.note("%s", entry[1])
	}
}

func (x *explainer) wantPrintable(label string, n *node) {
	if n == nil {
		return
	}
	text, _ := textOf(n)
	if !n.is(tagPrintableString) {
		x.find(Objection, strict, "RFC 8894 §3.2.1", label, "it is a %s, not a PrintableString", tagName(n.tag))
	} else if !isPrintableString(text) {
		x.find(Objection, strict, "X.680 §41.4", label, "it is a PrintableString with a character that is none of its")
	}
}

func (x *explainer) wantOctets(label string, n *node) {
	if n != nil && !n.is(tagOctetString) {
		x.find(Objection, strict, "RFC 8894 §3.2.1.5", label, "it is a %s, not an OCTET STRING", tagName(n.tag))
	}
}

// judgeAttributes objects to attributes of any message.
func (x *explainer) judgeAttributes(facts *messageFacts) {
	need := map[string]string{
		oidMessageType: "RFC 8894 §3.2.1.2", oidTransactionID: "RFC 8894 §3.2.1.1", oidSenderNonce: "RFC 8894 §3.2.1.5",
		oidContentType: "RFC 5652 §11.1", oidMessageDigest: "RFC 5652 §11.2",
	}
	if facts.messageType == "3" {
		need[oidPKIStatus], need[oidRecipientNonce] = "RFC 8894 §3.2.1.3", "RFC 8894 §3.2.1.5"
	}
	for _, oid := range []string{oidContentType, oidMessageDigest, oidMessageType, oidTransactionID, oidSenderNonce, oidPKIStatus, oidRecipientNonce} {
		if need[oid] != "" && !facts.seen[oid] {
			who := strict
			if facts.messageType == "3" {
				who = `Windows ("does not contain an expected authenticated attribute") and strict readers`
			}
			x.find(Objection, who, need[oid], nameOf(oid), "the attribute is missing")
		}
	}
	if _, known := messageTypes[facts.messageType]; !known || facts.messageType == "18" {
		x.find(Objection, "every server", "RFC 8894 §3.2.1.2", "messageType", "%q is no message type of the RFC, which must be treated as an error", printable(facts.messageType))
	}
	if n := len(facts.senderNonce); n != 16 && facts.seen[oidSenderNonce] {
		x.find(Objection, strict, "RFC 8894 §3.2.1.5", "senderNonce", "it has %s, not 16; old Cisco IOS and iOS send 8", plural(n, "octet"))
	}
	if n := len(facts.transactionID); facts.seen[oidTransactionID] && (n == 0 || n > 128) {
		x.find(Objection, "understudy", "RFC 8894 §3.2.1.1", "transactionID", "it has %s, not 1 to 128", plural(n, "character"))
	}
	x.judgeAlgorithms(facts)
	if c := facts.signer; c != nil && !facts.signingTime.IsZero() && !c.notAfter.IsZero() &&
		(facts.signingTime.Before(c.notBefore) || facts.signingTime.After(c.notAfter)) {
		x.find(Objection, "micromdm, step-ca and others on smallstep/pkcs7", "they answer with HTTP 500", "signingTime",
			"it is outside the validity of the signer's certificate")
	}
}

// judgeAlgorithms objects to the digest and the signature of a message.
func (x *explainer) judgeAlgorithms(facts *messageFacts) {
	switch nameOf(facts.digest) {
	case "SHA-256", "SHA-384", "SHA-512":
	case "SHA-1":
		x.find(Remark, "servers that refuse SHA-1", "RFC 8894 §2.9", "digestAlgorithm", "it is SHA-1, which old Cisco devices and scepclient send; a reply must use it too")
	case "MD5":
		x.find(Objection, "every server", "RFC 8894 §2.9", "digestAlgorithm", "it is MD5, which must not be used; Cisco 2800 signs with it")
	default:
		x.find(Objection, "every server and client", "RFC 8894 §2.9", "digestAlgorithm", "%s is no digest that SCEP knows", nameOf(facts.digest))
	}
	if of, named := signatures[facts.signature]; named && of != digests[facts.digest] && digests[facts.digest] != 0 {
		x.find(Objection, strict, "RFC 5652 §5.3", "signatureAlgorithm", "%s does not go with the digest %s", nameOf(facts.signature), nameOf(facts.digest))
	}
	if facts.messageType == "3" && facts.signature != "" && facts.signature != oidRSA {
		x.find(Objection, "strongSwan up to 5.9.10", `"only RSA digest encryption supported"`, "signatureAlgorithm",
			"it is %s; only rsaEncryption is accepted, which all clients take", nameOf(facts.signature))
	}
}

// judgeSigner objects to the signer of a message and to the certificates that
// come with it.
func (x *explainer) judgeSigner(s *signed, facts *messageFacts) {
	c := facts.signer
	if c == nil || !facts.signerInside {
		x.find(Objection, strict, "RFC 8894 §2.3", "certificates", "the signer's certificate is not in the message")
	}
	if n := s.certificates.childCount(); facts.messageType != "3" && n > 1 {
		x.find(Remark, "servers on smallstep/scep", "they encrypt to all of them", "certificates", "there are %d certificates beside each other, not the signer's alone", n)
	}
	if c == nil || facts.messageType != "3" {
		return
	}
	if c.usage != 0 && c.usage&x509.KeyUsageDigitalSignature == 0 {
		x.find(Objection, strict, "RFC 8894 §2.1.2", "signer", "the certificate that signed the reply has no digitalSignature")
	}
	answered := slices.ContainsFunc(x.known, func(k *cert) bool { return k.given && k.usage&raUsage == raUsage })
	if answered && !slices.ContainsFunc(x.known, func(k *cert) bool { return k.given && bytes.Equal(k.der, c.der) }) {
		x.find(Objection, "Apple", "compared with CFEqual", "signer",
			"the signer is none of the certificates that were given; Apple accepts only the very certificate that it chose from GetCACert")
	}
}

// judgeReply objects to a CertRep (RFC 8894 §3.3.2).
func (x *explainer) judgeReply(s *signed, facts *messageFacts) {
	full := len(s.content.octets()) > 0
	switch facts.status {
	case "0":
		if !full {
			x.find(Wrong, "every client", "RFC 8894 §3.3.2.1", "eContent", "SUCCESS has no envelope")
		}
	case "2", "3":
		if full {
			x.find(Objection, strict, "RFC 8894 §3.3.2.2, §3.3.2.3", "eContent", "FAILURE and PENDING have no envelope")
		}
		if s.content == nil {
			x.find(Objection, "certmonger, OpenSSL", `"no content"`, "eContent",
				"it is absent; as an empty OCTET STRING all clients understand it, so certmonger says CA_UNREACHABLE instead of CA_REJECTED or CA_WORKING")
		}
	default:
		x.find(Wrong, "every client", "RFC 8894 §3.2.1.3", "pkiStatus", "it is none of 0, 2 and 3")
	}
	if facts.status == "2" && failInfos[facts.fail] == "" {
		x.find(Objection, strict, "RFC 8894 §3.2.1.4", "failInfo", "FAILURE needs one of 0 to 4")
	}
	if facts.status != "2" && facts.seen[oidFailInfo] {
		x.find(Objection, strict, "RFC 8894 §3.2.1.4", "failInfo", "it belongs to FAILURE alone")
	}
	if len(facts.senderNonce) > 0 && bytes.Equal(facts.senderNonce, facts.recipientNonce) {
		x.find(Objection, strict, "RFC 8894 §3.2.1.5", "senderNonce", "it is the client's own nonce and no fresh one, as servers on the Go libraries answer")
	}
}

func sortBytes(all [][]byte) { slices.SortFunc(all, bytes.Compare) }
