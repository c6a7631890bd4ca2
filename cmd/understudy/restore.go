package main

import (
	"io"
	"os"

	"understudy.example/understudy/cmd/understudy/internal/output"
	"understudy.example/understudy/cmd/understudy/internal/upkeep"
)

type restoreCmd struct {
	dataFlag `embed:""`
	Ledger   string `from:"flag" placeholder:"FILE" help:"Newer ledger of the same store (store/ledger), whose further records are added."`
	File     string `arg:"" help:"The backup; - is standard input."`
}

// Help shows what to type.
func (restoreCmd) Help() string {
	return `
The data directory must be missing or empty. The backup is read, compared with its manifest, opened and
looked through before anything takes its place. What happened after the backup is not in it: challenges
spent since then are spent again only with --ledger, so give the ledger if it survived.

    understudy restore lab-2026-11-22.tar --data restored
    understudy restore lab-2026-11-22.tar --data restored --ledger broken/store/ledger`
}

// Run makes the data directory.
func (c *restoreCmd) Run(a *app) error {
	ctx, stop := interruptible()
	defer stop()
	from := a.stdin
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return usagef("read backup: %w", err)
		}
		defer f.Close()
		from = f
	}
	restored, err := upkeep.Restore(ctx, io.Reader(from), c.Data, c.Ledger)
	if err != nil {
		return offline(err)
	}
	m := restored.Manifest
	if a.json {
		return output.Line(a.stdout, map[string]any{"data": c.Data, "manifest": m, "added_records": restored.Added, "withdrawn_challenges": restored.Withdrawn})
	}
	a.note("Restored %s as of %s: %d records of the ledger.", c.Data, output.Time(m.CreatedAt), m.Store.Records)
	switch {
	case c.Ledger != "":
		a.note("Added %d records from %s.", restored.Added, c.Ledger)
	default:
		a.note("What happened after that is not there. If the ledger of that time is, restore again with --ledger.")
	}
	if restored.Withdrawn > 0 {
		a.note("%d one-time challenges were outstanding then. They may have been used since and are withdrawn.", restored.Withdrawn)
	}
	if !m.Keys {
		a.note("The backup has no private keys: put those of the authority into %s/authority before you serve.", c.Data)
	}
	return nil
}
