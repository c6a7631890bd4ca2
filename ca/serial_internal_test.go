package ca

import (
	"bytes"
	"crypto/rand"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"
)

// TestSerials draws 10⁵ certificate serials, a millisecond apart, over years in
// which a plain count of milliseconds takes five octets and six.
func TestSerials(t *testing.T) {
	seen := make(map[[serialLen]byte]bool, 100_000)
	last := make([]byte, serialLen)
	now := time.UnixMilli(1<<40 - 50_000)
	for range 100_000 {
		s, err := newSerial(now, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if len(s) != serialLen || bytes.Compare(s, last) <= 0 {
			t.Fatalf("%x after %x", s, last)
		}
		seen[[serialLen]byte(s)] = true
		last, now = s, now.Add(time.Millisecond)
	}
	if len(seen) != 100_000 {
		t.Errorf("%d different serials of 100000", len(seen))
	}
}

func TestSerialEncoding(t *testing.T) {
	for _, now := range []time.Time{
		time.UnixMilli(0), time.UnixMilli(1), time.UnixMilli(1 << 40),
		time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), time.UnixMilli(serialMark - 1),
	} {
		for _, random := range []byte{0x00, 0xff} {
			s, err := newSerial(now, bytes.NewReader(bytes.Repeat([]byte{random}, 10)))
			if err != nil {
				t.Fatal(err)
			}
			der, err := asn1.Marshal(new(big.Int).SetBytes(s))
			if err != nil {
				t.Fatal(err)
			}
			if want := append([]byte{2, serialLen}, s...); !bytes.Equal(der, want) {
				t.Errorf("serial of %s in DER is %x, want %x", now, der, want)
			}
			if !bytes.Equal(s[6:], bytes.Repeat([]byte{random}, 10)) {
				t.Errorf("serial %x does not end with 80 bits of the random source", s)
			}
		}
	}
	for _, now := range []time.Time{time.UnixMilli(-1), time.UnixMilli(serialMark)} {
		if s, err := newSerial(now, rand.Reader); err == nil {
			t.Errorf("serial of %s: %x", now, s)
		}
	}
}
