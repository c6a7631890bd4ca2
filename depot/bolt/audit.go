package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

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
		return compareIssuance(tx, e)
	case depot.EventConfigurationAdded, depot.EventConfigurationChanged, depot.EventConfigurationRemoved, depot.EventSecretReset:
		c, err := e.Configuration()
		if err != nil {
			return errDiffers
		}
		s, err := load(tx, bucketConfigurations, []byte(c.ID), configurationFields)
		if err != nil || s.sequence == e.Number && !sameFields(configurationFields(&s.record), configurationFields(&c)) {
			return errDiffers
		}
	case depot.EventRequestPending, depot.EventRequestDenied, depot.EventRequestApproved:
		return compareRequest(tx, e)
	case depot.EventCertificateRevoked, depot.EventCertificateReleased, depot.EventCertificateUsed:
		return compareChange(tx, e)
	case depot.EventChallengeIssued, depot.EventChallengeWithdrawn:
		return compareChallenge(tx, e)
	case depot.EventCertificateDelivered, depot.EventCertificateVoid:
		return compareDelivery(tx, e)
	case depot.EventRedistributionAcknowledged, depot.EventRedistributionUndone, depot.EventRedistributionDue, depot.EventRedistributionStalled,
		depot.EventRedistributionMissed, depot.EventRedistributionFulfilled, depot.EventCertificateSuperseded:
		return compareWindow(tx, e)
	case depot.EventDevicesListed, depot.EventDevicesUnlisted:
		l, err := e.deviceList()
		if err != nil {
			return errDiffers
		}
		s, err := load(tx, bucketDeviceLists, []byte(l.ConfigurationID), deviceListFields)
		if err != nil || s.sequence < e.Number || s.sequence == e.Number && !sameFields(deviceListFields(&s.record), deviceListFields(&l)) {
			return errDiffers
		}
	case EntryCRLNumber:
		c, err := e.crlNumber()
		if err != nil {
			return errDiffers
		}
		s, err := loadCRLNumber(tx, c.issuerSHA256)
		if err != nil || s.sequence < e.Number || s.record.number < c.number || s.sequence == e.Number && s.record.number != c.number {
			return errDiffers
		}
	default:
		return compareBeside(tx, e)
	}
	return nil
}

// compareBeside does it for what happens beside enrolment.
func compareBeside(tx *bbolt.Tx, e Entry) error {
	switch depot.EventType(e.Type) {
	case depot.EventTokenAdded, depot.EventTokenRemoved:
		return compareToken(tx, e)
	case depot.EventWebhookAdded, depot.EventWebhookChanged, depot.EventWebhookDisabled, depot.EventWebhookRemoved:
		return compareWebhook(tx, e)
	case depot.EventClockMoved, depot.EventChallengeRejected, depot.EventSeeded:
		return compareLab(tx, e)
	case EntryProgress:
		return compareProgress(tx, e)
	}
	return nil
}

func compareIssuance(tx *bbolt.Tx, e Entry) error {
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
	now, then := s.record.AtIssue(), i.Identity.AtIssue()
	if s.changed != 0 { // it may have been delivered
		now.HeldBack = then.HeldBack
	}
	if err != nil || !sameFields(transactionFields(&t), transactionFields(&i.Transaction)) ||
		!sameFields(identityFields(&now), identityFields(&then)) || !bytes.Equal(s.record.DER, i.Identity.DER) {
		return errDiffers
	}
	if i.Challenge.ID != "" {
		c, err := challengeWithID(tx, i.Challenge.ID)
		if numberOf(tx.Bucket([]byte(bucketChallenges)).Get([]byte(i.Challenge.ID))) != e.Number ||
			err == nil && c.record.CertificateSerial != i.Identity.CertificateSerial {
			return errDiffers
		}
	}
	if i.Supersedes != "" && !s.record.Void {
		old, _ := serialBytes(i.Supersedes)
		s, err := load(tx, bucketIdentities, old, identityFields)
		if err != nil || s.changed < e.Number || s.record.SupersededBy != i.Identity.CertificateSerial {
			return errDiffers
		}
	}
	d, err := e.Decision()
	if err != nil || d.RequestID == "" {
		return different(err)
	}
	r, err := requestWithID(tx, d.RequestID)
	if err != nil || r.changed != e.Number || !decidedBy(r.record, d) || r.record.Transaction.CertificateSerial != i.Identity.CertificateSerial {
		return errDiffers
	}
	return nil
}

func different(err error) error {
	if err != nil {
		return errDiffers
	}
	return nil
}

func decidedBy(r depot.Request, d depot.Decision) bool {
	return r.State == d.State && r.DecidedAt.Equal(d.At) && r.DecidedBy == d.By && r.Note == d.Note
}

func compareRequest(tx *bbolt.Tx, e Entry) error {
	if e.Type != string(depot.EventRequestPending) {
		d, err := e.Decision()
		if err != nil {
			return errDiffers
		}
		r, err := requestWithID(tx, d.RequestID)
		event, err2 := load(tx, bucketEvents, number(e.Number), eventFields)
		if err != nil || err2 != nil || !decidedBy(r.record, d) || event.record.RequestID != d.RequestID {
			return errDiffers
		}
		return nil
	}
	r, err := e.Request()
	if err != nil {
		return errDiffers
	}
	s, err := loadRequest(tx, e.Number)
	now := s.record
	now.State, now.Transaction.CertificateSerial = depot.RequestPending, ""
	now.DecidedAt, now.DecidedBy, now.Note = time.Time{}, "", ""
	if err != nil || !sameFields(requestFields(&now), requestFields(&r)) {
		return errDiffers
	}
	return nil
}

// compareChange holds what became of a certificate against the record; a later
// change hides an earlier one.
func compareChange(tx *bbolt.Tx, e Entry) error {
	if e.Type == string(depot.EventCertificateUsed) {
		u, err := e.use()
		if err != nil {
			return errDiffers
		}
		serial, _ := serialBytes(u.certificateSerial)
		s, err := load(tx, bucketIdentities, serial, identityFields)
		if err != nil || s.changed < e.Number || !s.record.UsedAt.Equal(u.at) {
			return errDiffers
		}
		return nil
	}
	r, err := e.Revocation()
	if err != nil {
		return errDiffers
	}
	serial, _ := serialBytes(r.CertificateSerial)
	s, err := load(tx, bucketIdentities, serial, identityFields)
	if err != nil || s.changed < e.Number {
		return errDiffers
	}
	id := s.record
	switch {
	case s.changed > e.Number:
		return nil
	case e.Type == string(depot.EventCertificateReleased) && id.RevokedAt.IsZero():
		return nil
	case id.RevokedAt.Equal(r.At) && id.RevocationReason == string(r.Reason) && id.RevokedBy == r.By:
		return nil
	}
	return errDiffers
}

func sameFields(a, b []field) bool { return bytes.Equal(encode(a), encode(b)) }
