package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
	"understudy.example/understudy/depot"
)

// VerifyStore follows the ledger of a store that nobody has open and compares
// it with the database. It changes nothing. A ledger that does not hold is no
// error: the report says so. A store in use is an *InUseError.
func VerifyStore(ctx context.Context, dir string) (depot.LedgerReport, error) {
	k, err := look(dir)
	if err != nil {
		return depot.LedgerReport{}, err
	}
	defer k.close()
	path := filepath.Join(dir, ledgerFile)
	a := &audit{path: path, known: k, view: func(fn func(*bbolt.Tx) error) error {
		return guarded(filepath.Join(dir, databaseFile), func() error { return k.db.View(fn) })
	}}
	return a.run(ctx, -1)
}

// VerifyLedger does the same with the store that is open, up to the last
// record that is acknowledged when it begins.
func (d *Depot) VerifyLedger(ctx context.Context) (depot.LedgerReport, error) {
	k := &known{store: d.store}
	err := d.view(func(tx *bbolt.Tx) (err error) {
		k.head, err = readHead(tx)
		return err
	})
	if err == nil {
		err = d.settled(ctx, k.head.number)
	}
	if err != nil {
		return depot.LedgerReport{}, fmt.Errorf("verify ledger: %w", err)
	}
	k.synced = k.head.end
	return (&audit{path: d.ledger.path, known: k, view: d.view}).run(ctx, k.head.end)
}

// An audit compares a ledger with what a database knows of it.
type audit struct {
	path  string
	known *known
	view  func(func(*bbolt.Tx) error) error
	other bool // the last record that the database knows is another one
}

// run reads the ledger up to a number of bytes, -1 for all.
func (a *audit) run(ctx context.Context, limit int64) (depot.LedgerReport, error) {
	f, err := os.Open(a.path)
	if errors.Is(err, os.ErrNotExist) {
		return depot.LedgerReport{Break: &depot.LedgerBreak{Record: 1, Detail: "the ledger is missing"}}, nil
	}
	if err != nil {
		return depot.LedgerReport{}, fmt.Errorf("verify ledger: %w", err)
	}
	defer f.Close()
	var r io.Reader = contextReader{ctx, f}
	if limit >= 0 {
		r = io.LimitReader(r, limit)
	}
	read, err := scanLedger(a.path, r, func(_ []byte, after head) error {
		if a.known.err == nil && after.number == a.known.head.number {
			a.other = after.hash != a.known.head.hash
		}
		return nil
	})
	report := depot.LedgerReport{Store: read.Store, Records: read.Records, Bytes: read.Bytes, Head: read.Head, LastAt: read.LastAt}
	if ctx.Err() != nil {
		return report, fmt.Errorf("verify ledger: %w", ctx.Err())
	}
	report.Break, err = a.judge(read, err)
	if err == nil && a.other && report.Break == nil {
		report, err = a.locate(ctx, report)
	}
	if a.known.err != nil {
		report.NotCompared = a.known.err.Error()
	}
	return report, err
}

// judge says what is wrong with a ledger that was read to the end or to where
// it broke.
func (a *audit) judge(read Report, err error) (*depot.LedgerBreak, error) {
	k := a.known
	broken := &depot.LedgerBreak{Record: read.Records + 1, Offset: read.Bytes, LastGoodAt: read.LastAt}
	var damaged *LedgerError
	if errors.As(err, &damaged) {
		broken.Detail = damaged.Err.Error()
		torn := errors.Is(err, errTorn)
		if !torn || k.err == nil && read.Bytes < k.synced {
			return broken, nil
		}
		err = nil // a record that was never acknowledged
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("verify ledger: %w", err)
	case k.err != nil:
		return nil, nil
	case read.Records > 0 && read.Store != k.store:
		return &depot.LedgerBreak{Record: 1, Detail: fmt.Sprintf("it belongs to store %s, the database to store %s", read.Store, k.store)}, nil
	case read.Bytes < k.synced:
		broken.Detail = fmt.Sprintf("the ledger ends here, but the database knows %d records: the end was cut off", k.head.number)
		return broken, nil
	case read.Records > k.head.number && !a.other:
		return &depot.LedgerBreak{Record: k.head.number + 1, Offset: k.head.end,
			Detail: fmt.Sprintf("the ledger goes on after record %d, the last that the database knows: records were added, or the database was rolled back", k.head.number)}, nil
	}
	return nil, nil
}

var errDiffers = errors.New("the database has another record under this number: the ledger was edited and its chain made anew")

// locate finds where a ledger whose chain is whole tells another story than
// the database.
func (a *audit) locate(ctx context.Context, report depot.LedgerReport) (depot.LedgerReport, error) {
	f, err := os.Open(a.path)
	if err != nil {
		return report, fmt.Errorf("verify ledger: %w", err)
	}
	defer f.Close()
	var at Entry
	good, err := readLedger(a.path, contextReader{ctx, f}, func(e Entry) error {
		at = e
		if e.Number >= a.known.head.number {
			return errDiffers
		}
		return a.view(func(tx *bbolt.Tx) error { return compareEntry(tx, e) })
	})
	if !errors.Is(err, errDiffers) {
		return report, fmt.Errorf("verify ledger: %w", err)
	}
	report.Records, report.Bytes, report.Head, report.LastAt = good.Records, good.Bytes, good.Head, good.LastAt
	report.Break = &depot.LedgerBreak{Record: at.Number, Offset: at.Offset, LastGoodAt: good.LastAt, Detail: errDiffers.Error()}
	return report, nil
}

// compareEntry is errDiffers when the database tells another story than a
// record of the ledger. What the database has forgotten (a configuration
// before its last change) it cannot tell.
func compareEntry(tx *bbolt.Tx, e Entry) error {
	switch depot.EventType(e.Type) {
	case depot.EventCertificateIssued:
		i, err := e.Issuance()
		if err != nil {
			return errDiffers
		}
		t, err := loadTransaction(tx, e.Number)
		if err != nil {
			return errDiffers
		}
		serial, _ := serialBytes(t.CertificateSerial)
		s, err := loadIdentity(tx, serial)
		if err != nil || !sameFields(transactionFields(&t), transactionFields(&i.Transaction)) ||
			!sameFields(identityFields(&s.record), identityFields(&i.Identity)) || !bytes.Equal(s.record.DER, i.Identity.DER) {
			return errDiffers
		}
	case depot.EventConfigurationAdded, depot.EventConfigurationChanged, depot.EventConfigurationRemoved, depot.EventSecretReset:
		c, err := e.Configuration()
		if err != nil {
			return errDiffers
		}
		s, err := load(tx, bucketConfigurations, []byte(c.ID), configurationFields)
		if err != nil || s.sequence == e.Number && !sameFields(configurationFields(&s.record), configurationFields(&c)) {
			return errDiffers
		}
	}
	return nil
}

func sameFields(a, b []field) bool { return bytes.Equal(encode(a), encode(b)) }
