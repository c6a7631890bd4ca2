package inspect

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"

	"understudy.example/understudy/depot"
)

// A Format is a form in which certificates are taken away.
type Format string

// The formats.
const (
	FormatCSV       Format = "csv"   // a table, safe for spreadsheets
	FormatJSONLines Format = "jsonl" // one JSON object to a line
	FormatPEM       Format = "pem"   // the certificates, with comments
	FormatZIP       Format = "zip"   // the certificates as files, with both tables
)

// Formats returns all of them.
func Formats() []Format {
	return []Format{FormatCSV, FormatJSONLines, FormatPEM, FormatZIP}
}

// ContentType returns the media type of a format.
func (f Format) ContentType() string {
	switch f {
	case FormatCSV:
		return "text/csv; charset=utf-8; header=present" // RFC 7111
	case FormatJSONLines:
		return "application/jsonl"
	case FormatPEM:
		return "application/pem-certificate-chain"
	case FormatZIP:
		return "application/zip"
	}
	return "application/octet-stream"
}

// A Row is one certificate of an export.
type Row struct {
	Identity depot.Identity // SupersededBy is the successor that State speaks of
	State    string         // see State
	JSON     []byte         // the identity as the API shows it
}

// ExportOptions are what an export needs beside its rows.
type ExportOptions struct {
	// TempDir is where a ZIP's tables wait until the certificates are
	// written: some 500 bytes for each of these. Empty: the system's place.
	TempDir string
}

// An Exporter writes rows as they come; its memory does not grow with them. It
// is not safe for concurrent use. After an error of Write nothing but Abort
// makes sense.
type Exporter interface {
	// Write adds a row.
	Write(Row) error
	// Close ends the export; the writer below stays open.
	Close() error
	// Abort lets go of everything without an end, so that nobody takes what
	// was written for the whole. After Close it does nothing.
	Abort()
}

// NewExporter begins an export.
func NewExporter(f Format, w io.Writer, o ExportOptions) (Exporter, error) {
	const size = 64 << 10
	buffer := bufio.NewWriterSize(w, size)
	switch f {
	case FormatCSV:
		return newTable(buffer, csvHeader(columns()), csvLine(columns())), nil
	case FormatJSONLines:
		return newTable(buffer, nil, jsonLine), nil
	case FormatPEM:
		return newTable(buffer, nil, pemBlock), nil
	case FormatZIP:
		return newArchive(buffer, o.TempDir)
	}
	return nil, fmt.Errorf("export: there is no format %q: it is one of %v", f, Formats())
}

// table is an export in which each row is text of its own.
type table struct {
	w      *bufio.Writer
	begin  []byte                                   // not written yet
	append func(line []byte, r Row) ([]byte, error) // renders a row
	line   []byte                                   // its last one, to be used again
}

func newTable(w *bufio.Writer, begin []byte, render func([]byte, Row) ([]byte, error)) *table {
	return &table{w: w, begin: begin, append: render}
}

func (t *table) Write(r Row) (err error) {
	if t.line, err = t.append(append(t.line[:0], t.begin...), r); err != nil {
		return fmt.Errorf("export certificate %s: %w", r.Identity.CertificateSerial, err)
	}
	t.begin = nil
	if _, err = t.w.Write(t.line); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	return nil
}

func (t *table) Close() error {
	_, err := t.w.Write(t.begin) // an empty table has a header too
	if err = errors.Join(err, t.w.Flush()); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	return nil
}

func (t *table) Abort() {}

// jsonLine renders a row as one line of JSON.
func jsonLine(line []byte, r Row) ([]byte, error) {
	b := bytes.NewBuffer(line)
	if err := json.Compact(b, r.JSON); err != nil {
		return line, fmt.Errorf("its JSON: %w", err)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// pemBlock renders a certificate with lines that say what it is. Readers of
// PEM pass over what stands outside of blocks.
func pemBlock(line []byte, r Row) ([]byte, error) {
	b := bytes.NewBuffer(line)
	i := r.Identity
	for _, comment := range [][2]string{
		{"certificate serial", i.CertificateSerial}, {"subject", i.Subject}, {"device", i.Device.Key}, {"state", r.State},
	} {
		b.WriteString("# " + comment[0] + ": " + commentText(comment[1]) + "\n")
	}
	if err := pem.Encode(b, &pem.Block{Type: "CERTIFICATE", Bytes: i.DER}); err != nil {
		return line, err
	}
	return b.Bytes(), nil
}

// commentText returns text that cannot be taken for the beginning of a block:
// on one line, and without hyphens in a row. Some readers look for them
// anywhere, and OpenSSL takes what stands behind the 254th character of a line
// for the next one.
func commentText(text string) string {
	var b strings.Builder
	var last rune
	for _, c := range text {
		switch {
		case !unicode.IsPrint(c):
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(c), "'"))
		case c == '-' && last == '-':
			b.WriteString(`\x2d`)
		default:
			b.WriteRune(c)
		}
		last = c
	}
	return b.String()
}

// column is one of a table of certificates.
type column struct {
	name string
	text func(Row) string
	// ours says that the text is a number that was made here: a minus sign
	// before it begins no formula.
	ours bool
}

// columns are those of the CSV, in their order. Columns are added at the end,
// never renamed: see docs/export.md.
func columns() []column {
	identity := func(text func(depot.Identity) string) func(Row) string {
		return func(r Row) string { return text(r.Identity) }
	}
	sum := func(of func(depot.Identity) [32]byte) func(Row) string {
		return func(r Row) string { s := of(r.Identity); return hex.EncodeToString(s[:]) }
	}
	return []column{
		{name: "certificate_serial", text: identity(func(i depot.Identity) string { return i.CertificateSerial })},
		{name: "sha256", text: sum(func(i depot.Identity) [32]byte { return i.SHA256 })},
		{name: "state", text: func(r Row) string { return r.State }},
		{name: "subject", text: identity(func(i depot.Identity) string { return i.Subject })},
		{name: "device_key", text: identity(func(i depot.Identity) string { return i.Device.Key })},
		{name: "device_serial", text: identity(func(i depot.Identity) string { return i.Device.DeviceSerial })},
		{name: "profile_uuid", text: identity(func(i depot.Identity) string { return i.Device.ProfileUUID })},
		{name: "udid", text: identity(func(i depot.Identity) string { return i.Device.UDID })},
		{name: "upn", text: identity(func(i depot.Identity) string { return i.Device.UPN })},
		{name: "not_before", text: identity(func(i depot.Identity) string { return timeText(i.NotBefore) })},
		{name: "not_after", text: identity(func(i depot.Identity) string { return timeText(i.NotAfter) })},
		{name: "issued_at", text: identity(func(i depot.Identity) string { return timeText(i.IssuedAt) })},
		{name: "revoked_at", text: identity(func(i depot.Identity) string { return timeText(i.RevokedAt) })},
		{name: "revocation_reason", text: identity(Reason)},
		{name: "superseded_by", text: identity(func(i depot.Identity) string { return i.SupersededBy })},
		{name: "used_at", text: identity(func(i depot.Identity) string { return timeText(i.UsedAt) })},
		{name: "configuration_id", text: identity(func(i depot.Identity) string { return i.ConfigurationID })},
		{name: "configuration", text: identity(func(i depot.Identity) string { return i.ConfigurationName })},
		{name: "purpose", text: identity(func(i depot.Identity) string { return i.Purpose })},
		{name: "challenge_mode", text: identity(func(i depot.Identity) string { return i.ChallengeMode })},
		{name: "challenge_id", text: identity(func(i depot.Identity) string { return i.ChallengeID })},
		{name: "transaction_id", text: identity(func(i depot.Identity) string { return i.TransactionID })},
		{name: "source_address", text: identity(func(i depot.Identity) string { return i.SourceAddress })},
		{name: "user_agent", text: identity(func(i depot.Identity) string { return i.UserAgent })},
		{name: "digest", text: identity(func(i depot.Identity) string { return i.Digest })},
		{name: "cipher", text: identity(func(i depot.Identity) string { return i.Cipher })},
		{name: "key_bits", ours: true, text: identity(func(i depot.Identity) string { return strconv.Itoa(i.KeyBits) })},
		{name: "public_key_sha256", text: sum(func(i depot.Identity) [32]byte { return i.PublicKeySHA256 })},
		{name: "issuer_sha256", text: sum(func(i depot.Identity) [32]byte { return i.IssuerSHA256 })},
		{name: "clock_offset_seconds", ours: true, text: identity(func(i depot.Identity) string { return strconv.FormatInt(int64(i.ClockOffset.Seconds()), 10) })},
	}
}
