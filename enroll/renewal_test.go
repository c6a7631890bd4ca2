package enroll_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"sync"
	"testing"
	"time"

	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/enroll"
	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep/client"
	"understudy.example/understudy/scep/client/craft"
)

// renewing makes the first configuration one that offers renewal.
func (h *house) renewing(t *testing.T, change ...func(*configuration.Settings)) {
	t.Helper()
	h.live = h.configure(t, "renewing", func(s *configuration.Settings) {
		s.Renewal = true
		for _, c := range change {
			c(s)
		}
	})
}

// enrolOwn gets device C02XL0AAAA its first certificate, for key A.
func (h *house) enrolOwn(t *testing.T) *x509.Certificate {
	t.Helper()
	own := h.request(t)
	return h.enrolled(t, own, encoded(t, own), enroll.Issued)
}

// renewal is a RenewalReq for key B without a challenge, signed with the old
// certificate and key A.
func (h *house) renewal(t *testing.T, old *x509.Certificate, change ...func(*craft.Request)) *craft.Request {
	t.Helper()
	r := as(h.request(t, signedBy(old, keyA)), "17", nil)
	r.CSR.Key, r.CSR.Challenges = keyB, nil
	for _, c := range change {
		c(r)
	}
	return r
}

// renewed asserts what a renewal left in the depot.
func (h *house) renewed(t *testing.T, old, renewal *x509.Certificate) {
	t.Helper()
	before, err := h.depot.Identity(t.Context(), hexSerial(old))
	if err != nil {
		t.Fatal(err)
	}
	after, err := h.depot.Identity(t.Context(), hexSerial(renewal))
	if err != nil {
		t.Fatal(err)
	}
	if before.SupersededBy != hexSerial(renewal) || before.SupersededAt.IsZero() || !before.RevokedAt.IsZero() {
		t.Errorf("the old certificate was superseded at %v by %q", before.SupersededAt, before.SupersededBy)
	}
	if after.ChallengeMode != "" || after.PreviousSerial != hexSerial(old) || after.Device.Key != before.Device.Key || !after.SupersededAt.IsZero() {
		t.Errorf("the renewal is stored as %+v", after)
	}
}

// TestRenewal with the keys and messages of real clients: a new key
// (strongSwan), the old one with the old CSR in the old transaction
// (scepclient), and a PKCSReq (macOS).
func TestRenewal(t *testing.T) {
	for name, ask := range map[string]func(t *testing.T, h *house, own *craft.Request, old *x509.Certificate) *craft.Request{
		"new key": func(t *testing.T, h *house, _ *craft.Request, old *x509.Certificate) *craft.Request {
			return h.renewal(t, old)
		},
		"same key": func(t *testing.T, h *house, _ *craft.Request, old *x509.Certificate) *craft.Request {
			return h.renewal(t, old, func(r *craft.Request) { r.CSR.Key = keyA })
		},
		"same key, CSR and transaction": func(_ *testing.T, _ *house, own *craft.Request, old *x509.Certificate) *craft.Request {
			r := as(own, "17", nil)
			signedBy(old, keyA)(r)
			return r
		},
		"PKCSReq, new key": func(t *testing.T, h *house, _ *craft.Request, old *x509.Certificate) *craft.Request {
			return as(h.renewal(t, old), "19", nil)
		},
		"PKCSReq, same key": func(t *testing.T, h *house, _ *craft.Request, old *x509.Certificate) *craft.Request {
			return as(h.renewal(t, old, func(r *craft.Request) { r.CSR.Key = keyA }), "19", nil)
		},
		"PKCSReq with a challenge that is not good any more": func(t *testing.T, h *house, _ *craft.Request, old *x509.Certificate) *craft.Request {
			return as(h.renewal(t, old, func(r *craft.Request) { r.CSR.Challenges = [][]byte{craft.Text(19, "used")} }), "19", nil)
		},
		"subject in another string type": func(t *testing.T, h *house, _ *craft.Request, old *x509.Certificate) *craft.Request {
			return h.renewal(t, old, func(r *craft.Request) {
				r.CSR.Subject = bytes.Clone(r.CSR.Subject)
				at := bytes.Index(r.CSR.Subject, []byte("C02XL0AAAA")) - 2
				r.CSR.Subject[at] ^= 12 ^ 19 // UTF8String for PrintableString
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			inEach(t, func(t *testing.T, h *house) {
				h.renewing(t)
				own := h.request(t)
				old := h.enrolled(t, own, encoded(t, own), enroll.Issued)
				r := ask(t, h, own, old)
				j := &judge{asked: func() { t.Error("a challenge was judged") }}
				h.live = h.judged(j)
				raw := encoded(t, r)
				renewal := h.enrolled(t, r, raw, enroll.Issued)
				if key, ok := renewal.PublicKey.(*rsa.PublicKey); !ok || !key.Equal(r.CSR.Key.Public()) {
					t.Error("the certificate is for another key")
				}
				h.renewed(t, old, renewal)
				// A lost answer comes again, though the signer is superseded now.
				for _, again := range [][]byte{raw, encoded(t, r)} {
					if c := h.enrolled(t, r, again, enroll.Repeated); !bytes.Equal(c.Raw, renewal.Raw) {
						t.Error("another certificate")
					}
				}
				if h.issued(t) != 2 {
					t.Errorf("%d certificates", h.issued(t))
				}
			})
		})
	}
}

// TestRenewalRefused is every way in which a RenewalReq is not one of the
// device's own, even with a good challenge.
func TestRenewalRefused(t *testing.T) {
	const validity = 10 * 24 * time.Hour
	for name, tt := range map[string]struct {
		change func(t *testing.T, h *house, old *x509.Certificate, r *craft.Request)
		reason refusal.Reason
		info   client.FailInfo
	}{
		"signs itself": {func(_ *testing.T, _ *house, _ *x509.Certificate, r *craft.Request) {
			r.CSR.Key = keyA
			signedBy(signerA, keyA)(r)
		}, refusal.SignerNotTrusted, client.BadRequest},
		"forged, with our names": {func(_ *testing.T, _ *house, old *x509.Certificate, r *craft.Request) {
			signedBy(forged(old), keyB)(r)
		}, refusal.SignerNotTrusted, client.BadMessageCheck},
		"revoked": {func(t *testing.T, h *house, _ *x509.Certificate, _ *craft.Request) { h.revokeAll(t) }, refusal.SignerNotTrusted, client.BadRequest},
		"expired": {func(_ *testing.T, h *house, _ *x509.Certificate, _ *craft.Request) { h.clock.Advance(validity) }, refusal.SignerNotTrusted, client.BadRequest},
		"not yet valid": {func(_ *testing.T, h *house, _ *x509.Certificate, _ *craft.Request) { h.clock.Advance(-time.Hour) },
			refusal.SignerNotTrusted, client.BadRequest},
		"never delivered": {func(_ *testing.T, h *house, _ *x509.Certificate, _ *craft.Request) {
			h.service = h.over(changed{h.depot, func(i *depot.Identity) { i.Void = true }})
		}, refusal.SignerNotTrusted, client.BadRequest},
		"stored otherwise": {func(_ *testing.T, h *house, _ *x509.Certificate, _ *craft.Request) {
			h.service = h.over(changed{h.depot, func(i *depot.Identity) { i.DER[len(i.DER)-1] ^= 1 }})
		}, refusal.SignerNotTrusted, client.BadMessageCheck},
		"superseded": {func(t *testing.T, h *house, old *x509.Certificate, _ *craft.Request) {
			first := h.renewal(t, old)
			h.enrolled(t, first, encoded(t, first), enroll.Issued)
		}, refusal.SignerNotTrusted, client.BadRequest},
		"of another device": {func(t *testing.T, _ *house, _ *x509.Certificate, r *craft.Request) {
			r.CSR.Subject = named(t, "C02XL0BBBB")
		}, refusal.SignerNotTrusted, client.BadRequest},
		"of the same device by another name": {func(t *testing.T, _ *house, _ *x509.Certificate, r *craft.Request) {
			name := pkix.Name{CommonName: "C02XL0AAAA", Organization: []string{"Elsewhere"}}
			der, err := asn1.Marshal(name.ToRDNSequence())
			if err != nil {
				t.Fatal(err)
			}
			r.CSR.Subject = der
		}, refusal.SubjectRejected, client.BadRequest},
		"of another configuration": {func(t *testing.T, h *house, _ *x509.Certificate, _ *craft.Request) {
			h.live = h.configure(t, "another", func(s *configuration.Settings) { s.Renewal = true })
		}, refusal.SignerNotTrusted, client.BadRequest},
		"too early": {func(t *testing.T, h *house, _ *x509.Certificate, _ *craft.Request) {
			h.reconfigure(t, `{"renewal_window_seconds":86400}`)
		}, refusal.RenewalNotOffered, client.BadRequest},
		"not offered any more": {func(t *testing.T, h *house, _ *x509.Certificate, _ *craft.Request) {
			h.reconfigure(t, `{"renewal":false}`)
		}, refusal.RenewalNotOffered, client.BadRequest},
		"by the RA": {func(_ *testing.T, h *house, _ *x509.Certificate, r *craft.Request) {
			ra, key := h.authority.RA()
			r.Message.Signer, r.Message.Key, r.Message.Certificates = ra, key, [][]byte{ra.Raw}
		}, refusal.SignerNotTrusted, client.BadMessageCheck},
	} {
		t.Run(name, func(t *testing.T) {
			inEach(t, func(t *testing.T, h *house) {
				h.renewing(t, func(s *configuration.Settings) { s.ValiditySeconds = int64(validity / time.Second) })
				old := h.enrolOwn(t)
				r := h.renewal(t, old, func(r *craft.Request) { r.CSR.Challenges = [][]byte{craft.Text(19, secretKey)} })
				tt.change(t, h, old, r)
				if reply := h.refused(t, r, encoded(t, r), tt.reason); reply.FailInfo != tt.info {
					t.Errorf("the client is told %s", reply.FailInfo.Name())
				}
			})
		})
	}
}

// TestRenewalWindow opens so long before the end, to the second.
func TestRenewalWindow(t *testing.T) {
	inEach(t, func(t *testing.T, h *house) {
		h.renewing(t, func(s *configuration.Settings) {
			s.ValiditySeconds, s.RenewalWindowSeconds = 100*86400, 30*86400
		})
		old := h.enrolOwn(t)
		opens := old.NotAfter.Add(-30 * 24 * time.Hour)
		h.clock.Advance(opens.Sub(h.clock.Now()) - time.Second)
		early := h.renewal(t, old)
		reply := h.refused(t, early, encoded(t, early), refusal.RenewalNotOffered)
		if want := "too early to renew: possible from " + opens.Format(time.RFC3339); reply.FailInfoText != want {
			t.Errorf("the client is told %q, want %q", reply.FailInfoText, want)
		}
		// A PKCSReq may be early: a challenge decides about it, and the old
		// certificate goes on.
		challenged := as(h.renewal(t, old, func(r *craft.Request) { r.CSR.Challenges = [][]byte{craft.Text(19, secretKey)} }), "19", nil)
		h.enrolled(t, challenged, encoded(t, challenged), enroll.Issued)
		h.clock.Advance(time.Second)
		r := h.renewal(t, old)
		renewal := h.enrolled(t, r, encoded(t, r), enroll.Issued)
		if before, err := h.depot.Identity(t.Context(), hexSerial(old)); err != nil || before.SupersededBy != hexSerial(renewal) {
			t.Errorf("superseded by %q, %v", before.SupersededBy, err)
		}
	})
}

// TestSupersededSigner: a certificate that was renewed speaks for no other key
// any more; its own key is judged by the challenge like anybody's.
func TestSupersededSigner(t *testing.T) {
	inEach(t, func(t *testing.T, h *house) {
		h.renewing(t)
		old := h.enrolOwn(t)
		first := h.renewal(t, old)
		h.enrolled(t, first, encoded(t, first), enroll.Issued)
		good := func(r *craft.Request) { r.CSR.Challenges = [][]byte{craft.Text(19, secretKey)} }
		for range 2 {
			other := as(h.renewal(t, old, good), "19", nil)
			h.refused(t, other, encoded(t, other), refusal.SignerNotTrusted)
			h.reconfigure(t, `{"renewal":false}`)
		}
		own := as(h.renewal(t, old, good, func(r *craft.Request) { r.CSR.Key = keyA }), "19", nil)
		h.enrolled(t, own, encoded(t, own), enroll.Issued)
	})
}

// TestRenewalAndApproval: an operator who decides about everything decides
// about renewals too; one who decides about new devices does not.
func TestRenewalAndApproval(t *testing.T) {
	inEach(t, func(t *testing.T, h *house) {
		h.renewing(t)
		old := h.enrolOwn(t)
		h.reconfigure(t, `{"approval":"manual"}`)
		r := h.renewal(t, old)
		request := h.pends(t, r, encoded(t, r))
		if request.Supersedes != hexSerial(old) {
			t.Errorf("the request supersedes %q", request.Supersedes)
		}
		h.pends(t, r, encoded(t, h.poll(r)))
		h.approve(t, request.ID)
		h.renewed(t, old, h.enrolled(t, r, encoded(t, h.poll(r)), enroll.Repeated))
		h.enrolled(t, r, encoded(t, r), enroll.Repeated) // signed by what is superseded now

		h.reconfigure(t, `{"approval":"manual-new"}`)
		second := h.request(t) // a new certificate for key A, by challenge
		next := h.renewal(t, h.enrolled(t, second, encoded(t, second), enroll.Issued))
		h.enrolled(t, next, encoded(t, next), enroll.Issued)
	})
}

// TestRenewalOfWhatWasRevoked while the request waited is not approved.
func TestRenewalOfWhatWasRevoked(t *testing.T) {
	inEach(t, func(t *testing.T, h *house) {
		h.renewing(t)
		old := h.enrolOwn(t)
		h.reconfigure(t, `{"approval":"manual"}`)
		r := h.renewal(t, old)
		request := h.pends(t, r, encoded(t, r))
		h.revokeAll(t)
		_, err := h.service.Approve(t.Context(), request.ID, operator, "")
		if no, ok := refusal.Of(err); !ok || no.Reason != refusal.SignerNotTrusted || h.issued(t) != 1 {
			t.Errorf("approve: %v; %d certificates", err, h.issued(t))
		}
	})
}

// TestRenewalOfWhatWasRenewed while the request waited is not approved either.
func TestRenewalOfWhatWasRenewed(t *testing.T) {
	inEach(t, func(t *testing.T, h *house) {
		h.renewing(t)
		old := h.enrolOwn(t)
		h.reconfigure(t, `{"approval":"manual"}`)
		first, second := h.renewal(t, old), h.renewal(t, old)
		one, two := h.pends(t, first, encoded(t, first)), h.pends(t, second, encoded(t, second))
		h.approve(t, one.ID)
		_, err := h.service.Approve(t.Context(), two.ID, operator, "")
		if no, ok := refusal.Of(err); !ok || no.Reason != refusal.SignerNotTrusted || h.issued(t) != 2 {
			t.Errorf("approve: %v; %d certificates", err, h.issued(t))
		}
	})
}

// TestParallelRenewals has 16 devices hold one old certificate: each asks for
// a key of its own transaction, and only one gets a certificate.
func TestParallelRenewals(t *testing.T) {
	const racers = 16
	inEach(t, func(t *testing.T, h *house) {
		h.renewing(t)
		old := h.enrolOwn(t)
		requests, raws := make([]*craft.Request, racers), make([][]byte, racers)
		for i := range racers {
			requests[i] = h.renewal(t, old)
			raws[i] = encoded(t, requests[i])
		}
		answers := make([]enroll.Answer, racers)
		var group sync.WaitGroup
		for i := range racers {
			group.Go(func() { answers[i] = h.ask(raws[i]) })
		}
		group.Wait()
		outcomes := map[string]int{}
		for i, a := range answers {
			outcomes[fmt.Sprint(a.Outcome, " ", a.Reason)]++
			if a.Outcome == enroll.Issued {
				h.renewed(t, old, h.certificate(t, requests[i], a, enroll.Issued))
			}
		}
		if outcomes["issued "] != 1 || outcomes["refused signer_not_trusted"] != racers-1 || h.issued(t) != 2 {
			t.Errorf("%v, %d certificates", outcomes, h.issued(t))
		}
	})
}

// TestRevokeUnused: the certificate carries when it is revoked unless it is
// used, where the policy says so.
func TestRevokeUnused(t *testing.T) {
	inEach(t, func(t *testing.T, h *house) {
		for _, seconds := range []int64{0, 90 * 86400} {
			h.live = h.configure(t, fmt.Sprintf("unused-%d", seconds), func(s *configuration.Settings) { s.RevokeUnusedAfterSeconds = seconds })
			identity, err := h.depot.Identity(t.Context(), hexSerial(h.enrolOwn(t)))
			want := time.Time{}
			if seconds > 0 {
				want = opening.Add(90 * 24 * time.Hour)
			}
			if err != nil || !identity.RevokeUnusedAt.Equal(want) {
				t.Errorf("revoked at %v unless used, want %v; %v", identity.RevokeUnusedAt, want, err)
			}
		}
	})
}
