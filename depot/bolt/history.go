package bolt

import (
	"fmt"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	"understudy.example/understudy/depot"
)

// loadHistory reads what was acknowledged and announced of an identity; of most
// there is nothing. The item has nothing else.
func loadHistory(tx *bbolt.Tx, serial []byte) (stored[depot.WindowItem], error) {
	var h history
	s := stored[depot.WindowItem]{}
	value := tx.Bucket([]byte(bucketHistories)).Get(serial)
	if value == nil {
		return s, nil
	}
	err := decode(value, withSequence(historyFields(&h), &s.sequence))
	if err == nil {
		s.record, err = h.item()
	}
	if err != nil {
		return s, fmt.Errorf("redistribution of certificate %x: %w", serial, err)
	}
	return s, nil
}

// keepHistory stores what was acknowledged and announced.
func (b *batch) keepHistory(serial []byte, i depot.WindowItem) error {
	n, h := b.number(), history{attempts: i.Attempts, announced: i.Announced}
	for _, a := range i.Acknowledgements {
		h.acknowledgements = append(h.acknowledgements, string(encode(acknowledgementFields(&a))))
	}
	return b.put(bucketHistories, serial, encode(withSequence(historyFields(&h), &n)))
}

// A history is what is stored of an identity's redistribution.
type history struct {
	attempts         int
	acknowledgements []string // a record each
	announced        []string // marks, sorted
}

func historyFields(h *history) []field {
	return []field{
		{1, "attempts", &h.attempts},
		{2, "acknowledgements", &h.acknowledgements},
		{3, "announced", &h.announced},
	}
}

func (h history) item() (i depot.WindowItem, err error) {
	i.Attempts, i.Announced = h.attempts, h.announced
	for _, record := range h.acknowledgements {
		var a depot.Acknowledgement
		if err := decode([]byte(record), acknowledgementFields(&a)); err != nil {
			return i, fmt.Errorf("acknowledgement: %w", err)
		}
		i.Acknowledgements = append(i.Acknowledgements, a)
	}
	return i, nil
}

func acknowledgementFields(a *depot.Acknowledgement) []field {
	return []field{
		{1, "certificate_serial", &a.CertificateSerial},
		{2, "at", &a.At},
		{3, "stalls_at", &a.StallsAt},
		{4, "by", &a.By},
		{5, "command_id", &a.CommandID},
		{6, "requested_by", &a.RequestedBy},
		{7, "requested_at", &a.RequestedAt},
		{8, "idempotency_key", &a.IdempotencyKey},
		{9, "undone_at", &a.UndoneAt},
		{10, "undone_by", &a.UndoneBy},
	}
}

// An undoing is the end of an acknowledgement before its time, as the ledger
// has it.
type undoing struct {
	certificateSerial string
	by                string
	at                time.Time
}

func undoingFields(u *undoing) []field {
	return []field{
		{1, "certificate_serial", &u.certificateSerial},
		{2, "by", &u.by},
		{3, "at", &u.at},
	}
}

// announcementFields are those of an announcement but for its type, which is
// that of its ledger record.
func announcementFields(a *depot.Announcement) []field {
	return []field{
		{1, "certificate_serial", &a.CertificateSerial},
		{2, "at", &a.At},
		{3, "mark", &a.Mark},
		{4, "superseded_by", &a.SupersededBy},
	}
}

// windowItem loads an identity as redistribution sees it, without its DER.
// depot.ErrNotFound for one that is held back.
func windowItem(tx *bbolt.Tx, serial []byte) (depot.WindowItem, error) {
	s, err := load(tx, bucketIdentities, serial, identityFields)
	if err == nil && s.record.HeldBack {
		err = depot.ErrNotFound
	}
	if err != nil {
		return depot.WindowItem{}, err
	}
	h, err := loadHistory(tx, serial)
	if err != nil {
		return h.record, err
	}
	i := h.record
	i.Identity = s.record
	p, err := stanceOf(tx, s.record, serial)
	if err != nil {
		return i, err
	}
	i.Standing = p.standing
	if p.isLast() {
		return i, nil
	}
	next, later, err := neighbour(tx, s.record, s.sequence, (*bbolt.Cursor).Next, depot.Identity.Stands)
	if err == nil && later != nil {
		i.SupersededBy, i.SupersededAt = next.CertificateSerial, next.IssuedAt
	}
	return i, err
}

// windowItem loads one that a step may change.
func (b *batch) windowItem(certificateSerial string) (depot.WindowItem, []byte, error) {
	serial, ok := canonical(certificateSerial)
	if !ok {
		return depot.WindowItem{}, nil, depot.ErrNotFound
	}
	i, err := windowItem(b.tx, serial)
	return i, serial, err
}

// wasItem loads an identity as it was at a time; false: it was not there.
func wasItem(tx *bbolt.Tx, serial []byte, asOf time.Time) (i depot.WindowItem, was bool, err error) {
	s, err := load(tx, bucketIdentities, serial, identityFields)
	if err != nil {
		return i, false, dangling(err)
	}
	if i.Identity, was = s.record.StoodAt(asOf); !was {
		return i, false, nil
	}
	h, err := loadHistory(tx, serial)
	if err != nil {
		return i, false, err
	}
	i.Announced = h.record.Announced
	i.Acknowledgements, i.Attempts = h.record.AcknowledgementsAsOf(asOf)
	next, later, err := neighbour(tx, s.record, s.sequence, (*bbolt.Cursor).Next, func(later depot.Identity) bool {
		now, was := later.StoodAt(asOf)
		return was && now.Stands()
	})
	if later != nil {
		i.SupersededBy, i.SupersededAt = next.CertificateSerial, next.IssuedAt
	}
	_, acknowledged := i.InForce()
	i.Standing = i.Identity.Standing(later != nil, acknowledged)
	return i, true, err
}

// canonical reads a certificate serial as depots write it.
func canonical(certificateSerial string) ([]byte, bool) {
	serial, ok := serialBytes(certificateSerial)
	return serial, ok && certificateSerial == strings.ToLower(certificateSerial)
}
