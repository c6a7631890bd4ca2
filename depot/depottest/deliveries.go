package depottest

import (
	"bytes"
	"time"

	"understudy.example/understudy/depot"
)

// HeldBack returns Issuance(n) as one that is held back.
func HeldBack(n int) depot.Issuance {
	i := Issuance(n)
	i.HoldBack, i.CSR = true, []byte("CSR of "+serial(n))
	return i
}

// held is the identity of one as it must come back.
func held(i depot.Issuance) depot.Identity {
	id := want(i, "")
	id.HeldBack = true
	return id
}

// undelivered asserts what is held back.
func (s *suite) undelivered(want ...depot.Undelivered) {
	s.Helper()
	got, err := s.d.Undelivered(s.ctx)
	s.wantError("Undelivered", err, nil)
	s.equal("Undelivered", got, want)
}

func (s *suite) holdBack() {
	s.undelivered()
	s.commit(Issuance(0))
	second, first := HeldBack(2), HeldBack(1)
	for _, i := range []depot.Issuance{second, first} { // the order is that of the steps
		given := i
		given.CSR = bytes.Clone(i.CSR)
		given.Identity.HeldBack = false
		s.equal("Commit", s.commit(given), held(i))
		given.CSR[0] = 'x'
	}
	asked := Request(3)
	s.ask(asked, 0, "")
	d := Approval(asked, 3)
	d.Issuance.HoldBack, d.Issuance.CSR = true, []byte("approved")
	s.decide(d)
	d.Issuance.CSR[0] = 'x'
	third := held(*d.Issuance)
	third.RequestID, third.ApprovedBy = asked.ID, d.By
	for range 2 {
		s.undelivered(depot.Undelivered{Identity: held(second), CSR: second.CSR}, depot.Undelivered{Identity: held(first), CSR: first.CSR},
			depot.Undelivered{Identity: third, CSR: []byte("approved")})
		s.identity(held(first))
		s.identity(third)
		s.identity(want(Issuance(0), ""))
		got, err := s.d.Undelivered(s.ctx)
		s.wantError("Undelivered", err, nil)
		got[0].CSR[0], got[0].Identity.DER[0] = 'x', 'x'
		s.d = s.reopen()
	}
	device, err := s.d.Device(s.ctx, "rac0", "device 1")
	s.wantError("Device", err, nil)
	s.equal("latest certificate", device.LatestSerial, serial(1))
	transaction, err := s.d.TransactionOfMessage(s.ctx, first.Transaction.MessageSHA256)
	s.wantError("TransactionOfMessage", err, nil)
	s.equal("its certificate", transaction.CertificateSerial, serial(1))
	s.equal("event", s.happened(0)[2].Type, depot.EventCertificateIssued)
	s.equal("revoked", s.revokedSerials(depot.RevokedQuery{IssuerSHA256: first.Identity.IssuerSHA256}), []string(nil))
}

func (s *suite) holdBackRefused() {
	without, with := HeldBack(1), HeldBack(1)
	without.CSR, with.HoldBack = nil, false
	for _, i := range []depot.Issuance{without, with} {
		_, err := s.d.Commit(s.ctx, i)
		s.wantError("Commit", err, depot.ErrInvalid)
		asked := Request(1)
		d := Approval(asked, 1)
		d.Issuance.HoldBack, d.Issuance.CSR = i.HoldBack, i.CSR
		_, err = s.d.Decide(s.ctx, d)
		s.wantError("Decide", err, depot.ErrInvalid)
	}
	s.undelivered()
	s.nothingButEvents(0)
}

// endings calls both ends of a delivery.
func (s *suite) endings(certificateSerial string, at time.Time, refusal error) {
	s.Helper()
	_, err := s.d.Deliver(s.ctx, certificateSerial, at)
	s.wantError("Deliver "+certificateSerial, err, refusal)
	_, err = s.d.Void(s.ctx, certificateSerial, "why", at)
	s.wantError("Void "+certificateSerial, err, refusal)
}

func (s *suite) deliver() {
	s.commit(Issuance(0))
	i, other := HeldBack(1), HeldBack(2)
	s.commit(i)
	s.commit(other)
	s.endings(serial(1), time.Time{}, depot.ErrInvalid)
	s.endings(serial(9), time.Time{}, depot.ErrInvalid)
	s.endings(serial(9), Epoch, depot.ErrNotFound)
	s.endings("", Epoch, depot.ErrNotFound)
	s.endings("0A000001", Epoch, depot.ErrNotFound)
	s.endings(serial(0), Epoch, depot.ErrDecided)
	s.undelivered(depot.Undelivered{Identity: held(i), CSR: i.CSR}, depot.Undelivered{Identity: held(other), CSR: other.CSR})

	at := Epoch.Add(time.Minute).Local()
	id := want(i, "")
	got, err := s.d.Deliver(s.ctx, serial(1), at)
	s.wantError("Deliver", err, nil)
	s.equal("Deliver", got, id)
	for range 2 {
		s.identity(id)
		s.undelivered(depot.Undelivered{Identity: held(other), CSR: other.CSR})
		s.equal("event", s.lastEvents(1), []depot.Event{eventOf(depot.EventCertificateDelivered, at, id)})
		s.endings(serial(1), Epoch, depot.ErrDecided)
		s.d = s.reopen()
	}
	s.equal("newest first", s.serials(depot.IdentityQuery{}), serialsOf(2, 1, 0))
	s.equal("revoked", s.revokedSerials(depot.RevokedQuery{IssuerSHA256: i.Identity.IssuerSHA256}), []string(nil))
}

// voided is an identity as Void leaves it.
func voided(i depot.Identity, at time.Time) depot.Identity {
	i.HeldBack, i.Void = false, true
	i.RevokedAt, i.RevocationReason, i.RevokedBy = utc(at), string(depot.ReasonCessationOfOperation), "undelivered"
	return i
}

func (s *suite) void() {
	i := HeldBack(1)
	i.Identity.RevokeUnusedAt = Epoch.Add(time.Hour)
	s.commit(i)
	at := Epoch.Add(time.Minute).Local()
	id := voided(held(i), at)
	got, err := s.d.Void(s.ctx, serial(1), "the cloud said no", at)
	s.wantError("Void", err, nil)
	s.equal("Void", got, id)
	for range 2 {
		s.identity(id)
		s.undelivered()
		s.equal("event", s.lastEvents(1), []depot.Event{eventOf(depot.EventCertificateVoid, at, id)})
		page, err := s.d.Revoked(s.ctx, depot.RevokedQuery{IssuerSHA256: id.IssuerSHA256})
		s.wantError("Revoked", err, nil)
		s.equal("Revoked", page.Items, []depot.RevokedCertificate{{CertificateSerial: id.CertificateSerial,
			Reason: depot.ReasonCessationOfOperation, RevokedAt: utc(at), NotAfter: id.NotAfter}})
		unused, err := s.d.UnusedSince(s.ctx, Epoch.Add(2*time.Hour), 0)
		s.wantError("UnusedSince", err, nil)
		s.equal("unused", len(unused), 0)
		s.endings(serial(1), Epoch, depot.ErrDecided)
		_, err = s.d.Revoke(s.ctx, revocation(1, depot.ReasonKeyCompromise))
		s.wantError("Revoke", err, depot.ErrRevoked)
		s.d = s.reopen()
	}
}

// voidRevoked: somebody revoked what is held back before it became void.
func (s *suite) voidRevoked() {
	at := Epoch.Add(time.Hour)
	for n, reason := range []depot.RevocationReason{depot.ReasonKeyCompromise, depot.ReasonCertificateHold} {
		i := HeldBack(n)
		s.commit(i)
		r := revocation(n, reason)
		id := revoked(held(i), r)
		s.equal("Revoke", s.revoke(r), id)
		s.undelivered(depot.Undelivered{Identity: id, CSR: i.CSR})
		want := voided(id, at)
		if reason != depot.ReasonCertificateHold {
			want = revoked(want, r)
		}
		got, err := s.d.Void(s.ctx, serial(n), "", at)
		s.wantError("Void", err, nil)
		s.equal("Void", got, want)
		s.identity(want)
		s.undelivered()
	}
}

// voidRenewal: the device still has what was to be renewed.
func (s *suite) voidRenewal() {
	s.commit(Issuance(0))
	s.commit(Issuance(1))
	for n := range 2 {
		renewal := HeldBack(10 + n)
		renewal.Supersedes = serial(n)
		s.commit(renewal)
	}
	old := want(Issuance(0), "")
	old.SupersededAt, old.SupersededBy = utc(Issuance(10).Identity.IssuedAt), serial(10)
	s.identity(old)
	_, err := s.d.Void(s.ctx, serial(10), "", Epoch)
	s.wantError("Void", err, nil)
	s.identity(want(Issuance(0), ""))
	_, err = s.d.Deliver(s.ctx, serial(11), Epoch)
	s.wantError("Deliver", err, nil)
	kept := want(Issuance(1), "")
	kept.SupersededAt, kept.SupersededBy = utc(Issuance(11).Identity.IssuedAt), serial(11)
	s.identity(kept)
	s.equal("events", s.lastEvents(2)[0].Type, depot.EventCertificateVoid)
	again := Issuance(12)
	again.Supersedes = serial(0)
	s.commit(again)
	old.SupersededAt, old.SupersededBy = utc(again.Identity.IssuedAt), serial(12)
	s.identity(old)
}

// deliveryRace: of those who end one delivery at once, one does.
func (s *suite) deliveryRace() {
	for round := range 5 {
		s.commit(HeldBack(round))
		n := s.compete(depot.ErrDecided, func(r int) (err error) {
			if r%2 == 0 {
				_, err = s.d.Void(s.ctx, serial(round), "", Epoch)
			} else {
				_, err = s.d.Deliver(s.ctx, serial(round), Epoch)
			}
			return err
		})
		s.equal("taken", n, 1)
	}
	s.undelivered()
	s.equal("events", len(s.happened(0)), 10)
}
