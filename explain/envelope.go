package explain

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des" //nolint:gosec // old clients and servers encrypt with it
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// An envelope is an EnvelopedData (RFC 5652 §6.1), taken apart.
type envelope struct {
	field      *Field
	recipients []recipient
	opened     recipient // whose key opened it
	cipher     string    // object identifier
	iv         []byte
	ciphertext []byte
}

// A recipient is a KeyTransRecipientInfo.
type recipient struct {
	issuer    []byte // DER of the Name, or nil
	serial    *big.Int
	keyID     []byte
	algorithm *node
	key       []byte
}

// maxRecipients is how many recipients are explained.
const maxRecipients = 16

// envelope explains a ContentInfo with an EnvelopedData. It returns nil when
// there is none that could be opened.
func (x *explainer) envelope(n *node, f *Field) *envelope {
	if oidOf(n.kid(0)) == oidAuthEnveloped {
		x.find(Objection, "every server and client", "RFC 8894 §3.2.2", "pkcsPKIEnvelope", "it is AuthEnvelopedData; SCEP knows only EnvelopedData")
		return nil
	}
	e := &envelope{field: f}
	data := x.list("EnvelopedData", n.kid(1).kid(0))
	if version := data.take(tagInteger, "version"); version != nil {
		f.add("version", value(version))
	}
	data.maybe(context0 | constructed) // originatorInfo
	infos := data.take(tagSet, "recipientInfos")
	for i := range infos.childCount() {
		if i == maxRecipients {
			f.add("recipientInfo", fmt.Sprintf("… and %d more", len(infos.kids)-i))
			break
		}
		x.recipientInfo(infos.kid(i), f.add("recipientInfo", ""), e)
	}
	x.judgeRecipients(infos, e)
	x.encryptedContent(data.take(tagSequence, "encryptedContentInfo"), f, e)
	data.maybe(context0 | constructed | 1)
	data.done()
	return e
}

// recipientInfo explains a RecipientInfo (RFC 5652 §6.2).
func (x *explainer) recipientInfo(n *node, f *Field, e *envelope) {
	const who = "servers and clients that know only key transport"
	switch n.tag {
	case tagSequence:
		f.Value = "KeyTransRecipientInfo"
	case context0 | constructed | 1:
		f.Value = "KeyAgreeRecipientInfo"
		x.find(Objection, who, "RFC 8894 §3.2.2", "recipientInfo", "it is for an EC key by key agreement, which SCEP does not have")
		return
	case context0 | constructed | 3:
		f.Value = "PasswordRecipientInfo"
		f.note("the challenge password encrypts the content key")
		for i := range n.kids {
			if k := &n.kids[i]; k.kid(0).is(tagOID) {
				f.algorithm("algorithm", k)
			}
		}
		x.find(Objection, who, "RFC 8894 §3.1", "recipientInfo", "a password opens it; hardly any server and no client that is known here does that")
		return
	default:
		f.Value = "RecipientInfo of type " + tagName(n.tag)
		return
	}
	l := x.list("KeyTransRecipientInfo", n)
	f.add("version", value(l.take(tagInteger, "version")))
	r := recipient{serial: new(big.Int)}
	if rid := l.any("rid"); rid.is(tagSequence) {
		r.issuer, r.serial = rid.kid(0).der(), integer(rid.kid(1))
		f.add("issuer", name(rid.kid(0)))
		f.add("serialNumber", serial(rid.kid(1))).anew()
	} else {
		r.keyID = rid.octets()
		f.add("subjectKeyIdentifier", octets(r.keyID)).anew()
	}
	for _, c := range x.known {
		if r.isFor(c) {
			f.note("for %s", c.title())
			break
		}
	}
	r.algorithm = l.take(tagSequence, "keyEncryptionAlgorithm")
	if r.algorithm != nil {
		f.algorithm("keyEncryptionAlgorithm", r.algorithm)
		x.judgeTransport(r.algorithm)
	}
	if key := l.take(tagOctetString, "encryptedKey"); key != nil {
		r.key = key.octets()
		f.add("encryptedKey", octets(r.key)).anew()
		e.recipients = append(e.recipients, r)
	}
	l.done()
}

func (r recipient) isFor(c *cert) bool {
	if r.issuer != nil {
		return bytes.Equal(r.issuer, c.issuer) && r.serial.Cmp(c.serial) == 0
	}
	return len(r.keyID) > 0 && bytes.Equal(r.keyID, c.keyID)
}

// judgeRecipients counts the recipients, and compares those of a request with
// the certificates that were given, of which one is the RA's.
func (x *explainer) judgeRecipients(infos *node, e *envelope) {
	const where = "recipientInfos"
	reply := x.kind != nil && x.kind.messageType == "3"
	switch n := infos.childCount(); {
	case infos == nil || n == 1:
	case n == 0:
		x.find(Wrong, "everybody", "RFC 5652 §6.1", where, "there is none: nobody can open the envelope")
	case reply:
		x.find(Objection, strict, "RFC 8894 §3.2.2", where, "there are %d, not one: clients are known to read replies to one", n)
	default:
		x.find(Remark, strict, "RFC 8894 §3.2.2", where, "there are %d, not the RA alone; scepclient encrypts to the whole answer of GetCACert", n)
	}
	given := slices.DeleteFunc(slices.Clone(x.known), func(c *cert) bool { return !c.given })
	if reply || len(given) == 0 || len(e.recipients) == 0 {
		return
	}
	for _, r := range e.recipients {
		if slices.ContainsFunc(given, r.isFor) {
			return
		}
	}
	x.find(Objection, "SCEP servers", "RFC 8894 §3.2.2", where, "the request is for none of the certificates that were given")
}

func (x *explainer) judgeTransport(algorithm *node) {
	switch oid := oidOf(algorithm.kid(0)); oid {
	case oidRSA:
		if !algorithm.kid(1).is(tagNull) {
			x.find(Objection, strict, "RFC 3370 §4.2.1", "keyEncryptionAlgorithm", "rsaEncryption has no NULL parameters, as the Go libraries write it; every client was tested with NULL")
		}
	case oidOAEP:
		x.find(Remark, "servers that know only PKCS #1 v1.5", "RFC 8894 §3.1", "keyEncryptionAlgorithm", "it is RSAES-OAEP, which some Windows clients use and not every server reads")
	default:
		x.find(Objection, "every server and client", "RFC 8894 §3.2.2", "keyEncryptionAlgorithm", "%s is no key transport by RSA", nameOf(oid))
	}
}

// encryptedContent explains an EncryptedContentInfo.
func (x *explainer) encryptedContent(n *node, f *Field, e *envelope) {
	l := x.list("EncryptedContentInfo", n)
	if t := oidOf(l.take(tagOID, "contentType")); t != "" {
		f.add("contentType", nameOf(t)).oid(t)
		if t != oidData {
			x.find(Objection, strict, "RFC 8894 §3.2.2", "contentType", "the encrypted content is %s, not id-data", nameOf(t))
		}
	}
	algorithm := l.take(tagSequence, "contentEncryptionAlgorithm")
	if algorithm == nil {
		return
	}
	e.cipher = oidOf(algorithm.kid(0))
	e.iv = algorithm.kid(1).octets()
	f.algorithm("contentEncryptionAlgorithm", algorithm)
	x.judgeCipher(e)
	content := l.peek()
	if content == nil || content.tag&^constructed != context0 {
		l.take(context0, "encryptedContent")
		return
	}
	e.ciphertext = content.octets()
	f.add("encryptedContent", fmt.Sprintf("%d octets", len(e.ciphertext))).anew()
	if content.tag&constructed != 0 && len(content.kids) > 1 {
		x.find(Remark, "go.mozilla.org/pkcs7", "it reads the first piece", "encryptedContent", "it comes in %d pieces, as Apple and OpenSSL stream it", len(content.kids))
	}
	if size := blockSize(e.cipher); size > 0 && !content.cut && (len(e.ciphertext) == 0 || len(e.ciphertext)%size != 0) {
		x.find(Wrong, "everybody", "RFC 5652 §6.3", "encryptedContent", "%d octets are not whole blocks of %d", len(e.ciphertext), size)
	}
}

func (x *explainer) judgeCipher(e *envelope) {
	const where = "contentEncryptionAlgorithm"
	switch label := nameOf(e.cipher); e.cipher {
	case oidAES128, oidAES256, oid3DES:
	case oidDES:
		x.find(Objection, "everybody on OpenSSL 3: certmonger, sscep", "RFC 8894 §2.9", where, "it is single DES, which must not be used and cannot be read without the legacy provider")
	case oidAES128GCM, oidAES192GCM, oidAES256GCM:
		x.find(Objection, "every server and client", "RFC 5084 §3.2", where, "%s belongs into AuthEnvelopedData, not into EnvelopedData", label)
	default:
		x.find(Objection, "most servers and clients", "RFC 8894 §2.9", where, "%s is none of AES-128-CBC, AES-256-CBC and DES-EDE3-CBC", label)
	}
}

// ciphers are the ciphers that are opened.
var ciphers = map[string]struct {
	key int
	new func([]byte) (cipher.Block, error)
}{
	oidAES128: {16, aes.NewCipher}, oidAES192: {24, aes.NewCipher}, oidAES256: {32, aes.NewCipher},
	oid3DES: {24, des.NewTripleDESCipher}, oidDES: {8, des.NewCipher},
}

func blockSize(oid string) int {
	switch oid {
	case oidAES128, oidAES192, oidAES256:
		return aes.BlockSize
	case oid3DES, oidDES:
		return des.BlockSize
	default:
		return 0
	}
}

// opened opens the envelope, if a key is there, and explains what is in it.
func (x *explainer) opened(e *envelope, kind Kind) {
	line := e.field.add("opened", "")
	if len(x.o.Keys) == 0 {
		line.Value = "no"
		line.note("--key opens it: %s", map[Kind]string{
			Request: "the RA's key", Reply: "the key of the client that made the request",
		}[kind])
		if kind == EnvelopedData {
			line.Note = "--key opens it: the RA's key for a request, the client's for a reply"
		}
		return
	}
	plain, by, err := e.open(x.o.Keys)
	x.opener = by
	if err != nil {
		line.Value = "no"
		line.note("%v", err)
		x.find(Wrong, "whoever has only these keys", "RFC 8894 §3.2.2", "pkcsPKIEnvelope", "it cannot be opened: %v", err)
		return
	}
	line.Value = "yes"
	line.note("%d octets", len(plain))
	x.content(plain)
}

// open decrypts the content with the first key that fits, and returns its
// public half too, also when what it decrypts is damaged. Who has the key and
// the message may know at which step it failed: this is no server.
func (e *envelope) open(keys []crypto.PrivateKey) (plain []byte, by crypto.PublicKey, err error) {
	spec, known := ciphers[e.cipher]
	if !known {
		return nil, nil, fmt.Errorf("%s is not read here", nameOf(e.cipher))
	}
	failed := errors.New("no recipient has a key that could be opened")
	for _, r := range e.recipients {
		options, err := transport(r.algorithm)
		if err != nil {
			failed = err
			continue
		}
		for _, key := range keys {
			private, ok := key.(crypto.Decrypter)
			if !ok {
				failed = errors.New("the key is no RSA key")
				continue
			}
			secret, err := private.Decrypt(nil, r.key, options)
			if err != nil || len(secret) != spec.key {
				failed = errors.New("the content key was encrypted to another key")
				continue
			}
			block, err := spec.new(secret)
			if err != nil {
				return nil, nil, errors.New("the content key is none of this cipher")
			}
			e.opened = r
			plain, err = decrypt(block, e.iv, e.ciphertext)
			return plain, private.Public(), err
		}
	}
	return nil, nil, failed
}

func decrypt(block cipher.Block, iv, ciphertext []byte) ([]byte, error) {
	size := block.BlockSize()
	if len(iv) != size {
		return nil, fmt.Errorf("the IV has %d octets, not %d", len(iv), size)
	}
	if len(ciphertext) == 0 || len(ciphertext)%size != 0 {
		return nil, errors.New("the ciphertext is not whole blocks")
	}
	plain := make([]byte, len(ciphertext))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, ciphertext)
	n := int(plain[len(plain)-1])
	if n == 0 || n > size || !bytes.Equal(plain[len(plain)-n:], bytes.Repeat([]byte{byte(n)}, n)) {
		return nil, errors.New("the padding is wrong: the content was changed")
	}
	return plain[:len(plain)-n], nil
}
