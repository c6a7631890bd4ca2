package depottest

import (
	"errors"
	"fmt"
	"sync"

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
