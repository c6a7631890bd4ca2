package readme

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"understudy.example/understudy/test/internal/program"
)

// TestImport requires the module from another one, with the commands and the
// import line that the README shows.
func TestImport(t *testing.T) {
	t.Parallel()
	root, err := program.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	lab := filepath.Join(dir, "lab")
	if err := os.Mkdir(lab, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(root, filepath.Join(dir, "understudy")); err != nil {
		t.Fatal(err)
	}
	runGo(t, lab, "mod", "init", "example.org/lab")
	if out, err := shell(t, lab, block(t, moduleShown).Text).CombinedOutput(); err != nil {
		t.Fatalf("the README's commands: %v\n%s", err, out)
	}
	// The sums of the dependencies, which `go mod tidy` would fetch.
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(lab, "go.sum"), string(sums))
	put(t, filepath.Join(lab, "main.go"), "package main\n\n"+goBlock(t)+`
func main() {
	if _, err := client.New("http://127.0.0.1/scep"); err != nil {
		panic(err)
	}
}
`)
	runGo(t, lab, "run", "-mod=mod", ".")
}

// goBlock is the README's import line.
func goBlock(t *testing.T) string {
	t.Helper()
	for _, b := range blocks(t) {
		if b.File == "README.md" && b.Language == "go" && strings.HasPrefix(b.Text, "import ") {
			return b.Text
		}
	}
	t.Fatal("README.md shows no import line")
	return ""
}

// TestRename gives a copy of the module another path. The script builds it;
// what is left to see is that the old path is gone.
func TestRename(t *testing.T) {
	t.Parallel()
	root, err := program.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	copyModule(t, root, dir)
	old := modulePath(t, dir)
	for _, bad := range []string{"", "/absolute", "with space", "a//b"} {
		if out, err := exec.CommandContext(t.Context(), filepath.Join(dir, "scripts/rename-module"), bad).CombinedOutput(); err == nil {
			t.Errorf("renamed to %q:\n%s", bad, out)
		}
	}
	rename := exec.CommandContext(t.Context(), filepath.Join(dir, "scripts/rename-module"), "example.org/somewhere/else")
	// So that the go command knows the packages again, in another folder the next
	// time.
	rename.Env = append(os.Environ(), "GOFLAGS=-trimpath", "CGO_ENABLED=0")
	if out, err := rename.CombinedOutput(); err != nil {
		t.Fatalf("rename: %v\n%s", err, out)
	}
	if now := modulePath(t, dir); now != "example.org/somewhere/else" {
		t.Errorf("module path after the renaming: %s", now)
	}
	walk(t, dir, func(path string, content []byte) {
		if bytes.Contains(content, []byte(old)) {
			t.Errorf("%s still holds %s", path, old)
		}
	})
	if info, err := os.Stat(filepath.Join(dir, "scripts/rename-module")); err != nil || info.Mode()&0o111 == 0 {
		t.Errorf("the script is not executable any more: %v", err)
	}
}

func modulePath(t *testing.T, dir string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	return string(regexp.MustCompile(`(?m)^module (\S+)$`).FindSubmatch(content)[1])
}

// copyModule copies what belongs to the module: no hidden folders but .ci and
// .github, no data directory.
func copyModule(t *testing.T, from, to string) {
	t.Helper()
	walk(t, from, func(path string, content []byte) {
		name, err := filepath.Rel(from, path)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		target := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(target, content, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	})
}

func walk(t *testing.T, root string, visit func(path string, content []byte)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch d.Name() {
		case ".git", "understudy-data", "bin", "__pycache__":
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil // the .git of a work tree is a file
		}
		if !d.Type().IsRegular() {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		visit(path, content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func runGo(t *testing.T, dir string, arguments ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", arguments...)
	command.Dir = dir
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(arguments, " "), err, out)
	}
}

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
