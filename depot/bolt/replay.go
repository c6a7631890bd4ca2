package bolt

import (
	"errors"
	"fmt"

	"go.etcd.io/bbolt"
	"understudy.example/understudy/depot"
)

// replayBatch is how many ledger records share a database transaction when a
// ledger is replayed. It bounds the memory.
const replayBatch = 2000

// A replayer makes a database anew from ledger records, or brings one up to
// them.
type replayer struct {
	db    *bbolt.DB
	tx    *bbolt.Tx // nil between batches
	batch *batch
	count int // records in the batch
}

// apply makes true what a record says. It is the next one after what the
// database has.
func (r *replayer) apply(e Entry) error {
	if r.tx == nil {
		tx, err := r.db.Begin(true)
		if err != nil {
			return fmt.Errorf("replay ledger: %w", err)
		}
		r.tx, r.batch, r.count = tx, &batch{tx: tx}, 0
		if r.batch.head, err = readHead(tx); err != nil {
			return err
		}
	}
	if e.Number != r.batch.number() {
		return fmt.Errorf("replay ledger: record %d follows record %d", e.Number, r.batch.head.number)
	}
	if err := r.batch.replay(e); err != nil {
		return fmt.Errorf("replay ledger record %d (%s) at byte %d: %w", e.Number, e.Type, e.Offset, err)
	}
	r.batch.head = e.after
	if r.count++; r.count == replayBatch {
		return r.flush()
	}
	return nil
}

// flush commits what was applied.
func (r *replayer) flush() error {
	if r.tx == nil {
		return nil
	}
	tx := r.tx
	r.tx = nil
	err := errors.Join(r.batch.settleCounts(), r.batch.put(bucketMeta, []byte(metaHead), r.batch.head.bytes()))
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		_ = tx.Rollback() // Commit did, if it came to that
		return fmt.Errorf("replay ledger: %w", err)
	}
	return nil
}

// stop drops what was not committed.
func (r *replayer) stop() {
	if r.tx != nil {
		_ = r.tx.Rollback()
		r.tx = nil
	}
}

// replay stores what a record says and refuses what no store would have taken.
// It writes no ledger record.
func (b *batch) replay(e Entry) error {
	switch depot.EventType(e.Type) {
	case depot.EventCertificateIssued:
		return b.replayIssuance(e)
	case depot.EventConfigurationAdded, depot.EventConfigurationChanged, depot.EventConfigurationRemoved, depot.EventSecretReset:
		c, err := e.Configuration()
		if err != nil {
			return err
		}
		return b.replayConfiguration(c, depot.EventType(e.Type))
	case depot.EventRequestPending, depot.EventRequestApproved, depot.EventRequestDenied:
		return b.replayRequest(e)
	case depot.EventCertificateRevoked, depot.EventCertificateReleased, depot.EventCertificateUsed:
		return b.replayChange(e)
	case depot.EventDevicesListed, depot.EventDevicesUnlisted:
		return b.replayDeviceList(e)
	case depot.EventChallengeIssued, depot.EventChallengeWithdrawn:
		return b.replayChallenge(e)
	case depot.EventCertificateDelivered, depot.EventCertificateVoid:
		end, err := e.delivery()
		if err == nil {
			_, _, err = b.keepEnd(end, e.Type == string(depot.EventCertificateVoid))
		}
		return err
	case depot.EventTokenAdded, depot.EventTokenRemoved:
		return b.replayToken(e)
	case depot.EventWebhookAdded, depot.EventWebhookChanged, depot.EventWebhookDisabled, depot.EventWebhookRemoved:
		return b.replayWebhook(e)
	case depot.EventClockMoved, depot.EventChallengeRejected, depot.EventSeeded:
		return b.replayLab(e)
	case EntryProgress:
		return b.replayProgress(e)
	case depot.EventRedistributionAcknowledged, depot.EventRedistributionUndone, depot.EventRedistributionDue, depot.EventRedistributionStalled,
		depot.EventRedistributionMissed, depot.EventRedistributionFulfilled, depot.EventCertificateSuperseded:
		return b.replayWindow(e)
	case EntryCRLNumber:
		return b.replayCRLNumber(e)
	case EntryAuthority:
		a, err := e.Authority()
		if err != nil {
			return err
		}
		return b.put(bucketMeta, []byte(metaAuthority), authoritySum(a))
	}
	return errors.New("it is of a kind that this version does not know; use the version of Understudy that wrote it, or a newer one")
}

func (b *batch) replayIssuance(e Entry) error {
	i, err := e.Issuance()
	if err == nil {
		err = i.Validate()
	}
	if err != nil {
		return err
	}
	i.After = lastNumber(b.tx, byTransaction, pair(i.Identity.ConfigurationID, i.Identity.TransactionID))
	d, err := e.Decision()
	if err != nil {
		return err
	}
	if d.RequestID != "" {
		d.Issuance = &i
		if err := d.Validate(); err != nil {
			return err
		}
	}
	i.HoldBack = i.Identity.HeldBack // now that no Validate misses the CSR, which the ledger lacks
	if d.Issuance != nil {
		return b.replayApproval(d)
	}
	serial, _ := serialBytes(i.Identity.CertificateSerial)
	device, err := b.look(i, serial)
	if err != nil {
		return err
	}
	_, err = b.keepIssuance(i, serial, device)
	return err
}

// replayApproval stores an issuance and the request that it comes from.
func (b *batch) replayApproval(d depot.Decision) error {
	v, err := b.judge(d)
	if err != nil {
		return err
	}
	if err := b.keepDecision(v); err != nil {
		return err
	}
	serial, _ := serialBytes(v.issuance.Identity.CertificateSerial)
	_, err = b.keepIssuance(*v.issuance, serial, v.device)
	return err
}

func (b *batch) replayRequest(e Entry) error {
	if e.Type == string(depot.EventRequestPending) {
		r, err := e.Request()
		if err == nil {
			err = r.Validate()
		}
		if err != nil {
			return err
		}
		key := pair(r.Transaction.ConfigurationID, r.Transaction.ID)
		last, err := loadRequest(b.tx, lastNumber(b.tx, byRequestTransaction, key))
		if err != nil && !errors.Is(err, depot.ErrNotFound) {
			return err
		}
		if err := b.lookAtRequest(r, lastNumber(b.tx, byTransaction, key), last.record.ID); err != nil {
			return err
		}
		return b.keepRequest(r)
	}
	d, err := e.Decision()
	if err != nil {
		return err
	}
	if d.State == depot.RequestDenied {
		if err := d.Validate(); err != nil {
			return err
		}
		v, err := b.judge(d)
		if err == nil {
			err = b.keepDecision(v)
		}
		if err != nil {
			return err
		}
	}
	r, err := requestWithID(b.tx, d.RequestID)
	if err != nil {
		return err
	}
	event := r.record.Event()
	if string(event.Type) != e.Type {
		return fmt.Errorf("request %s is %s", d.RequestID, r.record.State)
	}
	return b.event(event)
}

// replayChange stores what became of a certificate.
func (b *batch) replayChange(e Entry) error {
	if e.Type == string(depot.EventCertificateUsed) {
		u, err := e.use()
		if err != nil {
			return err
		}
		before, err := b.identity(u.certificateSerial)
		if err == nil && (u.at.IsZero() || !before.record.UsedAt.IsZero()) {
			err = depot.ErrInvalid
		}
		if err != nil {
			return err
		}
		return b.keepUse(before, u)
	}
	r, err := e.Revocation()
	if err == nil {
		err = r.Validate()
	}
	if err != nil {
		return err
	}
	before, err := b.identity(r.CertificateSerial)
	if err != nil {
		return err
	}
	after, err := before.record.Revoke(r)
	if err != nil {
		return err
	}
	return b.keepChange(before, after, r.Event(after))
}

// replayChallenge stores that a challenge was given out or withdrawn. One that
// stands in the way of a new one was forgotten before that, of which the ledger
// does not tell.
func (b *batch) replayChallenge(e Entry) error {
	if e.Type == string(depot.EventChallengeWithdrawn) {
		w, err := e.withdrawal()
		if err != nil {
			return err
		}
		return b.withdraw(w)
	}
	c, err := e.Challenge()
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		return err
	}
	for index, key := range map[string][]byte{byGivenID: []byte(c.ID), byGivenSHA256: c.SHA256[:]} {
		forgotten, err := challengeIn(b.tx, index, key)
		if err == nil {
			err = b.forget(forgotten)
		}
		if err != nil && !errors.Is(err, depot.ErrNotFound) {
			return err
		}
	}
	of, err := b.lookAtChallenge(c)
	if err != nil {
		return err
	}
	return b.keepChallenge(c, of)
}

func (b *batch) replayDeviceList(e Entry) error {
	l, err := e.deviceList()
	if err != nil {
		return err
	}
	c, err := load(b.tx, bucketConfigurations, []byte(l.ConfigurationID), configurationFields)
	if err != nil {
		return err
	}
	return b.keepDeviceList(l, l.event(c.record))
}

func (b *batch) replayCRLNumber(e Entry) error {
	c, err := e.crlNumber()
	if err != nil {
		return err
	}
	last, err := loadCRLNumber(b.tx, c.issuerSHA256)
	if err != nil {
		return err
	}
	if c.number <= last.record.number {
		return fmt.Errorf("CRL number %d after %d", c.number, last.record.number)
	}
	return b.keepCRLNumber(c)
}

func (b *batch) replayConfiguration(c depot.Configuration, cause depot.EventType) error {
	if err := c.Validate(); err != nil {
		return err
	}
	before, err := load(b.tx, bucketConfigurations, []byte(c.ID), configurationFields)
	switch {
	case cause == depot.EventConfigurationAdded && err == nil:
		return depot.ErrExists
	case cause == depot.EventConfigurationAdded && errors.Is(err, depot.ErrNotFound):
		return b.keepConfiguration(c, cause)
	case err != nil:
		return err
	}
	if err := b.remove(bucketNames, []byte(before.record.Name)); err != nil {
		return err
	}
	return b.keepConfiguration(c, cause)
}
