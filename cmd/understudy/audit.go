package main

type auditCmd struct {
	Verify auditVerifyCmd `cmd:"" help:"Check that nothing in the ledger was changed, removed, moved or added."`
}
