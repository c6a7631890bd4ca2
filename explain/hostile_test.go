package explain_test

import (
	"bytes"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"understudy.example/understudy/explain"
)

// tlv writes an element with a length of four octets.
func tlv(tag byte, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	n := len(body)
	return append([]byte{tag, 0x84, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, body...)
}

// bundle is a certs-only SignedData of one certificate many times.
func bundle(certificate []byte, times int) []byte {
	oid := func(last byte) []byte { return []byte{6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, last} }
	return tlv(0x30, oid(2), tlv(0xa0, tlv(0x30, []byte{2, 1, 1}, tlv(0x31), tlv(0x30, oid(1)),
		tlv(0xa0, bytes.Repeat(certificate, times)), tlv(0x31))))
}

// Inputs that are large, deep or many cost a bounded time.
func TestHostile(t *testing.T) {
	leaf := unpem(t, sample(t, "leaf.pem"))
	root := bytes.SplitAfter(sample(t, "chain.pem"), []byte("-----END CERTIFICATE-----\n"))[1]
	const large = 4 << 20
	inputs := map[string][]byte{
		"certificates":        bundle(leaf, large/len(leaf)),
		"roots":               bundle(unpem(t, root), large/len(root)),
		"PEM blocks":          bytes.Repeat(root, large/len(root)),
		"nested":              bytes.Repeat([]byte{0x30, 0x80}, large/2),
		"definite":            nest(64),
		"elements":            tlv(0x30, bytes.Repeat([]byte{5, 0}, large/2)),
		"objects in a list":   tlv(0x30, bytes.Repeat([]byte{6, 1, 42}, large/3)),
		"pieces":              tlv(0x30, tlv(0x24, bytes.Repeat([]byte{4, 1, 0}, large/3))),
		"pieces in pieces":    append([]byte{0x30, 0x80}, bytes.Repeat([]byte{0x24, 0x80}, large/2)...),
		"children too long":   append([]byte{0x30, 0x84, 0, 0x40, 0, 0}, bytes.Repeat([]byte{0x30, 0x84, 0, 0x40, 0, 0}, large/6)...),
		"text":                bytes.Repeat([]byte("A"), large),
		"percent":             bytes.Repeat([]byte("message=%"), large/9),
		"open PEM":            bytes.Repeat([]byte("-----BEGIN X-----\n"), large/18),
		"long integer":        tlv(0x30, tlv(0x30, []byte{0xa0, 3, 2, 1, 2}, tlv(2, bytes.Repeat([]byte{0x7f}, large)))),
		"long number":         tlv(0x30, []byte{2, 1, 0}, tlv(0x30), tlv(0x30, tlv(0x30, []byte{6, 1, 42}), tlv(10, bytes.Repeat([]byte{0x7f}, large)))),
		"long type in a name": tlv(0x30, tlv(0x30, tlv(0x31, tlv(0x30, tlv(6, bytes.Repeat([]byte{0xff}, large), []byte{1}), []byte{12, 0}))), []byte{2, 1, 1}),
		"long enumerated":     tlv(0x30, tlv(10, bytes.Repeat([]byte{0x7f}, large))),
		"long version":        tlv(0x30, tlv(0x30, tlv(2, bytes.Repeat([]byte{0x7f}, large)), tlv(0x30), tlv(0x30))),
		"long private key":    longKey(t),
		"long object number":  tlv(0x30, tlv(6, bytes.Repeat([]byte{0xff}, large), []byte{1})),
	}
	for name, input := range inputs {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			d := explain.Explain(input, options(t, "chain.pem"))
			text := d.Text()
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("took %v", took)
			}
			if len(text) > 2<<20 {
				t.Errorf("%d bytes of text", len(text))
			}
			t.Log(time.Since(began), len(text))
		})
	}
}

// longKey is an RSA private key in PKCS #1 whose numbers fit together, but for
// its factors, of which nobody can say quickly that they are no primes.
func longKey(t *testing.T) []byte {
	t.Helper()
	const bits = 1 << 19
	one := big.NewInt(1)
	p, q := new(big.Int).SetBit(big.NewInt(3), bits/2-1, 1), new(big.Int).SetBit(big.NewInt(7), bits/2-1, 1)
	lessP, lessQ := new(big.Int).Sub(p, one), new(big.Int).Sub(q, one)
	d := new(big.Int).Sub(new(big.Int).Mul(lessP, lessQ), one)
	der, err := asn1.Marshal(struct {
		Version                     int
		N, E, D, P, Q, DP, DQ, QInv *big.Int
	}{0, new(big.Int).Mul(p, q), big.NewInt(65537), d, p, q, new(big.Int).Mod(d, lessP), new(big.Int).Mod(d, lessQ), new(big.Int).ModInverse(q, p)})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func nest(levels int) []byte {
	inner := []byte{5, 0}
	for range levels {
		inner = tlv(0x30, inner)
	}
	return inner
}
