package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"
)

// maxAdminBody bounds the body of an admin request.
const maxAdminBody = 1 << 20

// list is a page of the admin API.
type list[T any] struct {
	Items      []T     `json:"items"`
	NextCursor *string `json:"next_cursor"`
}

// newList returns a page that is [] and not null when it is empty.
func newList[T any](items []T, next string) list[T] {
	if items == nil {
		items = []T{}
	}
	return list[T]{Items: items, NextCursor: orNull(next)}
}

// orNull is the text, or null in JSON when it is empty.
func orNull(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// timeText is how times look in JSON: RFC 3339, UTC, whole seconds, Z.
func timeText(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// timeOrNull is the time, or null in JSON when it is zero.
func timeOrNull(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	return orNull(timeText(t))
}

// numberOrNull is the number, or null in JSON when it is 0.
func numberOrNull(n int) *int {
	if n == 0 {
		return nil
	}
	return &n
}

// readNothing refuses a body with fields, and a query.
func readNothing(w http.ResponseWriter, r *http.Request) error {
	fields, err := readObject(w, r)
	if err != nil {
		return err
	}
	return noOthers(fields, invalidRequest)
}

// readObject returns the fields of the body of a request that has no query.
func readObject(w http.ResponseWriter, r *http.Request) (map[string]json.RawMessage, error) {
	if _, err := readParameters(r); err != nil {
		return nil, err
	}
	return readFields(w, r)
}

// readFields returns the request's body, which must be exactly one JSON object
// in which no object names a field twice. Its fields are as they came: the caller refuses
// those that it does not know. An empty body is an empty object.
func readFields(w http.ResponseWriter, r *http.Request) (map[string]json.RawMessage, error) {
	if err := checkJSONType(r.Header); err != nil {
		return nil, err
	}
	body, err := readBody(w, r)
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return map[string]json.RawMessage{}, nil
	}
	return parseObject(body)
}

// readBody returns the request's body, which is bounded.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.Header.Get("Content-Encoding") != "" {
		return nil, newProblem(http.StatusUnsupportedMediaType, "unsupported-media-type", "content encodings are not supported")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAdminBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, newProblem(http.StatusRequestEntityTooLarge, "too-large", "the body is larger than 1 MiB")
	case err != nil:
		return nil, newProblem(http.StatusBadRequest, "incomplete", "the body could not be read to its end")
	}
	return body, nil
}

// checkJSONType refuses a body that says it is something else, among it the
// types that a page of another origin can send without asking.
func checkJSONType(h http.Header) error {
	text := h.Get("Content-Type")
	if text == "" {
		return nil
	}
	kind, _, err := mime.ParseMediaType(text)
	if err != nil || (kind != "application/json" && kind != "application/merge-patch+json") {
		return newProblem(http.StatusUnsupportedMediaType, "unsupported-media-type", "the body must be application/json")
	}
	return nil
}

// parseObject splits one JSON object into its fields.
func parseObject(body []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return nil, badJSON("the body must be one JSON object")
	}
	fields := make(map[string]json.RawMessage)
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, badJSON("the body is not valid JSON")
		}
		key, _ := name.(string) // inside an object the decoder gives nothing else
		if _, twice := fields[key]; twice {
			return nil, givenTwice(key)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, badJSON("the body is not valid JSON")
		}
		if name, twice := nameTwice(json.NewDecoder(bytes.NewReader(value))); twice {
			return nil, givenTwice(name)
		}
		fields[key] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, badJSON("the body is not valid JSON")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, badJSON("something follows the JSON object")
	}
	return fields, nil
}

// nameTwice returns a name that an object has twice, in the next value of valid
// JSON, however deep.
func nameTwice(d *json.Decoder) (name string, twice bool) {
	start, _ := d.Token()
	seen := make(map[string]bool)
	if start != json.Delim('{') && start != json.Delim('[') {
		return "", false
	}
	for d.More() {
		if start == json.Delim('{') {
			token, _ := d.Token()
			if name, _ = token.(string); seen[name] {
				return name, true
			}
			seen[name] = true
		}
		if name, twice := nameTwice(d); twice {
			return name, true
		}
	}
	_, _ = d.Token() // its end
	return "", false
}

// givenTwice is the problem of a field that somebody gave two values.
func givenTwice(name string) *problem {
	p := badJSON("a field is given twice")
	p.Errors = []fieldError{{Field: printable(name, 64), Detail: "given twice"}}
	return p
}

// textField takes an optional string out of a body.
func textField(fields map[string]json.RawMessage, name string, longest int) (string, error) {
	raw, given := fields[name]
	if !given {
		return "", nil
	}
	delete(fields, name)
	var text *string
	if err := json.Unmarshal(raw, &text); err != nil {
		return "", invalidRequest(fieldError{name, "must be a string"})
	}
	if text == nil {
		return "", nil
	}
	if len(*text) > longest {
		return "", invalidRequest(fieldError{name, fmt.Sprintf("must have at most %d bytes", longest)})
	}
	return *text, nil
}

// noOthers is the problem, of the given kind, of fields that nobody took.
func noOthers(fields map[string]json.RawMessage, kind func(...fieldError) *problem) error {
	if len(fields) == 0 {
		return nil
	}
	var wrong []fieldError
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		wrong = append(wrong, fieldError{printable(name, 64), "is not a known field"})
	}
	return kind(wrong...)
}

// timeField takes an optional time out of a body; zero when it is absent.
func timeField(fields map[string]json.RawMessage, name string) (time.Time, error) {
	text, err := textField(fields, name, len(time.RFC3339Nano))
	if err != nil || text == "" {
		return time.Time{}, err
	}
	t, ok := parseTime(text)
	if !ok {
		return time.Time{}, invalidRequest(fieldError{name, noTime})
	}
	return t, nil
}

// writeJSON sends v.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	return writeDocument(w, status, "application/json", v)
}

// writeDocument sends v as a document of the given JSON type.
func writeDocument(w http.ResponseWriter, status int, contentType string, v any) error {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, err = w.Write(append(body, '\n'))
	if err != nil {
		return nil // the client is gone; nobody is left to be told
	}
	return nil
}

// printable is untrusted text cut to n bytes and made valid UTF-8, for places
// whose encoder escapes the rest.
func printable(text string, n int) string {
	if len(text) > n {
		text = text[:n]
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
