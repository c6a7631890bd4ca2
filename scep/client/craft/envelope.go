package craft

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des" //nolint:gosec // to see it refused
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/scep/internal/cms"
)

// A Cipher is a block cipher in CBC mode under some name.
type Cipher struct {
	OID    asn1.ObjectIdentifier
	KeyLen int
	New    func(key []byte) (cipher.Block, error)
}

// Ciphers that servers meet. Those from DES on must be refused.
var (
	AES128CBC    = Cipher{cms.AES128CBC.OID(), 16, aes.NewCipher}
	AES256CBC    = Cipher{cms.AES256CBC.OID(), 32, aes.NewCipher}
	TripleDESCBC = Cipher{cms.TripleDESCBC.OID(), 24, des.NewTripleDESCipher}
	DESCBC       = Cipher{asn1.ObjectIdentifier{1, 3, 14, 3, 2, 7}, 8, des.NewCipher}
	AES192CBC    = Cipher{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 22}, 24, aes.NewCipher}
	// The last three only claim to be what they say: a server must refuse
	// them before it decrypts anything.
	RC2CBC    = Cipher{asn1.ObjectIdentifier{1, 2, 840, 113549, 3, 2}, 16, aes.NewCipher}
	AES128GCM = Cipher{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 6}, 16, aes.NewCipher}
	Unknown   = Cipher{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 32473, 1}, 16, aes.NewCipher}
)

// A Recipient is whom the content key is encrypted to.
type Recipient struct {
	Certificate *x509.Certificate
	Issuer      []byte // instead of the certificate's, in DER
	BySKI       bool   // named by subject key identifier
}

// Envelope is the middle layer. The hooks change what they are named after
// before it goes on; nil means honest.
type Envelope struct {
	Content    []byte
	Recipients []Recipient
	Cipher     Cipher
	OAEP       crypto.Hash // key transport by RSAES-OAEP with this hash; 0 means PKCS #1 v1.5

	ContentKey   func([]byte) []byte // as it is encrypted to the recipients
	EncryptedKey func([]byte) []byte
	IV           func([]byte) []byte // as it stands in the message
	Padded       func([]byte) []byte // content with its padding, before encryption
	Ciphertext   func([]byte) []byte
}

// Encode encrypts and returns the ContentInfo.
func (e Envelope) Encode() ([]byte, error) {
	key := make([]byte, e.Cipher.KeyLen)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	block, err := e.Cipher.New(key)
	if err != nil {
		return nil, fmt.Errorf("craft envelope: %w", err)
	}
	iv := make([]byte, block.BlockSize())
	if _, err := rand.Read(iv); err != nil {
		return nil, err
	}
	padding := block.BlockSize() - len(e.Content)%block.BlockSize()
	text := hook(e.Padded, append(bytes.Clone(e.Content), bytes.Repeat([]byte{byte(padding)}, padding)...))
	if len(text)%block.BlockSize() != 0 {
		return nil, errors.New("craft envelope: the padded content is not whole blocks; change Ciphertext instead")
	}
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(text, text)
	var infos []byte
	for _, r := range e.Recipients {
		info, err := e.recipientInfo(r, hook(e.ContentKey, key))
		if err != nil {
			return nil, fmt.Errorf("craft envelope: %w", err)
		}
		infos = append(infos, info...)
	}
	return contentInfo(OIDEnvelopedData, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(0)
		b.AddBytes(element(cbasn1.SET, infos))
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(OIDData)
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(e.Cipher.OID)
				b.AddASN1OctetString(hook(e.IV, iv))
			})
			b.AddBytes(element(cbasn1.Tag(0).ContextSpecific(), hook(e.Ciphertext, text)))
		})
	})
}

func (e *Envelope) recipientInfo(r Recipient, key []byte) ([]byte, error) {
	public, ok := r.Certificate.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("recipient key is %T, not RSA", r.Certificate.PublicKey)
	}
	var encrypted, algorithm []byte
	var err error
	if e.OAEP != 0 {
		encrypted, err = rsa.EncryptOAEP(e.OAEP.New(), rand.Reader, public, key, nil)
		algorithm = oaepAlgorithm(e.OAEP)
	} else {
		//lint:ignore SA1019 the key transport that SCEP clients use
		encrypted, err = rsa.EncryptPKCS1v15(rand.Reader, public, key)
		algorithm = algorithmOf(cms.OIDRSAEncryption)
	}
	if err != nil {
		return nil, err
	}
	issuer := r.Certificate.RawIssuer
	if r.Issuer != nil {
		issuer = r.Issuer
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		if r.BySKI {
			b.AddASN1Int64(2)
			b.AddBytes(element(cbasn1.Tag(0).ContextSpecific(), r.Certificate.SubjectKeyId))
		} else {
			b.AddASN1Int64(0)
			addIssuerAndSerial(b, issuer, r.Certificate.SerialNumber)
		}
		b.AddBytes(algorithm)
		b.AddASN1OctetString(hook(e.EncryptedKey, encrypted))
	})
	return b.Bytes()
}

// oaepAlgorithm is id-RSAES-OAEP (RFC 4055 §4.1) with one hash for both uses;
// SHA-1 is its default, written as an empty SEQUENCE.
func oaepAlgorithm(h crypto.Hash) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 7})
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			if h == crypto.SHA1 {
				return
			}
			b.AddBytes(element(context0, algorithmOf(cms.DigestOID(h))))
			b.AddASN1(cbasn1.Tag(1).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
				b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 8})
					b.AddBytes(algorithmOf(cms.DigestOID(h)))
				})
			})
		})
	})
	return b.BytesOrPanic()
}

func algorithmOf(oid asn1.ObjectIdentifier) []byte {
	var b cryptobyte.Builder
	addAlgorithm(&b, oid)
	return b.BytesOrPanic()
}

func hook(change func([]byte) []byte, value []byte) []byte {
	if change == nil {
		return value
	}
	return change(bytes.Clone(value))
}
