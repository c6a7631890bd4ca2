package ca

import (
	"encoding/hex"
	"fmt"
	"io"
	"math/big"
	"strings"
	"time"
)

// A certificate serial is 16 octets: 48 bits of time in milliseconds and 80
// random ones. Time comes first so that a store that is ordered by certificate
// serial is written at its end. The second-highest bit is always set: the
// number is then positive and DER always takes 16 octets for it, so that the
// order of the bytes, of the hex and of the times is one and the same.
const (
	serialLen      = 16
	serialMark     = 1 << 46
	serialLenLimit = 20 // RFC 5280 §4.1.2.2
)

// newSerial returns a certificate serial for now. Times before 1970 or after
// the year 4199 have none.
func newSerial(now time.Time, random io.Reader) ([]byte, error) {
	ms := now.UnixMilli()
	if ms < 0 || ms >= serialMark {
		return nil, fmt.Errorf("make certificate serial: no place for the time %s", now)
	}
	ms |= serialMark
	serial := make([]byte, serialLen)
	for i := range 6 {
		serial[i] = byte(ms >> (40 - 8*i))
	}
	if _, err := io.ReadFull(random, serial[6:]); err != nil {
		return nil, fmt.Errorf("make certificate serial: %w", err)
	}
	return serial, nil
}

// FormatSerial returns a certificate serial as it is stored and shown:
// lower-case hex of even length, 32 digits for those made here.
func FormatSerial(serial *big.Int) string {
	if serial.Sign() == 0 {
		return "00"
	}
	return hex.EncodeToString(serial.Bytes())
}

// ParseSerial reads a certificate serial in hex as people and tools write it:
// in any case, with colons, with leading zeros. What it returns goes through
// FormatSerial before it is looked for.
func ParseSerial(text string) (*big.Int, error) {
	digits := strings.TrimLeft(strings.ReplaceAll(text, ":", ""), "0")
	if len(digits) > 2*serialLenLimit {
		return nil, fmt.Errorf("parse certificate serial: more than %d octets", serialLenLimit)
	}
	if text == "" || strings.Trim(text, ":") == "" {
		return nil, fmt.Errorf("parse certificate serial: empty")
	}
	if len(digits)%2 == 1 {
		digits = "0" + digits
	}
	octets, err := hex.DecodeString(digits)
	if err != nil {
		return nil, fmt.Errorf("parse certificate serial: %q is not hex", text)
	}
	return new(big.Int).SetBytes(octets), nil
}
