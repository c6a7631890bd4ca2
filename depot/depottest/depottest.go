// Package depottest is the conformance suite of depot.Depot: one set of tests
// for every implementation, each of which asserts something that the comments
// of package depot promise. MUTATIONS.md lists the bugs that were planted to
// see that it finds them.
//
// It must not know any implementation but the model, Memory.
package depottest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"understudy.example/understudy/depot"
)

// Open opens a new, empty depot and returns it together with a function that
// closes it and opens it again. A depot that cannot be opened again, such as
// Memory, returns itself there. The test closes the depot that it used last.
type Open func(t *testing.T) (d depot.Depot, reopen func() depot.Depot)

// Run runs the suite. It moves time.Local far to the west, because most
// machines that run tests are in UTC, where mistakes with local time cannot be
// seen, and it must therefore not run beside parallel tests.
func Run(t *testing.T, open Open) {
	local := time.Local
	time.Local = time.FixedZone("west", -(9*60+30)*60)
	t.Cleanup(func() { time.Local = local })

	for _, test := range slices.Concat(issuing(), deciding(), challenging(), beside()) {
		t.Run(test.name, func(t *testing.T) {
			s := &suite{T: t, ctx: t.Context()}
			s.d, s.reopen = open(t)
			test.keep(s)
			s.sound()
		})
	}
}

// A promise is one test of the suite.
type promise struct {
	name string
	keep func(*suite)
}

// issuing are the promises about certificates, lists, configurations and the
// depot as a whole.
func issuing() []promise {
	return []promise{
		{"CommitFind", (*suite).commitFind},
		{"NotFound", (*suite).notFound},
		{"Invalid", (*suite).invalid},
		{"Taken", (*suite).taken},
		{"TransactionReused", (*suite).transactionReused},
		{"TransactionConflict", (*suite).transactionConflict},
		{"MessageConflict", (*suite).messageConflict},
		{"ChallengeSpent", (*suite).challengeSpent},
		{"CommitRace", (*suite).commitRace},
		{"ChallengeRace", (*suite).challengeRace},
		{"OneBadStep", (*suite).oneBadStep},
		{"CallerKeepsArguments", (*suite).callerKeepsArguments},
		{"EndedContext", (*suite).endedContext},
		{"ListNewestFirst", (*suite).listNewestFirst},
		{"ListByNotAfter", (*suite).listByNotAfter},
		{"ListWindow", (*suite).listWindow},
		{"ListFilters", (*suite).listFilters},
		{"ListPages", (*suite).listPages},
		{"ListStable", (*suite).listStable},
		{"ListLimits", (*suite).listLimits},
		{"Cursors", (*suite).cursors},
		{"Devices", (*suite).devices},
		{"DeviceOrder", (*suite).deviceOrder},
		{"Events", (*suite).events},
		{"Configurations", (*suite).configurations},
		{"ConfigurationRemoved", (*suite).configurationRemoved},
		{"ConfigurationRevision", (*suite).configurationRevision},
		{"Authority", (*suite).authority},
		{"Reopen", (*suite).reopened},
		{"Close", (*suite).closed},
		{"AgreesWithModel", (*suite).agreesWithModel},
	}
}

// deciding are the promises about requests, about what becomes of
// certificates, and about allow-lists.
func deciding() []promise {
	return []promise{
		{"RequestFind", (*suite).requestFind},
		{"RequestNotFound", (*suite).requestNotFound},
		{"RequestInvalid", (*suite).requestInvalid},
		{"RequestConflict", (*suite).requestConflict},
		{"RequestList", (*suite).requestList},
		{"Approve", (*suite).approve},
		{"Deny", (*suite).deny},
		{"DecideRefused", (*suite).decideRefused},
		{"DecideOvertaken", (*suite).decideOvertaken},
		{"RequestRace", (*suite).requestRace},
		{"DecideRace", (*suite).decideRace},
		{"DecideCommitRace", (*suite).decideCommitRace},
		{"Revoke", (*suite).revokeFind},
		{"RevokeRefused", (*suite).revokeRefused},
		{"Hold", (*suite).hold},
		{"RevokedList", (*suite).revokedList},
		{"RevokeRace", (*suite).revokeRace},
		{"CRLNumbers", (*suite).crlNumbers},
		{"CRLNumberRace", (*suite).crlNumberRace},
		{"MarkUsed", (*suite).markUsed},
		{"UseRace", (*suite).useRace},
		{"UnusedSince", (*suite).unusedSince},
		{"Supersede", (*suite).supersede},
		{"SupersedeOrder", (*suite).supersedeOrder},
		{"SupersedeRace", (*suite).supersedeRace},
		{"LaterSteps", (*suite).laterSteps},
		{"DeviceLists", (*suite).deviceLists},
		{"DeviceListRefused", (*suite).deviceListRefused},
	}
}

// challenging are the promises about one-time challenges and deliveries.
func challenging() []promise {
	return []promise{
		{"ChallengeFind", (*suite).challengeFind},
		{"ChallengeRefused", (*suite).challengeRefused},
		{"ChallengeCap", (*suite).challengeCap},
		{"ChallengeSpend", (*suite).challengeSpend},
		{"ChallengeWithdraw", (*suite).challengeWithdraw},
		{"ChallengeForget", (*suite).challengeForget},
		{"ChallengeList", (*suite).challengeList},
		{"ChallengeUseRace", (*suite).challengeUseRace},
		{"ChallengeAddRace", (*suite).challengeAddRace},
		{"HoldBack", (*suite).holdBack},
		{"HoldBackRefused", (*suite).holdBackRefused},
		{"Deliver", (*suite).deliver},
		{"Void", (*suite).void},
		{"VoidRevoked", (*suite).voidRevoked},
		{"VoidRenewal", (*suite).voidRenewal},
		{"DeliveryRace", (*suite).deliveryRace},
	}
}

// beside are the promises about finding, tokens, webhooks and the lab.
func beside() []promise {
	return []promise{
		{"ListNames", (*suite).listNames},
		{"ListNamesStable", (*suite).listNamesStable},
		{"ListIssued", (*suite).listIssued},
		{"ListMatch", (*suite).listMatch},
		{"ListStandings", (*suite).listStandings},
		{"ListAsOf", (*suite).listAsOf},
		{"EventFilters", (*suite).eventFilters},
		{"Tokens", (*suite).tokens},
		{"TokensRefused", (*suite).tokensRefused},
		{"TokenRace", (*suite).tokenRace},
		{"Webhooks", (*suite).webhooks},
		{"WebhooksRefused", (*suite).webhooksRefused},
		{"Progress", (*suite).progress},
		{"ProgressRefused", (*suite).progressRefused},
		{"ProgressRace", (*suite).progressRace},
		{"LabClock", (*suite).labClock},
		{"Rejections", (*suite).rejections},
		{"Seedings", (*suite).seedings},
		{"Await", (*suite).await},
		{"AwaitRace", (*suite).awaitRace},
	}
}

// A suite is one test with its depot.
type suite struct {
	*testing.T
	ctx    context.Context
	d      depot.Depot
	reopen func() depot.Depot
}

// sound asserts at the end of each test that every index entry leads to its
// record and every record has its entries, and closes the depot.
func (s *suite) sound() {
	s.Helper()
	findings, err := s.d.Check(s.ctx)
	if errors.Is(err, depot.ErrUnavailable) { // closed by the test
		return
	}
	if err != nil {
		s.Errorf("Check: %v", err)
	}
	for _, f := range findings {
		s.Errorf("Check found: %s", f)
	}
	if err := s.d.Close(); err != nil {
		s.Errorf("Close: %v", err)
	}
}

// Issuance returns a complete issuance with every field filled, different for
// each n, but those that only later steps set or that ask for one
// (RevokeUnusedAt): certificate serials rise with n and so do the times, every
// one is the first of its transaction and of its device, and all are in the
// configuration "rac0".
func Issuance(n int) depot.Issuance {
	var i depot.Issuance
	Fill(&i.Identity, n+1)
	Fill(&i.Transaction, n+1)
	i.Identity.CertificateSerial = fmt.Sprintf("0a%06x", n)
	i.Identity.SHA256 = hashOf("certificate", n)
	i.Identity.PublicKeySHA256 = hashOf("key", n)
	i.Identity.IssuedAt = Epoch.Add(time.Duration(n) * time.Minute).Local()
	i.Identity.NotAfter = Epoch.Add(time.Duration(n) * time.Hour).Local()
	i.Identity = i.Identity.AtIssue()
	i.Identity.RequestID, i.Identity.ApprovedBy, i.Identity.RevokeUnusedAt = "", "", time.Time{}
	i.Identity.HeldBack = false
	i.Transaction.MessageSHA256 = hashOf("message", n)
	i.Transaction.Sequence = 0
	return in(i, "rac0", fmt.Sprintf("transaction %d", n), fmt.Sprintf("device %d", n))
}

// in moves an issuance to another configuration, transaction and device.
func in(i depot.Issuance, configurationID, transactionID, deviceKey string) depot.Issuance {
	i.Identity.ConfigurationID, i.Transaction.ConfigurationID = configurationID, configurationID
	i.Identity.TransactionID, i.Transaction.ID = transactionID, transactionID
	i.Transaction.CertificateSerial = i.Identity.CertificateSerial
	i.Identity.Device.Key = deviceKey
	return i
}

func hashOf(what string, n int) [32]byte {
	return sha256.Sum256(binary.BigEndian.AppendUint64([]byte(what), uint64(n)))
}

// want is the identity as it must come back: in UTC, with the certificate that
// the device had before.
func want(i depot.Issuance, previous string) depot.Identity {
	id := stored(i.Identity)
	id.PreviousSerial = previous
	return id
}

// commit stores an issuance that must be taken.
func (s *suite) commit(i depot.Issuance) depot.Identity {
	s.Helper()
	id, err := s.d.Commit(s.ctx, i)
	if err != nil {
		s.Fatalf("Commit(%s): %v", i.Identity.CertificateSerial, err)
	}
	return id
}

// commitAfter stores an issuance of a transaction that was seen before.
func (s *suite) commitAfter(i depot.Issuance) depot.Identity {
	s.Helper()
	last, err := s.d.Transaction(s.ctx, i.Transaction.ConfigurationID, i.Transaction.ID)
	if err != nil && !errors.Is(err, depot.ErrNotFound) {
		s.Fatalf("Transaction: %v", err)
	}
	i.After = last.Sequence
	return s.commit(i)
}

func (s *suite) wantError(what string, got, want error) {
	s.Helper()
	if !errors.Is(got, want) {
		s.Errorf("%s: error %v, want %v", what, got, want)
	}
}

func (s *suite) equal(what string, got, want any) {
	s.Helper()
	if diff := cmp.Diff(want, got, sameTime()); diff != "" {
		s.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// sameTime makes package cmp compare times as records are compared: the same
// moment in the same zone. By itself it would take any zone.
func sameTime() cmp.Option {
	return cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) && a.Location() == b.Location() })
}

// maxPages is after how many pages a list is taken to be endless.
const maxPages = 200

// serials lists the certificate serials of all pages.
func (s *suite) serials(q depot.IdentityQuery) []string {
	s.Helper()
	var all []string
	for range maxPages {
		page, err := s.d.Identities(s.ctx, q)
		if err != nil {
			s.Fatalf("Identities(%+v): %v", q, err)
		}
		for _, i := range page.Items {
			all = append(all, i.CertificateSerial)
		}
		if q.Cursor = page.NextCursor; q.Cursor == "" {
			return all
		}
	}
	s.Fatalf("Identities(%+v) does not end", q)
	return nil
}

// deviceKeys lists "configuration key" of all pages.
func (s *suite) deviceKeys(q depot.DeviceQuery) []string {
	s.Helper()
	var all []string
	for range maxPages {
		page, err := s.d.Devices(s.ctx, q)
		if err != nil {
			s.Fatalf("Devices(%+v): %v", q, err)
		}
		for _, d := range page.Items {
			all = append(all, d.ConfigurationID+" "+d.Names.Key)
		}
		if q.Cursor = page.NextCursor; q.Cursor == "" {
			return all
		}
	}
	s.Fatalf("Devices(%+v) does not end", q)
	return nil
}

// happened lists all events, page by page.
func (s *suite) happened(limit int) []depot.Event {
	s.Helper()
	var all []depot.Event
	q := depot.EventQuery{Limit: limit}
	for range maxPages {
		page, err := s.d.Events(s.ctx, q)
		if err != nil {
			s.Fatalf("Events(%+v): %v", q, err)
		}
		all = append(all, page.Items...)
		if page.NextCursor == "" {
			return all
		}
		q.After = all[len(all)-1].Sequence
		if want := fmt.Sprint(q.After); page.NextCursor != want {
			s.Fatalf("Events: NextCursor %q, want the last sequence %s", page.NextCursor, want)
		}
	}
	s.Fatalf("Events does not end")
	return nil
}
