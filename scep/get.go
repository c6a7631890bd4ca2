package scep

import (
	"encoding/base64"

	"understudy.example/understudy/refusal"
)

// MaxMessageGET is the longest value of the message parameter of a GET that
// DecodeGET looks at, in bytes as sent.
const MaxMessageGET = 64 << 10

// DecodeGET returns the pkiMessage of a GET request. raw is the value of the
// message parameter as it stands in the URL, before percent-decoding.
//
// RFC 8894 §4.1 wants standard base64 with percent-escapes. Also accepted: '+'
// and '/' unescaped (macOS), '+' that a proxy made a space, the URL-safe
// alphabet (scepclient), absent or unescaped padding, and line ends anywhere
// (Cisco). None of these is ambiguous. Percent-escapes are decoded exactly
// once. Errors are refusals with the reason BadMessage.
func DecodeGET(raw string) ([]byte, error) {
	if len(raw) > MaxMessageGET {
		return nil, refusal.New(refusal.BadMessage, "message parameter has %d bytes, more than %d", len(raw), MaxMessageGET)
	}
	text := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c == '%' {
			if i+2 >= len(raw) || unhex(raw[i+1]) < 0 || unhex(raw[i+2]) < 0 {
				return nil, refusal.New(refusal.BadMessage, "message parameter: broken percent-escape at offset %d", i)
			}
			c = byte(unhex(raw[i+1])<<4 | unhex(raw[i+2]))
			i += 2
		}
		switch c {
		case '\r', '\n', '=':
		case ' ', '-':
			text = append(text, '+')
		case '_':
			text = append(text, '/')
		default:
			text = append(text, c)
		}
	}
	message := make([]byte, base64.RawStdEncoding.DecodedLen(len(text)))
	n, err := base64.RawStdEncoding.Decode(message, text)
	if err != nil {
		return nil, refusal.New(refusal.BadMessage, "message parameter: %v", err)
	}
	if n == 0 {
		return nil, refusal.New(refusal.BadMessage, "message parameter is empty")
	}
	return message[:n], nil
}

// unhex returns the value of a hexadecimal digit, or -1.
func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	default:
		return -1
	}
}
