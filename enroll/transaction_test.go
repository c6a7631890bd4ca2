package enroll_test

import (
	"bytes"
	"testing"
	"time"

	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/configuration"
	"understudy.example/understudy/enroll"
	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep/client/craft"
)

// TestAgain is what becomes of a second request in a transaction that ended
// well: how much later it comes, and in what it differs, decides.
func TestAgain(t *testing.T) {
	const identical = true
	later := func(r *craft.Request) {}
	for _, tt := range []struct {
		name      string
		wait      time.Duration
		change    func(*craft.Request)
		identical bool // the very same bytes
		outcome   enroll.Outcome
		reason    refusal.Reason
	}{
		{"same CSR at once", 0, later, false, enroll.Repeated, ""},
		{"same CSR at the end of the retry period", retryPeriod - time.Second, later, false, enroll.Repeated, ""},
		{"same CSR after the retry period", retryPeriod, later, false, enroll.Issued, ""},
		{"same CSR, clock a little back", -retryPeriod + time.Second, later, false, enroll.Repeated, ""},
		{"same CSR, clock far back", -retryPeriod, later, false, enroll.Issued, ""},
		{"same message at once", 0, later, identical, enroll.Repeated, ""},
		{"same message at the end of the retry period", retryPeriod - time.Second, later, identical, enroll.Repeated, ""},
		{"same message after the retry period", retryPeriod, later, identical, enroll.Refused, refusal.Replayed},
		{"same message, clock far back", -retryPeriod, later, identical, enroll.Refused, refusal.Replayed},
		{"other CSR, same key, at once", 0, otherCSR, false, enroll.Issued, ""},
		{"other CSR, same key, later", retryPeriod, otherCSR, false, enroll.Issued, ""},
		{"other signer, same key", 0, signedBy(signerAOtherwise, keyA), false, enroll.Issued, ""},
		{"other key at once", 0, asKeyB, false, enroll.Refused, refusal.TransactionConflict},
		{"other key at the end of the retry period", retryPeriod - time.Second, asKeyB, false, enroll.Refused, refusal.TransactionConflict},
		{"other key after the retry period", retryPeriod, asKeyB, false, enroll.Issued, ""},
		{"other transaction", 0, func(r *craft.Request) {
			r.Message.Set(craft.OIDTransactionID, craft.Text(cbasn1.PrintableString, "another"))
		}, false, enroll.Issued, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, nil)
			r := h.request(t)
			raw := encoded(t, r)
			first := h.enrolled(t, r, raw, enroll.Issued)
			h.clock.Advance(tt.wait)
			tt.change(r)
			if !tt.identical {
				raw = encoded(t, r)
			}
			if tt.outcome == enroll.Refused {
				h.refused(t, r, raw, tt.reason)
				return
			}
			second := h.enrolled(t, r, raw, tt.outcome)
			if same := bytes.Equal(first.Raw, second.Raw); same != (tt.outcome == enroll.Repeated) {
				t.Errorf("the same certificate: %t", same)
			}
			if want := 2; tt.outcome == enroll.Issued && h.issued(t) != want {
				t.Errorf("%d certificates, want %d", h.issued(t), want)
			}
		})
	}
}

// TestReplayedElsewhere sends a message to another configuration that would
// take its challenge too.
func TestReplayedElsewhere(t *testing.T) {
	h := newHouse(t, nil)
	r := h.request(t)
	raw := encoded(t, r)
	h.enrolled(t, r, raw, enroll.Issued)
	h.live = h.other
	h.refused(t, r, raw, refusal.Replayed)
	h.enrolled(t, r, encoded(t, r), enroll.Issued) // the same transactionID is another transaction here
}

// TestNoRetryPeriod has a configuration in which nothing is repeated.
func TestNoRetryPeriod(t *testing.T) {
	h := newHouse(t, nil)
	h.live = h.configure(t, "impatient", func(s *configuration.Settings) { s.RetryPeriodSeconds = 0 })
	r := h.request(t)
	raw := encoded(t, r)
	first := h.enrolled(t, r, raw, enroll.Issued)
	h.refused(t, r, raw, refusal.Replayed)
	if second := h.enrolled(t, r, encoded(t, r), enroll.Issued); bytes.Equal(first.Raw, second.Raw) {
		t.Error("the certificate was repeated")
	}
}

// TestLastOneAnswers lets a device enrol twice in one transaction; a third
// request is compared with the second.
func TestLastOneAnswers(t *testing.T) {
	h := newHouse(t, nil)
	r := h.request(t)
	h.enrolled(t, r, encoded(t, r), enroll.Issued)
	otherCSR(r)
	second := h.enrolled(t, r, encoded(t, r), enroll.Issued)
	if third := h.enrolled(t, r, encoded(t, r), enroll.Repeated); !bytes.Equal(second.Raw, third.Raw) {
		t.Error("not the last transaction answered")
	}
	identity, err := h.depot.Identity(t.Context(), hexSerial(second))
	if err != nil || identity.PreviousSerial == "" {
		t.Errorf("the second certificate follows %q, %v", identity.PreviousSerial, err)
	}
}

// TestRefusedIsForgotten refuses a transaction, which is not held against the
// device; and a repeat asks for no challenge.
func TestRefusedIsForgotten(t *testing.T) {
	h := newHouse(t, nil)
	r := h.request(t)
	good := r.CSR.Challenges
	r.CSR.Challenges = [][]byte{craft.Text(cbasn1.PrintableString, "wrong")}
	h.refused(t, r, encoded(t, r), refusal.ChallengeWrong)
	r.CSR.Challenges = nil
	h.refused(t, r, encoded(t, r), refusal.ChallengeMissing)
	r.CSR.Challenges = good
	h.enrolled(t, r, encoded(t, r), enroll.Issued)

	j := &judge{asked: func() { t.Error("a repeat was judged") }}
	h.live = h.judged(j)
	h.enrolled(t, r, encoded(t, r), enroll.Repeated)
	j.ended(t, 0, 0)
}

// TestMessageTypes are checked before the transaction is.
func TestMessageTypes(t *testing.T) {
	h := newHouse(t, nil)
	r := h.request(t)
	h.enrolled(t, r, encoded(t, r), enroll.Issued)
	for number, reason := range map[string]refusal.Reason{
		"17": refusal.RenewalNotOffered, "20": refusal.UnsupportedOperation, "21": refusal.UnsupportedOperation, "22": refusal.UnsupportedOperation,
	} {
		r.Message.Set(craft.OIDMessageType, craft.Text(cbasn1.PrintableString, number))
		reply := h.refused(t, r, encoded(t, r), reason)
		if want := "renewal is not supported: redistribute the profile"; number == "17" && reply.FailInfoText != want {
			t.Errorf("failInfoText %q, want %q", reply.FailInfoText, want)
		}
	}
}

// TestNotAMessage is answered with nothing.
func TestNotAMessage(t *testing.T) {
	h := newHouse(t, nil)
	for _, raw := range [][]byte{nil, []byte("hello"), {0x30, 0x03, 0x02, 0x01, 0x01}} {
		if a := h.ask(raw); a.Outcome != enroll.Refused || a.Reason != refusal.BadMessage || a.Reply != nil || a.Internal != nil {
			t.Errorf("%q: %+v", raw, a)
		}
	}
}
