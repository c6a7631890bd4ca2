package inspect

import (
	"encoding/hex"
	"strings"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/device"
)

// fold is device.Fold, which most names need not be sent to.
func fold(text string) string {
	for i := range len(text) {
		if c := text[i]; c >= 0x80 || c < '!' || c == '.' {
			return device.Fold(text)
		}
	}
	return strings.ToLower(text)
}

// hexOf returns the hex of a fingerprint.
func hexOf(sum [32]byte) string { return hex.EncodeToString(sum[:]) }

// subjects returns the subject as it is listed and, where that differs, as
// its values read without escapes.
func subjects(i *depot.Identity) []string {
	if !strings.Contains(i.Subject, `\`) {
		return []string{i.Subject}
	}
	return []string{i.Subject, unescape(i.Subject)}
}

// readCommonName compares a whole common name. A subject may have several, and
// a comma in one does not end it.
func readCommonName(t *term) error {
	p := t.value.folded()
	t.fits = func(f *facts) bool {
		for rest := f.identity.Subject; rest != ""; {
			var attribute string
			attribute, rest = cutAttribute(rest)
			if value, ok := strings.CutPrefix(attribute, "CN="); ok && fitsName(p, unescape(value)) {
				return true
			}
		}
		return false
	}
	return nil
}

// cutAttribute returns the first attribute of what device.FormatName wrote, and
// the rest behind its comma or plus sign.
func cutAttribute(name string) (attribute, rest string) {
	for i := 0; i < len(name); i++ {
		switch name[i] {
		case '\\':
			i++ // what is escaped separates nothing
		case ',', '+':
			return name[:i], name[i+1:]
		}
	}
	return name, ""
}

// unescape undoes the escapes of device.FormatName.
func unescape(value string) string {
	if !strings.Contains(value, `\`) {
		return value
	}
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] != '\\' || i+1 == len(value) {
			b.WriteByte(value[i])
			continue
		}
		i++
		if i+1 < len(value) {
			if octet, err := hex.DecodeString(value[i : i+2]); err == nil {
				b.Write(octet)
				i++
				continue
			}
		}
		b.WriteByte(value[i])
	}
	return b.String()
}
