package scep

import (
	"bytes"
	"crypto/cipher"
	"crypto/rsa"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
)

// decrypt returns the content of the envelope and, for the operator, what was
// wrong with it. If anything was, the content means nothing and the work done is
// nearly the same: what it was can be seen neither in the answer nor in its
// time. An error is not the client's doing, or concerns an algorithm, which
// everybody can see.
//
// The RSA step rejects implicitly: when it fails for whatever reason, a random
// content key takes the place of the real one, and the failure shows later, as
// padding that is wrong. This keeps PKCS #1 v1.5 from being an oracle (RFC 8017
// §7.2, and Bleichenbacher before it).
func (e *envelope) decrypt(r Recipient, k encryptedKey) (content []byte, flaw string, err error) {
	if k.key == nil {
		flaw = "envelope is for somebody else"
	}
	key, err := unwrap(r, k, e.cipher.KeyLen())
	if err != nil {
		return nil, "", err
	}
	block, err := e.cipher.Block(key)
	if err != nil {
		return nil, "", err
	}
	size := block.BlockSize()
	iv, ciphertext := e.iv, e.ciphertext
	if len(iv) != size {
		flaw, iv = "IV does not have the length of a block", make([]byte, size)
	}
	if len(ciphertext) == 0 || len(ciphertext)%size != 0 {
		flaw = "ciphertext is not a number of whole blocks"
		ciphertext = make([]byte, len(ciphertext)/size*size+size)
	}
	content = make([]byte, len(ciphertext))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(content, ciphertext)
	n, padded := unpad(content, size)
	if padded != 1 && flaw == "" {
		flaw = "content key or padding is wrong"
	}
	return content[:n], flaw, nil
}

// choose returns the first of our identities that the envelope is encrypted to,
// and the key that it must decrypt. When there is none, it returns one of ours
// and an empty key.
func (e *envelope) choose(recipients []Recipient, strict bool) (Recipient, encryptedKey, error) {
	if len(recipients) == 0 {
		return Recipient{}, encryptedKey{}, errors.New("decrypt envelope: no key to do it with")
	}
	for _, r := range recipients {
		for _, k := range e.keys {
			if k.isFor(r.Certificate, strict) {
				return r, k, k.unsupported
			}
		}
	}
	//lint:ignore SA1019 nothing is decrypted with it
	return recipients[0], encryptedKey{options: &rsa.PKCS1v15DecryptOptions{}}, nil
}

// unwrap decrypts a content key of n bytes. If that fails it returns n random
// bytes. The only error is that there are no random bytes.
func unwrap(r Recipient, k encryptedKey, n int) ([]byte, error) {
	key := make([]byte, n)
	if _, err := io.ReadFull(r.random(), key); err != nil {
		return nil, fmt.Errorf("make content key: %w", err)
	}
	options := k.options
	//lint:ignore SA1019 with SessionKeyLen there is no oracle
	if _, ok := options.(*rsa.PKCS1v15DecryptOptions); ok {
		// A random key of n bytes instead of an error, in constant time.
		//lint:ignore SA1019 as above
		options = &rsa.PKCS1v15DecryptOptions{SessionKeyLen: n}
	}
	// A module may ignore SessionKeyLen, so its errors and lengths are checked.
	unwrapped, err := r.Key.Decrypt(r.random(), sized(k.key, r.Certificate), options)
	if err == nil && len(unwrapped) == n {
		copy(key, unwrapped)
	}
	return key, nil
}

// sized returns the encrypted key, or a number that can be decrypted but means
// nothing when it is not one below the modulus and of its length: crypto/rsa
// would return at once.
func sized(key []byte, c *x509.Certificate) []byte {
	public, ok := c.PublicKey.(*rsa.PublicKey)
	if !ok {
		return key
	}
	modulus := public.N.Bytes()
	if len(key) == len(modulus) && bytes.Compare(key, modulus) < 0 {
		return key
	}
	dummy := make([]byte, len(modulus))
	dummy[len(dummy)-1] = 2
	return dummy
}

// unpad returns the length of content without its padding (RFC 5652 §6.3) and 1
// if all of the padding is right, else the full length and 0. The time does not
// depend on the content.
func unpad(content []byte, blockSize int) (n, good int) {
	padding := int(content[len(content)-1])
	good = subtle.ConstantTimeLessOrEq(1, padding) & subtle.ConstantTimeLessOrEq(padding, blockSize)
	for i := 1; i <= blockSize; i++ {
		inside := subtle.ConstantTimeLessOrEq(i, padding)
		equal := subtle.ConstantTimeByteEq(content[len(content)-i], byte(padding))
		good &= subtle.ConstantTimeSelect(inside, equal, 1)
	}
	return subtle.ConstantTimeSelect(good, len(content)-padding, len(content)), good
}
