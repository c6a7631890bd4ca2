package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"understudy.example/understudy/cmd/understudy/internal/output"
)

type versionCmd struct{}

// Help shows what to type.
func (versionCmd) Help() string {
	return `
Examples:

    understudy version
    understudy version -o json`
}

// Run prints the version.
func (versionCmd) Run(a *app) error {
	if a.json {
		return output.JSON(a.stdout, map[string]string{"version": version(), "go": runtime.Version()})
	}
	if _, err := fmt.Fprintf(a.stdout, "understudy %s (%s)\n", version(), runtime.Version()); err != nil {
		return fmt.Errorf("write version: %w", err)
	}
	return nil
}

// version is what the go command stamped into the binary: a tag, or a commit
// with its time.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
