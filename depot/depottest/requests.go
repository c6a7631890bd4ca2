package depottest

import (
	"fmt"
	"time"

	"understudy.example/understudy/depot"
)

// requestEnds is when the requests of the suite expire.
var requestEnds = Epoch.Add(7 * 24 * time.Hour)

// Request returns a complete pending request with every field filled,
// different for each n, that Issuance(n) could be the answer to: same
// configuration, transaction, message and device. It spends no challenge and
// renews nothing.
func Request(n int) depot.Request {
	var r depot.Request
	Fill(&r, 20_000+n)
	i := Issuance(n)
	r.ID, r.Sequence, r.State = fmt.Sprintf("rq_%d", n), 0, depot.RequestPending
	r.Transaction, r.Transaction.CertificateSerial = i.Transaction, ""
	r.Challenge, r.Supersedes = depot.ChallengeRef{}, ""
	r.ExpiresAt = requestEnds.Local()
	r.DecidedAt, r.DecidedBy, r.Note = time.Time{}, "", ""

	r.Draft = i.Identity
	r.Draft.CertificateSerial, r.Draft.SHA256, r.Draft.DER = "", [32]byte{}, nil
	r.Draft.NotBefore, r.Draft.NotAfter, r.Draft.IssuedAt = time.Time{}, time.Time{}, time.Time{}
	r.Draft.IssuerSHA256, r.Draft.PreviousSerial = [32]byte{}, ""
	return r
}

// requestIn moves a request to another configuration and transaction.
func requestIn(r depot.Request, configurationID, transactionID string) depot.Request {
	r.Draft.ConfigurationID, r.Transaction.ConfigurationID = configurationID, configurationID
	r.Draft.TransactionID, r.Transaction.ID = transactionID, transactionID
	return r
}

// Approval returns a decision that answers a request with Issuance(n), an hour
// after Epoch.
func Approval(r depot.Request, n int) depot.Decision {
	i := in(Issuance(n), r.Transaction.ConfigurationID, r.Transaction.ID, r.Draft.Device.Key)
	i.Transaction = r.Transaction
	i.Transaction.CertificateSerial = i.Identity.CertificateSerial
	i.Challenge, i.Supersedes = r.Challenge, r.Supersedes
	return depot.Decision{RequestID: r.ID, State: depot.RequestApproved, At: Epoch.Add(time.Hour).Local(),
		By: "operator", Note: "known by telephone", Issuance: &i}
}

// Denial returns a decision that refuses a request, an hour after Epoch.
func Denial(r depot.Request) depot.Decision {
	return depot.Decision{RequestID: r.ID, State: depot.RequestDenied, At: Epoch.Add(time.Hour).Local(), By: "operator", Note: "not ours"}
}

// ask stores a request that must be taken, and returns it as it is stored.
func (s *suite) ask(r depot.Request, after uint64, afterRequest string) depot.Request {
	s.Helper()
	if err := s.d.AddRequest(s.ctx, r, after, afterRequest); err != nil {
		s.Fatalf("AddRequest(%s): %v", r.ID, err)
	}
	got, err := s.d.Request(s.ctx, r.ID)
	if err != nil {
		s.Fatalf("Request(%s): %v", r.ID, err)
	}
	return got
}

// decide stores a decision that must be taken.
func (s *suite) decide(d depot.Decision) depot.Request {
	s.Helper()
	r, err := s.d.Decide(s.ctx, d)
	if err != nil {
		s.Fatalf("Decide(%s, %s): %v", d.RequestID, d.State, err)
	}
	return r
}

// request asserts what is stored of a request.
func (s *suite) request(want depot.Request) {
	s.Helper()
	got, err := s.d.Request(s.ctx, want.ID)
	s.wantError("Request "+want.ID, err, nil)
	s.equal("Request "+want.ID, got, want)
}

// lastEvents returns the last n events without their numbers, having seen that
// these rise.
func (s *suite) lastEvents(n int) []depot.Event {
	s.Helper()
	all := s.happened(0)
	if len(all) < n {
		s.Fatalf("%d events, want %d at least", len(all), n)
	}
	all = all[len(all)-n:]
	for k := range all {
		if k > 0 && all[k].Sequence <= all[k-1].Sequence && all[k-1].Sequence != 0 {
			s.Errorf("event %d after %d", all[k].Sequence, all[k-1].Sequence)
		}
	}
	for k := range all {
		all[k].Sequence = 0
	}
	return all
}

func eventOf(what depot.EventType, at time.Time, i depot.Identity) depot.Event {
	return depot.Event{Type: what, At: utc(at), ConfigurationID: i.ConfigurationID, ConfigurationName: i.ConfigurationName,
		CertificateSerial: i.CertificateSerial, DeviceKey: i.Device.Key, TransactionID: i.TransactionID, RequestID: i.RequestID}
}

func (s *suite) requestFind() {
	before := s.commit(in(Issuance(1), "rac0", "transaction 2", "device 2"))
	last, err := s.d.Transaction(s.ctx, "rac0", "transaction 2")
	s.wantError("Transaction", err, nil)
	r := Request(2)
	r.Challenge.ID, r.Supersedes = "ch_2", before.CertificateSerial
	r.Transaction.Sequence = 77 // there is no transaction yet
	want := storedRequest(r)
	want.Transaction.Sequence = 0
	got := s.ask(r, last.Sequence, "")
	if got.Sequence <= last.Sequence {
		s.Errorf("sequence %d after %d", got.Sequence, last.Sequence)
	}
	want.Sequence = got.Sequence
	r.CSR[0], r.Draft.Warnings[0] = 'x', "x"
	got.CSR[0], got.Draft.Warnings[0] = 'x', "x"
	for range 2 {
		s.request(want)
		again, err := s.d.RequestOfTransaction(s.ctx, "rac0", "transaction 2")
		s.wantError("RequestOfTransaction", err, nil)
		s.equal("RequestOfTransaction", again, want)
		s.d = s.reopen()
	}
	e := eventOf(depot.EventRequestPending, want.Transaction.At, want.Draft)
	e.RequestID = "rq_2"
	s.equal("event", s.lastEvents(1), []depot.Event{e})

	now, err := s.d.Transaction(s.ctx, "rac0", "transaction 2")
	s.wantError("Transaction", err, nil)
	s.equal("Transaction", now, last)
	s.equal("certificates", len(s.serials(depot.IdentityQuery{})), 1)
	_, err = s.d.TransactionOfMessage(s.ctx, r.Transaction.MessageSHA256)
	s.wantError("TransactionOfMessage", err, depot.ErrNotFound)
	i := Issuance(3) // what a request will spend is not spent
	i.Challenge.ID = "ch_2"
	s.commit(i)
}

func (s *suite) requestNotFound() {
	s.ask(Request(1), 0, "")
	for _, id := range []string{"", "rq_", "rq_11", "RQ_1", "1"} {
		_, err := s.d.Request(s.ctx, id)
		s.wantError("Request "+id, err, depot.ErrNotFound)
		_, err = s.d.Decide(s.ctx, depot.Decision{RequestID: "rq_9" + id, State: depot.RequestDenied, At: Epoch})
		s.wantError("Decide", err, depot.ErrNotFound)
	}
	for _, key := range [][2]string{{"rac0", "transaction 9"}, {"rac1", "transaction 1"}, {"rac", "0transaction 1"}, {"rac0", "transaction"}, {"", ""}} {
		_, err := s.d.RequestOfTransaction(s.ctx, key[0], key[1])
		s.wantError("RequestOfTransaction", err, depot.ErrNotFound)
	}
}

func (s *suite) requestInvalid() {
	for name, spoil := range map[string]func(*depot.Request){
		"no id":                 func(r *depot.Request) { r.ID = "" },
		"no state":              func(r *depot.Request) { r.State = "" },
		"approved":              func(r *depot.Request) { r.State = depot.RequestApproved },
		"decided":               func(r *depot.Request) { r.DecidedAt = Epoch },
		"no configuration":      func(r *depot.Request) { *r = requestIn(*r, "", r.Transaction.ID) },
		"no transactionID":      func(r *depot.Request) { *r = requestIn(*r, "rac0", "") },
		"another configuration": func(r *depot.Request) { r.Draft.ConfigurationID = "rac1" },
		"another transaction":   func(r *depot.Request) { r.Draft.TransactionID = "x" },
		"no message":            func(r *depot.Request) { r.Transaction.MessageSHA256 = [32]byte{} },
		"a certificate":         func(r *depot.Request) { r.Transaction.CertificateSerial = "0a" },
		"DER":                   func(r *depot.Request) { r.Draft.DER = []byte("x") },
		"no CSR":                func(r *depot.Request) { r.CSR = nil },
		"no end":                func(r *depot.Request) { r.ExpiresAt = time.Time{} },
	} {
		r := Request(1)
		spoil(&r)
		s.wantError(name, s.d.AddRequest(s.ctx, r, 0, ""), depot.ErrInvalid)
	}
	for _, q := range []depot.RequestQuery{{State: depot.RequestPending}, {State: "waiting", Now: Epoch}} {
		_, err := s.d.Requests(s.ctx, q)
		s.wantError("Requests", err, depot.ErrInvalid)
	}
	s.nothingButEvents(0)
}

func (s *suite) requestConflict() {
	s.commit(in(Issuance(1), "rac0", "same", "device"))
	last, err := s.d.Transaction(s.ctx, "rac0", "same")
	s.wantError("Transaction", err, nil)
	first := requestIn(Request(2), "rac0", "same")
	refused := func(what string, r depot.Request, after uint64, afterRequest string, want error) {
		s.Helper()
		s.wantError(what, s.d.AddRequest(s.ctx, r, after, afterRequest), want)
	}
	refused("after is 0", first, 0, "", depot.ErrTransactionConflict)
	refused("after is too high", first, last.Sequence+1, "", depot.ErrTransactionConflict)
	refused("afterRequest is not there", first, last.Sequence, "rq_2", depot.ErrTransactionConflict)
	answered := first
	answered.Transaction.MessageSHA256 = Issuance(1).Transaction.MessageSHA256
	refused("message was answered", answered, last.Sequence, "", depot.ErrTransactionConflict)
	s.nothingButEvents(1)
	s.ask(first, last.Sequence, "")

	second := requestIn(Request(3), "rac0", "same")
	refused("afterRequest is empty", second, last.Sequence, "", depot.ErrTransactionConflict)
	refused("afterRequest is another", second, last.Sequence, "rq_3", depot.ErrTransactionConflict)
	elsewhere := requestIn(Request(4), "rac1", "other")
	elsewhere.Transaction.MessageSHA256 = first.Transaction.MessageSHA256
	refused("message waits", elsewhere, 0, "", depot.ErrTransactionConflict)
	taken := requestIn(Request(4), "rac1", "other")
	taken.ID = first.ID
	refused("id is taken", taken, 0, "", depot.ErrExists)
	taken.Transaction.MessageSHA256 = first.Transaction.MessageSHA256
	refused("message waits and id is taken", taken, 0, "", depot.ErrTransactionConflict)

	s.decide(Denial(first))
	refused("message was denied", elsewhere, 0, "", depot.ErrTransactionConflict)
	s.ask(second, last.Sequence, first.ID) // whatever became of the one before
	s.d = s.reopen()
	refused("message waits, reopened", elsewhere, 0, "", depot.ErrTransactionConflict)
	refused("afterRequest is old", requestIn(Request(5), "rac0", "same"), last.Sequence, first.ID, depot.ErrTransactionConflict)
	got, err := s.d.RequestOfTransaction(s.ctx, "rac0", "same")
	s.wantError("RequestOfTransaction", err, nil)
	s.equal("last request", got.ID, second.ID)
	// Neighbours in the index are other transactions.
	for n, key := range [][2]string{{"rac0", "sam"}, {"rac0", "same "}, {"rac0s", "ame"}, {"rac", "0same"}, {"rac1", "same"}} {
		s.ask(requestIn(Request(20+n), key[0], key[1]), 0, "")
	}
	got, err = s.d.RequestOfTransaction(s.ctx, "rac0", "same")
	s.wantError("RequestOfTransaction", err, nil)
	s.equal("last request", got.ID, second.ID)
}

// requestIDs lists the ids of all pages.
func (s *suite) requestIDs(q depot.RequestQuery) []string {
	s.Helper()
	var all []string
	for range maxPages {
		page, err := s.d.Requests(s.ctx, q)
		if err != nil {
			s.Fatalf("Requests(%+v): %v", q, err)
		}
		for _, r := range page.Items {
			all = append(all, r.ID)
		}
		if q.Cursor = page.NextCursor; q.Cursor == "" {
			return all
		}
		if len(page.Items) != depot.PageLimit(q.Limit) {
			s.Errorf("a page of %d, and there are more", len(page.Items))
		}
	}
	s.Fatalf("Requests(%+v) does not end", q)
	return nil
}

func (s *suite) requestList() {
	s.equal("requests of an empty depot", s.requestIDs(depot.RequestQuery{}), []string(nil))
	for _, n := range []int{3, 1, 4, 2, 5} {
		r := Request(n)
		if n == 4 {
			r = requestIn(r, "rac1", "x")
		}
		if n == 5 {
			r.ExpiresAt = Epoch.Add(time.Minute)
		}
		s.ask(r, 0, "")
	}
	s.decide(Approval(Request(3), 3))
	denied := s.decide(Denial(Request(1)))
	for limit := range 7 {
		s.equal(fmt.Sprintf("limit %d", limit), s.requestIDs(depot.RequestQuery{Limit: limit}), []string{"rq_5", "rq_2", "rq_4", "rq_1", "rq_3"})
	}
	for _, q := range []struct {
		configuration string
		state         depot.RequestState
		now           time.Time
		want          []string
	}{
		{"rac1", "", time.Time{}, []string{"rq_4"}},
		{"rac2", "", time.Time{}, nil},
		{"", depot.RequestPending, Epoch.Add(time.Minute - time.Microsecond), []string{"rq_5", "rq_2", "rq_4"}},
		{"", depot.RequestPending, Epoch.Add(time.Minute).Local(), []string{"rq_2", "rq_4"}},
		{"rac0", depot.RequestPending, Epoch.Add(time.Minute), []string{"rq_2"}},
		{"", depot.RequestPending, requestEnds, nil},
		{"", depot.RequestExpired, Epoch.Add(time.Minute - time.Microsecond), nil},
		{"", depot.RequestExpired, Epoch.Add(time.Minute), []string{"rq_5"}},
		{"", depot.RequestExpired, requestEnds, []string{"rq_5", "rq_2", "rq_4"}},
		{"", depot.RequestApproved, requestEnds, []string{"rq_3"}},
		{"", depot.RequestDenied, Epoch, []string{"rq_1"}},
	} {
		for limit := range 3 {
			s.equal(fmt.Sprintf("%+v", q), s.requestIDs(depot.RequestQuery{ConfigurationID: q.configuration, State: q.state, Now: q.now, Limit: limit}), q.want)
		}
	}
	page, err := s.d.Requests(s.ctx, depot.RequestQuery{Limit: 3})
	s.wantError("Requests", err, nil)
	s.decide(Approval(Request(2), 2))
	s.ask(Request(6), 0, "")
	s.equal("the rest after a change", s.requestIDs(depot.RequestQuery{Cursor: page.NextCursor}), []string{"rq_1", "rq_3"})
	s.d = s.reopen()
	s.equal("the rest after reopening", s.requestIDs(depot.RequestQuery{Cursor: page.NextCursor}), []string{"rq_1", "rq_3"})
	rest, err := s.d.Requests(s.ctx, depot.RequestQuery{Cursor: page.NextCursor, Limit: 1})
	s.wantError("Requests", err, nil)
	s.equal("item", rest.Items, []depot.Request{denied})
	for _, cursor := range []string{"x", page.NextCursor + "x", page.NextCursor[1:]} {
		_, err := s.d.Requests(s.ctx, depot.RequestQuery{Cursor: cursor})
		s.wantError("cursor "+cursor, err, depot.ErrCursor)
	}
	_, err = s.d.Identities(s.ctx, depot.IdentityQuery{Cursor: page.NextCursor})
	s.wantError("cursor of another list", err, depot.ErrCursor)
}

// approved is what a request and its certificate become.
func approved(r depot.Request, d depot.Decision) (depot.Request, depot.Identity) {
	id := want(*d.Issuance, "")
	id.RequestID, id.ApprovedBy = r.ID, d.By
	r.State, r.DecidedAt, r.DecidedBy, r.Note = depot.RequestApproved, utc(d.At), d.By, d.Note
	r.Transaction.CertificateSerial = id.CertificateSerial
	return r, id
}

func (s *suite) approve() {
	asked := Request(1)
	asked.Challenge.ID = "ch_1"
	asked = s.ask(asked, 0, "")
	d := Approval(asked, 1)
	d.Issuance.Identity.RequestID, d.Issuance.Identity.ApprovedBy = "rq_7", "somebody"
	d.Issuance.Identity.RevokedAt = Epoch // is for a later step
	r, id := approved(asked, d)
	id = id.AtIssue()
	s.equal("Decide", s.decide(d), r)
	d.Issuance.Identity.DER[0] = 'x'

	for range 2 {
		s.request(r)
		got, err := s.d.Identity(s.ctx, id.CertificateSerial)
		s.wantError("Identity", err, nil)
		s.equal("Identity", got, id)
		t, err := s.d.Transaction(s.ctx, "rac0", "transaction 1")
		s.wantError("Transaction", err, nil)
		expected := r.Transaction
		expected.Sequence = t.Sequence
		s.equal("Transaction", t, expected)
		s.equal("certificates", s.serials(depot.IdentityQuery{}), serialsOf(1))
		s.equal("certificates of the device", s.serials(depot.IdentityQuery{ConfigurationID: "rac0", DeviceKey: "device 1"}), serialsOf(1))
		// Whoever compares both sees that the request came first.
		if t.Sequence <= r.Sequence {
			s.Errorf("transaction %d, its request %d", t.Sequence, r.Sequence)
		}
		pending := eventOf(depot.EventRequestPending, r.Transaction.At, r.Draft)
		pending.RequestID = r.ID
		s.equal("events", s.lastEvents(3), []depot.Event{pending,
			eventOf(depot.EventCertificateIssued, id.IssuedAt, id), eventOf(depot.EventRequestApproved, d.At, id)})
		again, denial := Approval(asked, 2), Denial(asked)
		_, err = s.d.Decide(s.ctx, again)
		s.wantError("approve again", err, depot.ErrDecided)
		_, err = s.d.Decide(s.ctx, denial)
		s.wantError("deny what is approved", err, depot.ErrDecided)
		i := Issuance(5)
		i.Challenge.ID = "ch_1"
		_, err = s.d.Commit(s.ctx, i)
		s.wantError("challenge of the request", err, depot.ErrChallengeSpent)
		s.d = s.reopen()
	}
}

func (s *suite) deny() {
	asked := Request(1)
	asked.Challenge.ID = "ch_1"
	asked = s.ask(asked, 0, "")
	d := Denial(asked)
	r := asked
	r.State, r.DecidedAt, r.DecidedBy, r.Note = depot.RequestDenied, utc(d.At), d.By, d.Note
	s.equal("Decide", s.decide(d), r)
	s.d = s.reopen()
	s.request(r)
	e := eventOf(depot.EventRequestDenied, d.At, r.Draft)
	e.RequestID = r.ID
	s.equal("event", s.lastEvents(1), []depot.Event{e})
	s.equal("certificates", len(s.serials(depot.IdentityQuery{})), 0)
	_, err := s.d.Transaction(s.ctx, "rac0", "transaction 1")
	s.wantError("Transaction", err, depot.ErrNotFound)
	_, err = s.d.Decide(s.ctx, d)
	s.wantError("deny again", err, depot.ErrDecided)
	_, err = s.d.Decide(s.ctx, Approval(asked, 1))
	s.wantError("approve what is denied", err, depot.ErrDecided)
	i := Issuance(5)
	i.Challenge.ID = "ch_1" // was not spent
	s.commit(i)
}

func (s *suite) decideRefused() {
	old := s.commit(Issuance(9))
	asked := Request(1)
	asked.Challenge.ID, asked.Supersedes = "ch_1", old.CertificateSerial
	asked = s.ask(asked, 0, "")
	for name, test := range map[string]struct {
		spoil func(*depot.Decision)
		want  error
	}{
		"no request":                   {func(d *depot.Decision) { d.RequestID = "" }, depot.ErrInvalid},
		"unknown request":              {func(d *depot.Decision) { d.RequestID = "rq_2" }, depot.ErrNotFound},
		"no time":                      {func(d *depot.Decision) { d.At = time.Time{} }, depot.ErrInvalid},
		"pending":                      {func(d *depot.Decision) { d.State = depot.RequestPending }, depot.ErrInvalid},
		"expired":                      {func(d *depot.Decision) { d.State = depot.RequestExpired }, depot.ErrInvalid},
		"approved without issuance":    {func(d *depot.Decision) { d.Issuance = nil }, depot.ErrInvalid},
		"denied with issuance":         {func(d *depot.Decision) { d.State = depot.RequestDenied }, depot.ErrInvalid},
		"issuance that is not valid":   {func(d *depot.Decision) { d.Issuance.Identity.DER = nil }, depot.ErrInvalid},
		"after the end":                {func(d *depot.Decision) { d.At = requestEnds.Add(time.Hour) }, depot.ErrDecided},
		"at the end":                   {func(d *depot.Decision) { d.At = requestEnds.Local() }, depot.ErrDecided},
		"at the end and for another":   {func(d *depot.Decision) { d.At, d.Issuance.Supersedes = requestEnds, "" }, depot.ErrDecided},
		"issuance of another message":  {func(d *depot.Decision) { d.Issuance.Transaction.MessageSHA256 = hashOf("message", 5) }, depot.ErrInvalid},
		"issuance of another key":      {func(d *depot.Decision) { d.Issuance.Transaction.PublicKeySHA256 = hashOf("key", 5) }, depot.ErrInvalid},
		"issuance of another CSR":      {func(d *depot.Decision) { d.Issuance.Transaction.CSRSHA256 = hashOf("CSR", 5) }, depot.ErrInvalid},
		"issuance of another signer":   {func(d *depot.Decision) { d.Issuance.Transaction.SignerSHA256 = hashOf("signer", 5) }, depot.ErrInvalid},
		"issuance of another type":     {func(d *depot.Decision) { d.Issuance.Transaction.MessageType = "17" }, depot.ErrInvalid},
		"issuance that spends nothing": {func(d *depot.Decision) { d.Issuance.Challenge.ID = "" }, depot.ErrInvalid},
		"issuance that renews nothing": {func(d *depot.Decision) { d.Issuance.Supersedes = "" }, depot.ErrInvalid},
		"issuance of another transaction": {func(d *depot.Decision) {
			*d.Issuance = in(*d.Issuance, "rac0", "other", "device")
		}, depot.ErrInvalid},
		"issuance of another configuration": {func(d *depot.Decision) {
			*d.Issuance = in(*d.Issuance, "rac1", "transaction 1", "device")
		}, depot.ErrInvalid},
		"after another transaction": {func(d *depot.Decision) { d.Issuance.After = 7 }, depot.ErrTransactionConflict},
		"serial is taken": {func(d *depot.Decision) {
			d.Issuance.Identity.CertificateSerial, d.Issuance.Transaction.CertificateSerial = "0b", "0b"
			d.Issuance.Identity.SHA256 = Issuance(9).Identity.SHA256
		}, depot.ErrExists},
	} {
		d := Approval(asked, 1)
		test.spoil(&d)
		_, err := s.d.Decide(s.ctx, d)
		s.wantError(name, err, test.want)
	}
	late := Denial(asked)
	late.At = requestEnds
	_, err := s.d.Decide(s.ctx, late)
	s.wantError("denied at the end", err, depot.ErrDecided)
	s.request(asked)
	s.equal("certificates", s.serials(depot.IdentityQuery{}), serialsOf(9))

	last := Approval(asked, 1) // none of these spent, renewed or decided anything
	last.At = requestEnds.Add(-time.Microsecond)
	s.decide(last)
	id, err := s.d.Identity(s.ctx, old.CertificateSerial)
	s.wantError("Identity", err, nil)
	s.equal("SupersededBy", id.SupersededBy, serial(1))
}

// decideOvertaken: what happened since the request was stored speaks against
// approving it.
func (s *suite) decideOvertaken() {
	s.commit(in(Issuance(1), "rac0", "transaction 2", "device"))
	before, err := s.d.Transaction(s.ctx, "rac0", "transaction 2")
	s.wantError("Transaction", err, nil)
	asked := Request(2)
	asked.Challenge.ID = "ch_2"
	asked = s.ask(asked, before.Sequence, "")
	d := Approval(asked, 2)
	_, err = s.d.Decide(s.ctx, d)
	s.wantError("After is 0", err, depot.ErrTransactionConflict)

	spends := Issuance(3)
	spends.Challenge.ID = "ch_2"
	s.commit(spends)
	d.Issuance.After = before.Sequence
	_, err = s.d.Decide(s.ctx, d)
	s.wantError("challenge was spent meanwhile", err, depot.ErrChallengeSpent)

	// The configuration was switched to automatic approval.
	s.commitAfter(in(Issuance(4), "rac0", "transaction 2", "device"))
	now, err := s.d.Transaction(s.ctx, "rac0", "transaction 2")
	s.wantError("Transaction", err, nil)
	for _, after := range []uint64{0, before.Sequence, now.Sequence} {
		d.Issuance.After = after
		_, err = s.d.Decide(s.ctx, d)
		s.wantError(fmt.Sprintf("another certificate, After %d", after), err, depot.ErrTransactionConflict)
	}
	s.request(asked)
	s.equal("certificates", s.serials(depot.IdentityQuery{}), serialsOf(4, 3, 1))
	s.decide(Denial(asked))

	// The transaction goes on all the same.
	next := s.ask(requestIn(Request(5), "rac0", "transaction 2"), now.Sequence, asked.ID)
	d = Approval(next, 5)
	d.Issuance.After = now.Sequence
	s.decide(d)

	// The very message was answered meanwhile, in another configuration.
	asked = s.ask(Request(6), 0, "")
	same := in(Issuance(7), "rac1", "other", "device")
	same.Transaction.MessageSHA256 = asked.Transaction.MessageSHA256
	s.commit(same)
	_, err = s.d.Decide(s.ctx, Approval(asked, 6))
	s.wantError("message was answered meanwhile", err, depot.ErrTransactionConflict)
}
