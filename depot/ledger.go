package depot

import "time"

// LedgerReport is what verifying a ledger found.
type LedgerReport struct {
	Store   string    // identity of the store that the ledger belongs to
	Records uint64    // good ones, from the first on
	Bytes   int64     // that they take
	Head    [32]byte  // hash of the last of them
	LastAt  time.Time // when that happened which the last of them tells
	// Break is the first place where the ledger is not what was written; nil
	// when it holds.
	Break *LedgerBreak
	// NotCompared says why the ledger could not be compared with the database,
	// without which records cut from its end cannot be missed; empty when it
	// was compared.
	NotCompared string
}

// Holds says whether the ledger is whole as far as anybody can know.
func (r LedgerReport) Holds() bool { return r.Break == nil && r.NotCompared == "" }

// LedgerBreak is a place in a ledger and what is wrong there.
type LedgerBreak struct {
	Record     uint64    // number that the record at the place should have, counted from 1
	Offset     int64     // bytes from the beginning of the ledger
	LastGoodAt time.Time // of the record before; zero for the first
	Detail     string
}
