package explain

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"strings"
	"unicode"
	"unicode/utf8"

	"understudy.example/understudy/scep"
)

// stepDER is the last step of most detections.
const stepDER = "DER"

// An object is a piece of the input that stands alone.
type object struct {
	data []byte
	text bool // data is text, and no encoding of bytes was found in it
}

// A detection is what an input was taken for.
type detection struct {
	steps       []string
	objects     []object
	contentType string // of an HTTP response, or ""
}

// detect finds the bytes in an input, from the outside in.
func detect(input []byte) detection {
	contentType, body, isHTTP := response(input)
	if !isHTTP {
		steps, objects := decode(input)
		return detection{steps: steps, objects: objects}
	}
	steps, objects := decode(body)
	return detection{append([]string{"HTTP response"}, steps...), objects, contentType}
}

// response takes apart an HTTP response as "curl -i" shows it.
func response(input []byte) (contentType string, body []byte, ok bool) {
	if !bytes.HasPrefix(input, []byte("HTTP/")) {
		return "", nil, false
	}
	header, body, ok := bytes.Cut(input, []byte("\r\n\r\n"))
	if !ok || bytes.IndexByte(header, 0) >= 0 {
		header, body, ok = bytes.Cut(input, []byte("\n\n"))
	}
	for line := range strings.Lines(string(header)) {
		if field, value, _ := strings.Cut(line, ":"); strings.EqualFold(strings.TrimSpace(field), "Content-Type") {
			contentType = strings.TrimSpace(value)
		}
	}
	return contentType, body, ok
}

// decode undoes the encodings around bytes and names them.
func decode(input []byte) (steps []string, objects []object) {
	if looksBinary(input) {
		return []string{stepDER}, []object{{data: input}}
	}
	text := strings.TrimPrefix(string(input), "\ufeff")
	if strings.Contains(text, "-----BEGIN ") {
		if objects := pemObjects([]byte(text)); len(objects) > 0 {
			return []string{"PEM", stepDER}, objects
		}
	}
	if value, found := queryMessage(text); found {
		if data, err := scep.DecodeGET(value); err == nil && looksBinary(data) {
			return []string{"GET query", "base64", stepDER}, []object{{data: data}}
		}
	}
	if _, path, found := strings.Cut(text, "/ocsp/"); found {
		path, _, _ = strings.Cut(strings.TrimSpace(path), " ")
		if data, err := scep.DecodeGET(path); err == nil && looksBinary(data) {
			return []string{"path of an OCSP GET", "base64", stepDER}, []object{{data: data}}
		}
	}
	compact := strings.Map(func(c rune) rune {
		if unicode.IsSpace(c) {
			return -1
		}
		return c
	}, text)
	if data, err := hex.DecodeString(strings.ReplaceAll(compact, ":", "")); err == nil && looksBinary(data) {
		return []string{"hex", stepDER}, []object{{data: data}}
	}
	if data, how := fromBase64(text, compact); looksBinary(data) {
		return []string{how, stepDER}, []object{{data: data}}
	}
	if utf8.ValidString(text) && text != "" {
		return []string{"text"}, []object{{data: input, text: true}}
	}
	return []string{"bytes of no known form"}, []object{{data: input}}
}

// looksBinary says that b begins like a SEQUENCE, and not like text: the
// character "0" has the number of its tag.
func looksBinary(b []byte) bool {
	if len(b) < 2 || b[0] != tagSequence {
		return false
	}
	return !isHexText(b) || b[1]&0x80 != 0
}

// isHexText says that the first octets are hex digits, as of a SEQUENCE in hex.
func isHexText(b []byte) bool {
	for _, c := range b[:min(len(b), 8)] {
		if !strings.ContainsRune("0123456789abcdefABCDEF: \r\n\t", rune(c)) {
			return false
		}
	}
	return true
}

func pemObjects(text []byte) []object {
	var objects []object
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return objects
		}
		objects = append(objects, object{data: block.Bytes})
	}
}

// queryMessage returns the value of message= of a URL, a query, a request line
// or a line of an access log, as it stands there.
func queryMessage(text string) (string, bool) {
	_, value, found := strings.Cut(text, "message=")
	if !found {
		return "", false
	}
	for _, end := range []string{"&", "\"", " HTTP/", "#"} {
		value, _, _ = strings.Cut(value, end)
	}
	return strings.TrimRight(value, " \r\n\t"), true
}

// fromBase64 reads standard or URL-safe base64, with line ends and with or
// without padding, and the percent-escapes of a GET.
func fromBase64(text, compact string) ([]byte, string) {
	standard := strings.NewReplacer("-", "+", "_", "/", "=", "").Replace(compact)
	if data, err := base64.RawStdEncoding.DecodeString(standard); err == nil {
		return data, "base64"
	}
	if data, err := scep.DecodeGET(strings.TrimSpace(text)); err == nil {
		return data, "percent-escaped base64"
	}
	return nil, ""
}

// words returns the lines of an answer to GetCACaps, or nil if the text is none.
func words(text []byte) []string {
	const longest = 4096
	if len(text) > longest || !utf8.Valid(text) {
		return nil
	}
	var all []string
	known := false
	for _, line := range strings.FieldsFunc(string(text), func(c rune) bool { return c == '\r' || c == '\n' }) {
		_, is := capabilities[line]
		known = known || is
		all = append(all, line)
	}
	if !known || bytes.ContainsAny(text, "<{") {
		return nil
	}
	return all
}
