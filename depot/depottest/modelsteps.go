package depottest

import (
	"fmt"
	"time"

	"pgregory.net/rapid"
	"understudy.example/understudy/depot"
)

func (m *machine) issuer(n int) [32]byte { return hashOf("issuer of run", m.run*10+n) }

// deadline returns one of few times that lie before those of all earlier runs,
// so that what these left unused is behind.
func (m *machine) deadline(n int) time.Time {
	return Epoch.Add(-time.Duration(m.run)*1000*time.Hour + time.Duration(n)*time.Hour)
}

// drawSerial returns the certificate serial of an issuance of this run, which
// may have been refused.
func (m *machine) drawSerial(t *rapid.T) string {
	return serial(m.run*1000 + small(t, "which certificate", m.serial+m.asked+1))
}

func (m *machine) sameIdentity(t *rapid.T, certificateSerial string) {
	got, err := m.d.Identity(m.ctx, certificateSerial)
	expected, modelErr := m.model.Identity(m.ctx, certificateSerial)
	m.sameError(t, "Identity", err, modelErr)
	m.same(t, "Identity", got, expected)
}

// ask adds a request to one of few transactions.
func (m *machine) ask(t *rapid.T) {
	m.asked++
	r := requestIn(Request(m.run*1000+500+m.asked), m.name("rac", small(t, "configuration", 2)), fmt.Sprint("transaction ", small(t, "transaction", 4)))
	r.Draft.Device.Key = fmt.Sprint("device ", small(t, "device", 3))
	r.ID = m.name("rq", small(t, "id", 2*m.asked))
	r.ExpiresAt = Epoch.Add(time.Duration(small(t, "expires", 4)) * time.Hour)
	if small(t, "has challenge", 2) == 1 {
		r.Challenge.ID = m.name("ch", small(t, "challenge", 8))
	}
	if small(t, "renews", 4) == 0 {
		r.Supersedes = m.drawSerial(t)
	}
	if small(t, "repeat message", 6) == 0 {
		r.Transaction.MessageSHA256 = hashOf("message", m.run*1000+small(t, "message", 500+m.asked))
	}
	key := r.Transaction.ConfigurationID + r.Transaction.ID
	seen := m.after[key]
	last, err := m.model.RequestOfTransaction(m.ctx, r.Transaction.ConfigurationID, r.Transaction.ID)
	if err != nil || small(t, "forget the request", 6) == 0 {
		last.ID = ""
	}
	m.sameError(t, "AddRequest", m.d.AddRequest(m.ctx, r, seen[0], last.ID), m.model.AddRequest(m.ctx, r, seen[1], last.ID))
	m.sameRequest(t, r)
}

// sameRequest compares a request by its id and by its transaction.
func (m *machine) sameRequest(t *rapid.T, r depot.Request) {
	got, err := m.d.Request(m.ctx, r.ID)
	expected, modelErr := m.model.Request(m.ctx, r.ID)
	m.sameError(t, "Request", err, modelErr)
	m.same(t, "Request", got, expected)
	got, err = m.d.RequestOfTransaction(m.ctx, r.Transaction.ConfigurationID, r.Transaction.ID)
	expected, modelErr = m.model.RequestOfTransaction(m.ctx, r.Transaction.ConfigurationID, r.Transaction.ID)
	m.sameError(t, "RequestOfTransaction", err, modelErr)
	m.same(t, "RequestOfTransaction", got, expected)
}

// decideOne approves or denies one of the requests, pending or not.
func (m *machine) decideOne(t *rapid.T) {
	if m.asked == 0 {
		return
	}
	r, err := m.model.Request(m.ctx, m.name("rq", small(t, "id", 2*m.asked)))
	if err != nil {
		return
	}
	d, theirs := Denial(r), Denial(r)
	seen := m.after[r.Transaction.ConfigurationID+r.Transaction.ID]
	if small(t, "approve", 3) > 0 {
		m.serial++
		n := m.run*1000 + m.serial
		if small(t, "serial is taken", 8) == 0 {
			n--
		}
		d, theirs = Approval(r, n), Approval(r, n)
		d.Issuance.Identity.IssuerSHA256, theirs.Issuance.Identity.IssuerSHA256 = m.issuer(0), m.issuer(0)
		m.holdBack(t, d.Issuance)
		theirs.Issuance.HoldBack, theirs.Issuance.CSR = d.Issuance.HoldBack, d.Issuance.CSR
		d.Issuance.After, theirs.Issuance.After = seen[0], seen[1]
	}
	d.At = Epoch.Add(time.Duration(small(t, "at", 4)) * time.Hour)
	theirs.At = d.At
	got, err := m.d.Decide(m.ctx, d)
	expected, modelErr := m.model.Decide(m.ctx, theirs)
	if m.sameError(t, "Decide", err, modelErr) {
		m.same(t, "Decide", got, expected)
	}
	m.sameRequest(t, r)
	m.see(t, r.Transaction)
	if d.Issuance != nil {
		m.sameIdentity(t, d.Issuance.Identity.CertificateSerial)
	}
}

func (m *machine) listRequests(t *rapid.T) {
	q := depot.RequestQuery{ConfigurationID: m.name("rac", small(t, "configuration", 2)), Limit: 1 + small(t, "limit", 3),
		State: rapid.SampledFrom([]depot.RequestState{"", depot.RequestPending, depot.RequestApproved, depot.RequestDenied, depot.RequestExpired}).Draw(t, "state"),
		Now:   Epoch.Add(time.Duration(small(t, "now", 4)) * time.Hour)}
	ours, theirs := q, q
	for range maxPages {
		got, err := m.d.Requests(m.ctx, ours)
		expected, modelErr := m.model.Requests(m.ctx, theirs)
		m.sameError(t, "Requests", err, modelErr)
		m.same(t, fmt.Sprintf("Requests(%+v)", q), got.Items, expected.Items)
		m.same(t, "there is another page", got.NextCursor != "", expected.NextCursor != "")
		if ours.Cursor, theirs.Cursor = got.NextCursor, expected.NextCursor; ours.Cursor == "" {
			return
		}
	}
	t.Fatalf("Requests(%+v) does not end", q)
}

func (m *machine) revokeOne(t *rapid.T) {
	r := depot.Revocation{CertificateSerial: m.drawSerial(t), By: "somebody", Note: "a note",
		At: Epoch.Add(time.Duration(small(t, "at", 4)) * time.Hour),
		Reason: rapid.SampledFrom([]depot.RevocationReason{depot.ReasonKeyCompromise, depot.ReasonCertificateHold, depot.ReasonCertificateHold,
			depot.ReasonRemoveFromCRL, depot.ReasonRemoveFromCRL, depot.ReasonSuperseded}).Draw(t, "reason")}
	got, err := m.d.Revoke(m.ctx, r)
	expected, modelErr := m.model.Revoke(m.ctx, r)
	if m.sameError(t, "Revoke", err, modelErr) {
		m.same(t, "Revoke", got, expected)
	}
	m.sameIdentity(t, r.CertificateSerial)
}

func (m *machine) useOne(t *rapid.T) {
	which, at := m.drawSerial(t), Epoch.Add(time.Duration(small(t, "at", 4))*time.Hour)
	m.sameError(t, "MarkUsed", m.d.MarkUsed(m.ctx, which, at), m.model.MarkUsed(m.ctx, which, at))
	m.sameIdentity(t, which)
}

func (m *machine) listRevoked(t *rapid.T) {
	q := depot.RevokedQuery{IssuerSHA256: m.issuer(small(t, "issuer", 2)), Limit: 1 + small(t, "limit", 3)}
	if small(t, "from", 2) == 1 {
		q.NotAfterFrom = Epoch.Add(time.Duration(small(t, "not after from", 5)) * time.Hour)
	}
	ours, theirs := q, q
	for range maxPages {
		got, err := m.d.Revoked(m.ctx, ours)
		expected, modelErr := m.model.Revoked(m.ctx, theirs)
		m.sameError(t, "Revoked", err, modelErr)
		m.same(t, fmt.Sprintf("Revoked(%+v)", q), got.Items, expected.Items)
		m.same(t, "there is another page", got.NextCursor != "", expected.NextCursor != "")
		if ours.Cursor, theirs.Cursor = got.NextCursor, expected.NextCursor; ours.Cursor == "" {
			return
		}
	}
	t.Fatalf("Revoked(%+v) does not end", q)
}

func (m *machine) listUnused(t *rapid.T) {
	at, limit := m.deadline(small(t, "at", 3)), 1+small(t, "limit", 5)
	got, err := m.d.UnusedSince(m.ctx, at, limit)
	expected, modelErr := m.model.UnusedSince(m.ctx, at, limit)
	m.sameError(t, "UnusedSince", err, modelErr)
	m.same(t, "UnusedSince", got, expected)
}

func (m *machine) number(t *rapid.T) {
	issuer, atLeast := m.issuer(small(t, "issuer", 2)), uint64(small(t, "at least", 9))
	got, err := m.d.TakeCRLNumber(m.ctx, issuer, atLeast)
	expected, modelErr := m.model.TakeCRLNumber(m.ctx, issuer, atLeast)
	m.sameError(t, "TakeCRLNumber", err, modelErr)
	m.same(t, "TakeCRLNumber", got, expected)
	got, err = m.d.LastCRLNumber(m.ctx, issuer)
	m.sameError(t, "LastCRLNumber", err, nil)
	m.same(t, "LastCRLNumber", got, expected)
}

func (m *machine) listDevices(t *rapid.T) {
	l := deviceList(small(t, "list", 3))
	l.ConfigurationID = m.name("rac", small(t, "id", 3))
	if small(t, "remove", 3) == 0 {
		m.sameError(t, "RemoveDeviceList", m.d.RemoveDeviceList(m.ctx, l.ConfigurationID, "by", Epoch),
			m.model.RemoveDeviceList(m.ctx, l.ConfigurationID, "by", Epoch))
	} else {
		m.sameError(t, "SetDeviceList", m.d.SetDeviceList(m.ctx, l), m.model.SetDeviceList(m.ctx, l))
	}
	got, err := m.d.DeviceList(m.ctx, l.ConfigurationID)
	expected, modelErr := m.model.DeviceList(m.ctx, l.ConfigurationID)
	m.sameError(t, "DeviceList", err, modelErr)
	m.same(t, "DeviceList", got, expected)
}
