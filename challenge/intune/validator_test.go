package intune_test

import (
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"understudy.example/understudy/challenge"
	"understudy.example/understudy/challenge/intune"
	"understudy.example/understudy/challenge/intune/fake"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/refusal"
)

func validator(t *testing.T, w *world) *intune.Validator {
	t.Helper()
	return &intune.Validator{Client: w.client(t), IssuerName: func(c *x509.Certificate) string { return c.Issuer.CommonName }}
}

func attempt(t *testing.T, w *world) challenge.Attempt {
	t.Helper()
	csr, err := x509.ParseCertificateRequest(w.good(t).CSR)
	if err != nil {
		t.Fatal(err)
	}
	return challenge.Attempt{ConfigurationID: "rac00000000000000000", TransactionID: "T-1", CSR: csr, Challenge: challenge.NewSecret("opaque"), Now: time.Now()}
}

// TestGrant is ended once, and tells Intune how.
func TestGrant(t *testing.T) {
	w := newWorld(t)
	v := validator(t, w)
	issued, _ := certificate(t, time.Now())
	for name, end := range map[fake.Service]func(challenge.Grant) error{
		fake.ServiceSuccess: func(g challenge.Grant) error { return g.Issued(t.Context(), issued) },
		fake.ServiceFailure: func(g challenge.Grant) error { return g.Failed(t.Context(), errors.New("the disk is full")) },
	} {
		g, err := v.Validate(t.Context(), attempt(t, w))
		if err != nil {
			t.Fatal(err)
		}
		if g.Spends() != (depot.ChallengeRef{}) {
			t.Error("something of ours is to be spent")
		}
		if err := end(g); err != nil || w.calls(name) != 1 {
			t.Errorf("%s: %v, %d calls", name, err, w.calls(name))
		}
		if err := end(g); !errors.Is(err, challenge.ErrGrantEnded) {
			t.Errorf("%s a second time: %v", name, err)
		}
	}
}

// TestRefusals are what the device and the operator are told.
func TestRefusals(t *testing.T) {
	w := newWorld(t)
	v, a := validator(t, w), attempt(t, w)
	wantRefusal := func(err error, reason refusal.Reason, text string) {
		t.Helper()
		no, ok := refusal.Of(err)
		if !ok || no.Reason != reason || no.Text != text {
			t.Errorf("got %v (%+v), want %s with the text %q", err, no, reason, text)
		}
		if inDoubt := text == "the challenge could not be validated"; errors.Is(err, challenge.ErrInDoubt) != inDoubt {
			t.Errorf("%v: it may help to ask again: %v, want %v", err, !inDoubt, inDoubt)
		}
	}
	w.fail(t, fake.Fault{Service: fake.ServiceValidate, Times: 1, Code: "ChallengeExpired", Description: "too old"})
	_, err := v.Validate(t.Context(), a)
	wantRefusal(err, refusal.ChallengeRefused, "ChallengeExpired")

	w.fail(t, fake.Fault{Service: fake.ServiceValidate, Times: 1, Status: 500})
	_, err = v.Validate(t.Context(), a)
	wantRefusal(err, refusal.ChallengeRefused, "the challenge could not be validated")

	nothing := "{}" // is an answer: without a code it is no
	w.fail(t, fake.Fault{Service: fake.ServiceValidate, Times: 1, Body: &nothing})
	_, err = v.Validate(t.Context(), a)
	if no, ok := refusal.Of(err); !ok || no.Text != "the challenge could not be validated" || errors.Is(err, challenge.ErrInDoubt) {
		t.Errorf("an answer without a code: %v", err)
	}

	without := a
	without.Challenge = challenge.Secret{}
	_, err = v.Validate(t.Context(), without)
	wantRefusal(err, refusal.ChallengeMissing, "")

	g, err := v.Validate(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	issued, _ := certificate(t, time.Now())
	w.fail(t, fake.Fault{Service: fake.ServiceSuccess, Times: 1, Status: 500})
	wantRefusal(g.Issued(t.Context(), issued), refusal.ChallengeRefused, "the challenge could not be validated")
	if n := w.calls(fake.ServiceFailure); n != 0 {
		t.Errorf("%d failure notifications about a failure of the success notification", n)
	}
}
