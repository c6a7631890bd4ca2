package depottest

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"understudy.example/understudy/depot"
)

func revocation(n int, reason depot.RevocationReason) depot.Revocation {
	return depot.Revocation{CertificateSerial: serial(n), Reason: reason, At: Epoch.Add(time.Duration(n) * time.Minute).Local(),
		By: fmt.Sprintf("operator %d", n), Note: "stolen"}
}

// revoked is an identity as the revocation leaves it.
func revoked(i depot.Identity, r depot.Revocation) depot.Identity {
	i.RevokedAt, i.RevocationReason, i.RevokedBy = utc(r.At), string(r.Reason), r.By
	return i
}

func (s *suite) revoke(r depot.Revocation) depot.Identity {
	s.Helper()
	i, err := s.d.Revoke(s.ctx, r)
	if err != nil {
		s.Fatalf("Revoke(%s, %s): %v", r.CertificateSerial, r.Reason, err)
	}
	return i
}

// identity asserts what is stored of a certificate.
func (s *suite) identity(want depot.Identity) {
	s.Helper()
	got, err := s.d.Identity(s.ctx, want.CertificateSerial)
	s.wantError("Identity", err, nil)
	s.equal("Identity", got, want)
	got, err = s.d.IdentityBySHA256(s.ctx, want.SHA256)
	s.wantError("IdentityBySHA256", err, nil)
	s.equal("IdentityBySHA256", got, want)
	page, err := s.d.Identities(s.ctx, depot.IdentityQuery{ConfigurationID: want.ConfigurationID, TransactionID: want.TransactionID})
	s.wantError("Identities", err, nil)
	s.equal("Identities", page.Items, []depot.Identity{want})
}

var issuer = hashOf("issuer", 1)

// of returns an issuance of one issuer.
func of(issuer [32]byte, n int) depot.Issuance {
	i := Issuance(n)
	i.Identity.IssuerSHA256 = issuer
	return i
}

// revokedSerials lists the certificate serials of all pages.
func (s *suite) revokedSerials(q depot.RevokedQuery) []string {
	s.Helper()
	var all []string
	for range maxPages {
		page, err := s.d.Revoked(s.ctx, q)
		if err != nil {
			s.Fatalf("Revoked(%+v): %v", q, err)
		}
		for _, r := range page.Items {
			all = append(all, r.CertificateSerial)
		}
		if q.Cursor = page.NextCursor; q.Cursor == "" {
			return all
		}
	}
	s.Fatalf("Revoked(%+v) does not end", q)
	return nil
}

func (s *suite) revokeFind() {
	reasons := []depot.RevocationReason{depot.ReasonUnspecified, depot.ReasonKeyCompromise, depot.ReasonCACompromise,
		depot.ReasonAffiliationChanged, depot.ReasonSuperseded, depot.ReasonCessationOfOperation, depot.ReasonCertificateHold,
		depot.ReasonPrivilegeWithdrawn, depot.ReasonAACompromise}
	var lines []depot.RevokedCertificate
	for n := range reasons {
		s.commit(of(issuer, n))
	}
	s.commit(of(issuer, 20)) // stays good
	for n, reason := range reasons {
		r := revocation(n, reason)
		id := revoked(want(of(issuer, n), ""), r)
		s.equal("Revoke", s.revoke(r), id)
		s.identity(id)
		event := eventOf(depot.EventCertificateRevoked, r.At, id)
		event.By, event.Reason = r.By, string(reason)
		s.equal("event", s.lastEvents(1), []depot.Event{event})
		lines = append(lines, depot.RevokedCertificate{CertificateSerial: id.CertificateSerial, Reason: reason, RevokedAt: utc(r.At), NotAfter: id.NotAfter})
	}
	s.d = s.reopen()
	page, err := s.d.Revoked(s.ctx, depot.RevokedQuery{IssuerSHA256: issuer})
	s.wantError("Revoked", err, nil)
	s.equal("Revoked", page.Items, lines)
	for n, reason := range reasons {
		s.identity(revoked(want(of(issuer, n), ""), revocation(n, reason)))
	}
	s.identity(want(of(issuer, 20), ""))
	// Neither lists nor devices have changed their order.
	s.equal("newest first", s.serials(depot.IdentityQuery{Limit: 3}), serialsOf(20, 8, 7, 6, 5, 4, 3, 2, 1, 0))
	s.equal("by notAfter", s.serials(depot.IdentityQuery{Limit: 3, Order: depot.ByNotAfter}), serialsOf(0, 1, 2, 3, 4, 5, 6, 7, 8, 20))
}

func (s *suite) revokeRefused() {
	s.commit(of(issuer, 1))
	id := want(of(issuer, 1), "")
	for name, test := range map[string]struct {
		spoil func(*depot.Revocation)
		want  error
	}{
		"no reason":        {func(r *depot.Revocation) { r.Reason = "" }, depot.ErrInvalid},
		"unknown reason":   {func(r *depot.Revocation) { r.Reason = "KeyCompromise" }, depot.ErrInvalid},
		"no time":          {func(r *depot.Revocation) { r.At = time.Time{} }, depot.ErrInvalid},
		"not on hold":      {func(r *depot.Revocation) { r.Reason = depot.ReasonRemoveFromCRL }, depot.ErrInvalid},
		"no certificate":   {func(r *depot.Revocation) { r.CertificateSerial = "" }, depot.ErrNotFound},
		"another":          {func(r *depot.Revocation) { r.CertificateSerial = serial(2) }, depot.ErrNotFound},
		"upper-case":       {func(r *depot.Revocation) { r.CertificateSerial = "0A000001" }, depot.ErrNotFound},
		"beginning":        {func(r *depot.Revocation) { r.CertificateSerial = "0a0000" }, depot.ErrNotFound},
		"not there and no": {func(r *depot.Revocation) { r.CertificateSerial, r.Reason = serial(2), "x" }, depot.ErrInvalid},
	} {
		r := revocation(1, depot.ReasonKeyCompromise)
		test.spoil(&r)
		_, err := s.d.Revoke(s.ctx, r)
		s.wantError(name, err, test.want)
	}
	s.identity(id)
	s.nothingButEvents(1)
	s.equal("revoked", s.revokedSerials(depot.RevokedQuery{IssuerSHA256: issuer}), []string(nil))

	first := revocation(1, depot.ReasonKeyCompromise)
	s.revoke(first)
	for _, reason := range []depot.RevocationReason{depot.ReasonKeyCompromise, depot.ReasonSuperseded, depot.ReasonCertificateHold} {
		again := revocation(1, reason)
		again.At = Epoch.Add(time.Hour)
		_, err := s.d.Revoke(s.ctx, again)
		s.wantError("revoked already", err, depot.ErrRevoked)
	}
	_, err := s.d.Revoke(s.ctx, revocation(1, depot.ReasonRemoveFromCRL))
	s.wantError("revoked for good", err, depot.ErrInvalid)
	s.identity(revoked(id, first))
	s.equal("events", len(s.happened(0)), 2)
}

func (s *suite) hold() {
	s.commit(of(issuer, 1))
	id := want(of(issuer, 1), "")
	held := revocation(1, depot.ReasonCertificateHold)
	listed := func(want ...string) {
		s.Helper()
		s.equal("revoked", s.revokedSerials(depot.RevokedQuery{IssuerSHA256: issuer}), want)
	}
	for range 2 { // to be put on hold again is nothing special
		s.equal("hold", s.revoke(held), revoked(id, held))
		listed(serial(1))
		again := held
		again.At = Epoch.Add(time.Hour)
		_, err := s.d.Revoke(s.ctx, again)
		s.wantError("hold what is on hold", err, depot.ErrRevoked)
		s.d = s.reopen()
		s.identity(revoked(id, held))
		release := revocation(1, depot.ReasonRemoveFromCRL)
		release.At = Epoch.Add(2 * time.Hour)
		s.equal("release", s.revoke(release), id)
		s.identity(id)
		listed()
		event := eventOf(depot.EventCertificateReleased, release.At, id)
		event.By = release.By
		s.equal("event", s.lastEvents(1), []depot.Event{event})
		_, err = s.d.Revoke(s.ctx, release)
		s.wantError("release what is free", err, depot.ErrInvalid)
		s.d = s.reopen()
		s.identity(id)
		listed()
	}
	s.revoke(held)
	good := revocation(1, depot.ReasonKeyCompromise)
	good.At, good.By = Epoch.Add(3*time.Hour), "another"
	s.equal("revoke what is on hold", s.revoke(good), revoked(id, good))
	page, err := s.d.Revoked(s.ctx, depot.RevokedQuery{IssuerSHA256: issuer})
	s.wantError("Revoked", err, nil)
	s.equal("Revoked", page.Items, []depot.RevokedCertificate{{CertificateSerial: serial(1), Reason: depot.ReasonKeyCompromise,
		RevokedAt: utc(good.At), NotAfter: id.NotAfter}})
	_, err = s.d.Revoke(s.ctx, revocation(1, depot.ReasonRemoveFromCRL))
	s.wantError("release what is revoked for good", err, depot.ErrInvalid)
}

func (s *suite) revokedList() {
	other := hashOf("issuer", 2)
	other[0] = issuer[0] // neighbours
	serials := []string{"80", "01", "0102", "02", "7f", "ffffffffffffffffffffffffffffffffffffffff", "0100", "7fffffffffffffffffffffffffffffffffffffff"}
	for n, serial := range serials {
		i := of(issuer, n)
		i.Identity.CertificateSerial = serial
		i.Identity.NotAfter = Epoch.Add(time.Duration(n) * time.Hour)
		s.commit(in(i, "rac0", i.Transaction.ID, "device"))
		r := revocation(n, depot.ReasonUnspecified)
		r.CertificateSerial = serial
		s.revoke(r)
	}
	s.commit(of(other, 100))
	s.commit(of(other, 101))
	s.revoke(revocation(100, depot.ReasonSuperseded))
	expected := slices.Sorted(slices.Values(serials))
	for limit := range 10 {
		s.equal(fmt.Sprintf("limit %d", limit), s.revokedSerials(depot.RevokedQuery{IssuerSHA256: issuer, Limit: limit}), expected)
	}
	s.equal("another issuer", s.revokedSerials(depot.RevokedQuery{IssuerSHA256: other}), serialsOf(100))
	s.equal("no issuer", s.revokedSerials(depot.RevokedQuery{}), []string(nil))
	for n := range serials {
		want := slices.Sorted(slices.Values(serials[n:]))
		from := Epoch.Add(time.Duration(n) * time.Hour)
		s.equal("expired before notAfter", s.revokedSerials(depot.RevokedQuery{IssuerSHA256: issuer, NotAfterFrom: from.Local(), Limit: 2}), want)
		s.equal("expired before", s.revokedSerials(depot.RevokedQuery{IssuerSHA256: issuer, NotAfterFrom: from.Add(-time.Microsecond), Limit: 2}), want)
	}
	s.equal("all expired", s.revokedSerials(depot.RevokedQuery{IssuerSHA256: issuer, NotAfterFrom: Epoch.Add(100 * time.Hour)}), []string(nil))

	page, err := s.d.Revoked(s.ctx, depot.RevokedQuery{IssuerSHA256: issuer, Limit: 3})
	s.wantError("Revoked", err, nil)
	s.d = s.reopen()
	s.equal("the rest", s.revokedSerials(depot.RevokedQuery{IssuerSHA256: issuer, Cursor: page.NextCursor}), expected[3:])
	for _, cursor := range []string{"x", page.NextCursor + "x"} {
		_, err := s.d.Revoked(s.ctx, depot.RevokedQuery{IssuerSHA256: issuer, Cursor: cursor})
		s.wantError("cursor "+cursor, err, depot.ErrCursor)
	}
	_, err = s.d.Revoked(s.ctx, depot.RevokedQuery{IssuerSHA256: other, Cursor: page.NextCursor})
	s.wantError("cursor of another issuer", err, depot.ErrCursor)
	_, err = s.d.Devices(s.ctx, depot.DeviceQuery{Cursor: page.NextCursor})
	s.wantError("cursor of another list", err, depot.ErrCursor)
}

func (s *suite) crlNumbers() {
	other := hashOf("issuer", 2)
	take := func(issuer [32]byte, atLeast, want uint64) {
		s.Helper()
		got, err := s.d.TakeCRLNumber(s.ctx, issuer, atLeast)
		s.wantError("TakeCRLNumber", err, nil)
		s.equal("TakeCRLNumber", got, want)
		got, err = s.d.LastCRLNumber(s.ctx, issuer)
		s.wantError("LastCRLNumber", err, nil)
		s.equal("LastCRLNumber", got, want)
	}
	last, err := s.d.LastCRLNumber(s.ctx, issuer)
	s.wantError("LastCRLNumber", err, nil)
	s.equal("before the first", last, uint64(0))
	take(issuer, 0, 1)
	take(issuer, 0, 2)
	take(issuer, 2, 3)
	take(issuer, 1_700_000_000, 1_700_000_000)
	take(issuer, 1_700_000_000, 1_700_000_001)
	take(other, 5, 5) // each issuer has its own
	s.d = s.reopen()
	take(issuer, 1_600_000_000, 1_700_000_002) // a clock that was put back
	take(other, 0, 6)
	take(issuer, math.MaxUint64, math.MaxUint64)
	_, err = s.d.TakeCRLNumber(s.ctx, issuer, 0)
	s.wantError("after the greatest", err, depot.ErrInvalid)
	last, err = s.d.LastCRLNumber(s.ctx, issuer)
	s.wantError("LastCRLNumber", err, nil)
	s.equal("LastCRLNumber", last, uint64(math.MaxUint64))
	s.nothingButEvents(0)
}

func (s *suite) crlNumberRace() {
	taken := make([]uint64, racers)
	var wait sync.WaitGroup
	for r := range racers {
		wait.Go(func() {
			n, err := s.d.TakeCRLNumber(s.ctx, issuer, 10)
			s.wantError("TakeCRLNumber", err, nil)
			taken[r] = n
		})
	}
	wait.Wait()
	slices.Sort(taken)
	for r, n := range taken {
		if n != uint64(10+r) {
			s.Fatalf("numbers %d", taken)
		}
	}
}

func (s *suite) markUsed() {
	s.commit(Issuance(1))
	s.commit(Issuance(2))
	id := want(Issuance(1), "")
	at := Epoch.Add(time.Hour).Local()
	s.wantError("no time", s.d.MarkUsed(s.ctx, serial(1), time.Time{}), depot.ErrInvalid)
	s.wantError("another", s.d.MarkUsed(s.ctx, serial(3), at), depot.ErrNotFound)
	s.wantError("upper-case", s.d.MarkUsed(s.ctx, "0A000001", at), depot.ErrNotFound)
	s.identity(id)
	s.wantError("MarkUsed", s.d.MarkUsed(s.ctx, serial(1), at), nil)
	id.UsedAt = utc(at)
	s.identity(id)
	s.equal("event", s.lastEvents(1), []depot.Event{eventOf(depot.EventCertificateUsed, at, id)})
	for _, later := range []time.Time{at, at.Add(time.Hour), at.Add(-time.Hour)} {
		s.wantError("again", s.d.MarkUsed(s.ctx, serial(1), later), nil)
	}
	s.d = s.reopen()
	s.identity(id)
	s.identity(want(Issuance(2), ""))
	s.equal("events", len(s.happened(0)), 3)
	// Use and revocation do not forget each other.
	r := revocation(1, depot.ReasonKeyCompromise)
	s.equal("revoke what was used", s.revoke(r), revoked(id, r))
	s.revoke(revocation(2, depot.ReasonKeyCompromise))
	s.wantError("use what was revoked", s.d.MarkUsed(s.ctx, serial(2), at), nil)
	id = revoked(want(Issuance(2), ""), revocation(2, depot.ReasonKeyCompromise))
	id.UsedAt = utc(at)
	s.identity(id)
}

func (s *suite) unusedSince() {
	deadlines := map[int]time.Duration{1: time.Hour, 2: 0, 3: time.Microsecond, 4: 0, 5: -50 * 365 * 24 * time.Hour * 2, 6: time.Hour}
	for _, n := range []int{4, 2, 3, 1, 6, 5} {
		i := Issuance(n)
		i.Identity.RevokeUnusedAt = Epoch.Add(deadlines[n]).Local()
		s.equal("Commit", s.commit(i), want(i, ""))
	}
	s.commit(Issuance(9)) // never
	due := func(at time.Time, limit int, want ...int) {
		s.Helper()
		all, err := s.d.UnusedSince(s.ctx, at, limit)
		s.wantError("UnusedSince", err, nil)
		var got []string
		for _, i := range all {
			got = append(got, i.CertificateSerial)
		}
		s.equal("UnusedSince", got, serialsOf(want...))
	}
	due(Epoch.Add(-time.Microsecond), 0, 5)
	due(Epoch.Local(), 0, 5, 2, 4)
	due(Epoch.Add(time.Microsecond), 0, 5, 2, 4, 3)
	due(Epoch.Add(time.Hour), 0, 5, 2, 4, 3, 1, 6)
	due(Epoch.Add(time.Hour), 2, 5, 2)
	due(Epoch.Add(time.Hour), 600, 5, 2, 4, 3, 1, 6)

	all, err := s.d.UnusedSince(s.ctx, Epoch, 2)
	s.wantError("UnusedSince", err, nil)
	if len(all) != 2 {
		s.Fatalf("%d identities, want 2", len(all))
	}
	i := Issuance(2)
	i.Identity.RevokeUnusedAt = Epoch
	s.equal("item", all[len(all)-1], want(i, ""))

	s.wantError("MarkUsed", s.d.MarkUsed(s.ctx, serial(5), Epoch.Add(time.Hour)), nil)
	s.revoke(revocation(3, depot.ReasonKeyCompromise))
	s.revoke(revocation(2, depot.ReasonCertificateHold))
	renewal := Issuance(10)
	renewal.Supersedes = serial(4)
	s.commit(renewal) // that it was renewed is no use of it
	s.d = s.reopen()
	due(Epoch.Add(time.Hour), 0, 4, 1, 6)
	s.revoke(revocation(2, depot.ReasonRemoveFromCRL))
	due(Epoch.Add(time.Hour), 0, 2, 4, 1, 6)
	s.revoke(revocation(2, depot.ReasonUnspecified))
	due(Epoch.Add(time.Hour), 0, 4, 1, 6)
}

func (s *suite) supersede() {
	s.commit(Issuance(1))
	s.commit(Issuance(2))
	s.commit(Issuance(3))
	s.commit(Issuance(4))
	renewal := in(Issuance(5), "rac0", "renewal", "device 1")
	for name, test := range map[string]struct {
		old  string
		want error
	}{
		"not there":  {serial(9), depot.ErrNotFound},
		"nonsense":   {"xyz", depot.ErrNotFound},
		"upper-case": {"0A000001", depot.ErrNotFound},
		"itself":     {serial(5), depot.ErrInvalid},
	} {
		renewal.Supersedes = test.old
		_, err := s.d.Commit(s.ctx, renewal)
		s.wantError(name, err, test.want)
	}
	s.revoke(revocation(2, depot.ReasonKeyCompromise))
	s.revoke(revocation(3, depot.ReasonCertificateHold))
	for _, n := range []int{2, 3} {
		renewal.Supersedes = serial(n)
		_, err := s.d.Commit(s.ctx, renewal)
		s.wantError("what is revoked", err, depot.ErrRevoked)
	}
	s.identity(want(Issuance(1), ""))
	s.equal("certificates", len(s.serials(depot.IdentityQuery{})), 4)

	renewal.Supersedes = serial(1)
	s.equal("renewal", s.commit(renewal), want(renewal, serial(1)))
	old := want(Issuance(1), "")
	old.SupersededAt, old.SupersededBy = utc(renewal.Identity.IssuedAt), serial(5)
	for range 2 {
		s.identity(old)
		s.identity(want(renewal, serial(1)))
		s.d = s.reopen()
	}
	s.equal("newest first", s.serials(depot.IdentityQuery{}), serialsOf(5, 4, 3, 2, 1))

	second := Issuance(6)
	second.Supersedes, second.Challenge.ID = serial(1), "ch_6"
	_, err := s.d.Commit(s.ctx, second)
	s.wantError("superseded already", err, depot.ErrTransactionConflict)
	s.identity(old)
	second.Supersedes = serial(5) // a renewal is renewed
	s.commit(second)              // and the refusal spent nothing
	// What was superseded can be revoked.
	r := revocation(1, depot.ReasonSuperseded)
	s.equal("revoke", s.revoke(r), revoked(old, r))
	s.identity(revoked(old, r))
}

// supersedeOrder: what is superseded is looked at after the transaction and
// before the challenge.
func (s *suite) supersedeOrder() {
	first := Issuance(1)
	first.Challenge.ID = "ch_1"
	s.commit(first)
	next := Issuance(2)
	next.Supersedes, next.Challenge.ID = serial(9), "ch_1"
	_, err := s.d.Commit(s.ctx, next)
	s.wantError("not there and spent", err, depot.ErrNotFound)
	next.After = 7
	_, err = s.d.Commit(s.ctx, next)
	s.wantError("not there and a conflict", err, depot.ErrTransactionConflict)
	s.nothingButEvents(1)
}

// laterSteps: what is for later steps cannot be said at issue.
func (s *suite) laterSteps() {
	i := Issuance(1)
	var full depot.Identity
	Fill(&full, 3)
	id := &i.Identity
	id.RevokedAt, id.RevocationReason, id.RevokedBy = full.RevokedAt, string(depot.ReasonCertificateHold), full.RevokedBy
	id.SupersededAt, id.SupersededBy, id.UsedAt = full.SupersededAt, full.SupersededBy, full.UsedAt
	id.RequestID, id.ApprovedBy = full.RequestID, full.ApprovedBy
	id.Void, id.HeldBack = true, true
	s.equal("Commit", s.commit(i), want(Issuance(1), ""))
	s.identity(want(Issuance(1), ""))
	s.equal("revoked", s.revokedSerials(depot.RevokedQuery{IssuerSHA256: i.Identity.IssuerSHA256}), []string(nil))
}
