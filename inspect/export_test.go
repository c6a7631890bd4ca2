package inspect_test

import (
	"archive/zip"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/csv"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/inspect"
)

// need finds a program of others. It must be there in CI.
func need(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skipf("%s is not installed; CI has it", program)
	}
	return path
}

// export writes rows in a format.
func export(t *testing.T, f inspect.Format, rows ...inspect.Row) []byte {
	t.Helper()
	var b bytes.Buffer
	e, err := inspect.NewExporter(f, &b, inspect.ExportOptions{TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Abort()
	for _, r := range rows {
		if err := e.Write(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// rows are one honest certificate and one of somebody who knows spreadsheets.
func rows() []inspect.Row {
	evil := anna()
	evil.CertificateSerial, evil.IssuedAt, evil.ClockOffset, evil.DER = "0b", now.Add(time.Second), -time.Hour, []byte("evil")
	evil.Subject = `=HYPERLINK("http://evil.example";"x")`
	evil.TransactionID, evil.UserAgent, evil.ChallengeID = "+1\r\n=2", "\tx", "\r=x"
	evil.Device = depot.DeviceNames{Key: " -1+1", UPN: "@SUM(A1)", DeviceSerial: "-----BEGIN CERTIFICATE-----", UDID: "＝1", ProfileUUID: `a"b;c`}
	evil.Void, evil.SupersededBy = true, "0c"
	evil.RevokedAt, evil.UsedAt = now, now.Add(time.Second)
	honest := anna()
	honest.DER = []byte("honest")
	return []inspect.Row{
		{Identity: honest, State: inspect.StateValid, JSON: []byte(`{"certificate_serial":"0a3f1c"}`)},
		{Identity: evil, State: inspect.StateVoid, JSON: []byte("{\n  \"certificate_serial\": \"0b\",\r\n\"x\":\"a\\nb\"}\n")},
	}
}

func TestGolden(t *testing.T) {
	for _, f := range []inspect.Format{inspect.FormatCSV, inspect.FormatJSONLines, inspect.FormatPEM} {
		path := filepath.Join("testdata", "export."+string(f))
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := export(t, f, rows()...); !bytes.Equal(got, want) {
			t.Errorf("%s is not\n%s", path, got)
		}
	}
}

// A52: no cell begins a formula, and another's reader sees what was stored.
func TestCSV(t *testing.T) {
	text := export(t, inspect.FormatCSV, rows()...)
	if !bytes.HasSuffix(text, []byte("\r\n")) || bytes.Count(text, []byte("\r\n")) != 4 { // one stands in a cell
		t.Errorf("lines do not end in CRLF: %q", text)
	}
	records, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil || len(records) != 3 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	cell := func(row int, name string) string { return records[row][slices.Index(records[0], name)] }
	for name, want := range map[string]string{
		"certificate_serial": "0b", "state": "void", "subject": `'=HYPERLINK("http://evil.example";"x")`, "transaction_id": "'+1\n=2", // the reader makes LF of CRLF
		"user_agent": "'\tx", "challenge_id": "'\r=x", "device_key": "' -1+1", "upn": "'@SUM(A1)", "udid": "'＝1", "device_serial": "'-----BEGIN CERTIFICATE-----",
		"profile_uuid": `a"b;c`, "clock_offset_seconds": "-3600", "revocation_reason": "never_delivered", "superseded_by": "0c",
		"revoked_at": "2026-03-01T12:00:00Z", "used_at": "2026-03-01T12:00:01Z", "source_address": "10.1.2.3", "key_bits": "2048",
		"sha256": "abcd" + strings.Repeat("0", 60), "public_key_sha256": "1234" + strings.Repeat("0", 60), "issuer_sha256": "56" + strings.Repeat("0", 62),
	} {
		if got := cell(2, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := cell(1, "revoked_at") + cell(1, "revocation_reason"); got != "" {
		t.Errorf("what did not happen is %q", got)
	}
	if got := string(export(t, inspect.FormatCSV)); got != string(text[:bytes.IndexByte(text, '\n')+1]) {
		t.Errorf("without rows: %q", got)
	}
}

// Python's reader keeps line ends as they are.
func TestCSVInPython(t *testing.T) {
	python := need(t, "python3")
	path := filepath.Join(t.TempDir(), "x.csv")
	if err := os.WriteFile(path, export(t, inspect.FormatCSV, rows()...), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(python, "-c", `import csv, json, sys
print(json.dumps(list(csv.DictReader(open(sys.argv[1], newline="", encoding="utf-8"), strict=True))))`, path).Output()
	if err != nil {
		t.Fatal(err)
	}
	var records []map[string]string
	if err := json.Unmarshal(out, &records); err != nil || len(records) != 2 {
		t.Fatalf("%s: %v", out, err)
	}
	if got := records[1]["transaction_id"] + records[1]["challenge_id"]; got != "'+1\r\n=2'\r=x" {
		t.Errorf("Python reads %q", got)
	}
	for _, r := range records {
		for name, cell := range r {
			if strings.HasPrefix(cell, "-") && name != "clock_offset_seconds" || strings.IndexAny(cell, "=+@\t\r") == 0 {
				t.Errorf("%s begins a formula: %q", name, cell)
			}
		}
	}
}

// Every column is in the document, in its order.
func TestDocumentedColumns(t *testing.T) {
	text, err := os.ReadFile("../docs/export.md")
	if err != nil {
		t.Fatal(err)
	}
	header := strings.TrimSpace(string(export(t, inspect.FormatCSV)))
	at := 0
	for _, name := range strings.Split(header, ",") {
		i := strings.Index(string(text[at:]), "`"+name+"`")
		if i < 0 {
			t.Fatalf("docs/export.md does not have %s behind those before it", name)
		}
		at += i
	}
}

func TestJSONLines(t *testing.T) {
	lines := bytes.SplitAfter(export(t, inspect.FormatJSONLines, rows()...), []byte("\n"))
	if len(lines) != 3 || len(lines[2]) != 0 || !json.Valid(lines[0]) || string(lines[1]) != `{"certificate_serial":"0b","x":"a\nb"}`+"\n" {
		t.Errorf("lines are %q", lines)
	}
	for _, wrong := range []string{``, `{`, `{}{}`} {
		e, err := inspect.NewExporter(inspect.FormatJSONLines, io.Discard, inspect.ExportOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Write(inspect.Row{JSON: []byte(wrong)}); err == nil {
			t.Errorf("%q was taken for JSON", wrong)
		}
	}
}

// realRows are certificates that others can read.
func realRows(t *testing.T, n int) []inspect.Row {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	all := make([]inspect.Row, n)
	for i := range all {
		serial := big.NewInt(int64(i) + 0x7f00)
		template := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: fmt.Sprint("mac ", i)}, NotBefore: now, NotAfter: now.Add(day)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = inspect.Row{JSON: []byte(`{}`), State: inspect.StateValid, Identity: depot.Identity{
			CertificateSerial: fmt.Sprintf("%x", serial.Bytes()), DER: der, IssuedAt: now.Add(time.Duration(i) * time.Hour), Subject: fmt.Sprint("CN=mac ", i),
		}}
	}
	return all
}

// No name makes a block of its own, for readers that look at the beginnings of
// lines, at pieces of long lines, or anywhere.
func TestPEM(t *testing.T) {
	all := realRows(t, 3)
	block := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("evil")}))
	for _, pad := range []int{0, 1, 240, 241, 242, 243, 244, 245, 254 * 2} {
		all[1].Identity.Subject = strings.Repeat("x", pad) + "\n" + block
		all[1].Identity.Device.Key = strings.Repeat("y", pad) + "-----BEGIN CERTIFICATE----- \u2028-----END CERTIFICATE-----"
		text := export(t, inspect.FormatPEM, all...)
		if n := bytes.Count(text, []byte("--BEGIN")); n != 3 {
			t.Errorf("%d blocks begin:\n%s", n, text)
		}
		var found [][]byte
		for rest := text; ; {
			var b *pem.Block
			if b, rest = pem.Decode(rest); b == nil {
				break
			}
			found = append(found, b.Bytes)
		}
		if len(found) != 3 || !bytes.Equal(found[0], all[0].Identity.DER) || !bytes.Equal(found[1], all[1].Identity.DER) || !bytes.Equal(found[2], all[2].Identity.DER) {
			t.Errorf("padded by %d: %d certificates", pad, len(found))
		}
		for line := range bytes.Lines(text[:bytes.Index(text, []byte("-----"))]) {
			if line[0] != '#' {
				t.Errorf("a comment broke: %q", line)
			}
		}
	}
}

func TestPEMInOpenSSL(t *testing.T) {
	openssl := need(t, "openssl")
	all := realRows(t, 20)
	all[1].Identity.Subject = strings.Repeat("x", 243) + "-----BEGIN CERTIFICATE-----"
	path := filepath.Join(t.TempDir(), "x.pem")
	if err := os.WriteFile(path, export(t, inspect.FormatPEM, all...), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(openssl, "storeutl", "-noout", "-certs", path).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Total found: 20") {
		t.Errorf("openssl: %v\n%s", err, out)
	}
}

func TestZIP(t *testing.T) {
	all := realRows(t, 20)
	text := export(t, inspect.FormatZIP, all...)
	r, err := zip.NewReader(bytes.NewReader(text), int64(len(text)))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.File) != 22 || r.File[20].Name != "index.csv" || r.File[21].Name != "index.jsonl" {
		t.Fatalf("%d files, the last is %s", len(r.File), r.File[len(r.File)-1].Name)
	}
	for i, f := range r.File {
		got := content(t, f)
		switch {
		case i < 20:
			id := all[i].Identity
			if f.Name != id.CertificateSerial+".cer" || !bytes.Equal(got, id.DER) || !f.Modified.UTC().Equal(id.IssuedAt) || f.Mode() != 0o644 {
				t.Errorf("file %d is %s of %v, %v", i, f.Name, f.Modified, f.Mode())
			}
		case i == 20 && !bytes.Equal(got, export(t, inspect.FormatCSV, all...)), i == 21 && !bytes.Equal(got, export(t, inspect.FormatJSONLines, all...)):
			t.Errorf("%s is another than the export alone", f.Name)
		}
	}
	if again := export(t, inspect.FormatZIP, all...); !bytes.Equal(again, text) {
		t.Error("two exports of the same are not the same")
	}
}

func content(t *testing.T, f *zip.File) []byte {
	t.Helper()
	r, err := f.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r) // checks the sum
	if err != nil {
		t.Fatalf("%s: %v", f.Name, err)
	}
	return b
}

// More files than the old format can count; OpenSSL reads one of them.
func TestLargeZIP(t *testing.T) {
	python, openssl := need(t, "python3"), need(t, "openssl")
	const n = 70_000
	path := filepath.Join(t.TempDir(), "x.zip")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	e, err := inspect.NewExporter(inspect.FormatZIP, f, inspect.ExportOptions{TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	row := realRows(t, 1)[0]
	for i := range n {
		row.Identity.CertificateSerial = fmt.Sprintf("%08x", i)
		if err := e.Write(row); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := zip.OpenReader(path)
	if err != nil || len(r.File) != n+2 {
		t.Fatalf("archive/zip: %v", err)
	}
	_ = r.Close()
	out, err := exec.Command(python, "-c", `import sys, zipfile
z = zipfile.ZipFile(sys.argv[1])
assert len(z.namelist()) == 70002, len(z.namelist())
assert z.read("index.csv").count(b"\r\n") == 70001
assert z.read("index.jsonl").count(b"\n") == 70000
sys.stdout.buffer.write(z.read("0001116f.cer"))`, path).Output()
	if err != nil {
		t.Fatalf("python: %v", err)
	}
	show := exec.Command(openssl, "x509", "-inform", "DER", "-noout", "-subject")
	show.Stdin = bytes.NewReader(out)
	if out, err := show.CombinedOutput(); err != nil || !strings.Contains(string(out), "mac 0") {
		t.Errorf("openssl: %v\n%s", err, out)
	}
}

// Nothing can name a file outside of the folder that it is unpacked to.
func TestZIPRefusesNames(t *testing.T) {
	for _, name := range []string{"", "../a", "/a", "A", "a/b", `a\b`, "index"} {
		e, err := inspect.NewExporter(inspect.FormatZIP, io.Discard, inspect.ExportOptions{TempDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Write(inspect.Row{JSON: []byte("{}"), Identity: depot.Identity{CertificateSerial: name}}); err == nil {
			t.Errorf("%q became the name of a file", name)
		}
		e.Abort()
		e.Abort()
	}
}

// failing is a client that goes away after some bytes.
type failing struct{ left int }

var errGone = errors.New("gone")

func (f *failing) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, errGone
	}
	return len(b), nil
}

// Errors of the writer come out, and no temporary file stays.
func TestExportFails(t *testing.T) {
	row := rows()[0]
	row.Identity.DER = make([]byte, 1000)
	for _, f := range inspect.Formats() {
		for _, left := range []int{0, 50_000} {
			dir := t.TempDir()
			e, err := inspect.NewExporter(f, &failing{left}, inspect.ExportOptions{TempDir: dir})
			if err != nil {
				t.Fatal(err)
			}
			for range 2000 {
				if err = e.Write(row); err != nil {
					break
				}
			}
			if err == nil {
				err = e.Close()
			}
			if !errors.Is(err, errGone) {
				t.Errorf("%s: %v", f, err)
			}
			e.Abort()
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("%s left %v", f, left)
			}
		}
	}
	if _, err := inspect.NewExporter("xls", io.Discard, inspect.ExportOptions{}); err == nil || !strings.Contains(err.Error(), "[csv jsonl pem zip]") {
		t.Errorf("unknown format: %v", err)
	}
	if _, err := inspect.NewExporter(inspect.FormatZIP, io.Discard, inspect.ExportOptions{TempDir: filepath.Join(t.TempDir(), "no")}); err == nil {
		t.Error("a ZIP without a place for its tables")
	}
}

// An archive that was not ended is no archive.
func TestAbortedZIP(t *testing.T) {
	var b bytes.Buffer
	e, err := inspect.NewExporter(inspect.FormatZIP, &b, inspect.ExportOptions{TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	row := rows()[0]
	row.Identity.DER = make([]byte, 200_000)
	if err := e.Write(row); err != nil {
		t.Fatal(err)
	}
	e.Abort()
	if _, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len())); err == nil || b.Len() == 0 {
		t.Errorf("%d bytes are a whole archive", b.Len())
	}
}

// Memory does not grow with the rows.
func TestExportMemory(t *testing.T) {
	row := rows()[0]
	row.Identity.DER, row.JSON = make([]byte, 1000), []byte(`{"x":"`+strings.Repeat("x", 1500)+`"}`)
	for _, f := range inspect.Formats() {
		e, err := inspect.NewExporter(f, io.Discard, inspect.ExportOptions{TempDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		grown := func(rows int) uint64 {
			for i := range rows {
				sum := sha256.Sum256([]byte{byte(i), byte(i >> 8), byte(i >> 16)})
				row.Identity.CertificateSerial = fmt.Sprintf("%x", sum)
				if err := e.Write(row); err != nil {
					t.Fatal(err)
				}
			}
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		begin := grown(100)
		if end := grown(20_000); end > begin+1<<20 {
			t.Errorf("%s: 20 000 rows stay in %d bytes", f, end-begin)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
