package arch_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "understudy.example/understudy"
	root   = "../.."
)

// goPackage is what the go command says about a package of ours.
type goPackage struct {
	ImportPath     string
	Dir            string
	Doc            string
	Imports        []string
	TestImports    []string
	XTestImports   []string
	IgnoredGoFiles []string // left out here by a build tag
}

func (p goPackage) name() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

// TestArrows holds every package to the tables.
func TestArrows(t *testing.T) {
	packages := list(t)
	names := make([]string, len(packages))
	for i, p := range packages {
		names[i] = p.name()
	}
	usedHomes := map[string]map[string]bool{}
	for _, p := range packages {
		allowed, listed := arrows[p.name()]
		if !listed {
			t.Errorf("%s is not in the table of arrows", p.name())
			continue
		}
		if p.Doc == "" {
			t.Errorf("%s has no package comment", p.name())
		}
		for _, imported := range imports(t, p) {
			if ours, ok := strings.CutPrefix(imported, module+"/"); ok {
				if !slices.Contains(allowed, anything) && !slices.Contains(allowed, ours) {
					t.Errorf("%s must not import %s", p.name(), ours)
				}
				continue
			}
			if library := checkHome(t, p.name(), imported); library != "" {
				if usedHomes[library] == nil {
					usedHomes[library] = map[string]bool{}
				}
				usedHomes[library][p.name()] = true
			}
		}
		for _, imported := range slices.Concat(p.TestImports, p.XTestImports) {
			ours, ok := strings.CutPrefix(imported, module+"/")
			if ok && strings.HasPrefix(ours, "cmd/") && !strings.HasPrefix(p.name(), "cmd/") {
				t.Errorf("the tests of %s must not import %s", p.name(), ours)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(arrows)) {
		if !slices.Contains(names, name) {
			t.Errorf("%s is in the table of arrows and does not exist", name)
		}
		for _, to := range arrows[name] {
			if _, listed := arrows[to]; !listed && to != anything {
				t.Errorf("the table lets %s import %s, which is not listed", name, to)
			}
		}
	}
	for _, library := range slices.Sorted(maps.Keys(homes)) {
		for _, home := range homes[library] {
			if !usedHomes[library][home] {
				t.Errorf("%s has a home in %s, which does not import it", library, home)
			}
		}
	}
}

// checkHome reports an import that is not at home in a package. It returns the
// entry of the table of homes that the import belongs to.
func checkHome(t *testing.T, name, imported string) string {
	t.Helper()
	if !strings.Contains(strings.SplitN(imported, "/", 2)[0], ".") { // standard library
		if allowed, listed := secluded[imported]; listed && !slices.Contains(allowed, name) {
			t.Errorf("%s must not import %s", name, imported)
		}
		return ""
	}
	library := ""
	for l := range homes {
		if (imported == l || strings.HasPrefix(imported, l+"/")) && len(l) > len(library) {
			library = l
		}
	}
	switch {
	case library == "":
		t.Errorf("%s imports %s, which has no home", name, imported)
	case !slices.Contains(homes[library], name):
		t.Errorf("%s must not import %s: its home is %s", name, imported, strings.Join(homes[library], ", "))
	}
	return library
}

// imports returns what the code of a package imports, under every build tag.
func imports(t *testing.T, p goPackage) []string {
	t.Helper()
	all := slices.Clone(p.Imports)
	for _, file := range p.IgnoredGoFiles {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, file), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, path)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// list asks the go command for all packages of the module. Whether they
// build (-e) is for the compiler to say.
func list(t *testing.T) []goPackage {
	t.Helper()
	command := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,Doc,Imports,TestImports,XTestImports,IgnoredGoFiles", "./...")
	command.Dir = root
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var packages []goPackage
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// TestFunctionsAreShort holds every function outside of tests to maxFunction
// lines, or to a reason.
func TestFunctionsAreShort(t *testing.T) {
	files := 0
	for path, text := range sources(t) {
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			continue
		}
		files++
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, path, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, d := range f.Decls {
			function, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			begin, end := set.Position(function.Pos()), set.Position(function.End())
			if lines := end.Line - begin.Line + 1; lines > maxFunction && !hasReason(f, function) {
				t.Errorf("%s:%d: %s has %d lines, more than %d, and no comment \"// long: why\"", path, begin.Line, function.Name.Name, lines, maxFunction)
			}
		}
	}
	if files < 10 {
		t.Errorf("only %d files were looked at", files)
	}
}

// hasReason says whether a comment in or before a function gives a reason for
// its length.
func hasReason(f *ast.File, function *ast.FuncDecl) bool {
	begin := function.Pos()
	if function.Doc != nil {
		begin = function.Doc.Pos()
	}
	for _, group := range f.Comments {
		for _, c := range group.List {
			reason, ok := strings.CutPrefix(c.Text, "// long:")
			if ok && strings.TrimSpace(reason) != "" && c.Pos() >= begin && c.End() <= function.End() {
				return true
			}
		}
	}
	return false
}

// TestRepositoryStandsAlone finds files that point out of the repository, to
// where its requirements were written.
func TestRepositoryStandsAlone(t *testing.T) {
	outside := []byte(".." + "/shared")
	for path, text := range sources(t) {
		if line := bytes.Count(text[:max(0, bytes.Index(text, outside))], []byte("\n")) + 1; bytes.Contains(text, outside) {
			t.Errorf("%s:%d mentions %s", path, line, outside)
		}
	}
}

// sources returns the files of the repository and their contents. What
// .gitignore names at the top is not part of it.
func sources(t *testing.T) map[string][]byte {
	t.Helper()
	ignored := []string{".git"}
	rules, err := os.ReadFile(filepath.Join(root, ".gitignore"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for rule := range strings.Lines(string(rules)) {
		if rule, ok := strings.CutPrefix(strings.TrimSpace(rule), "/"); ok {
			ignored = append(ignored, strings.TrimSuffix(rule, "/"))
		}
	}
	files := map[string][]byte{}
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if slices.Contains(ignored, filepath.ToSlash(name)) {
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		text, err := os.ReadFile(path)
		files[path] = text
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
