package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"understudy.example/understudy/depot"
)

// Commit stores an issuance.
func (d *Depot) Commit(ctx context.Context, i depot.Issuance) (depot.Identity, error) {
	if err := i.Validate(); err != nil {
		return depot.Identity{}, err
	}
	i.Identity = i.Identity.AtIssue().Clone()
	i.CSR = bytes.Clone(i.CSR)
	i.Identity.RequestID, i.Identity.ApprovedBy, i.Identity.HeldBack = "", "", i.HoldBack
	serial, _ := serialBytes(i.Identity.CertificateSerial)
	var previous string // certificate serial; written by the writer, read when it has answered
	err := d.submit(ctx, func(b *batch) error {
		device, err := b.look(i, serial)
		if err != nil {
			return err
		}
		previous = device.LatestSerial
		return b.issue(i, serial, device, nil)
	})
	if err != nil {
		return depot.Identity{}, fmt.Errorf("commit certificate %s: %w", i.Identity.CertificateSerial, err)
	}
	i.Identity.PreviousSerial = previous
	asRead(&i.Identity)
	return i.Identity, nil
}

// look decides whether an issuance can be stored and returns its device as it
// is before. It changes nothing.
func (b *batch) look(i depot.Issuance, serial []byte) (depot.Device, error) {
	id := i.Identity
	if lastNumber(b.tx, byTransaction, pair(id.ConfigurationID, id.TransactionID)) != i.After ||
		b.get(byMessage, i.Transaction.MessageSHA256[:]) != nil {
		return depot.Device{}, depot.ErrTransactionConflict
	}
	if i.Supersedes != "" {
		if err := b.lookAtOld(i.Supersedes); err != nil {
			return depot.Device{}, err
		}
	}
	if i.Challenge.ID != "" && b.get(bucketChallenges, []byte(i.Challenge.ID)) != nil {
		return depot.Device{}, depot.ErrChallengeSpent
	}
	if b.get(bucketIdentities, serial) != nil || b.get(bySHA256, id.SHA256[:]) != nil {
		return depot.Device{}, depot.ErrExists
	}
	device, err := load(b.tx, bucketDevices, deviceKey(id.ConfigurationID, id.Device.Key), deviceFields)
	if errors.Is(err, depot.ErrNotFound) {
		return depot.Device{ConfigurationID: id.ConfigurationID, FirstSeen: id.IssuedAt}, nil
	}
	return device.record, err
}

// lookAtOld decides whether a certificate can be superseded.
func (b *batch) lookAtOld(certificateSerial string) error {
	old, err := b.identity(certificateSerial)
	switch {
	case err != nil:
		return err
	case old.record.SupersededBy != "":
		return depot.ErrTransactionConflict
	case !old.record.RevokedAt.IsZero():
		return depot.ErrRevoked
	}
	return nil
}

// issue stores an issuance and its ledger record. The decision is the one that
// it comes from, nil if nobody had to decide.
func (b *batch) issue(i depot.Issuance, serial []byte, device depot.Device, from *depot.Decision) error {
	n := b.number()
	i, err := b.keepIssuance(i, serial, device)
	if err != nil {
		return err
	}
	return b.record(issuedPayload(n, i, from))
}

// keepIssuance stores an issuance, without the ledger record, and returns it
// as it was stored.
func (b *batch) keepIssuance(i depot.Issuance, serial []byte, device depot.Device) (depot.Issuance, error) {
	n, t, id := b.number(), i.Transaction, i.Identity
	t.Sequence, id.PreviousSerial = n, device.LatestSerial
	device.Names, device.LastSeen, device.LatestSerial = id.Device, id.IssuedAt, id.CertificateSerial
	device.Certificates++
	event := i.Event()

	i.Identity, i.Transaction = id, t
	sequence := sequenceField(&n)
	entries := append(indexEntries(i, serial, n),
		entry{bucketIdentities, serial, encode(identityFields(&id), sequence)},
		entry{bucketCertificates, serial, encode(nil, certificateField(&id))},
		entry{bucketTransactions, number(n), encode(transactionFields(&t), sequence)},
		entry{bucketDevices, deviceKey(id.ConfigurationID, id.Device.Key), encode(deviceFields(&device), sequence)},
	)
	for _, e := range entries {
		if err := b.put(e.bucket, e.key, e.value); err != nil {
			return i, err
		}
	}
	if err := b.event(event); err != nil {
		return i, err
	}
	if i.Challenge.ID != "" {
		if err := b.spend(i.Challenge.ID, id); err != nil {
			return i, err
		}
	}
	if i.HoldBack {
		if err := b.hold(i); err != nil {
			return i, err
		}
	}
	b.changedAt(id.IssuedAt)
	if err := b.stand(depot.Identity{HeldBack: true}, id, serial, n); err != nil {
		return i, err
	}
	if i.Supersedes == "" {
		return i, nil
	}
	old, err := b.identity(i.Supersedes)
	if err != nil {
		return i, err
	}
	after := old.record
	after.SupersededAt, after.SupersededBy = id.IssuedAt, id.CertificateSerial
	return i, b.change(old, after)
}

// An entry is one key of the database.
type entry struct {
	bucket     string
	key, value []byte
}

// indexEntries are the keys under which step n can be found.
func indexEntries(i depot.Issuance, serial []byte, n uint64) []entry {
	id, t := i.Identity, i.Transaction
	entries := []entry{
		{bySHA256, id.SHA256[:], serial},
		{byMessage, t.MessageSHA256[:], number(n)},
		{byNotAfter, notAfterKey(id.NotAfter, serial), []byte{}},
		{byTransaction, append(pair(t.ConfigurationID, t.ID), number(n)...), serial},
		{byDevice, append(pair(id.ConfigurationID, id.Device.Key), number(n)...), serial},
		{byPublicKey, append(id.PublicKeySHA256[:], number(n)...), serial},
	}
	entries = append(entries, nameEntries(id.Device, serial, n)...)
	return append(entries, stateEntries(id, serial)...)
}

// issuedPayload is the ledger's record of an issuance: everything, so that the
// ledger alone can make the store anew.
func issuedPayload(n uint64, i depot.Issuance, from *depot.Decision) []byte {
	b := payloadStart(n, string(depot.EventCertificateIssued), i.Identity.IssuedAt)
	if i.Challenge.ID != "" {
		b = append(b, `,"challenge":`...)
		b = appendJSONString(b, i.Challenge.ID)
	}
	if i.Supersedes != "" {
		b = append(b, `,"supersedes":`...)
		b = appendJSONString(b, i.Supersedes)
	}
	if from != nil {
		b = append(b, `,"decision":`...)
		b = appendJSON(b, decisionFields(from))
	}
	b = append(b, `,"transaction":`...)
	b = appendJSON(b, transactionFields(&i.Transaction))
	b = append(b, `,"identity":`...)
	b = appendJSON(b, identityFields(&i.Identity), certificateField(&i.Identity))
	return append(b, '}')
}

// payloadStart begins the payload of a ledger record. The caller appends
// members and the closing brace.
func payloadStart(n uint64, entryType string, at time.Time) []byte {
	b := append(make([]byte, 0, 4096), `{"n":`...)
	b = strconv.AppendUint(b, n, 10)
	b = append(b, `,"type":`...)
	b = appendJSONString(b, entryType)
	b = append(b, `,"at":"`...)
	b = at.UTC().AppendFormat(b, time.RFC3339Nano)
	return append(b, '"')
}

// objectPayload is the payload of a ledger record that holds one object.
func objectPayload(n uint64, entryType string, at time.Time, name string, fields []field) []byte {
	b := append(payloadStart(n, entryType, at), `,"`...)
	b = append(append(b, name...), `":`...)
	return append(appendJSON(b, fields), '}')
}

// asRead makes the identity, which is a copy that nobody else holds, what
// reading it would give: the times in UTC and without a monotonic part, empty
// lists nil. Encoding and decoding it for that would cost 30 µs.
func asRead(i *depot.Identity) {
	normalizeAll(identityFields(i))
	normalize(certificateField(i).value)
}

// authoritySum tells a generation from others. When it was looked at does not
// make it another.
func authoritySum(a depot.AuthorityGeneration) []byte {
	a.At = time.Time{}
	return hashOf(encode(authorityFields(&a)))
}

// RecordAuthority writes the generation to the ledger unless it is the one
// that was written last.
func (d *Depot) RecordAuthority(ctx context.Context, a depot.AuthorityGeneration) error {
	sum := authoritySum(a)
	object := appendJSON(nil, authorityFields(&a))
	err := d.submit(ctx, func(b *batch) error {
		if string(b.get(bucketMeta, []byte(metaAuthority))) == string(sum) {
			return nil
		}
		payload := append(payloadStart(b.number(), EntryAuthority, a.At), `,"authority":`...)
		payload = append(append(payload, object...), '}')
		if err := b.put(bucketMeta, []byte(metaAuthority), sum); err != nil {
			return err
		}
		return b.record(payload)
	})
	if err != nil {
		return fmt.Errorf("record authority: %w", err)
	}
	return nil
}
