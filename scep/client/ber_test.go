package client_test

import (
	"bytes"
	"encoding/asn1"
)

// fragmented re-encodes the four outermost levels of a SignedData with
// indefinite lengths and its content as two OCTET STRINGs in a constructed one.
func fragmented(der []byte) []byte { return indefinite(der, 4) }

func indefinite(der []byte, levels int) []byte {
	var out bytes.Buffer
	for len(der) > 0 {
		var one asn1.RawValue
		rest, err := asn1.Unmarshal(der, &one)
		if err != nil {
			panic(err)
		}
		der = rest
		switch {
		case one.Tag == asn1.TagOctetString && one.Class == asn1.ClassUniversal && len(one.Bytes) > 16:
			half := len(one.Bytes) / 2
			out.Write([]byte{0x24, 0x80})
			out.Write(octets(one.Bytes[:half]))
			out.Write(octets(one.Bytes[half:]))
			out.Write([]byte{0, 0})
		case one.IsCompound && levels > 0 && one.FullBytes[0] != 0x31:
			out.Write([]byte{one.FullBytes[0], 0x80})
			out.Write(indefinite(one.Bytes, levels-1))
			out.Write([]byte{0, 0})
		default:
			out.Write(one.FullBytes)
		}
	}
	return out.Bytes()
}

func octets(content []byte) []byte {
	der, err := asn1.Marshal(content)
	if err != nil {
		panic(err)
	}
	return der
}

// withoutContent takes the empty eContent ([0] with an OCTET STRING of length
// zero) out of a SignedData and mends the lengths around it.
func withoutContent(der []byte) []byte {
	empty := []byte{0xa0, 0x02, 0x04, 0x00}
	at := bytes.Index(der, empty)
	cut := append(bytes.Clone(der[:at]), der[at+len(empty):]...)
	shorten(cut, 2, 4)      // ContentInfo
	shorten(cut, 4+11+2, 4) // [0]
	shorten(cut, 4+11+4+2, 4)
	cut[at-12] -= 4 // encapContentInfo, whose only other part is id-data
	return cut
}

// shorten takes n from a length of two octets.
func shorten(der []byte, at int, n int) {
	length := int(der[at])<<8 | int(der[at+1]) - n
	der[at], der[at+1] = byte(length>>8), byte(length)
}
