// Package program builds the understudy binary and runs it as a child process,
// for the tests that want what a user gets: real arguments, a real data
// directory, real signals. It knows the command line and the admin API as
// documented, and must not import any other package of the project.
package program

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// A Binary is the path of a built understudy.
type Binary string

// Build builds cmd/understudy with the given build flags. The caller runs
// remove when it is done, usually in TestMain.
func Build(flags ...string) (binary Binary, remove func(), err error) {
	root, err := ModuleRoot()
	if err != nil {
		return "", nil, err
	}
	dir, err := os.MkdirTemp("", "understudy-test-")
	if err != nil {
		return "", nil, fmt.Errorf("make directory for the binary: %w", err)
	}
	remove = func() { os.RemoveAll(dir) }
	path := filepath.Join(dir, "understudy")
	build := exec.Command("go", append(append([]string{"build", "-o", path}, flags...), "./cmd/understudy")...)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		remove()
		return "", nil, fmt.Errorf("build understudy: %w\n%s", err, out)
	}
	return Binary(path), remove, nil
}

// Main is a TestMain's body: it builds the binary into b, runs the tests and
// removes the binary again. Its result is for os.Exit.
func Main(m *testing.M, b *Binary) int {
	binary, remove, err := Build()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer remove()
	*b = binary
	return m.Run()
}

// ModuleRoot returns the directory of go.mod.
func ModuleRoot() (string, error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		return "", fmt.Errorf("find the module's root: no source position")
	}
	if filepath.IsAbs(file) { // not so under -trimpath
		return filepath.Join(filepath.Dir(file), "../../.."), nil
	}
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the module's root: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// dependOnSources looks at every source file of the module. The go command
// caches a test's result by the files that the test itself looked at, and would
// otherwise repeat yesterday's result for today's binary. It sees only what
// happens while a test runs, not what TestMain does before.
func dependOnSources(t testing.TB) {
	t.Helper()
	root, err := ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "go.mod") {
			_, err = os.Stat(path)
		}
		return err
	})
	if err != nil {
		t.Fatalf("look at the sources: %v", err)
	}
}

// Result is what a command that ran to its end left behind.
type Result struct {
	Stdout, Stderr string
	Code           int
}

// Run runs a verb to its end. Environment variables are added to the test's
// own; a verb that takes longer than a minute is a failure.
func (b Binary) Run(t testing.TB, env []string, arguments ...string) Result {
	t.Helper()
	dependOnSources(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, string(b), arguments...)
	command.Env = append(os.Environ(), env...)
	var stdout, stderr strings.Builder
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	if command.ProcessState == nil || ctx.Err() != nil {
		t.Fatalf("understudy %s: %v", strings.Join(arguments, " "), err)
	}
	return Result{stdout.String(), stderr.String(), command.ProcessState.ExitCode()}
}
