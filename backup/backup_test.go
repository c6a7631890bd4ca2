package backup_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/backup"
)

// content is what the members of good backups hold.
var content = [][2]string{
	{"authority/authority.json", "{}"},
	{"authority/root.pem", "root"},
	{"authority/root.key.pem", "key"},
	{"authority/ra-0a1b.key.pem", "RA"},
	{"tls-root.pem", "TLS"},
	{"tls-root.key", "TLS key"},
	{"webhooks.key", "key of webhooks"},
	{"store/store.db", strings.Repeat("database ", 20_000)},
	{"store/ledger", "ledger"},
}

func manifest() backup.Manifest {
	return backup.Manifest{Version: "1.2.3", CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Keys: true,
		Store: backup.Store{ID: "store", Format: 1, Records: 7, LedgerHead: "00"}}
}

// good returns a backup.
func good(t *testing.T) []byte {
	t.Helper()
	var files []backup.File
	for _, c := range content {
		files = append(files, backup.File{Name: c[0], Size: int64(len(c[1])), Content: strings.NewReader(c[1])})
	}
	var b bytes.Buffer
	if err := backup.Write(&b, manifest(), files); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// entry is a member as somebody else might write it.
type entry struct {
	header tar.Header
	text   string
}

// members takes a backup apart.
func members(t *testing.T, b []byte) []entry {
	t.Helper()
	var all []entry
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entry{tar.Header{Typeflag: h.Typeflag, Name: h.Name, Size: h.Size, Mode: h.Mode}, string(text)})
	}
}

// join puts one together again, whatever is in it.
func join(t *testing.T, all []entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range all {
		if err := w.WriteHeader(&e.header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	m, err := backup.Extract(bytes.NewReader(good(t)), dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := manifest(); m.Version != want.Version || !m.CreatedAt.Equal(want.CreatedAt) || m.Store != want.Store || !m.Keys || m.Format != 1 || len(m.Members) != len(content) {
		t.Errorf("manifest %+v", m)
	}
	for _, c := range content {
		path := filepath.Join(dir, filepath.FromSlash(c[0]))
		text, err := os.ReadFile(path)
		if err != nil || string(text) != c[1] {
			t.Errorf("%s: %.20q, %v", c[0], text, err)
		}
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		want := map[bool]fs.FileMode{true: 0o700, false: 0o600}[d.IsDir()]
		if err == nil && info.Mode().Perm() != want {
			t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if verified, err := backup.Verify(bytes.NewReader(good(t))); err != nil || verified.Store != m.Store {
		t.Errorf("Verify: %+v, %v", verified, err)
	}
}

// A backup from anywhere may hold anything. Whatever is not a whole backup is
// refused, and nothing is written outside of the directory. (Attack A59.)
func TestRefused(t *testing.T) {
	add := func(h tar.Header, text string) func([]entry) []entry {
		h.Size = int64(len(text))
		if h.Mode == 0 {
			h.Mode = 0o600
		}
		return func(all []entry) []entry { return append([]entry{{h, text}}, all...) }
	}
	file := func(name, text string) func([]entry) []entry {
		return add(tar.Header{Typeflag: tar.TypeReg, Name: name}, text)
	}
	find := func(all []entry, name string) *entry {
		for i := range all {
			if all[i].header.Name == name {
				return &all[i]
			}
		}
		return nil
	}
	replace := func(name, old, text string) func([]entry) []entry {
		return func(all []entry) []entry {
			e := find(all, name)
			e.text = strings.Replace(e.text, old, text, 1)
			e.header.Size = int64(len(e.text))
			return all
		}
	}
	for _, test := range []struct {
		name   string
		change func([]entry) []entry
		want   string
	}{
		{"out of the directory", file("../evil", "x"), "does not belong"},
		{"out by detour", file("authority/../../evil.pem", "x"), "does not belong"},
		{"absolute", file("/tmp/evil", "x"), "does not belong"},
		{"backslashes", file(`authority\evil.pem`, "x"), "does not belong"},
		{"deeper", file("authority/a/b.pem", "x"), "does not belong"},
		{"hidden", file("authority/.pem", "x"), "does not belong"},
		{"upper case", file("authority/ROOT.pem", "x"), "does not belong"},
		{"token", file("admin.token", "x"), "does not belong"},
		{"discovery", file("server.json", "x"), "does not belong"},
		{"symbolic link", add(tar.Header{Typeflag: tar.TypeSymlink, Name: "store/ledger", Linkname: "/etc/passwd"}, ""), "no plain file"},
		{"hard link", add(tar.Header{Typeflag: tar.TypeLink, Name: "store/ledger", Linkname: "manifest.json"}, ""), "no plain file"},
		{"directory", add(tar.Header{Typeflag: tar.TypeDir, Name: "store/"}, ""), "no plain file"},
		{"device", add(tar.Header{Typeflag: tar.TypeChar, Name: "store/ledger", Devmajor: 1, Devminor: 5}, ""), "no plain file"},
		{"attribute", add(tar.Header{Typeflag: tar.TypeReg, Name: "tls-root.pem", PAXRecords: map[string]string{"SCHILY.xattr.user.x": "y"}}, "x"), "attribute"},
		{"large key", file("authority/large.key.pem", strings.Repeat("x", 64<<10+1)), "more than such a file ever has"},
		{"large manifest", replace("manifest.json", "{", "{"+strings.Repeat(" ", 64<<10)), "more than such a file ever has"},
		{"twice", file("store/ledger", "another"), "there twice"},
		{"many", func(all []entry) []entry {
			for i := range 300 {
				name := "authority/ra-" + strings.Repeat("a", i%60+1) + strings.Repeat("b", i/60) + ".pem"
				all = add(tar.Header{Typeflag: tar.TypeReg, Name: name}, "")(all)
			}
			return all
		}, "more than 256 members"},
		{"foreign", file("authority/other.pem", "x"), "is not in the manifest"},
		{"changed", replace("store/ledger", "ledger", "Ledger"), "changed or damaged"},
		{"changed manifest", replace("manifest.json", `"size": 6`, `"size": 7`), "changed or damaged"},
		{"missing", func(all []entry) []entry { return all[1:] }, "the manifest lists 9 members, there are 8"},
		{"version 99", replace("manifest.json", `"format": 1`, `"format": 99`), "it has format 99"},
		{"no manifest", func(all []entry) []entry { return all[:len(all)-1] }, "ends before its manifest"},
		{"no JSON", replace("manifest.json", "{", "["), "manifest:"},
		{"behind the manifest", func(all []entry) []entry {
			return append(all, entry{tar.Header{Typeflag: tar.TypeReg, Name: "tls-root.pem", Mode: 0o600}, ""})
		}, "follows the manifest"},
		{"empty", func([]entry) []entry { return nil }, "ends before its manifest"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := join(t, test.change(members(t, good(t))))
			outer := t.TempDir()
			dir := filepath.Join(outer, "a", "b")
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			_, err := backup.Extract(bytes.NewReader(b), dir)
			var invalid *backup.InvalidError
			if !errors.As(err, &invalid) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Extract: %v, want %q", err, test.want)
			}
			if _, err2 := backup.Verify(bytes.NewReader(b)); err2 == nil || err2.Error() != err.Error() {
				t.Errorf("Verify: %v", err2)
			}
			if entries, _ := os.ReadDir(outer); len(entries) != 1 {
				t.Errorf("outside of the directory: %v", entries)
			}
		})
	}
}

// Members that must be there.
func TestRefusedWithout(t *testing.T) {
	var b bytes.Buffer
	if err := backup.Write(&b, manifest(), []backup.File{{Name: "store/ledger", Content: strings.NewReader("")}}); err != nil {
		t.Fatal(err)
	}
	if _, err := backup.Verify(&b); err == nil || !strings.Contains(err.Error(), `"store/store.db" is missing`) {
		t.Error(err)
	}
}

// A backup that was cut anywhere is refused, and so is one with a bit flipped
// anywhere but where nothing is said (padding, and fields that are not used).
func TestCut(t *testing.T) {
	whole := good(t)
	end := bytes.LastIndex(whole, []byte("}\n")) // of the manifest
	for at := 0; at <= end; at += 509 {
		if _, err := backup.Verify(bytes.NewReader(whole[:at])); err == nil {
			t.Fatalf("cut at byte %d of %d: not refused", at, len(whole))
		}
	}
	for _, e := range content {
		flipped := bytes.Clone(whole)
		flipped[bytes.Index(whole, []byte(e[1]))] ^= 4
		if _, err := backup.Verify(bytes.NewReader(flipped)); err == nil {
			t.Errorf("%s: a flipped bit is not refused", e[0])
		}
	}
}

// What does not belong is not written either, and a file that is shorter than
// it was is noticed.
func TestWriteRefuses(t *testing.T) {
	for _, f := range []backup.File{
		{Name: "admin.token", Content: strings.NewReader("")},
		{Name: "store/ledger", Size: 7, Content: strings.NewReader("short")},
	} {
		if err := backup.Write(io.Discard, manifest(), []backup.File{f}); err == nil {
			t.Errorf("%s was written", f.Name)
		}
	}
}

type brokenPipe struct{ error }

func (b brokenPipe) Read([]byte) (int, error)  { return 0, b }
func (b brokenPipe) Write([]byte) (int, error) { return 0, b }

// Errors of the transport are not blamed on the backup.
func TestTransport(t *testing.T) {
	cause := brokenPipe{errors.New("cable pulled")}
	var invalid *backup.InvalidError
	b := good(t)
	_, err := backup.Verify(io.MultiReader(bytes.NewReader(b[:10_000]), cause))
	if !errors.Is(err, cause) || errors.As(err, &invalid) {
		t.Error(err)
	}
	if err := backup.Write(cause, manifest(), nil); !errors.Is(err, cause) {
		t.Error(err)
	}
}

// What is written can be read, up to the last member, and what could not be
// read is not written.
func TestManyMembers(t *testing.T) {
	const most = 256
	write := func(n int) ([]byte, error) {
		files := []backup.File{{Name: backup.DatabaseName, Content: strings.NewReader("")}, {Name: backup.LedgerName, Content: strings.NewReader("")}}
		for len(files) < n {
			files = append(files, backup.File{Name: fmt.Sprintf("authority/ra-%d.pem", len(files)), Content: strings.NewReader("")})
		}
		var b bytes.Buffer
		err := backup.Write(&b, manifest(), files)
		return b.Bytes(), err
	}
	b, err := write(most)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := backup.Verify(bytes.NewReader(b)); err != nil || len(m.Members) != most {
		t.Errorf("read %d members, %v", len(m.Members), err)
	}
	if b, err := write(most + 1); err == nil || len(b) > 0 {
		t.Errorf("wrote %d members and %d bytes, %v", most+1, len(b), err)
	}
}
