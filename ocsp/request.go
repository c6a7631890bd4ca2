package ocsp

import (
	"bytes"
	"crypto"
	_ "crypto/sha1" // crypto.SHA1, which most clients name issuers by
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// A Request is what somebody wants to know. A signature that it may have was
// not looked at: whoever can read the answers may ask.
type Request struct {
	CertIDs []CertID // at least one, at most MaxCertIDs
	// Nonce is what the answer has to repeat, 1 to MaxNonce octets; nil when
	// the request has none.
	Nonce []byte
}

// A CertID names a certificate by its issuer and its serial. It comes from
// ParseRequest; an answer repeats it octet by octet.
type CertID struct {
	// Hash is SHA-1, SHA-256, SHA-384 or SHA-512; 0 when the request uses
	// another function, so that nobody can tell which issuer it means.
	Hash           crypto.Hash
	IssuerNameHash []byte
	IssuerKeyHash  []byte
	Serial         *big.Int // as the request has it: perhaps negative or too long

	raw []byte
}

// IssuedBy says whether a certificate is the issuer that the CertID names.
func (c CertID) IssuedBy(issuer *x509.Certificate) bool {
	if c.Hash == 0 {
		return false
	}
	name := c.Hash.New()
	name.Write(issuer.RawSubject)
	if !bytes.Equal(name.Sum(nil), c.IssuerNameHash) {
		return false
	}
	bits, ok := publicKeyBits(issuer.RawSubjectPublicKeyInfo)
	if !ok {
		return false
	}
	key := c.Hash.New()
	key.Write(bits)
	return bytes.Equal(key.Sum(nil), c.IssuerKeyHash)
}

// ParseRequest reads an OCSPRequest in DER (RFC 6960 §4.1.1). The input may
// come from anybody: it is read in one pass, without recursion, and not before
// its size is known to be within MaxRequest. What it may hold beside the
// certificates asked for (the name and the signature of who asks, extensions
// that are not critical) is not looked into. Every error is ErrMalformed. The
// request shares the memory of der.
func ParseRequest(der []byte) (*Request, error) {
	if len(der) > MaxRequest {
		return nil, malformed("%d octets, more than %d", len(der), MaxRequest)
	}
	input := cryptobyte.String(der)
	var outer, tbs cryptobyte.String
	if !input.ReadASN1(&outer, cryptobyte_asn1.SEQUENCE) || !input.Empty() ||
		!outer.ReadASN1(&tbs, cryptobyte_asn1.SEQUENCE) ||
		!outer.SkipOptionalASN1(explicit(0)) || // optionalSignature
		!outer.Empty() {
		return nil, malformed("not an OCSPRequest in DER")
	}
	return parseTBS(tbs)
}

// parseTBS reads the content of a TBSRequest.
func parseTBS(tbs cryptobyte.String) (*Request, error) {
	var version, list, wrapped cryptobyte.String
	var hasVersion, hasExtensions bool
	if !tbs.ReadOptionalASN1(&version, &hasVersion, explicit(0)) {
		return nil, malformed("version is no element")
	}
	// DER leaves out the default, which is 0; those who write it do no harm.
	if hasVersion && !bytes.Equal(version, []byte{byte(cryptobyte_asn1.INTEGER), 1, 0}) {
		return nil, malformed("version is not 1")
	}
	if !tbs.SkipOptionalASN1(explicit(1)) || // requestorName
		!tbs.ReadASN1(&list, cryptobyte_asn1.SEQUENCE) ||
		!tbs.ReadOptionalASN1(&wrapped, &hasExtensions, explicit(2)) ||
		!tbs.Empty() {
		return nil, malformed("not a TBSRequest")
	}
	p := parser{extensionsLeft: maxExtensions}
	if err := p.readList(list); err != nil {
		return nil, err
	}
	if hasExtensions {
		if err := p.readExtensions(wrapped, true); err != nil {
			return nil, err
		}
	}
	return &p.request, nil
}

// A parser is a request being read.
type parser struct {
	request        Request
	extensionsLeft int
}

// readList reads the content of requestList.
func (p *parser) readList(list cryptobyte.String) error {
	if list.Empty() {
		return malformed("asks about no certificate")
	}
	for !list.Empty() {
		if len(p.request.CertIDs) == MaxCertIDs {
			return malformed("asks about more than %d certificates", MaxCertIDs)
		}
		var request, certID, wrapped cryptobyte.String
		var hasExtensions bool
		if !list.ReadASN1(&request, cryptobyte_asn1.SEQUENCE) ||
			!request.ReadASN1Element(&certID, cryptobyte_asn1.SEQUENCE) ||
			!request.ReadOptionalASN1(&wrapped, &hasExtensions, explicit(0)) ||
			!request.Empty() {
			return malformed("request %d is not a Request", len(p.request.CertIDs)+1)
		}
		id, err := readCertID(certID)
		if err != nil {
			return err
		}
		if hasExtensions {
			if err := p.readExtensions(wrapped, false); err != nil {
				return err
			}
		}
		p.request.CertIDs = append(p.request.CertIDs, id)
	}
	return nil
}

// readCertID reads a CertID with its header.
func readCertID(element cryptobyte.String) (CertID, error) {
	id := CertID{Serial: new(big.Int), raw: element}
	var content, algorithm, name, key cryptobyte.String
	var oid asn1.ObjectIdentifier
	if !element.ReadASN1(&content, cryptobyte_asn1.SEQUENCE) ||
		!content.ReadASN1(&algorithm, cryptobyte_asn1.SEQUENCE) ||
		!algorithm.ReadASN1ObjectIdentifier(&oid) ||
		!content.ReadASN1(&name, cryptobyte_asn1.OCTET_STRING) ||
		!content.ReadASN1(&key, cryptobyte_asn1.OCTET_STRING) ||
		!content.ReadASN1Integer(id.Serial) || !content.Empty() {
		return CertID{}, malformed("not a CertID")
	}
	id.IssuerNameHash, id.IssuerKeyHash = name, key
	if id.Hash = hashOf(oid); id.Hash == 0 {
		return id, nil
	}
	// RFC 5754 §2 leaves the parameters out and has everybody accept NULL.
	if !algorithm.Empty() && !bytes.Equal(algorithm, []byte{byte(cryptobyte_asn1.NULL), 0}) {
		return CertID{}, malformed("hash function with parameters")
	}
	if len(name) != id.Hash.Size() || len(key) != id.Hash.Size() {
		return CertID{}, malformed("hashes of %d and %d octets by %v", len(name), len(key), id.Hash)
	}
	return id, nil
}

// hashOf returns the hash function of an object identifier, 0 for one that is
// not used here.
func hashOf(oid asn1.ObjectIdentifier) crypto.Hash {
	switch oid.String() {
	case "1.3.14.3.2.26":
		return crypto.SHA1
	case "2.16.840.1.101.3.4.2.1":
		return crypto.SHA256
	case "2.16.840.1.101.3.4.2.2":
		return crypto.SHA384
	case "2.16.840.1.101.3.4.2.3":
		return crypto.SHA512
	}
	return 0
}

// readExtensions reads Extensions with their header, and takes the nonce from
// those of the whole request. Critical ones that we do not know make a request
// unanswerable (RFC 6960 §4.4); the nonce means nothing to a single request.
func (p *parser) readExtensions(wrapped cryptobyte.String, whole bool) error {
	var list cryptobyte.String
	if !wrapped.ReadASN1(&list, cryptobyte_asn1.SEQUENCE) || !wrapped.Empty() || list.Empty() {
		return malformed("not a list of extensions")
	}
	for !list.Empty() {
		if p.extensionsLeft == 0 {
			return malformed("more than %d extensions", maxExtensions)
		}
		p.extensionsLeft--
		var extension, value cryptobyte.String
		var oid asn1.ObjectIdentifier
		var critical bool
		if !list.ReadASN1(&extension, cryptobyte_asn1.SEQUENCE) ||
			!extension.ReadASN1ObjectIdentifier(&oid) ||
			(extension.PeekASN1Tag(cryptobyte_asn1.BOOLEAN) && !extension.ReadASN1Boolean(&critical)) ||
			!extension.ReadASN1(&value, cryptobyte_asn1.OCTET_STRING) || !extension.Empty() {
			return malformed("not an extension")
		}
		switch {
		case whole && oid.Equal(oidNonce):
			if err := p.readNonce(value); err != nil {
				return err
			}
		case critical:
			return malformed("unknown critical extension %v", oid)
		}
	}
	return nil
}

// readNonce reads the value of the nonce extension: an OCTET STRING within the
// one that every extension has (RFC 9654 §2.1).
func (p *parser) readNonce(value cryptobyte.String) error {
	var nonce cryptobyte.String
	if !value.ReadASN1(&nonce, cryptobyte_asn1.OCTET_STRING) || !value.Empty() {
		return malformed("nonce is not an OCTET STRING")
	}
	if len(nonce) == 0 || len(nonce) > MaxNonce {
		return malformed("nonce of %d octets, not 1 to %d", len(nonce), MaxNonce)
	}
	if p.request.Nonce != nil {
		return malformed("two nonces")
	}
	p.request.Nonce = nonce
	return nil
}
