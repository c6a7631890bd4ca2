// Package devicelist reads allow-lists of devices from files, as people and
// MDMs write them, keeps the stored lists like the files when those change, and
// knows who is on a stored list.
//
// It must not know what a list means for a request: that is for package enroll.
package devicelist

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"understudy.example/understudy/depot"
)

const (
	// MaxSize is the most that a list may have, in bytes.
	MaxSize = 1 << 20
	// maxValue is the length of the longest serial, UDID or UPN, in bytes: what
	// the subject of a certificate may hold.
	maxValue = 256
)

// ErrEmpty: the file names no device. An empty file is rather one that is
// being written than one that shuts everybody out.
var ErrEmpty = errors.New("names no device")

// columns are the names of columns that mean something, in the form of
// columnName. MDMs export many more; those are skipped.
var columns = map[string]func(*depot.ListedDevice) *string{
	"deviceserial": deviceSerial, "deviceserialnumber": deviceSerial, "serial": deviceSerial, "serialnumber": deviceSerial,
	"udid": udid, "hardwareuuid": udid,
	"upn": upn, "userprincipalname": upn,
}

func deviceSerial(d *depot.ListedDevice) *string { return &d.DeviceSerial }
func udid(d *depot.ListedDevice) *string         { return &d.UDID }
func upn(d *depot.ListedDevice) *string          { return &d.UPN }

// Parse reads a list: CSV whose first line names the columns (device serial,
// UDID, UPN; others are skipped), or lines of one or more values separated by
// commas, of which each is what it looks like. Empty lines and those that begin
// with # do not count. The errors name the line.
func Parse(text []byte) ([]depot.ListedDevice, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("list of %d bytes is larger than %d", len(text), MaxSize)
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(text) {
		return nil, errors.New("list is not UTF-8 text")
	}
	r := csv.NewReader(bytes.NewReader(text))
	r.Comment, r.TrimLeadingSpace, r.FieldsPerRecord, r.ReuseRecord = '#', true, -1, true
	var devices []depot.ListedDevice
	seen := make(map[depot.ListedDevice]bool)
	var header []func(*depot.ListedDevice) *string
	for first := true; ; first = false {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("list is not CSV: %w", err)
		}
		if first {
			if header = headerOf(record); header != nil {
				continue
			}
		}
		line, _ := r.FieldPos(0)
		d, err := deviceOf(record, header)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		if d != (depot.ListedDevice{}) && !seen[d] {
			seen[d] = true
			devices = append(devices, d)
		}
	}
	if len(devices) == 0 {
		return nil, ErrEmpty
	}
	return devices, nil
}

// headerOf returns where the values of each column go, nil for a column that
// means nothing. It is nil itself when the record is no header.
func headerOf(record []string) []func(*depot.ListedDevice) *string {
	header := make([]func(*depot.ListedDevice) *string, len(record))
	for i, name := range record {
		header[i] = columns[columnName(name)]
	}
	if !slices.ContainsFunc(header, func(f func(*depot.ListedDevice) *string) bool { return f != nil }) {
		return nil
	}
	return header
}

// columnName is a column's name without case and what separates its words.
func columnName(text string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(" _-\t", r) {
			return -1
		}
		return unicode.ToLower(r)
	}, text)
}

// deviceOf reads one line. Without a header each value is what it looks like.
func deviceOf(record []string, header []func(*depot.ListedDevice) *string) (depot.ListedDevice, error) {
	var d depot.ListedDevice
	for i, value := range record {
		value = strings.TrimSpace(value)
		if value == "" {
			continue
		}
		field := kindOf(value)
		if header != nil {
			field = nil
			if i < len(header) {
				field = header[i]
			}
		}
		if field == nil {
			continue
		}
		if *field(&d) != "" {
			return d, fmt.Errorf("%.40q and %.40q cannot both be of one device", *field(&d), value)
		}
		*field(&d) = value
	}
	return d, Check(d)
}

// Check returns why a device cannot be on a list, if so.
func Check(d depot.ListedDevice) error {
	for _, value := range []string{d.DeviceSerial, d.UDID, d.UPN} {
		if len(value) > maxValue || !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) {
			return fmt.Errorf("%.40q is longer than %d bytes or has control characters", value, maxValue)
		}
	}
	return nil
}

// kindOf returns what a value looks like: UPNs have an @, UDIDs are UUIDs or
// Apple's newer form of 8 and 16 hex digits.
func kindOf(value string) func(*depot.ListedDevice) *string {
	switch {
	case strings.Contains(value, "@"):
		return upn
	case hexGroups(value, 8, 4, 4, 4, 12), hexGroups(value, 8, 16):
		return udid
	}
	return deviceSerial
}

// hexGroups says whether value is groups of so many hex digits with hyphens
// between them.
func hexGroups(value string, lengths ...int) bool {
	groups := strings.Split(value, "-")
	return len(groups) == len(lengths) && !slices.ContainsFunc(groups, func(g string) bool {
		return strings.Trim(g, "0123456789abcdefABCDEF") != ""
	}) && slices.EqualFunc(groups, lengths, func(g string, n int) bool { return len(g) == n })
}
