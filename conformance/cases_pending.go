package conformance

import (
	"understudy.example/understudy/scep/client"
	"understudy.example/understudy/scep/client/craft"
)

func pendingCases() []Case {
	return []Case{
		{Number: 57, Section: "3.3.2.3", Title: "a request that must be approved is PENDING, with empty content", run: isPending},
		{Number: 58, Section: "3.3.3, 4.4", Title: "CertPoll: PENDING while open, SUCCESS when approved, FAILURE when denied", run: polls},
		{Number: 59, Section: "4.4", Title: "CertPoll for an unknown transaction is FAILURE badCertId or badRequest", run: pollsUnknown},
		{Number: 60, Section: "5.2", Title: "CertPoll again after SUCCESS gives the same certificate", run: pollsAgain},
		{Number: 61, Section: "5.2", Title: "PKCSReq repeated while PENDING is PENDING (scepclient)", run: repeatsWhilePending},
		{Number: 62, Section: "4.4", Title: "CertPoll signed by another key is FAILURE", run: strangerPolls},
	}
}

// waiting sends a request that has to wait. The case does not apply when the
// server decides at once.
func (t *trial) pendingRequest() (*craft.Request, answer) {
	r := t.request()
	a := t.send(r)
	if a.is(client.Success) {
		t.notApplicable("the server decides at once")
	}
	if !t.expect("an honest request", a, pending) {
		panic(ended{})
	}
	return r, a
}

// needHooks ends the case when somebody is missing.
func (t *trial) needHook(name string, there bool) {
	if !there {
		t.notApplicable("there is no %s", name)
	}
}

func isPending(t *trial) {
	_, a := t.pendingRequest()
	t.withoutEnvelope(a)
}

func polls(t *trial) {
	r, _ := t.pendingRequest()
	t.needHook("--approve", t.o.Operator.Approve != nil)
	t.needHook("--deny", t.o.Operator.Deny != nil)
	waits := t.expectation(r)
	t.expect("open", t.poll(waits), pending)
	t.must("--approve", t.o.Operator.Approve(t.ctx, waiting(waits)))
	t.expect("approved", t.pollUntilDecided(waits), success)

	r, _ = t.pendingRequest()
	waits = t.expectation(r)
	t.must("--deny", t.o.Operator.Deny(t.ctx, waiting(waits)))
	t.expect("denied", t.pollUntilDecided(waits), badRequest)
}

func pollsUnknown(t *trial) {
	r := t.request() // is never sent
	t.expect("CertPoll", t.poll(t.expectation(r)), failure(client.BadCertID, client.BadRequest))
}

func pollsAgain(t *trial) {
	r, _ := t.pendingRequest()
	t.needHook("--approve", t.o.Operator.Approve != nil)
	waits := t.expectation(r)
	t.must("--approve", t.o.Operator.Approve(t.ctx, waiting(waits)))
	first := t.pollUntilDecided(waits)
	if !t.expect("approved", first, success) {
		return
	}
	second := t.poll(waits)
	if t.expect("again", second, success) {
		t.check("its certificate", serial(first), serial(second), second.reply.Certificate.Equal(first.reply.Certificate))
	}
}

func repeatsWhilePending(t *trial) {
	r, _ := t.pendingRequest()
	raw := t.encode(r)
	t.expect("again, in a new message", t.sendRaw(r, raw), pending)
	t.expect("and in the same bytes", t.sendRaw(r, raw), pending)
	if t.o.Operator.Deny == nil {
		return
	}
	waits := t.expectation(r)
	t.must("--deny", t.o.Operator.Deny(t.ctx, waiting(waits)))
	t.expect("denied: one transaction, one decision", t.pollUntilDecided(waits), badRequest)
}

func strangerPolls(t *trial) {
	r, _ := t.pendingRequest()
	key, err := t.otherKey()
	t.must("a key", err)
	stranger := t.expectation(r)
	stranger.Signer, stranger.SignerKey = t.signer(key), key
	t.expect("while it is open", t.poll(stranger), anyFailure)
	if t.o.Operator.Approve == nil {
		return
	}
	waits := t.expectation(r)
	t.must("--approve", t.o.Operator.Approve(t.ctx, waiting(waits)))
	t.expect("approved, the owner", t.pollUntilDecided(waits), success)
	t.expect("approved, the stranger", t.poll(stranger), anyFailure)
}
