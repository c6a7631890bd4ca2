package bolt

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"understudy.example/understudy/depot"
)

// appendJSON appends the fields as one JSON object that people can read:
// hashes in hex, times in RFC 3339, durations as Go writes them, other bytes
// in base64. Zero values are left out. A string that is not UTF-8, which JSON
// cannot hold, becomes {"base64":"…"}, so that nothing is lost.
func appendJSON(b []byte, fields []field, more ...field) []byte {
	b = append(b, '{')
	for _, f := range fields {
		b = appendJSONField(b, f)
	}
	for _, f := range more {
		b = appendJSONField(b, f)
	}
	return append(b, '}')
}

func appendJSONField(b []byte, f field) []byte {
	if isZero(f.value) {
		return b
	}
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	b = append(append(append(b, '"'), f.name...), `":`...)
	return appendJSONValue(b, f.value)
}

func appendJSONValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case *string:
		return appendJSONString(b, *v)
	case *[]byte:
		return append(base64.StdEncoding.AppendEncode(append(b, '"'), *v), '"')
	case *[32]byte:
		return append(hex.AppendEncode(append(b, '"'), v[:]), '"')
	case *time.Time:
		return append(v.UTC().AppendFormat(append(b, '"'), time.RFC3339Nano), '"')
	case *time.Duration:
		return strconv.AppendQuote(b, v.String())
	case *int:
		return strconv.AppendInt(b, int64(*v), 10)
	case *uint64:
		return strconv.AppendUint(b, *v, 10)
	case *bool:
		return strconv.AppendBool(b, *v)
	case *[]string:
		return appendJSONList(b, *v, appendJSONString)
	case *[]int:
		return appendJSONList(b, *v, func(b []byte, n int) []byte { return strconv.AppendInt(b, int64(n), 10) })
	case *[]depot.ListedDevice:
		return appendJSONList(b, *v, func(b []byte, d depot.ListedDevice) []byte { return appendJSON(b, listedDeviceFields(&d)) })
	case []field:
		return appendJSON(b, v)
	}
	return append(b, "null"...)
}

func appendJSONList[T any](b []byte, list []T, appendOne func([]byte, T) []byte) []byte {
	b = append(b, '[')
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendOne(b, v)
	}
	return append(b, ']')
}

func appendJSONString(b []byte, s string) []byte {
	if isPlain(s) {
		return append(append(append(b, '"'), s...), '"')
	}
	if !utf8.ValidString(s) {
		b = base64.StdEncoding.AppendEncode(append(b, `{"base64":"`...), []byte(s))
		return append(b, `"}`...)
	}
	quoted, err := json.Marshal(s)
	if err != nil { // a string cannot fail
		return append(b, "null"...)
	}
	return append(b, quoted...)
}

// isPlain says whether a string is its own JSON, as nearly all are.
func isPlain(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' { // json.Marshal escapes the last three
			return false
		}
	}
	return true
}

// decodeJSON reads an object that appendJSON wrote.
func decodeJSON(object []byte, fields []field) error {
	var values map[string]json.RawMessage
	if err := json.Unmarshal(object, &values); err != nil {
		return err
	}
	for _, f := range fields {
		raw, ok := values[f.name]
		if !ok {
			continue
		}
		delete(values, f.name)
		if err := decodeJSONValue(f.value, raw); err != nil {
			return fmt.Errorf("field %s: %w", f.name, err)
		}
	}
	for name := range values {
		return fmt.Errorf("field %s: %w", name, errVersion)
	}
	return nil
}

func decodeJSONValue(v any, raw json.RawMessage) (err error) {
	switch v := v.(type) {
	case *string:
		return decodeJSONString(v, raw)
	case *[]string:
		var list []json.RawMessage
		if err := json.Unmarshal(raw, &list); err != nil {
			return err
		}
		*v = make([]string, len(list))
		for i := range list {
			if err := decodeJSONString(&(*v)[i], list[i]); err != nil {
				return err
			}
		}
		return nil
	case *[32]byte:
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return err
		}
		b, err := hex.DecodeString(s)
		if err == nil && copy(v[:], b) != len(b) {
			return errCut
		}
		return err
	case *time.Duration:
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return err
		}
		*v, err = time.ParseDuration(s)
		return err
	case *[]depot.ListedDevice:
		return decodeJSONDevices(v, raw)
	case []field:
		return decodeJSON(raw, v)
	default: // *[]byte, *time.Time, *int, *uint64, *bool, *[]int
		return json.Unmarshal(raw, v)
	}
}

func decodeJSONDevices(v *[]depot.ListedDevice, raw json.RawMessage) error {
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return err
	}
	*v = make([]depot.ListedDevice, len(list))
	for i := range list {
		if err := decodeJSON(list[i], listedDeviceFields(&(*v)[i])); err != nil {
			return err
		}
	}
	return nil
}

// listedDeviceFields are those of the ledger; in the database a list of devices
// is one value.
func listedDeviceFields(d *depot.ListedDevice) []field {
	return []field{
		{1, "device_serial", &d.DeviceSerial},
		{2, "udid", &d.UDID},
		{3, "upn", &d.UPN},
	}
}

func decodeJSONString(v *string, raw json.RawMessage) error {
	if len(raw) == 0 || raw[0] != '{' {
		return json.Unmarshal(raw, v)
	}
	var bytes struct {
		Base64 []byte `json:"base64"`
	}
	if err := json.Unmarshal(raw, &bytes); err != nil {
		return err
	}
	*v = string(bytes.Base64)
	return nil
}
