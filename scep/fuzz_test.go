package scep_test

import (
	"bytes"
	"testing"

	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep"
)

// The seeds are in testdata/fuzz: messages of our own making, honest ones and
// the smallest that trip a limit of the guard.
//
// Run them with -fuzzminimizetime 10x: which code crypto/rsa runs depends on
// chance, and go test would spend its time on trying to reproduce coverage.

// Whatever comes in, there is a message or a refusal, and where there is a
// message there is a reply that can be read.
func FuzzMessage(f *testing.F) {
	r := recipient(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := scep.Decode(raw, options())
		wantAnswer(t, err)
		if m == nil {
			if err == nil {
				t.Fatal("neither a message nor an error")
			}
			return
		}
		if m.Signer == nil || m.TransactionID == "" || len(m.TransactionID) > 128 || len(m.SenderNonce) > 64 {
			t.Fatalf("message out of bounds: %+v", m)
		}
		if err == nil {
			if m.Type == scep.PKCSReq || m.Type == scep.RenewalReq {
				_, err = m.Open([]scep.Recipient{r}, options())
			} else {
				_, err = m.OpenQuery([]scep.Recipient{r}, options())
			}
			wantAnswer(t, err)
		}
		reply, err := r.Failure(m, now, err)
		if err != nil || len(reply) > scep.MaxReply {
			t.Fatalf("FAILURE of %d bytes: %v", len(reply), err)
		}
	})
}

func wantAnswer(tb testing.TB, err error) {
	tb.Helper()
	noPanic(tb, err)
	if _, ok := refusal.Of(err); err != nil && !ok {
		tb.Fatalf("internal error: %v", err)
	}
}

func FuzzEnvelope(f *testing.F) {
	r := recipient(f)
	signer := certificate(f, "client", "client", 1)
	f.Fuzz(func(t *testing.T, envelope []byte) {
		for _, messageType := range []scep.MessageType{scep.PKCSReq, scep.CertPoll} {
			wantAnswer(t, scep.OpenContent(messageType, signer, envelope, []scep.Recipient{r}, options()))
		}
	})
}

func FuzzCSR(f *testing.F) {
	signer := certificate(f, "client", "client", 1)
	f.Fuzz(func(t *testing.T, content []byte) {
		e, err := scep.ReadContent(content, signer, options())
		wantAnswer(t, err)
		if err == nil && (e.CSR == nil || len(e.ChallengePassword.Reveal()) > 4*8<<10) {
			t.Fatal("enrolment out of bounds")
		}
		for _, messageType := range []scep.MessageType{scep.CertPoll, scep.GetCert} {
			_, err := scep.ReadQuery(content, messageType)
			wantAnswer(t, err)
		}
	})
}

// What the guard lets through becomes DER, once and for all.
func FuzzGuard(f *testing.F) {
	f.Fuzz(func(t *testing.T, ber []byte) {
		isDER, fault := scep.Scan(ber)
		if fault != scep.WellFormed {
			return
		}
		der, err := scep.ToDER(ber)
		if err != nil {
			wantAnswer(t, err)
			if isDER {
				t.Fatalf("DER is no BER: %v", err)
			}
			return
		}
		if isDER != bytes.Equal(der, ber) {
			t.Fatalf("DER %v, but made %x of %x", isDER, der, ber)
		}
		if again, fault := scep.Scan(der); !again || fault != scep.WellFormed {
			t.Fatalf("made %x, which is not DER: %s", der, fault)
		}
	})
}
