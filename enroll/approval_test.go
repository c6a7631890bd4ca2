package enroll_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/enroll"
	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep/client"
	"understudy.example/understudy/scep/client/craft"
)

const operator = "operator"

// approvalTTL is how long requests of these tests wait, more than the retry
// period.
const approvalTTL = time.Hour

// approving makes the first configuration one in which an operator decides.
func (h *house) approving(t *testing.T, approval string, change ...func(*configuration.Settings)) {
	t.Helper()
	h.live = h.configure(t, approval, func(s *configuration.Settings) {
		s.Approval, s.ApprovalTTLSeconds = approval, int64(approvalTTL/time.Second)
		for _, c := range change {
			c(s)
		}
	})
}

// reconfigure changes the first configuration by a JSON object.
func (h *house) reconfigure(t *testing.T, patch string) {
	t.Helper()
	live, err := h.set.Change(t.Context(), h.live.Record.ID, []byte(patch))
	if err != nil {
		t.Fatal(err)
	}
	h.live = live
}

// pends sends a request that must wait, and returns the stored request.
func (h *house) pends(t *testing.T, r *craft.Request, raw []byte) depot.Request {
	t.Helper()
	a := h.ask(raw)
	if a.Outcome != enroll.Pending || a.Reason != "" || a.Internal != nil || a.CertificateSerial != "" {
		t.Fatalf("outcome %s %s %q, internal %v; want pending", a.Outcome, a.Reason, a.Detail, a.Internal)
	}
	if reply := h.read(t, r, a); reply.Status != client.Pending || len(reply.Deviations) > 0 {
		t.Fatalf("status %s, %q; want PENDING", reply.Status, reply.Deviations)
	}
	request, err := h.depot.Request(t.Context(), a.RequestID)
	if err != nil {
		t.Fatal(err)
	}
	return request
}

// requests is how many requests the depot holds.
func (h *house) requests(t *testing.T) int {
	t.Helper()
	page, err := h.depot.Requests(t.Context(), depot.RequestQuery{Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	return len(page.Items)
}

func (h *house) approve(t *testing.T, id string) depot.Request {
	t.Helper()
	r, err := h.service.Approve(t.Context(), id, operator, "seen in the lab")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (h *house) deny(t *testing.T, id string) {
	t.Helper()
	if _, err := h.service.Deny(t.Context(), id, operator, "never seen"); err != nil {
		t.Fatal(err)
	}
}

// as makes another message of a request: a query with this content, or the
// same again.
func as(r *craft.Request, messageType string, content []byte) *craft.Request {
	other := *r
	other.Message.Attributes = append([]craft.Attribute(nil), r.Message.Attributes...)
	other.Message.Set(craft.OIDMessageType, craft.Text(cbasn1.PrintableString, messageType))
	other.Envelope.Content = content
	return &other
}

// poll is the CertPoll for a request.
func (h *house) poll(r *craft.Request) *craft.Request {
	return as(r, "20", sequence(h.authority.Issuer().RawSubject, r.CSR.Subject))
}

func sequence(members ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(bytes.Join(members, nil)) })
	return b.BytesOrPanic()
}

// TestApproval is the whole of it: a device asks, waits, asks in both ways, an
// operator approves, and the device gets its one certificate as often as it
// asks.
func TestApproval(t *testing.T) {
	inEach(t, func(t *testing.T, h *house) {
		h.approving(t, configuration.ApprovalManual)
		r := h.request(t)
		raw := encoded(t, r)
		request := h.pends(t, r, raw)
		if !strings.HasPrefix(request.ID, "rq_") || len(request.ID) != 20 || request.State != depot.RequestPending ||
			!request.ExpiresAt.Equal(opening.Add(approvalTTL)) || request.Draft.Subject != "CN=C02XL0AAAA" {
			t.Errorf("stored: %+v", request)
		}
		h.withoutChallenge(t, r, request.CSR)
		h.clock.Advance(retryPeriod * 2)
		for _, again := range [][]byte{raw, encoded(t, r), encoded(t, h.poll(r))} {
			if same := h.pends(t, r, again); same.ID != request.ID {
				t.Errorf("another request: %s", same.ID)
			}
		}
		if h.requests(t) != 1 || h.issued(t) != 0 {
			t.Fatalf("%d requests, %d certificates", h.requests(t), h.issued(t))
		}
		approved := h.approve(t, request.ID)
		if approved.State != depot.RequestApproved || approved.DecidedBy != operator || approved.Note != "seen in the lab" {
			t.Errorf("approved: %+v", approved)
		}
		identity, err := h.depot.Identity(t.Context(), approved.Transaction.CertificateSerial)
		if err != nil || identity.RequestID != request.ID || identity.ApprovedBy != operator ||
			!identity.IssuedAt.Equal(h.clock.Now()) || identity.ChallengeMode != "static" {
			t.Errorf("issued, and nobody has fetched it: %+v, %v", identity, err)
		}
		// The wrong way and the right way to ask, and long after it.
		var first []byte
		for _, wait := range []time.Duration{0, retryPeriod, 30 * 24 * time.Hour} {
			h.clock.Advance(wait)
			for _, again := range []*craft.Request{r, h.poll(r)} {
				c := h.enrolled(t, again, encoded(t, again), enroll.Repeated)
				if first == nil {
					first = c.Raw
				}
				if !bytes.Equal(first, c.Raw) {
					t.Error("another certificate")
				}
			}
		}
		h.enrolled(t, r, raw, enroll.Repeated)
		if h.requests(t) != 1 || h.issued(t) != 1 {
			t.Errorf("%d requests, %d certificates", h.requests(t), h.issued(t))
		}
	})
}

// withoutChallenge demands that a stored CSR is the one that was sent, and
// holds no challenge.
func (h *house) withoutChallenge(t *testing.T, r *craft.Request, der []byte) {
	t.Helper()
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	if key, ok := csr.PublicKey.(*rsa.PublicKey); !ok || !key.Equal(r.CSR.Key.Public()) || !bytes.Equal(csr.RawSubject, r.CSR.Subject) {
		t.Error("the CSR is for another key or name")
	}
	if bytes.Contains(der, []byte(secretKey)) {
		t.Error("the CSR holds the challenge")
	}
}

// TestWhoWaits is which requests wait for an operator, by policy and
// challenge. Each device but the stranger has a certificate here.
func TestWhoWaits(t *testing.T) {
	const waits = enroll.Pending
	for _, tt := range []struct {
		approval, device, challenge string
		outcome                     enroll.Outcome
		reason                      refusal.Reason
	}{
		{configuration.ApprovalAuto, "stranger", secretKey, enroll.Issued, ""},
		{configuration.ApprovalAuto, "stranger", "", enroll.Refused, refusal.ChallengeMissing},
		{configuration.ApprovalManual, "stranger", secretKey, waits, ""},
		{configuration.ApprovalManual, "stranger", "", waits, ""},
		{configuration.ApprovalManual, "stranger", "wrong", enroll.Refused, refusal.ChallengeWrong},
		{configuration.ApprovalManual, "known", secretKey, waits, ""},
		{configuration.ApprovalManual, "known", "", waits, ""},
		{configuration.ApprovalManualNew, "stranger", secretKey, waits, ""},
		{configuration.ApprovalManualNew, "stranger", "", enroll.Refused, refusal.ChallengeMissing},
		{configuration.ApprovalManualNew, "stranger", "wrong", enroll.Refused, refusal.ChallengeWrong},
		{configuration.ApprovalManualNew, "known", secretKey, enroll.Issued, ""},
		{configuration.ApprovalManualNew, "known", "", enroll.Refused, refusal.ChallengeMissing},
		{configuration.ApprovalManualNew, "known", "wrong", enroll.Refused, refusal.ChallengeWrong},
		{configuration.ApprovalManualNew, "revoked", secretKey, waits, ""},
	} {
		t.Run(fmt.Sprintf("%s, %s, %.5q", tt.approval, tt.device, tt.challenge), func(t *testing.T) {
			inEach(t, func(t *testing.T, h *house) {
				h.live = h.configure(t, "waits", nil)
				if tt.device != "stranger" {
					own := h.request(t)
					h.enrolled(t, own, encoded(t, own), enroll.Issued)
				}
				if tt.device == "revoked" {
					h.revokeAll(t)
				}
				h.reconfigure(t, fmt.Sprintf(`{"approval":%q}`, tt.approval))
				r := h.request(t)
				if r.CSR.Challenges = nil; tt.challenge != "" {
					r.CSR.Challenges = [][]byte{craft.Text(cbasn1.PrintableString, tt.challenge)}
				}
				a := h.ask(encoded(t, r))
				if a.Outcome != tt.outcome || a.Reason != tt.reason {
					t.Errorf("outcome %s %s, %v; want %s %s", a.Outcome, a.Reason, a.Internal, tt.outcome, tt.reason)
				}
				if waiting := h.requests(t) == 1; waiting != (tt.outcome == waits) {
					t.Errorf("%d requests", h.requests(t))
				}
			})
		})
	}
}

// revokeAll revokes every certificate.
func (h *house) revokeAll(t *testing.T) {
	t.Helper()
	page, err := h.depot.Identities(t.Context(), depot.IdentityQuery{Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range page.Items {
		_, err := h.depot.Revoke(t.Context(), depot.Revocation{
			CertificateSerial: i.CertificateSerial, Reason: depot.ReasonKeyCompromise, At: h.clock.Now(), By: operator,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestWhileWaiting is what else a transaction that waits is asked.
func TestWhileWaiting(t *testing.T) {
	inEach(t, func(t *testing.T, h *house) {
		h.approving(t, configuration.ApprovalManual)
		r := h.request(t)
		request := h.pends(t, r, encoded(t, r))
		h.clock.Advance(retryPeriod * 2) // which does not matter
		other := *r
		otherCSR(&other)
		h.refused(t, &other, encoded(t, &other), refusal.TransactionConflict)
		foreign := *r
		asKeyB(&foreign)
		h.refused(t, &foreign, encoded(t, &foreign), refusal.TransactionConflict)
		// Another self-signed certificate of the same key is the same client.
		again := *r
		signedBy(signerAOtherwise, keyA)(&again)
		if same := h.pends(t, &again, encoded(t, &again)); same.ID != request.ID {
			t.Error("another request")
		}
		// What waits goes on waiting when the policy changes.
		h.reconfigure(t, `{"approval":"auto"}`)
		h.pends(t, r, encoded(t, r))
		h.pends(t, r, encoded(t, h.poll(r)))
		h.approve(t, request.ID)
		h.enrolled(t, r, encoded(t, h.poll(r)), enroll.Repeated)
		h.enrolled(t, r, encoded(t, r), enroll.Repeated)
		if h.issued(t) != 1 || h.requests(t) != 1 {
			t.Errorf("%d certificates, %d requests", h.issued(t), h.requests(t))
		}
	})
}

// TestWhoPolls: only who asked is told.
func TestWhoPolls(t *testing.T) {
	inEach(t, func(t *testing.T, h *house) {
		h.approving(t, configuration.ApprovalManual)
		r := h.request(t)
		request := h.pends(t, r, encoded(t, r))
		stranger := h.poll(r)
		signedBy(signerB, keyB)(stranger)
		for range 2 { // while it waits, and when there is a certificate
			reply := h.refused(t, stranger, encoded(t, stranger), refusal.SignerNotTrusted)
			if reply.FailInfo != client.BadMessageCheck || reply.FailInfoText != "" {
				t.Errorf("the stranger is told %s %q", reply.FailInfo.Name(), reply.FailInfoText)
			}
			if request.State == depot.RequestPending {
				request = h.approve(t, request.ID)
			}
		}
		again := h.poll(r)
		signedBy(signerAOtherwise, keyA)(again)
		h.enrolled(t, again, encoded(t, again), enroll.Repeated)

		unknown := h.poll(h.request(t))
		if reply := h.refused(t, unknown, encoded(t, unknown), refusal.NotFound); reply.FailInfo != client.BadCertID {
			t.Errorf("unknown transaction: %s", reply.FailInfo.Name())
		}
		// What the content names is wondered at and no more.
		odd := as(r, "20", sequence(named(t, "nobody"), named(t, "somebody else")))
		a := h.ask(encoded(t, odd))
		h.certificate(t, r, a, enroll.Repeated)
		if fmt.Sprint(a.Warnings) != "[poll_subject]" {
			t.Errorf("warnings %q", a.Warnings)
		}
		// And so is content that cannot be read: it may be a stranger's request
		// that is tried out here, and the answer must not tell whether it decrypts.
		csr, err := r.CSR.Encode()
		if err != nil {
			t.Fatal(err)
		}
		unreadable := as(r, "20", csr)
		a = h.ask(encoded(t, unreadable))
		h.certificate(t, r, a, enroll.Repeated)
		if fmt.Sprint(a.Warnings) != "[poll_unreadable poll_subject]" {
			t.Errorf("warnings %q", a.Warnings)
		}
		// The certificate is not for another configuration's poll.
		h.live = h.other
		h.refused(t, r, encoded(t, h.poll(r)), refusal.UnsupportedOperation)
	})
}

// TestPollAfterIssue: a poll also finds what was issued at once, where an
// operator could have been asked.
func TestPollAfterIssue(t *testing.T) {
	inEach(t, func(t *testing.T, h *house) {
		h.live = h.configure(t, "later-manual", nil)
		r := h.request(t)
		c := h.enrolled(t, r, encoded(t, r), enroll.Issued)
		h.refused(t, r, encoded(t, h.poll(r)), refusal.UnsupportedOperation)
		h.reconfigure(t, `{"approval":"manual"}`)
		h.clock.Advance(retryPeriod)
		if got := h.enrolled(t, r, encoded(t, h.poll(r)), enroll.Repeated); !bytes.Equal(got.Raw, c.Raw) {
			t.Error("another certificate")
		}
		h.revokeAll(t)
		h.refused(t, r, encoded(t, h.poll(r)), refusal.NotFound)
	})
}

// TestUndone is what a client is told that was denied or forgotten, and when
// it may ask anew.
func TestUndone(t *testing.T) {
	for name, tt := range map[string]struct {
		end    func(*testing.T, *house, string)
		reason refusal.Reason
		text   string
	}{
		"denied": {func(t *testing.T, h *house, id string) { h.deny(t, id) }, refusal.Denied, "denied by an administrator"},
		"expired": {func(t *testing.T, h *house, id string) {
			h.clock.Advance(approvalTTL)
			if _, err := h.service.Approve(t.Context(), id, operator, ""); !errors.Is(err, depot.ErrDecided) {
				t.Errorf("approve what expired: %v", err)
			}
		}, refusal.ApprovalExpired, "nobody approved the request in time: ask again"},
	} {
		t.Run(name, func(t *testing.T) {
			inEach(t, func(t *testing.T, h *house) {
				h.approving(t, configuration.ApprovalManual)
				r := h.request(t)
				raw := encoded(t, r)
				request := h.pends(t, r, raw)
				tt.end(t, h, request.ID)
				for _, again := range [][]byte{raw, encoded(t, r), encoded(t, h.poll(r))} {
					reply := h.refused(t, r, again, tt.reason)
					if reply.FailInfo != client.BadRequest || reply.FailInfoText != tt.text {
						t.Errorf("the client is told %s %q", reply.FailInfo.Name(), reply.FailInfoText)
					}
				}
				if h.requests(t) != 1 {
					t.Errorf("%d requests", h.requests(t))
				}
				// The poll and the very same message get that answer for ever,
				// a new message asks anew when the retry period is over.
				h.clock.Advance(retryPeriod)
				h.refused(t, r, raw, tt.reason)
				h.refused(t, r, encoded(t, h.poll(r)), tt.reason)
				second := h.pends(t, r, encoded(t, r))
				if second.ID == request.ID || h.requests(t) != 2 {
					t.Error("no new request")
				}
				h.pends(t, r, raw) // the old message is of that transaction now
				h.approve(t, second.ID)
				h.enrolled(t, r, encoded(t, h.poll(r)), enroll.Repeated)
			})
		})
		t.Run(name+", then another CSR", func(t *testing.T) {
			inEach(t, func(t *testing.T, h *house) {
				h.approving(t, configuration.ApprovalManual)
				r := h.request(t)
				raw := encoded(t, r)
				tt.end(t, h, h.pends(t, r, raw).ID)
				other := *r
				otherCSR(&other)
				second := h.pends(t, &other, encoded(t, &other))
				tt.end(t, h, second.ID)
				h.refused(t, r, raw, refusal.Replayed) // which asked before the last one did
			})
		})
	}
}

// TestReplayedRequest sends a message that waits to another configuration.
func TestReplayedRequest(t *testing.T) {
	inEach(t, func(t *testing.T, h *house) {
		h.approving(t, configuration.ApprovalManual)
		r := h.request(t)
		raw := encoded(t, r)
		h.pends(t, r, raw)
		h.live = h.configure(t, "another", func(s *configuration.Settings) { s.Approval = configuration.ApprovalManual })
		h.refused(t, r, raw, refusal.Replayed)
	})
}

// TestApproveAgainstPolicy: what was good when it was asked must be good when
// it is approved.
func TestApproveAgainstPolicy(t *testing.T) {
	inEach(t, func(t *testing.T, h *house) {
		h.approving(t, configuration.ApprovalManual)
		r := h.request(t)
		request := h.pends(t, r, encoded(t, r))
		stays := func(what string, reason refusal.Reason) {
			t.Helper()
			_, err := h.service.Approve(t.Context(), request.ID, operator, "")
			if no, ok := refusal.Of(err); !ok || no.Reason != reason {
				t.Errorf("%s: %v", what, err)
			}
			if now, err := h.depot.Request(t.Context(), request.ID); err != nil || now.State != depot.RequestPending || h.issued(t) != 0 {
				t.Errorf("%s: %+v, %v", what, now, err)
			}
		}
		h.reconfigure(t, `{"key_sizes":[4096]}`)
		stays("other key sizes", refusal.KeyRejected)
		h.reconfigure(t, `{"key_sizes":[2048]}`)
		list := depot.DeviceList{ConfigurationID: h.live.Record.ID, Devices: []depot.ListedDevice{{DeviceSerial: "OTHER"}}, ChangedAt: opening}
		if err := h.service.Devices().SetDeviceList(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		stays("not on the list", refusal.DeviceNotListed)
		if err := h.service.Devices().RemoveDeviceList(t.Context(), h.live.Record.ID, operator, opening); err != nil {
			t.Fatal(err)
		}
		// The secret key is not asked for a second time.
		if _, _, err := h.set.ResetSecret(t.Context(), h.live.Record.ID, nil); err != nil {
			t.Fatal(err)
		}
		h.approve(t, request.ID)
		for _, decide := range []func() (depot.Request, error){
			func() (depot.Request, error) { return h.service.Approve(t.Context(), request.ID, operator, "") },
			func() (depot.Request, error) { return h.service.Deny(t.Context(), request.ID, operator, "") },
		} {
			if _, err := decide(); !errors.Is(err, depot.ErrDecided) {
				t.Errorf("decided twice: %v", err)
			}
		}
		if _, err := h.service.Approve(t.Context(), "rq_nothing", operator, ""); !errors.Is(err, depot.ErrNotFound) {
			t.Errorf("approve nothing: %v", err)
		}
		if _, err := h.service.Deny(t.Context(), "rq_nothing", operator, ""); !errors.Is(err, depot.ErrNotFound) {
			t.Errorf("deny nothing: %v", err)
		}
	})
}

// TestApproveAfterChange: the certificate is as the configuration is when it is
// approved, and so is what is on record of it.
func TestApproveAfterChange(t *testing.T) {
	marker := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 51150, 13, 1}
	inEach(t, func(t *testing.T, h *house) {
		h.approving(t, configuration.ApprovalManual)
		r := h.request(t)
		request := h.pends(t, r, encoded(t, r))
		h.reconfigure(t, `{"name":"renamed","purpose":"management-attestation","validity_seconds":86400}`)
		serial := h.approve(t, request.ID).Transaction.CertificateSerial
		identity, err := h.depot.Identity(t.Context(), serial)
		if err != nil {
			t.Fatal(err)
		}
		certificate := h.enrolled(t, r, encoded(t, r), enroll.Repeated)
		if slices.ContainsFunc(certificate.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(marker) }) || certificate.NotAfter.Sub(certificate.NotBefore) != 24*time.Hour {
			t.Errorf("certificate until %v with the marker of another purpose", certificate.NotAfter)
		}
		if identity.Purpose != "management-attestation" || identity.ConfigurationName != "renamed" {
			t.Errorf("on record for %s in %s", identity.Purpose, identity.ConfigurationName)
		}
	})
}

// TestApproveRemoved: the configuration is gone, and so is its policy.
func TestApproveRemoved(t *testing.T) {
	inEach(t, func(t *testing.T, h *house) {
		h.approving(t, configuration.ApprovalManual)
		r := h.request(t)
		request := h.pends(t, r, encoded(t, r))
		if err := h.set.Remove(t.Context(), h.live.Record.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := h.service.Approve(t.Context(), request.ID, operator, ""); !errors.Is(err, depot.ErrNotFound) || h.issued(t) != 0 {
			t.Errorf("approve: %v", err)
		}
		h.deny(t, request.ID)
	})
}

// TestApprovedThenLost: an approved certificate that is not live any more is
// not handed out; the device asks anew.
func TestApprovedThenLost(t *testing.T) {
	inEach(t, func(t *testing.T, h *house) {
		h.approving(t, configuration.ApprovalManual)
		r := h.request(t)
		h.approve(t, h.pends(t, r, encoded(t, r)).ID)
		h.revokeAll(t)
		h.refused(t, r, encoded(t, h.poll(r)), refusal.NotFound)
		h.pends(t, r, encoded(t, r))
		if h.requests(t) != 2 {
			t.Errorf("%d requests", h.requests(t))
		}
	})
}

// TestOneTimeChallenge is spent by the approval, and by nothing before it.
func TestOneTimeChallenge(t *testing.T) {
	inEach(t, func(t *testing.T, h *house) {
		h.approving(t, configuration.ApprovalManual)
		j := &judge{spends: depot.ChallengeRef{ID: "ch_1"}}
		manual, auto := h.judged(j), *h.judged(j)
		auto.Record.Policy.Approval = configuration.ApprovalAuto
		h.live = manual
		first, second := h.request(t), h.request(t)
		one, two := h.pends(t, first, encoded(t, first)), h.pends(t, second, encoded(t, second))
		if one.Challenge != j.spends || one.Draft.ChallengeID != "ch_1" {
			t.Errorf("the request spends %+v", one.Challenge)
		}
		j.ended(t, 2, 0) // nothing is handed out yet
		h.approve(t, one.ID)
		_, err := h.service.Approve(t.Context(), two.ID, operator, "")
		if no, ok := refusal.Of(err); !ok || no.Reason != refusal.ChallengeUsed {
			t.Errorf("approved with a spent challenge: %v", err)
		}
		h.live = &auto
		third := h.request(t)
		h.refused(t, third, encoded(t, third), refusal.ChallengeUsed)
		if h.issued(t) != 1 {
			t.Errorf("%d certificates", h.issued(t))
		}
	})
}

// TestBacklog: strangers cannot fill the store, nor keep out those who have a
// challenge; what is decided or expires makes room.
func TestBacklog(t *testing.T) {
	const strangers, all = 1000, 2000
	h := furnishMemory(t)
	h.approving(t, configuration.ApprovalManual)
	fill := func(n int) {
		t.Helper()
		for range n {
			h.transactions++
			id := fmt.Sprintf("fill-%d", h.transactions)
			r := depot.Request{
				ID: "rq_" + id, State: depot.RequestPending, CSR: []byte{1}, ExpiresAt: h.clock.Now().Add(approvalTTL),
				Transaction: depot.Transaction{ConfigurationID: h.live.Record.ID, ID: id, MessageSHA256: sum(id)},
				Draft:       depot.Identity{ConfigurationID: h.live.Record.ID, TransactionID: id},
			}
			if err := h.depot.AddRequest(t.Context(), r, 0, ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	stranger := func() *craft.Request { return h.request(t, func(r *craft.Request) { r.CSR.Challenges = nil }) }
	fill(strangers - 1)
	f := &faulty{Depot: h.depot, fails: "AddRequest", err: errDisk}
	f.times.Store(2)
	h.service = h.over(f)
	last := stranger()
	for range 2 { // what was not stored takes no room
		if a := h.ask(encoded(t, last)); !errors.Is(a.Internal, errDisk) {
			t.Fatalf("answer %+v", a)
		}
	}
	waiting := h.pends(t, last, encoded(t, last))
	turned := stranger()
	reply := h.refused(t, turned, encoded(t, turned), refusal.Busy)
	if reply.FailInfo != client.BadRequest || reply.FailInfoText == "" {
		t.Errorf("the client is told %s %q", reply.FailInfo.Name(), reply.FailInfoText)
	}
	h.pends(t, last, encoded(t, last)) // who waits already is not turned away
	honest := h.request(t)
	h.deny(t, h.pends(t, honest, encoded(t, honest)).ID)
	h.refused(t, turned, encoded(t, turned), refusal.Busy)
	h.deny(t, waiting.ID)
	waiting = h.pends(t, turned, encoded(t, turned))

	fill(all - strangers)
	h.service = h.over(h.depot) // counts anew
	honest = h.request(t)
	h.refused(t, honest, encoded(t, honest), refusal.Busy)
	h.approve(t, waiting.ID)
	h.pends(t, honest, encoded(t, honest))
	// The other configuration has room of its own.
	mine := h.live
	h.approving(t, configuration.ApprovalManualNew)
	elsewhere := h.request(t)
	h.pends(t, elsewhere, encoded(t, elsewhere))
	h.live = mine
	// Time makes room, without being told.
	h.clock.Advance(approvalTTL)
	late := stranger()
	h.pends(t, late, encoded(t, late))
}
