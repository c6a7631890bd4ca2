package bolt

import (
	"bytes"
	"errors"
	"time"

	"go.etcd.io/bbolt"
	"understudy.example/understudy/depot"
)

// challenges looks for challenges without what belongs to them.
func (c *checker) challenges() error {
	return c.each(bucketGiven, func(k, _ []byte) error {
		s, err := loadChallenge(c.tx, numberOf(k))
		if err != nil || s.sequence != numberOf(k) {
			return c.found("challenge %d: it cannot be read or belongs elsewhere: %v", numberOf(k), err)
		}
		for _, e := range challengeEntries(s.record, s.sequence) {
			if v := c.tx.Bucket([]byte(e.bucket)).Get(e.key); v == nil || !bytes.Equal(v, e.value) {
				if err := c.found("challenge %s: no entry in index %s", s.record.ID, e.bucket); err != nil {
					return err
				}
			}
		}
		if e, err := load(c.tx, bucketEvents, k, eventFields); err != nil || e.record.ChallengeID != s.record.ID {
			return c.found("challenge %s: no event tells of it", s.record.ID)
		}
		if ended := numberOf(c.tx.Bucket([]byte(bucketChallenges)).Get([]byte(s.record.ID))); ended != s.changed {
			return c.found("challenge %s: step %d changed it, and step %d spent or withdrew it", s.record.ID, s.changed, ended)
		}
		if s.record.SpentAt.IsZero() {
			return nil
		}
		if t, err := loadTransaction(c.tx, s.changed); err != nil || t.CertificateSerial != s.record.CertificateSerial {
			return c.found("challenge %s: transaction %d, which spent it, led to certificate %q: %v", s.record.ID, s.changed, t.CertificateSerial, err)
		}
		return nil
	})
}

// challengeIndexes looks for entries without their challenge.
func (c *checker) challengeIndexes() error {
	inValue := func(_, v []byte) uint64 { return numberOf(v) }
	inKey := func(k, _ []byte) uint64 { return numberOf(k) }
	for index, numberIn := range map[string]func(k, v []byte) uint64{
		byGivenID: inValue, byGivenSHA256: inValue, byOutstanding: inKey, byUnspent: inKey,
	} {
		err := c.each(index, func(k, v []byte) error {
			s, err := loadChallenge(c.tx, numberIn(k, v))
			if err != nil {
				return c.found("index %s, entry %x: %v", index, k, dangling(err))
			}
			for _, e := range challengeEntries(s.record, s.sequence) {
				if e.bucket == index && bytes.Equal(e.key, k) {
					return nil
				}
			}
			return c.found("index %s, entry %x: challenge %s does not belong there", index, k, s.record.ID)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// spent looks at whether something spent or withdrew each challenge of which
// that is said.
func (c *checker) spent() error {
	return c.each(bucketChallenges, func(id, v []byte) error {
		if e, err := load(c.tx, bucketEvents, number(numberOf(v)), eventFields); err == nil &&
			e.record.Type == depot.EventChallengeWithdrawn && e.record.ChallengeID == string(id) {
			return nil
		}
		if _, err := loadTransaction(c.tx, numberOf(v)); err != nil {
			return c.found("challenge %q: spent by transaction %d: %v", id, numberOf(v), dangling(err))
		}
		return nil
	})
}

// deliveries looks for what is held back without its certificate.
func (c *checker) deliveries() error {
	err := c.each(bucketHeldBack, func(k, _ []byte) error {
		h, err := load(c.tx, bucketHeldBack, k, heldBackFields)
		if err != nil {
			return c.found("what is held back since step %d: %v", numberOf(k), err)
		}
		serial, _ := serialBytes(h.record.certificateSerial)
		s, err := loadIdentity(c.tx, serial)
		if err != nil || s.sequence != numberOf(k) || !s.record.HeldBack {
			return c.found("what is held back since step %d: certificate %s is not there or not held back: %v", numberOf(k), h.record.certificateSerial, err)
		}
		if h.record.supersedes == "" {
			return nil
		}
		serial, _ = serialBytes(h.record.supersedes)
		if old, err := loadIdentity(c.tx, serial); err != nil || old.record.SupersededBy != h.record.certificateSerial {
			return c.found("what is held back since step %d: certificate %s, which it supersedes, is not there or says otherwise: %v", numberOf(k), h.record.supersedes, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.each(bucketHeldCSRs, func(k, _ []byte) error {
		if _, err := loadCSR(c.tx, k); err != nil {
			return c.found("CSR of what is held back since step %d: %v", numberOf(k), err)
		}
		if c.tx.Bucket([]byte(bucketHeldBack)).Get(k) == nil {
			return c.found("CSR of what is held back since step %d: nothing is", numberOf(k))
		}
		return nil
	})
}

// compareChallenge holds what the ledger says of a challenge against the
// record. One that was forgotten left only the event.
func compareChallenge(tx *bbolt.Tx, e Entry) error {
	if e.Type == string(depot.EventChallengeWithdrawn) {
		return compareWithdrawal(tx, e)
	}
	c, err := e.Challenge()
	if err != nil || !toldOf(tx, e, c.ID) {
		return errDiffers
	}
	s, err := loadChallenge(tx, e.Number)
	if errors.Is(err, depot.ErrNotFound) {
		return nil
	}
	now := s.record
	now.SpentAt, now.CertificateSerial, now.WithdrawnAt, now.WithdrawnBy = time.Time{}, "", time.Time{}, ""
	if err != nil || !sameFields(challengeFields(&now), challengeFields(&c)) {
		return errDiffers
	}
	return nil
}

func compareWithdrawal(tx *bbolt.Tx, e Entry) error {
	w, err := e.withdrawal()
	if err != nil || !toldOf(tx, e, w.challengeID) || numberOf(tx.Bucket([]byte(bucketChallenges)).Get([]byte(w.challengeID))) != e.Number {
		return errDiffers
	}
	s, err := challengeWithID(tx, w.challengeID)
	if errors.Is(err, depot.ErrNotFound) {
		return nil
	}
	if err != nil || !s.record.WithdrawnAt.Equal(w.at) || s.record.WithdrawnBy != w.by {
		return errDiffers
	}
	return nil
}

// toldOf says whether the event of a ledger record is about the challenge.
func toldOf(tx *bbolt.Tx, e Entry, challengeID string) bool {
	s, err := load(tx, bucketEvents, number(e.Number), eventFields)
	return err == nil && string(s.record.Type) == e.Type && s.record.ChallengeID == challengeID
}

// compareDelivery holds the end of a delivery against the record. What void
// said of revocation a later step cannot change.
func compareDelivery(tx *bbolt.Tx, e Entry) error {
	end, err := e.delivery()
	if err != nil {
		return errDiffers
	}
	serial, _ := serialBytes(end.certificateSerial)
	s, err := load(tx, bucketIdentities, serial, identityFields)
	id := s.record
	void := e.Type == string(depot.EventCertificateVoid)
	if err != nil || s.changed < e.Number || id.HeldBack || id.Void != void ||
		void && id.RevokedBy == depot.UndeliveredBy && !id.RevokedAt.Equal(end.at) {
		return errDiffers
	}
	return nil
}
