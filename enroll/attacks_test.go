package enroll_test

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/enroll"
	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep/client"
	"understudy.example/understudy/scep/client/craft"
)

// The attacks A01 to A27 of this project's list concern authorisation. Here are
// those that the flow decides, each in every kind of configuration. A15 and A17
// are in renewal_test.go, A21 and A22 in transaction_test.go besides, A12 in
// package configuration, A27 in package challenge, and those that only HTTP
// can get wrong in package server.

// kinds are the configurations that an attack is tried in.
var kinds = map[string]func(*configuration.Settings){
	"okta":       func(*configuration.Settings) {},
	"renewal":    func(s *configuration.Settings) { s.Renewal = true },
	"manual":     func(s *configuration.Settings) { s.Approval = configuration.ApprovalManual },
	"manual-new": func(s *configuration.Settings) { s.Approval = configuration.ApprovalManualNew },
	"open": func(s *configuration.Settings) {
		s.Renewal, s.Queries, s.Approval = true, configuration.QueriesAnyone, configuration.ApprovalManual
	},
}

// An attack is a hostile message and the one right answer to it.
type attack struct {
	id, name string
	change   func(t *testing.T, h *house, r *craft.Request)
	reason   refusal.Reason
	info     client.FailInfo
	not      string // the kinds in which it is no attack
}

func TestAttacks(t *testing.T) {
	for _, a := range slices.Concat(challengeAttacks(), messageAttacks(), signerAttacks(), subjectAttacks()) {
		t.Run(a.id+" "+a.name, func(t *testing.T) {
			t.Parallel()
			for kind, settings := range kinds {
				if slices.Contains(strings.Fields(a.not), kind) {
					continue
				}
				h := furnishMemory(t)
				h.withCRLs()
				h.live = h.configure(t, kind, settings)
				r := h.request(t)
				a.change(t, h, r)
				reply := h.refused(t, r, encoded(t, r), a.reason)
				if reply.FailInfo != a.info || h.requests(t) != 0 {
					t.Errorf("%s: the client is told %s, %d requests wait", kind, reply.FailInfo.Name(), h.requests(t))
				}
				// And nothing is held against the device.
				honest := h.request(t)
				if a := h.ask(encoded(t, honest)); a.Outcome != enroll.Issued && a.Outcome != enroll.Pending {
					t.Errorf("%s: an honest request afterwards: %s %s %v", kind, a.Outcome, a.Reason, a.Internal)
				}
			}
		})
	}
}

// challengeAttacks are A03, A04 and A13.
func challengeAttacks() []attack {
	challenge := func(tag cbasn1.Tag, text string) func(*testing.T, *house, *craft.Request) {
		return func(_ *testing.T, _ *house, r *craft.Request) { r.CSR.Challenges = [][]byte{craft.Text(tag, text)} }
	}
	const wrong, missing = refusal.ChallengeWrong, refusal.ChallengeMissing
	const manual = "manual open" // where an operator decides about a request without a challenge
	two := func(first, second string) func(*testing.T, *house, *craft.Request) {
		return func(_ *testing.T, _ *house, r *craft.Request) {
			r.CSR.Challenges = [][]byte{craft.Text(cbasn1.PrintableString, first), craft.Text(cbasn1.PrintableString, second)}
		}
	}
	return []attack{
		{"A03", "challenge of another configuration", challenge(cbasn1.PrintableString, "anotherConfigurationsSecretKey00"), wrong, client.BadRequest, ""},
		{"A04", "no challenge", func(_ *testing.T, _ *house, r *craft.Request) { r.CSR.Challenges = nil }, missing, client.BadRequest, manual},
		{"A04", "empty", challenge(cbasn1.PrintableString, ""), missing, client.BadRequest, manual},
		{"A04", "trailing space", challenge(cbasn1.PrintableString, secretKey+" "), wrong, client.BadRequest, ""},
		{"A04", "other case", challenge(cbasn1.PrintableString, strings.ToLower(secretKey)), wrong, client.BadRequest, ""},
		{"A04", "NUL inside", challenge(cbasn1.UTF8String, secretKey[:16]+"\x00"+secretKey[16:]), wrong, client.BadRequest, ""},
		{"A04", "NUL at the end", challenge(cbasn1.UTF8String, secretKey+"\x00"), wrong, client.BadRequest, ""},
		{"A04", "prefix", challenge(cbasn1.PrintableString, secretKey[:31]), wrong, client.BadRequest, ""},
		{"A04", "lookalike", challenge(cbasn1.UTF8String, strings.Replace(secretKey, "x", "х", 1)), wrong, client.BadRequest, ""},
		{"A04", "over the limit", challenge(cbasn1.UTF8String, strings.Repeat("x", 9<<10)), refusal.BadMessage, client.BadRequest, ""},
		{"A04", "an INTEGER", func(_ *testing.T, _ *house, r *craft.Request) { r.CSR.Challenges = [][]byte{{2, 1, 7}} }, refusal.BadMessage, client.BadRequest, ""},
		{"A13", "wrong and right", two("wrong", secretKey), refusal.BadMessage, client.BadRequest, ""},
		{"A13", "right and wrong", two(secretKey, "wrong"), refusal.BadMessage, client.BadRequest, ""},
	}
}

// messageAttacks are A05, A06 and A07: message types.
func messageAttacks() []attack {
	of := func(text string) func(*testing.T, *house, *craft.Request) {
		return func(_ *testing.T, _ *house, r *craft.Request) {
			r.Message.Set(craft.OIDMessageType, craft.Text(cbasn1.PrintableString, text))
		}
	}
	const unsupported, renews, asks = refusal.UnsupportedOperation, "renewal open", "manual manual-new open"
	all := []attack{
		{"A05", "UpdateReq", of("18"), unsupported, client.BadRequest, ""},
		{"A05", "UpdateReq without a challenge", func(t *testing.T, h *house, r *craft.Request) {
			r.CSR.Challenges = nil
			of("18")(t, h, r)
		}, unsupported, client.BadRequest, ""},
		{"A06", "RenewalReq that is not offered", of("17"), refusal.RenewalNotOffered, client.BadRequest, renews},
		{"A06", "RenewalReq that renews nothing", of("17"), refusal.SignerNotTrusted, client.BadRequest, "okta manual manual-new"},
		{"A07", "CertPoll where nobody waits", of("20"), unsupported, client.BadRequest, asks},
		{"A07", "CertPoll with a CSR in it", of("20"), refusal.NotFound, client.BadCertID, "okta renewal"},
		{"A07", "GetCert", of("21"), unsupported, client.BadRequest, "open"},
		{"A07", "GetCert with a CSR in it", of("21"), refusal.NotDecryptable, client.BadCertID, "okta renewal manual manual-new"},
		{"A07", "GetCRL with a CSR in it", of("22"), refusal.NotDecryptable, client.BadCertID, "okta renewal manual manual-new"},
		{"A07", "GetCRL", of("22"), unsupported, client.BadRequest, "open"},
	}
	for _, text := range []string{"3", "0", "99", "", "019", "19 ", strings.Repeat("19", 500)} {
		all = append(all, attack{"A07", fmt.Sprintf("type %.8q", text), of(text), unsupported, client.BadRequest, ""})
	}
	return append(all, attack{"A07", "an INTEGER", func(_ *testing.T, _ *house, r *craft.Request) {
		r.Message.Set(craft.OIDMessageType, []byte{2, 1, 19})
	}, unsupported, client.BadRequest, ""})
}

// signerAttacks are A18 to A20: whose request is it?
func signerAttacks() []attack {
	return []attack{
		{"A18", "envelope of another device's request", func(t *testing.T, _ *house, r *craft.Request) {
			raw, err := r.CSR.Encode() // what is in the envelope stays, whoever sends it
			if err != nil {
				t.Fatal(err)
			}
			r.Envelope.Content = raw
			signedBy(signerB, keyB)(r)
		}, refusal.SignerNotTrusted, client.BadMessageCheck, ""},
		{"A19", "CSR that nobody signed", func(_ *testing.T, _ *house, r *craft.Request) {
			r.CSR.Signature = func(s []byte) []byte { s[0] ^= 1; return s }
		}, refusal.NotDecryptable, client.BadMessageCheck, ""},
		{"A20", "signer key is another", func(_ *testing.T, _ *house, r *craft.Request) { r.CSR.Key = keyB }, refusal.SignerNotTrusted, client.BadMessageCheck, ""},
	}
}

// subjectAttacks are A11 and A14: names.
func subjectAttacks() []attack {
	subject := func(name pkix.Name) func(*testing.T, *house, *craft.Request) {
		return func(t *testing.T, _ *house, r *craft.Request) {
			der, err := asn1.Marshal(name.ToRDNSequence())
			if err != nil {
				t.Fatal(err)
			}
			r.CSR.Subject = der
		}
	}
	const rejected = refusal.SubjectRejected
	return []attack{
		{"A14", "NUL", subject(pkix.Name{CommonName: "C02XL0AAAA\x00"}), rejected, client.BadRequest, ""},
		{"A14", "newline", subject(pkix.Name{CommonName: "C02XL0AAAA\nlevel=error"}), rejected, client.BadRequest, ""},
		{"A14", "257 bytes", subject(pkix.Name{CommonName: strings.Repeat("x", 257)}), rejected, client.BadRequest, ""},
		{"A14", "65 attributes", subject(pkix.Name{CommonName: "C02XL0AAAA", OrganizationalUnit: slices.Repeat([]string{"x"}, 65)}), rejected, client.BadRequest, ""},
	}
}

// TestUnlistedName is A01: with the static secret anybody is whoever they say,
// unless there is a list.
func TestUnlistedName(t *testing.T) {
	for _, cn := range []string{"C02XL0BBBB", "admin"} {
		h := furnishMemory(t)
		r := h.request(t)
		r.CSR.Subject = named(t, cn)
		h.enrolled(t, r, encoded(t, r), enroll.Issued)
		h.list(t, depot.ListedDevice{DeviceSerial: "C02XL0GTJGH5"})
		other := h.request(t)
		other.CSR.Subject = named(t, cn)
		if reply := h.refused(t, other, encoded(t, other), refusal.DeviceNotListed); reply.FailInfo != client.BadRequest || reply.FailInfoText != "" {
			t.Errorf("the client is told %s %q", reply.FailInfo.Name(), reply.FailInfoText)
		}
	}
}

// TestOneChallengeAtOnce is A24: 16 devices with one one-time challenge, and
// one of them gets a certificate; and 16 that wait with it, of which one can
// be approved.
func TestOneChallengeAtOnce(t *testing.T) {
	const racers = 16
	inEach(t, func(t *testing.T, h *house) {
		h.live = h.judged(&judge{spends: depot.ChallengeRef{ID: "ch_1"}})
		raws := make([][]byte, racers)
		for i := range raws {
			raws[i] = encoded(t, h.request(t))
		}
		answers := make([]enroll.Answer, racers)
		var group sync.WaitGroup
		for i, raw := range raws {
			group.Go(func() { answers[i] = h.ask(raw) })
		}
		group.Wait()
		outcomes := map[string]int{}
		for _, a := range answers {
			outcomes[fmt.Sprint(a.Outcome, " ", a.Reason)]++
		}
		if outcomes["issued "] != 1 || outcomes["refused challenge_used"] != racers-1 || h.issued(t) != 1 {
			t.Errorf("%v, %d certificates", outcomes, h.issued(t))
		}
	})
	inEach(t, func(t *testing.T, h *house) {
		h.approving(t, configuration.ApprovalManual)
		h.live = h.judged(&judge{spends: depot.ChallengeRef{ID: "ch_1"}})
		ids := make([]string, racers)
		for i := range ids {
			r := h.request(t)
			ids[i] = h.pends(t, r, encoded(t, r)).ID
		}
		errs := make([]error, racers)
		var group sync.WaitGroup
		for i, id := range ids {
			group.Go(func() { _, errs[i] = h.service.Approve(t.Context(), id, operator, "") })
		}
		group.Wait()
		good := 0
		for _, err := range errs {
			if no, ok := refusal.Of(err); err == nil {
				good++
			} else if !ok || no.Reason != refusal.ChallengeUsed {
				t.Errorf("approve: %v", err)
			}
		}
		if good != 1 || h.issued(t) != 1 {
			t.Errorf("%d approvals, %d certificates", good, h.issued(t))
		}
	})
}
