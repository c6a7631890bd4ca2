package depottest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"understudy.example/understudy/depot"
)

// racers is how many ask for the same thing at once.
const racers = 16

// race commits what change makes of an issuance, from all racers at once, and
// returns how many were taken; the others must have got the error.
func (s *suite) race(first int, refusal error, change func(*depot.Issuance)) (taken int) {
	s.Helper()
	errs := make([]error, racers)
	var wait sync.WaitGroup
	for r := range racers {
		wait.Go(func() {
			i := Issuance(first + r)
			change(&i)
			_, errs[r] = s.d.Commit(s.ctx, i)
		})
	}
	wait.Wait()
	for _, err := range errs {
		if err == nil {
			taken++
		} else if !errors.Is(err, refusal) {
			s.Errorf("racer: error %v, want %v", err, refusal)
		}
	}
	return taken
}

func (s *suite) commitRace() {
	for round := range 5 {
		name := fmt.Sprintf("round %d", round)
		n := s.race(round*racers, depot.ErrTransactionConflict, func(i *depot.Issuance) {
			*i = in(*i, "rac0", name, "device")
		})
		if n != 1 {
			s.Errorf("transaction: %d of %d racers were taken, want 1", n, racers)
		}
	}
	n := s.race(1000, depot.ErrExists, func(i *depot.Issuance) {
		i.Identity.CertificateSerial = "0b"
		*i = in(*i, "rac0", i.Transaction.ID, "device")
	})
	if n != 1 {
		s.Errorf("certificate serial: %d of %d racers were taken, want 1", n, racers)
	}
	s.equal("certificates", len(s.serials(depot.IdentityQuery{})), 6)
	device, err := s.d.Device(s.ctx, "rac0", "device")
	s.wantError("Device", err, nil)
	s.equal("certificates of the device", device.Certificates, 6)
}

func (s *suite) challengeRace() {
	for round := range 5 {
		n := s.race(round*racers, depot.ErrChallengeSpent, func(i *depot.Issuance) {
			i.Challenge.ID = fmt.Sprintf("ch_%d", round)
		})
		if n != 1 {
			s.Errorf("challenge: %d of %d racers were taken, want 1", n, racers)
		}
	}
	s.equal("certificates", len(s.serials(depot.IdentityQuery{})), 5)
}

// oneBadStep sends good and bad steps at once: whoever is stored together with
// a bad one is stored all the same.
func (s *suite) oneBadStep() {
	s.commit(Issuance(0))
	errs := make([]error, 4*racers)
	var wait sync.WaitGroup
	for r := range errs {
		wait.Go(func() {
			i := Issuance(r + 1)
			if r%2 == 0 {
				i.Identity.SHA256 = Issuance(0).Identity.SHA256
			}
			_, errs[r] = s.d.Commit(s.ctx, i)
		})
	}
	wait.Wait()
	for r, err := range errs {
		expected := error(nil)
		if r%2 == 0 {
			expected = depot.ErrExists
		}
		s.wantError(fmt.Sprintf("step %d", r), err, expected)
	}
	s.nothingButEvents(1 + 2*racers)
}

// compete runs one function for each racer at once and returns how many were
// taken; the others must have got the error.
func (s *suite) compete(refusal error, run func(r int) error) (taken int) {
	s.Helper()
	errs := make([]error, racers)
	var wait sync.WaitGroup
	for r := range racers {
		wait.Go(func() { errs[r] = run(r) })
	}
	wait.Wait()
	for _, err := range errs {
		if err == nil {
			taken++
		} else if !errors.Is(err, refusal) {
			s.Errorf("racer: error %v, want %v", err, refusal)
		}
	}
	return taken
}

func (s *suite) requestRace() {
	for round := range 5 {
		first := round * 100
		n := s.compete(depot.ErrTransactionConflict, func(r int) error { // one transaction
			return s.d.AddRequest(s.ctx, requestIn(Request(first+r), "rac0", fmt.Sprint("round ", round)), 0, "")
		})
		s.equal("requests of a transaction", n, 1)
		n = s.compete(depot.ErrTransactionConflict, func(r int) error { // one message
			q := Request(first + 20 + r)
			q.Transaction.MessageSHA256 = hashOf("message", first+99)
			return s.d.AddRequest(s.ctx, q, 0, "")
		})
		s.equal("requests of a message", n, 1)
		n = s.compete(depot.ErrExists, func(r int) error { // one id
			q := Request(first + 40 + r)
			q.ID = fmt.Sprint("rq_one of round ", round)
			return s.d.AddRequest(s.ctx, q, 0, "")
		})
		s.equal("requests of an id", n, 1)
	}
	s.equal("requests", len(s.requestIDs(depot.RequestQuery{})), 15)
}

func (s *suite) decideRace() {
	for round := range 5 {
		asked := s.ask(Request(round*100), 0, "")
		n := s.compete(depot.ErrDecided, func(r int) error {
			d := Approval(asked, round*100+r)
			if r%4 == 0 {
				d = Denial(asked)
			}
			_, err := s.d.Decide(s.ctx, d)
			return err
		})
		s.equal("decisions", n, 1)
		decided, err := s.d.Request(s.ctx, asked.ID)
		s.wantError("Request", err, nil)
		issued := s.serials(depot.IdentityQuery{ConfigurationID: "rac0", TransactionID: asked.Transaction.ID})
		if decided.State == depot.RequestDenied {
			s.equal("certificates of what is denied", len(issued), 0)
		} else {
			s.equal("certificates of what is approved", issued, []string{decided.Transaction.CertificateSerial})
		}
	}
}

// decideCommitRace: approval and a configuration that was switched to automatic
// approval make one certificate of one transaction.
func (s *suite) decideCommitRace() {
	for round := range 5 {
		first := round * 100
		asked := s.ask(Request(first), 0, "")
		n := s.compete(depot.ErrTransactionConflict, func(r int) error {
			if r%2 == 0 {
				i := in(Issuance(first+1+r), "rac0", asked.Transaction.ID, "device")
				_, err := s.d.Commit(s.ctx, i)
				return err
			}
			_, err := s.d.Decide(s.ctx, Approval(asked, first+1+r))
			if errors.Is(err, depot.ErrDecided) { // another racer approved it
				return depot.ErrTransactionConflict
			}
			return err
		})
		s.equal("certificates", n, 1)
		s.equal("certificates of the transaction",
			len(s.serials(depot.IdentityQuery{ConfigurationID: "rac0", TransactionID: asked.Transaction.ID})), 1)
	}
}

func (s *suite) revokeRace() {
	reasons := []depot.RevocationReason{depot.ReasonKeyCompromise, depot.ReasonSuperseded, depot.ReasonCACompromise}
	for round := range 5 {
		id := s.commit(of(issuer, round))
		n := s.compete(depot.ErrRevoked, func(r int) error {
			one := revocation(round, reasons[r%len(reasons)])
			one.By = fmt.Sprint("racer ", r)
			got, err := s.d.Revoke(s.ctx, one)
			if err == nil {
				s.equal("Revoke", got, revoked(id, one))
			}
			return err
		})
		s.equal("revocations", n, 1)
	}
	s.equal("revoked", s.revokedSerials(depot.RevokedQuery{IssuerSHA256: issuer}), serialsOf(0, 1, 2, 3, 4))
	s.equal("events", len(s.happened(0)), 10)
}

func (s *suite) useRace() {
	s.commit(Issuance(1))
	n := s.compete(nil, func(r int) error { return s.d.MarkUsed(s.ctx, serial(1), Epoch.Add(time.Duration(r)*time.Hour)) })
	s.equal("uses", n, racers)
	id, err := s.d.Identity(s.ctx, serial(1))
	s.wantError("Identity", err, nil)
	events := s.happened(0)
	if len(events) != 2 || !events[1].At.Equal(id.UsedAt) {
		s.Errorf("used at %v, and the events are %+v", id.UsedAt, events)
	}
}

func (s *suite) supersedeRace() {
	for round := range 5 {
		s.commit(Issuance(round * 100))
		n := s.race(round*100+1, depot.ErrTransactionConflict, func(i *depot.Issuance) { i.Supersedes = serial(round * 100) })
		s.equal("renewals", n, 1)
	}
	s.equal("certificates", len(s.serials(depot.IdentityQuery{})), 10)
}
