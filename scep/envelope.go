package scep

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep/internal/cms"
)

// An envelope is an EnvelopedData (RFC 5652 §6.1) whose content cipher is one
// that is spoken.
type envelope struct {
	keys       []encryptedKey // those for RSA keys; the others are nobody's here
	cipher     cms.Cipher
	iv         []byte // not checked
	ciphertext []byte // not checked
}

// An encryptedKey is a KeyTransRecipientInfo.
type encryptedKey struct {
	issuer       []byte // DER of the Name, with serial, or nil
	serial       *big.Int
	subjectKeyID []byte // or nil
	options      crypto.DecrypterOpts
	unsupported  error // why options is nil; it matters only if the key is for us
	key          []byte
}

// readEnvelope reads an EnvelopedData in a ContentInfo, in BER. Nothing in it
// is secret, so an algorithm that is not supported may be named; the detail of
// everything else is for the operator.
func readEnvelope(ber []byte) (*envelope, error) {
	isDER, err := guard("envelope", ber)
	if err != nil {
		return nil, err
	}
	if !isDER {
		if ber, err = toDER(ber); err != nil {
			return nil, err
		}
	}
	input := cryptobyte.String(ber)
	var info, explicit, data, recipients, content cryptobyte.String
	var contentType asn1.ObjectIdentifier
	if !input.ReadASN1(&info, cbasn1.SEQUENCE) || !info.ReadASN1ObjectIdentifier(&contentType) {
		return nil, refusal.New(refusal.BadMessage, "envelope is no ContentInfo")
	}
	if contentType.Equal(oidAuthEnvelopedData) {
		return nil, unsupported("authenticated envelopes are not supported", "envelope is AuthEnvelopedData")
	}
	if !contentType.Equal(cms.OIDEnvelopedData) {
		return nil, refusal.New(refusal.BadMessage, "content is no EnvelopedData")
	}
	if !info.ReadASN1(&explicit, context0) || !info.Empty() ||
		!explicit.ReadASN1(&data, cbasn1.SEQUENCE) || !explicit.Empty() ||
		!data.SkipASN1(cbasn1.INTEGER) ||
		!data.SkipOptionalASN1(context0) || // originatorInfo
		!data.ReadASN1(&recipients, cbasn1.SET) ||
		!data.ReadASN1(&content, cbasn1.SEQUENCE) ||
		!data.SkipOptionalASN1(context1) || !data.Empty() {
		return nil, malformed("EnvelopedData")
	}
	e := new(envelope)
	if err := e.readContent(content); err != nil {
		return nil, err
	}
	if err := e.readRecipients(recipients); err != nil {
		return nil, err
	}
	return e, nil
}

// readContent reads an EncryptedContentInfo.
func (e *envelope) readContent(info cryptobyte.String) error {
	const what = "EncryptedContentInfo"
	var contentType, algorithm asn1.ObjectIdentifier
	var identifier cryptobyte.String
	if !info.ReadASN1ObjectIdentifier(&contentType) ||
		!info.ReadASN1(&identifier, cbasn1.SEQUENCE) ||
		!identifier.ReadASN1ObjectIdentifier(&algorithm) {
		return malformed(what)
	}
	cipher, ok := cms.CipherOf(algorithm)
	if !ok {
		name := algorithmName(algorithm)
		return unsupported("cipher "+name+" is not supported", "content cipher is %s", name)
	}
	e.cipher = cipher
	if !contentType.Equal(cms.OIDData) {
		return refusal.New(refusal.BadMessage, "encrypted content type is not id-data")
	}
	var iv, ciphertext cryptobyte.String
	if identifier.ReadASN1(&iv, cbasn1.OCTET_STRING) && identifier.Empty() {
		e.iv = iv
	}
	// encryptedContent is [0] IMPLICIT OCTET STRING. toDER cannot know that the
	// constructed form is a string in pieces.
	const primitive0 = cbasn1.Tag(0x80)
	if info.PeekASN1Tag(context0) {
		var pieces, piece cryptobyte.String
		if !info.ReadASN1(&pieces, context0) {
			return malformed(what)
		}
		for !pieces.Empty() {
			if !pieces.ReadASN1(&piece, cbasn1.OCTET_STRING) {
				return malformed(what)
			}
			ciphertext = append(ciphertext, piece...)
		}
	} else if !info.ReadASN1(&ciphertext, primitive0) {
		return malformed(what)
	}
	if !info.Empty() {
		return malformed(what)
	}
	if len(ciphertext) > maxContent {
		return WithFailInfo(refusal.WithText(refusal.BadMessage, "the request is too large",
			"envelope has %d bytes of ciphertext, more than %d", len(ciphertext), maxContent), BadRequest)
	}
	e.ciphertext = ciphertext
	return nil
}

func (e *envelope) readRecipients(set cryptobyte.String) error {
	n, ok := count(set)
	if !ok || n == 0 || n > maxRecipients {
		return refusal.New(refusal.BadMessage, "envelope does not have 1 to %d recipients", maxRecipients)
	}
	for !set.Empty() {
		if !set.PeekASN1Tag(cbasn1.SEQUENCE) { // key agreement, password and others
			var tag cbasn1.Tag
			var other cryptobyte.String
			set.ReadAnyASN1(&other, &tag)
			continue
		}
		key, err := readRecipient(&set)
		if err != nil {
			return err
		}
		e.keys = append(e.keys, key)
	}
	return nil
}

// readRecipient reads a KeyTransRecipientInfo (RFC 5652 §6.2.1).
func readRecipient(set *cryptobyte.String) (encryptedKey, error) {
	const what = "KeyTransRecipientInfo"
	k := encryptedKey{serial: new(big.Int)}
	var info, id, issuer, skid, algorithm, key cryptobyte.String
	var hasSKID bool
	if !set.ReadASN1(&info, cbasn1.SEQUENCE) || !info.SkipASN1(cbasn1.INTEGER) ||
		!info.ReadOptionalASN1(&skid, &hasSKID, cbasn1.Tag(0x80)) {
		return k, malformed(what)
	}
	if hasSKID {
		k.subjectKeyID = skid
	} else {
		if !info.ReadASN1(&id, cbasn1.SEQUENCE) || !id.ReadASN1Element(&issuer, cbasn1.SEQUENCE) ||
			!id.ReadASN1Integer(k.serial) || !id.Empty() {
			return k, malformed(what)
		}
		k.issuer = issuer
	}
	if !info.ReadASN1(&algorithm, cbasn1.SEQUENCE) || !info.ReadASN1(&key, cbasn1.OCTET_STRING) || !info.Empty() {
		return k, malformed(what)
	}
	k.key = key
	k.options, k.unsupported = keyTransport(algorithm)
	return k, nil
}

func malformed(what string) error { return refusal.New(refusal.BadMessage, "%s is malformed", what) }

// isFor says that the key is encrypted to c. Unless strict, the issuer's name
// may be encoded otherwise than in the certificate.
func (k *encryptedKey) isFor(c *x509.Certificate, strict bool) bool {
	if k.issuer == nil {
		return len(k.subjectKeyID) > 0 && bytes.Equal(k.subjectKeyID, c.SubjectKeyId)
	}
	if k.serial.Cmp(c.SerialNumber) != 0 {
		return false
	}
	return bytes.Equal(k.issuer, c.RawIssuer) || !strict && sameName(k.issuer, c.RawIssuer)
}

// keyTransport returns the options of crypto.Decrypter for an
// AlgorithmIdentifier of PKCS #1 v1.5, whose length of key the caller sets, or
// of OAEP with SHA-1 or SHA-256 (RFC 8017 §A.2.1).
func keyTransport(identifier cryptobyte.String) (crypto.DecrypterOpts, error) {
	var algorithm asn1.ObjectIdentifier
	if !identifier.ReadASN1ObjectIdentifier(&algorithm) {
		return nil, malformed("key transport algorithm")
	}
	switch {
	case algorithm.Equal(cms.OIDRSAEncryption):
		//lint:ignore SA1019 SCEP clients use no other key transport; Open rejects implicitly
		return &rsa.PKCS1v15DecryptOptions{}, nil
	case algorithm.Equal(oidOAEP):
		if options, ok := readOAEP(identifier); ok {
			return options, nil
		}
		return nil, unsupported("OAEP parameters are not supported", "OAEP parameters are not SHA-1 or SHA-256")
	default:
		return nil, unsupported("key transport algorithm is not supported", "key transport is %s", algorithmName(algorithm))
	}
}

// readOAEP reads RSAES-OAEP-params, or false if they ask for what is not
// spoken, such as a label.
func readOAEP(identifier cryptobyte.String) (*rsa.OAEPOptions, bool) {
	options := &rsa.OAEPOptions{Hash: crypto.SHA1, MGFHash: crypto.SHA1}
	if identifier.Empty() {
		return options, true
	}
	const context2 = cbasn1.Tag(0x82 | 0x20)
	var oid asn1.ObjectIdentifier
	var params, hash, mgf, source, inner cryptobyte.String
	var hasHash, hasMGF, hasSource bool
	if !identifier.ReadASN1(&params, cbasn1.SEQUENCE) || !identifier.Empty() ||
		!params.ReadOptionalASN1(&hash, &hasHash, context0) ||
		!params.ReadOptionalASN1(&mgf, &hasMGF, context1) ||
		!params.ReadOptionalASN1(&source, &hasSource, context2) || !params.Empty() {
		return nil, false
	}
	ok := true
	if hasHash {
		options.Hash, ok = readHash(hash)
	}
	if ok && hasMGF {
		if !mgf.ReadASN1(&inner, cbasn1.SEQUENCE) || !inner.ReadASN1ObjectIdentifier(&oid) || !oid.Equal(oidMGF1) {
			return nil, false
		}
		options.MGFHash, ok = readHash(inner)
	}
	if ok && hasSource {
		var label cryptobyte.String
		ok = source.ReadASN1(&inner, cbasn1.SEQUENCE) && inner.ReadASN1ObjectIdentifier(&oid) &&
			oid.Equal(oidPSpecified) && inner.ReadASN1(&label, cbasn1.OCTET_STRING) && label.Empty()
	}
	return options, ok
}

// readHash reads the AlgorithmIdentifier of a hash that OAEP may have here.
func readHash(s cryptobyte.String) (crypto.Hash, bool) {
	var identifier cryptobyte.String
	var oid asn1.ObjectIdentifier
	if !s.ReadASN1(&identifier, cbasn1.SEQUENCE) || !identifier.ReadASN1ObjectIdentifier(&oid) {
		return 0, false
	}
	h, ok := cms.DigestOf(oid)
	return h, ok && (h == crypto.SHA1 || h == crypto.SHA256)
}
