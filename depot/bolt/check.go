package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"go.etcd.io/bbolt"
	"understudy.example/understudy/depot"
)

// quickCheck is the size in bytes up to which a file is looked through at
// every start. It takes less than a tenth of a second; a store of a million
// certificates takes many.
const quickCheck = 8 << 20

// checkDatabase looks at every page before bbolt does more than map the file:
// opened for reading it takes the lock, chooses between the two metas and looks
// no further.
func (d *Depot) checkDatabase(path string, closedInOrder bool, quick int64) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil // a new store
	}
	if err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	if info.Size() > quick {
		if closedInOrder {
			return nil
		}
		d.log.Info("store was not closed in order and is looked through", "path", path)
	}
	db, err := d.openDatabase(path, &bbolt.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer db.Close()
	var transaction int
	err = db.View(func(tx *bbolt.Tx) error { transaction = tx.ID(); return nil })
	if err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	if err := checkPages(path, db.Info().PageSize, uint64(transaction)); err != nil {
		return &damageError{path, err}
	}
	return nil
}

// checkLedger follows the chain to the record that the database knows as the
// last one; in a big store that was closed in order it looks only at that one.
func (d *Depot) checkLedger(s state, closedInOrder bool, quick int64) error {
	if !closedInOrder || s.head.end <= quick {
		return d.followLedger(s.head, nil)
	}
	line, err := d.ledger.lineAt(s.head.start)
	if err == nil && !bytes.Contains(line[:ledgerHeader], fmt.Appendf(nil, "%x", s.head.hash)) {
		err = errors.New("hash is not the one that the database has")
	}
	if err != nil {
		return &LedgerError{Path: d.ledger.path, Offset: s.head.start, Number: s.head.number, Err: err}
	}
	return nil
}

// followLedger reads the ledger up to a head that the database knows.
func (d *Depot) followLedger(to head, each func(Entry) error) error {
	f, err := os.Open(d.ledger.path)
	if err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	defer f.Close()
	report, err := readLedger(d.ledger.path, io.LimitReader(f, to.end), each)
	if err != nil {
		return err
	}
	if report.Records != to.number || report.Head != to.hash {
		return fmt.Errorf("ledger %s and the database disagree: %d records there, %d here, or another last one",
			d.ledger.path, report.Records, to.number)
	}
	return nil
}

// maxFindings is how many inconsistencies are worth listing.
const maxFindings = 1000

var errEnough = errors.New("more of the like; the list ends here")

// A checker collects what is wrong.
type checker struct {
	ctx      context.Context
	tx       *bbolt.Tx
	findings []string
	looked   int
}

func (c *checker) found(format string, args ...any) error {
	c.findings = append(c.findings, fmt.Sprintf(format, args...))
	if len(c.findings) >= maxFindings {
		return errEnough
	}
	return nil
}

// Check reads every record, every index entry and the whole ledger. It sees
// the store as of one moment and does not hold up writing. The pages of the
// database are looked at when the store is opened, see Open.
func (d *Depot) Check(ctx context.Context) ([]string, error) {
	c := &checker{ctx: ctx}
	var end head
	err := d.view(func(tx *bbolt.Tx) (err error) {
		c.tx = tx
		if end, err = readHead(tx); err != nil {
			return err
		}
		return c.all()
	})
	if err == nil {
		err = d.settled(ctx, end.number)
	}
	if err == nil {
		err = d.checkAgainstLedger(c, end)
	}
	switch {
	case errors.Is(err, errEnough):
		return append(c.findings, errEnough.Error()), nil
	case err != nil:
		return c.findings, fmt.Errorf("check store %s: %w", d.dir, err)
	}
	return c.findings, nil
}

// all looks at everything but the ledger.
func (c *checker) all() error {
	for _, check := range []func() error{c.identities, c.indexes, c.numbered, c.devices, c.configurations, c.requests, c.deviceLists, c.crlNumbers,
		c.challenges, c.challengeIndexes, c.spent, c.deliveries,
		c.tokens, c.webhooks, c.notifications, c.lab,
		c.standings, c.counters, c.histories, c.rechecks, c.latestChange} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// each goes through a bucket, and stops when the caller does not want it any
// more.
func (c *checker) each(bucket string, look func(k, v []byte) error) error {
	return c.tx.Bucket([]byte(bucket)).ForEach(func(k, v []byte) error {
		if c.looked++; c.looked%256 == 0 && c.ctx.Err() != nil {
			return c.ctx.Err()
		}
		return look(k, v)
	})
}

// sameStory compares one record of the ledger that is no issuance.
func (c *checker) sameStory(d *Depot, e Entry) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	err := d.view(func(tx *bbolt.Tx) error { return compareEntry(tx, e) })
	if errors.Is(err, errDiffers) {
		return c.found("ledger record %d (%s): the database does not have what it says", e.Number, e.Type)
	}
	return err
}

// checkAgainstLedger compares the database with what the ledger says.
func (d *Depot) checkAgainstLedger(c *checker, end head) error {
	issued, ended := 0, 0 // certificates; challenges
	err := d.followLedger(end, func(e Entry) error {
		if e.Type == string(depot.EventChallengeWithdrawn) {
			ended++
		}
		if e.Type != string(depot.EventCertificateIssued) {
			return c.sameStory(d, e)
		}
		issued++
		i, err := e.Issuance()
		if err != nil {
			return c.found("%v", err)
		}
		if i.Challenge.ID != "" {
			ended++
		}
		return d.view(func(tx *bbolt.Tx) error {
			if id := i.Challenge.ID; id != "" && numberOf(tx.Bucket([]byte(bucketChallenges)).Get([]byte(id))) != e.Number {
				return c.found("challenge %q: the database does not have that ledger record %d spent it", id, e.Number)
			}
			serial, _ := serialBytes(i.Identity.CertificateSerial)
			s, err := loadIdentity(tx, serial)
			if err != nil || s.sequence != e.Number || s.record.SHA256 != i.Identity.SHA256 || !bytes.Equal(s.record.DER, i.Identity.DER) {
				return c.found("certificate %s: the database does not have what ledger record %d says", i.Identity.CertificateSerial, e.Number)
			}
			return nil
		})
	})
	var damaged *LedgerError
	if errors.As(err, &damaged) {
		return c.found("%v", err)
	}
	if err != nil {
		if errors.Is(err, errEnough) || c.ctx.Err() != nil {
			return err
		}
		return c.found("%v", err)
	}
	return d.compareCounts(c, end, issued, ended)
}

// compareCounts holds the numbers of certificates and of challenges that were
// spent or withdrawn, as the ledger has them, against the database.
func (d *Depot) compareCounts(c *checker, end head, issued, ended int) error {
	certificates, challenges := 0, 0
	err := d.view(func(tx *bbolt.Tx) error {
		_ = tx.Bucket([]byte(bucketTransactions)).ForEach(func(k, _ []byte) error {
			if numberOf(k) <= end.number {
				certificates++
			}
			return nil
		})
		return tx.Bucket([]byte(bucketChallenges)).ForEach(func(_, v []byte) error {
			if numberOf(v) <= end.number {
				challenges++
			}
			return nil
		})
	})
	if err == nil && certificates != issued {
		err = c.found("%d certificates in the database, %d in the ledger", certificates, issued)
	}
	if err == nil && challenges != ended {
		err = c.found("%d spent or withdrawn challenges in the database, %d in the ledger", challenges, ended)
	}
	return err
}
