// Package device reads who a certificate subject names: which Mac or PC, which
// profile, which user.
//
// Every MDM writes the subject in its own form and none of them is a standard,
// so the package recognises what it can and never turns a subject down. It
// holds pure functions: it must not know requests, policy or the store, and it
// imports nothing of ours.
package device

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Names is what a subject says about a device. Fields other than Key are as
// the subject writes them, in its own case; a field that the subject does not
// mention is empty. All of them are printable UTF-8.
type Names struct {
	// Key tells devices of one configuration apart: "udid:", "serial:",
	// "device:", "uuid:" or "subject:" with a normal form of what follows,
	// and "+profile:" with the profile when the subject names one. Two
	// subjects that differ in case only have one key. At most MaxKey bytes.
	Key          string
	DeviceSerial string // hardware serial number
	ProfileUUID  string // of the profile, or the identifier that the MDM puts in its place
	UDID         string // hardware UUID
	UPN          string // user principal name or e-mail address
	DeviceID     string // the MDM's own id of the device
	ComputerName string
}

// MaxKey is the greatest length of a key in bytes.
const MaxKey = 512

// Longest parts of a key that are kept as they are; longer ones are hashed.
const (
	maxKeyName    = 320
	maxKeyProfile = 128
)

// FromSubject reads the DER of a Name (RFC 5280 §4.1.2.4). It tries every
// common name and then every organizational unit, in their order; the first
// that has a known form decides. The only error is DER that is not a Name:
// every format is accepted, and a subject of no known form is keyed by its
// whole text.
func FromSubject(rawSubject []byte) (Names, error) {
	attributes, err := parseName(rawSubject)
	if err != nil {
		return Names{}, fmt.Errorf("read subject: %w", err)
	}
	var commonNames, units []string
	for _, a := range attributes {
		switch {
		case !a.isText: // a value of no string type names nobody
		case a.oid == oidCommonName:
			commonNames = append(commonNames, a.text)
		case a.oid == oidOrganizationalUnit:
			units = append(units, a.text)
		}
	}
	found := recognise(commonNames, units)
	if found.profile == "" {
		found.profile = fleetProfile(commonNames, units)
	}
	return found.names(attributes), nil
}

// recognise returns what the first value of a known form says.
func recognise(commonNames, units []string) form {
	for _, v := range commonNames {
		if f, ok := match(v); ok {
			return f
		}
	}
	for _, v := range units {
		// Departments are called ENGINEERING; serial numbers have digits.
		if f, ok := match(v); ok && (f.serial == "" || strings.ContainsAny(f.serial, "0123456789")) {
			return f
		}
	}
	return form{}
}

// names turns what a subject says into printable fields and a key.
func (f form) names(attributes []attribute) Names {
	n := Names{
		DeviceSerial: printable(f.serial),
		ProfileUUID:  printable(f.profile),
		UDID:         printable(f.udid),
		UPN:          printable(f.upn),
		DeviceID:     printable(f.deviceID),
		ComputerName: printable(f.computerName),
	}
	switch {
	case n.UDID != "":
		n.Key = "udid:" + strings.ToUpper(n.UDID)
	case n.DeviceSerial != "":
		n.Key = "serial:" + bounded(strings.ToUpper(n.DeviceSerial), maxKeyName)
	case n.DeviceID != "":
		n.Key = "device:" + bounded(strings.ToLower(n.DeviceID), maxKeyName)
	case f.uuid != "":
		n.Key = "uuid:" + strings.ToUpper(f.uuid)
	default:
		n.Key = "subject:" + bounded(normalSubject(attributes), maxKeyName)
	}
	if n.ProfileUUID != "" {
		n.Key += "+profile:" + bounded(strings.ToLower(n.ProfileUUID), maxKeyProfile)
	}
	return n
}

// normalSubject is the form in which subjects of no known form are compared:
// Fold of each value.
func normalSubject(attributes []attribute) string {
	normal := make([]attribute, len(attributes))
	for i, a := range attributes {
		if a.isText && utf8.ValidString(a.text) {
			a.text = Fold(a.text)
		}
		normal[i] = a
	}
	return formatName(normal)
}

// Fold returns the form in which names of a subject are compared, so that two
// that people cannot tell apart are one: compatibility composition, lower
// case, single spaces, no trailing dots.
func Fold(text string) string {
	text = norm.NFKC.String(strings.ToLower(norm.NFKC.String(text)))
	return strings.TrimRight(strings.Join(strings.Fields(text), " "), ". ")
}

// bounded returns s, or the hash of s when it is longer than limit bytes.
func bounded(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return "sha256:" + hex.EncodeToString(sum[:])
}
