package scep

import (
	"encoding/asn1"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep/internal/cms"
)

// Object identifiers of RFC 8894 §3.2.1 and of failInfoText.
var (
	oidMessageType    = asn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, 2}
	oidPKIStatus      = asn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, 3}
	oidFailInfo       = asn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, 4}
	oidSenderNonce    = asn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, 5}
	oidRecipientNonce = asn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, 6}
	oidTransactionID  = asn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, 7}
	oidFailInfoText   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 24, 1}
)

// The ASN.1 tags of strings.
const (
	tagUTF8String      = 12
	tagPrintableString = 19
	tagT61String       = 20
	tagIA5String       = 22
	tagBMPString       = 30
)

// attributes are the signed attributes that matter. What a reply echoes is
// within its limits; check decides on the rest.
type attributes struct {
	messageType   MessageType // one of the constants, or empty
	typeText      string      // the messageType as it came, unchecked
	transactionID string
	idTag         byte
	senderNonce   []byte // 1 to 64 bytes, or nil
	signingTime   time.Time
	badTime       bool // there is a signingTime, but it is no time
	contentIsData bool // there is a contentType, and it is id-data
	hasDigest     bool
	digest        []byte
	repeated      string // the name of an attribute that is there twice, or has not exactly one value
}

// readAttributes reads the signed attributes. It is an
// error when there is no transactionID that a reply could echo.
func readAttributes(all []attribute) (attributes, error) {
	var a attributes
	seen := make(map[string]bool, 8)
	for _, attribute := range all {
		name := attributeName(attribute.oid)
		if name == "" {
			continue
		}
		value, ok := onlyValue(attribute.values)
		if !ok || seen[name] {
			a.repeated = name
		}
		if !seen[name] && value.FullBytes != nil {
			a.set(name, value)
		}
		seen[name] = true
	}
	if a.transactionID == "" {
		return a, refusal.New(refusal.BadMessage, "transactionID is absent or not 1 to %d printable characters", maxTransactionID)
	}
	return a, nil
}

// attributeName returns the name of an attribute that is read here, or "".
func attributeName(oid asn1.ObjectIdentifier) string {
	switch {
	case oid.Equal(cms.OIDContentType):
		return "contentType"
	case oid.Equal(cms.OIDMessageDigest):
		return "messageDigest"
	case oid.Equal(cms.OIDSigningTime):
		return "signingTime"
	case oid.Equal(oidMessageType):
		return "messageType"
	case oid.Equal(oidTransactionID):
		return "transactionID"
	case oid.Equal(oidSenderNonce):
		return "senderNonce"
	case oid.Equal(oidRecipientNonce):
		return "recipientNonce"
	case oid.Equal(oidPKIStatus):
		return "pkiStatus"
	case oid.Equal(oidFailInfo):
		return "failInfo"
	default:
		return ""
	}
}

// onlyValue returns the first value of a SET OF, and whether it is the only
// one.
func onlyValue(set asn1.RawValue) (asn1.RawValue, bool) {
	if set.Class != asn1.ClassUniversal || set.Tag != asn1.TagSet {
		return asn1.RawValue{}, false
	}
	rest, value := cryptobyte.String(set.Bytes), cryptobyte.String(nil)
	if !readElement(&rest, &value) {
		return asn1.RawValue{}, false
	}
	return rawValue(value), rest.Empty()
}

func (a *attributes) set(name string, v asn1.RawValue) {
	switch name {
	case "contentType":
		var oid asn1.ObjectIdentifier
		_, err := asn1.Unmarshal(v.FullBytes, &oid)
		a.contentIsData = err == nil && oid.Equal(cms.OIDData)
	case "messageDigest":
		if a.hasDigest = isPrimitive(v, asn1.TagOctetString); a.hasDigest {
			a.digest = v.Bytes
		}
	case "signingTime":
		_, err := asn1.Unmarshal(v.FullBytes, &a.signingTime)
		a.badTime = err != nil
	case "messageType":
		if isText(v) {
			a.typeText = string(v.Bytes)
			a.messageType = knownType(a.typeText)
		}
	case "transactionID":
		if isText(v) && isTransactionID(v.Bytes) {
			a.transactionID, a.idTag = string(v.Bytes), byte(v.Tag)
		}
	case "senderNonce":
		if isPrimitive(v, asn1.TagOctetString) && len(v.Bytes) > 0 && len(v.Bytes) <= maxNonce {
			a.senderNonce = v.Bytes
		}
	}
}

// check refuses attributes that are not those of a SCEP message.
func (a *attributes) check() error {
	switch {
	case a.repeated != "":
		return refusal.New(refusal.BadMessage, "%s is there twice or does not have exactly one value", a.repeated)
	case !a.contentIsData:
		return refusal.New(refusal.BadMessage, "contentType attribute is absent or not id-data")
	case !a.hasDigest:
		return refusal.New(refusal.BadMessage, "messageDigest attribute is absent or no OCTET STRING")
	default:
		return nil
	}
}

// shownType returns the messageType for a log: the digits, when it is a few of
// them.
func (a *attributes) shownType() string {
	if a.typeText == "" || len(a.typeText) > 8 || strings.Trim(a.typeText, "0123456789") != "" {
		return fmt.Sprintf("of %d bytes", len(a.typeText))
	}
	return a.typeText
}

// knownType returns the message type with exactly these digits, or "".
func knownType(text string) MessageType {
	for _, t := range []MessageType{CertRep, RenewalReq, UpdateReq, PKCSReq, CertPoll, GetCert, GetCRL} {
		if text == string(t) {
			return t
		}
	}
	return ""
}

// isText says that v is a string of one of the types that clients use for
// ASCII.
func isText(v asn1.RawValue) bool {
	return isPrimitive(v, tagPrintableString) || isPrimitive(v, tagUTF8String) || isPrimitive(v, tagIA5String)
}

func isPrimitive(v asn1.RawValue, tag int) bool {
	return v.Class == asn1.ClassUniversal && v.Tag == tag && !v.IsCompound
}

// isTransactionID says that id has 1 to 128 printable ASCII characters.
func isTransactionID(id []byte) bool {
	for _, c := range id {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return len(id) > 0 && len(id) <= maxTransactionID
}
