package reliability

import (
	"bytes"
	"sync"
	"testing"

	"understudy.example/understudy/test/internal/program"
)

// TestR2_Racers sends each message from 16 clients at once: one certificate,
// byte for byte the same for all of them.
func TestR2_Racers(t *testing.T) {
	const racers = 16
	server := understudy.Start(t, program.Options{Arguments: []string{"--rate-limit", "0"}})
	f := newFleet(t, server, server.SecretKey)
	var received []receipt
	for _, r := range f.requests(t, "race", pick(6, 50)) {
		got := make([]receipt, racers)
		var group sync.WaitGroup
		for i := range racers {
			group.Go(func() {
				var err error
				if got[i], err = f.send(t.Context(), r); err != nil {
					t.Errorf("racer %d in %s: %v", i, r.TransactionID, err)
				}
			})
		}
		group.Wait()
		for _, g := range got[1:] {
			if !bytes.Equal(g.der, got[0].der) {
				t.Errorf("two racers in %s got two certificates", r.TransactionID)
			}
		}
		received = append(received, got[0])
	}
	checkWhole(t, server, received)
}

// TestR2_Kill kills the server while messages are on their way, and sends the
// same messages again: whoever had a certificate gets the same one, and no
// transaction gets two.
func TestR2_Kill(t *testing.T) {
	server := understudy.Start(t, program.Options{})
	f := newFleet(t, server, server.SecretKey)
	for round := range pick(2, 50) {
		requests := f.requests(t, string(rune('a'+round%26))+string(rune('a'+round/26)), 12)
		first := make([]receipt, len(requests))
		var group sync.WaitGroup
		for i, r := range requests {
			group.Go(func() {
				got, err := f.send(t.Context(), r)
				if err == nil {
					first[i] = got
				}
				if i == len(requests)/2 {
					server.Kill() // some are done, some in the middle, some wait
				}
			})
		}
		group.Wait()
		server = understudy.Start(t, program.Options{Data: server.Data})
		f = &fleet{f.scep, f.ca, f.secret, f.key}
		f.scep.URL = server.SCEPURL
		var received []receipt
		for i, r := range requests {
			again, err := f.send(t.Context(), r)
			if err != nil {
				t.Fatalf("%s again: %v", r.TransactionID, err)
			}
			if first[i].der != nil && !bytes.Equal(first[i].der, again.der) {
				t.Errorf("%s has got two certificates", r.TransactionID)
			}
			received = append(received, again)
		}
		checkWhole(t, server, received)
	}
}
