package main

import (
	"understudy.example/understudy/cmd/understudy/internal/output"
	"understudy.example/understudy/cmd/understudy/internal/upkeep"
)

type rebuildCmd struct {
	dataFlag   `embed:""`
	storeFlag  `embed:""`
	AcceptLoss bool `from:"flag" help:"Take the good beginning of a ledger that does not hold, and lose the rest."`
}

// Help shows what to type.
func (rebuildCmd) Help() string {
	return `
For a database that is damaged, lost or rolled back. Certificates, devices, configurations with their ids
and secret keys, spent challenges, transactions and events are made anew from the ledger, and every
certificate is held against the authority. The database that was there stays beside it, unchanged, as
store.db.damaged-1. The server must not run.

    understudy rebuild
    understudy rebuild --data lab`
}

// Run rebuilds.
func (c *rebuildCmd) Run(a *app) error {
	ctx, stop := interruptible()
	defer stop()
	dir, where, err := c.files(c.Data)
	if err != nil {
		return err
	}
	made, err := upkeep.Rebuild(ctx, dir, where, c.AcceptLoss, a.quietLog())
	if err != nil {
		return offline(err)
	}
	if a.json {
		return output.Line(a.stdout, map[string]any{
			"store": made.Store, "records": made.Records, "certificates": made.Certificates,
			"devices": made.Devices, "configurations": made.Configurations,
			"old_database": orNull(made.OldDatabase), "old_ledger": orNull(made.OldLedger), "lost_bytes": made.LostBytes,
		})
	}
	a.note("Rebuilt from %d records: %d certificates, %d devices, %d configurations.",
		made.Records, made.Certificates, made.Devices, made.Configurations)
	if made.OldDatabase != "" {
		a.note("The old database is %s.", made.OldDatabase)
	}
	if made.LostBytes > 0 {
		a.note("%d bytes of the ledger are lost to the store; the old one is %s.", made.LostBytes, made.OldLedger)
	}
	return nil
}

// orNull is the text, or null in JSON when it is empty.
func orNull(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
