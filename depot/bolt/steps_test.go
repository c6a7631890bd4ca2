package bolt_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/depot/bolt"
	"understudy.example/understudy/depot/depottest"
)

// afterwards returns the closed store of a depot in which everything happened
// that can come after an issuance, or before one.
func afterwards(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	d := open(t, dir)
	configurations(t, d)
	afterlife(t, d)
	must(t, d.Close())
	return dir
}

// The ledger tells of every step what there is to tell, notes included, which
// the database forgets.
func TestLedgerHoldsSteps(t *testing.T) {
	dir := afterwards(t)
	types := map[string]int{}
	var revocations []depot.Revocation
	_, err := bolt.ReadLedger(filepath.Join(dir, "ledger"), func(e bolt.Entry) error {
		types[e.Type]++
		switch depot.EventType(e.Type) {
		case depot.EventRequestPending:
			got, err := e.Request()
			want := depottest.Request(900_010 + types[e.Type] - 1)
			if types[e.Type] == 3 {
				want.Challenge.ID, want.Supersedes = "ch_request", depottest.Issuance(900_001).Identity.CertificateSerial
			}
			if types[e.Type] == 4 {
				want.Transaction.ID, want.Draft.TransactionID = "transaction 900010", "transaction 900010"
			}
			equal(t, err, got, want)
		case depot.EventRequestDenied:
			got, err := e.Decision()
			equal(t, err, got, depottest.Denial(depottest.Request(900_010)))
		case depot.EventRequestApproved:
			got, err := e.Decision()
			want := depottest.Approval(depottest.Request(900_012), 0)
			want.Issuance = nil
			equal(t, err, got, want)
		case depot.EventCertificateIssued:
			i, err := e.Issuance()
			must(t, err)
			d, err := e.Decision()
			must(t, err)
			if i.HoldBack || len(i.CSR) > 0 {
				t.Errorf("issuance %s has a CSR", i.Identity.CertificateSerial)
			}
			if came := d.RequestID != ""; came != (i.Identity.RequestID != "") || came && i.Supersedes == "" {
				t.Errorf("issuance %s: decision %q, request %q, supersedes %q", i.Identity.CertificateSerial, d.RequestID, i.Identity.RequestID, i.Supersedes)
			}
		case depot.EventChallengeIssued:
			got, err := e.Challenge()
			want := depottest.Challenge(types[e.Type] - 1)
			want.ID = fmt.Sprintf("ch_given_%d", types[e.Type]-1)
			equal(t, err, got, want)
		case depot.EventCertificateRevoked, depot.EventCertificateReleased:
			r, err := e.Revocation()
			must(t, err)
			revocations = append(revocations, r)
		}
		return nil
	})
	must(t, err)
	equal(t, nil, types, map[string]int{"store": 1, "authority": 2, "configuration.added": 4, "configuration.changed": 3,
		"configuration.secret_reset": 3, "configuration.removed": 1, "certificate.issued": 14, "request.pending": 4, "request.denied": 1,
		"request.approved": 1, "certificate.revoked": 5, "certificate.released": 2, "certificate.used": 2, "crl.number": 3,
		"configuration.devices_listed": 3, "configuration.devices_unlisted": 1,
		"challenge.issued": 5, "challenge.withdrawn": 1, "certificate.delivered": 1, "certificate.void": 2,
		"redistribution.acknowledged": 3, "redistribution.unacknowledged": 1, "redistribution.missed": 1, "certificate.superseded": 1,
		"token.added": 2, "token.removed": 1, "webhook.added": 2, "webhook.changed": 1, "webhook.disabled": 1, "webhook.removed": 1,
		"clock.moved": 2, "store.seeded": 2, "challenge.rejected": 1})
	equal(t, nil, revocations[0], depot.Revocation{CertificateSerial: depottest.Issuance(900_001).Identity.CertificateSerial,
		Reason: depot.ReasonSuperseded, At: depottest.Epoch, By: "operator", Note: "not \xff UTF-8"})
}

// A ledger that ends between the two records of an approval, and no database:
// request and certificate are there both or neither.
func TestApprovalIsOneRecord(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	d := open(t, dir)
	r := depottest.Request(1)
	r.Challenge.ID = "ch_1"
	must(t, d.AddRequest(t.Context(), r, 0, ""))
	_, err := d.Decide(t.Context(), depottest.Approval(r, 1))
	must(t, err)
	must(t, d.Close())
	all := lines(read(t, dir, "ledger"))
	if len(all) != 4 {
		t.Fatalf("%d records", len(all))
	}
	for records, want := range map[int]depot.RequestState{2: depot.RequestPending, 3: depot.RequestApproved, 4: depot.RequestApproved} {
		t.Run(fmt.Sprint(records), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			must(t, os.Mkdir(dir, 0o700))
			write(t, join(all[:records]), dir, "ledger")
			_, err := bolt.Rebuild(t.Context(), dir, bolt.RebuildOptions{})
			must(t, err)
			d := open(t, dir)
			got, err := d.Request(t.Context(), r.ID)
			must(t, err)
			_, err = d.Identity(t.Context(), depottest.Issuance(1).Identity.CertificateSerial)
			if got.State != want || (want == depot.RequestApproved) != (err == nil) {
				t.Errorf("request %s, certificate: %v", got.State, err)
			}
			_, err = d.Decide(t.Context(), depottest.Approval(r, 2))
			if decided := errors.Is(err, depot.ErrDecided); decided != (want == depot.RequestApproved) {
				t.Errorf("Decide: %v", err)
			}
			sound(t, d)
		})
	}
}

// What the ledger lacks is not shown, be it something new, something changed
// or something that is gone.
func TestStepsUnseen(t *testing.T) {
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "store")
	d := open(t, dir)
	configurations(t, d)
	commit(t, d, 1, 3)
	held := depot.Revocation{CertificateSerial: depottest.Issuance(1).Identity.CertificateSerial, Reason: depot.ReasonCertificateHold, At: depottest.Epoch}
	free := held
	free.Reason = depot.ReasonRemoveFromCRL
	issuer, other := depottest.Issuance(1).Identity.IssuerSHA256, depottest.Issuance(2).Identity
	r := depottest.Request(7)
	_, err := d.Revoke(ctx, held)
	must(t, err)
	must(t, d.SetDeviceList(ctx, depot.DeviceList{ConfigurationID: "rac0"}))
	must(t, d.AddToken(ctx, depottest.Token(1)))
	live, err := d.Configurations(ctx)
	must(t, err)
	gone := live[0]
	gone.Revision, gone.RemovedAt = gone.Revision+1, depottest.Epoch
	goneHook := depottest.Webhook(1)
	must(t, d.AddWebhook(ctx, goneHook))
	goneHook.Revision, goneHook.RemovedAt = 2, depottest.Epoch
	given, old, spends := depottest.Challenge(1), depottest.Challenge(2), depottest.Issuance(8)
	old.ID, spends.Challenge.ID = "ch_old", "ch_old"
	must(t, d.AddChallenge(ctx, old, 1))
	commit(t, d, 5, 6)
	waits, renewed := depottest.HeldBack(6), depottest.Issuance(5).Identity.CertificateSerial
	waits.Supersedes = renewed
	late, err := d.Commit(ctx, waits)
	must(t, err)
	for name, test := range map[string]struct{ do, see func() error }{
		"a request": {
			func() error { return d.AddRequest(ctx, r, 0, "") },
			func() error { _, err := d.Request(ctx, r.ID); return err },
		},
		"a request in the list": {
			func() error { return d.AddRequest(ctx, r, 0, "") },
			func() error { _, err := d.Requests(ctx, depot.RequestQuery{}); return err },
		},
		"a request by its transaction": {
			func() error { return d.AddRequest(ctx, r, 0, "") },
			func() error { _, err := d.RequestOfTransaction(ctx, "rac0", r.Transaction.ID); return err },
		},
		"a released certificate": {
			func() error { _, err := d.Revoke(ctx, free); return err },
			func() error { _, err := d.Identity(ctx, free.CertificateSerial); return err },
		},
		"a released certificate in the list": {
			func() error { _, err := d.Revoke(ctx, free); return err },
			func() error { _, err := d.Identities(ctx, depot.IdentityQuery{}); return err },
		},
		"a CRL without it": {
			func() error { _, err := d.Revoke(ctx, free); return err },
			func() error { _, err := d.Revoked(ctx, depot.RevokedQuery{IssuerSHA256: issuer}); return err },
		},
		"a use": {
			func() error { return d.MarkUsed(ctx, other.CertificateSerial, depottest.Epoch) },
			func() error { _, err := d.UnusedSince(ctx, depottest.Epoch, 0); return err },
		},
		"a CRL number": {
			func() error { _, err := d.TakeCRLNumber(ctx, issuer, 0); return err },
			func() error { _, err := d.LastCRLNumber(ctx, issuer); return err },
		},
		"a challenge": {
			func() error { return d.AddChallenge(ctx, given, 9) },
			func() error { _, err := d.Challenge(ctx, given.ID); return err },
		},
		"a challenge by its hash": {
			func() error { return d.AddChallenge(ctx, given, 9) },
			func() error { _, err := d.ChallengeBySHA256(ctx, given.SHA256); return err },
		},
		"a challenge in the list": {
			func() error { return d.AddChallenge(ctx, given, 9) },
			func() error { _, err := d.Challenges(ctx, depot.ChallengeQuery{}); return err },
		},
		"a spent challenge": {
			func() error { _, err := d.Commit(ctx, spends); return err },
			func() error { _, err := d.Challenge(ctx, "ch_old"); return err },
		},
		"a withdrawn challenge": {
			func() error { return d.WithdrawChallenge(ctx, "ch_old", "", depottest.Epoch) },
			func() error {
				_, err := d.Challenges(ctx, depot.ChallengeQuery{OutstandingAt: depottest.Epoch})
				return err
			},
		},
		"what is held back": {
			func() error { _, err := d.Commit(ctx, depottest.HeldBack(9)); return err },
			func() error { _, err := d.Undelivered(ctx); return err },
		},
		"what is delivered": {
			func() error { _, err := d.Deliver(ctx, late.CertificateSerial, depottest.Epoch); return err },
			func() error { _, err := d.Undelivered(ctx); return err },
		},
		"a certificate that is void": {
			func() error { _, err := d.Void(ctx, late.CertificateSerial, "", depottest.Epoch); return err },
			func() error { _, err := d.Identity(ctx, late.CertificateSerial); return err },
		},
		"a certificate whose renewal is void": {
			func() error { _, err := d.Void(ctx, late.CertificateSerial, "", depottest.Epoch); return err },
			func() error { _, err := d.Identity(ctx, renewed); return err },
		},
		"a configuration that is gone": {
			func() error { return d.SetConfiguration(ctx, gone, depot.EventConfigurationRemoved) },
			func() error { _, err := d.Configurations(ctx); return err },
		},
		"a token": {
			func() error { return d.AddToken(ctx, depottest.Token(2)) },
			func() error { _, err := d.TokenBySHA256(ctx, depottest.Token(2).SHA256); return err },
		},
		"a token that is gone": {
			func() error { _, err := d.RemoveToken(ctx, "tk_1", "", depottest.Epoch); return err },
			func() error { _, err := d.Tokens(ctx); return err },
		},
		"a webhook": {
			func() error { return d.AddWebhook(ctx, depottest.Webhook(2)) },
			func() error { _, err := d.Webhook(ctx, "wh_2"); return err },
		},
		"where a webhook begins": {
			func() error { return d.AddWebhook(ctx, depottest.Webhook(2)) },
			func() error { _, err := d.NotifiedThrough(ctx, "wh_2"); return err },
		},
		"a webhook that is gone": {
			func() error { return d.SetWebhook(ctx, goneHook, depot.EventWebhookRemoved) },
			func() error { _, err := d.Webhooks(ctx); return err },
		},
		"notifications that are gone": {
			func() error { return d.SetWebhook(ctx, goneHook, depot.EventWebhookRemoved) },
			func() error { _, err := d.Notifications(ctx, depot.NotificationQuery{WebhookID: "wh_1"}); return err },
		},
		"progress that is gone": {
			func() error { return d.SetWebhook(ctx, goneHook, depot.EventWebhookRemoved) },
			func() error { _, _, err := d.NotificationCounts(ctx, "wh_1"); return err },
		},
		"a clock": {
			func() error { return d.SetLabClock(ctx, depot.LabClock{ChangedAt: depottest.Epoch}, depottest.Epoch) },
			func() error { _, err := d.LabClock(ctx); return err },
		},
		"a seeding": {
			func() error {
				return d.RecordSeeding(ctx, depot.Seeding{At: depottest.Epoch, ConfigurationID: "rac0", Count: 1})
			},
			func() error { _, err := d.Seedings(ctx); return err },
		},
		"a name in the list": {
			func() error { _, err := d.Revoke(ctx, free); return err },
			func() error {
				_, err := d.Identities(ctx, depot.IdentityQuery{NameKind: depot.NameUPN, Name: "text", NamePrefix: true,
					Match: func(depot.Identity, depot.Standing) bool { return false }})
				return err
			},
		},
		"a device list that is gone": {
			func() error { return d.RemoveDeviceList(ctx, "rac0", "", depottest.Epoch) },
			func() error { _, err := d.DeviceList(ctx, "rac0"); return err },
		},
	} {
		t.Run(name, func(t *testing.T) {
			copied, _ := snapshot(t, d)
			var on disk
			was := d
			d = openOn(t, copied, &on)
			defer func() { d = was }()
			on.set("write")
			if err := test.do(); !errors.Is(err, depot.ErrUnavailable) {
				t.Fatalf("done: %v", err)
			}
			if err := test.see(); !errors.Is(err, depot.ErrUnavailable) {
				t.Errorf("seen: %v", err)
			}
			on.set()
			if err := test.see(); errors.Is(err, depot.ErrUnavailable) {
				t.Errorf("not seen: %v", err)
			}
			sound(t, d)
		})
	}
}

// Whatever is wrong with a record or an index entry of a step, Check names it.
func TestCheckFindsSteps(t *testing.T) {
	dir := afterwards(t)
	first := func(tx *bbolt.Tx, bucket string) (*bbolt.Bucket, []byte, []byte) {
		b := tx.Bucket([]byte(bucket))
		k, v := b.Cursor().First()
		return b, bytes.Clone(k), bytes.Clone(v)
	}
	for _, bucket := range []string{"requests", "requests_by_id", "requests_by_transaction", "requests_by_message", "revoked", "unused", "crl_numbers", "device_lists",
		"challenges", "challenges_given", "challenges_by_id", "challenges_by_sha256", "challenges_outstanding", "challenges_unspent",
		"held_back", "held_back_csrs", "by_name", "tokens", "tokens_by_sha256", "webhooks", "webhook_progress", "notifications", "seedings",
		"by_standing", "standing_counters", "by_stall", "redistribution", "rechecks", "rechecks_by_serial"} {
		for name, damage := range map[string]func(*bbolt.Bucket, []byte, []byte) error{
			"removed": func(b *bbolt.Bucket, k, _ []byte) error { return b.Delete(k) },
			"misplaced": func(b *bbolt.Bucket, k, v []byte) error {
				other := bytes.Clone(k)
				other[len(other)-1] ^= 1
				return errors.Join(b.Delete(k), b.Put(other, v))
			},
			"copied": func(b *bbolt.Bucket, k, v []byte) error {
				other := bytes.Clone(k)
				other[len(other)-1] ^= 1
				return b.Put(other, v)
			},
			"beside": func(b *bbolt.Bucket, k, v []byte) error { return b.Put(append(k, 'x'), v) },
			"changed": func(b *bbolt.Bucket, k, v []byte) error {
				if len(v) == 0 {
					return b.Put(k, []byte("x"))
				}
				v[len(v)/2] ^= 1
				return b.Put(k, v)
			},
		} {
			if bucket == "held_back_csrs" && name == "removed" {
				continue // as after a rebuild
			}
			t.Run(bucket+" "+name, func(t *testing.T) {
				dir := image(t, dir)
				inDatabase(t, dir, func(tx *bbolt.Tx) error { return damage(first(tx, bucket)) })
				d := open(t, dir)
				findings, err := d.Check(t.Context())
				must(t, err)
				if len(findings) == 0 {
					t.Error("Check found nothing")
				}
			})
		}
	}
}

// A ledger that was edited and chained anew is told from what was written at
// the record that was edited, whatever it is about.
func TestVerifyNamesEditedSteps(t *testing.T) {
	dir := afterwards(t)
	whole := read(t, dir, "ledger")
	edits := map[string][2]string{ // what is replaced by what, in the first record of the type that has it
		"request.pending":                {`"expires_at":"2026-04-05`, `"expires_at":"2026-05-05`},
		"request.denied":                 {`"by":"operator"`, `"by":"somebody"`},
		"request.approved":               {`"by":"operator"`, `"by":"somebody"`},
		"certificate.issued":             {`"supersedes":"0a0dbba0"`, `"supersedes":"0a0dbba3"`},
		"certificate.released":           {`"certificate_serial":"0a0dbbac"`, `"certificate_serial":"0a0dbba1"`},
		"certificate.revoked":            {`"reason":"superseded"`, `"reason":"unspecified"`},
		"certificate.used":               {`"at":"2026-03-29T01:00:59`, `"at":"2026-03-29T01:00:58`},
		"crl.number":                     {`"number":1700000001`, `"number":1700000002`},
		"configuration.devices_listed":   {`"changed_by":"text 40`, `"changed_by":"tEXt 40`},
		"configuration.devices_unlisted": {`"changed_by":"operator"`, `"changed_by":"somebody"`},
		"challenge.issued":               {`"created_by":"text `, `"created_by":"tEXt `},
		"challenge.withdrawn":            {`"by":"operator"`, `"by":"somebody"`},
		"certificate.delivered":          {`"certificate_serial":"0a0dbc0f"`, `"certificate_serial":"0a0dbc10"`},
		"certificate.void":               {`"at":"2026-03-29T01:00:59`, `"at":"2026-03-29T01:00:58`},
		"redistribution.acknowledged":    {`"by":"operator"`, `"by":"somebody"`},
		"redistribution.unacknowledged":  {`"by":"operator"`, `"by":"somebody"`},
		"redistribution.missed":          {`"mark":"missed"`, `"mark":"mizzed"`},
		"certificate.superseded":         {`"superseded_by":"0a0dbc69"`, `"superseded_by":"0a0dbc6a"`},
		"token.added":                    {`"created_by":"text `, `"created_by":"tEXt `},
		"token.removed":                  {`"removed_by":"operator"`, `"removed_by":"somebody"`},
		"webhook.added":                  {`"created_by":"text `, `"created_by":"tEXt `},
		"webhook.changed":                {`"changed_by":"text `, `"changed_by":"tEXt `},
		"webhook.disabled":               {`"disabled_why":"410 Gone"`, `"disabled_why":"410 gone"`},
		"webhook.removed":                {`"url":"text `, `"url":"tEXt `},
		"clock.moved":                    {`"by":"text `, `"by":"tEXt `},
		"store.seeded":                   {`"configuration_id":"text `, `"configuration_id":"tEXt `},
		"challenge.rejected":             {`"source_address":"text `, `"source_address":"tEXt `},
	}
	for _, kind := range slices.Sorted(maps.Keys(edits)) {
		t.Run(kind, func(t *testing.T) {
			edited := 0
			forged := forge(whole, func(n int, payload []byte) []byte {
				if edited > 0 || !bytes.Contains(payload, []byte(`"type":"`+kind+`"`)) || !bytes.Contains(payload, []byte(edits[kind][0])) {
					return payload
				}
				edited = n
				// The time of the record itself comes first and stays.
				at := bytes.LastIndex(payload, []byte(edits[kind][0]))
				return slices.Concat(payload[:at], []byte(edits[kind][1]), payload[at+len(edits[kind][0]):])
			})
			if edited == 0 {
				t.Fatal("nothing was edited")
			}
			dir := image(t, dir)
			write(t, forged, dir, "ledger")
			report, err := bolt.VerifyStore(t.Context(), dir)
			must(t, err)
			if report.Break == nil || report.Break.Record != uint64(edited) {
				t.Errorf("record %d was edited: %+v", edited, report.Break)
			}
		})
	}
}

// A ledger that was forged tells what no store would have taken; nothing is
// made of it.
func TestRebuildRefusesSteps(t *testing.T) {
	dir := afterwards(t)
	whole := read(t, dir, "ledger")
	for _, test := range []struct{ kind, before, after, want string }{
		{"crl.number", `"number":1700000001`, `"number":1700000000`, "CRL number 1700000000 after 1700000000"},
		{"request.pending", `"id":"rq_900011"`, `"id":"rq_900010"`, "already exists"},
		{"request.pending", `"state":"pending"`, `"state":"denied"`, "not valid"},
		{"request.denied", `"request_id":"rq_900010"`, `"request_id":"rq_900017"`, "not found"},
		{"request.denied", `"at":"2026-03-`, `"at":"2026-05-`, "decided"},
		{"request.approved", `"request_id":"rq_900012"`, `"request_id":"rq_900010"`, "is denied"},
		{"certificate.issued", `"supersedes":"0a0dbba0"`, `"supersedes":"0a0dbbaf"`, "not found"},
		{"certificate.issued", `"supersedes":"0a0dbba1"`, `"supersedes":"0a0dbba0"`, "asks for"},
		{"certificate.issued", `"request_id":"rq_900012","state"`, `"request_id":"rq_900010","state"`, "decided"},
		{"certificate.revoked", `"reason":"superseded"`, `"reason":"removeFromCRL"`, "not on hold"},
		{"certificate.revoked", `"reason":"superseded"`, `"reason":"boredom"`, "boredom"},
		{"certificate.released", `"reason":"removeFromCRL"`, `"reason":"certificateHold"`, "revoked already"},
		{"certificate.used", `"certificate_serial":"0a0dbba3"`, `"certificate_serial":"0a0dbbaf"`, "not found"},
		{"configuration.devices_listed", `"configuration_id":"rac0"`, `"configuration_id":"rac9"`, "not found"},
		{"challenge.issued", `"configuration_id":"rac1"`, `"configuration_id":"rac9"`, "not found"},
		{"challenge.issued", `"id":"ch_given_0"`, `"id":"ch_request"`, "already exists"},
		{"challenge.issued", `"id":"ch_given_0"`, `"id":"ch_given_0","spent_at":"2026-04-05T00:00:00Z"`, "not valid"},
		{"challenge.withdrawn", `"challenge_id":"ch_given_2"`, `"challenge_id":"ch_given_1"`, "spent"},
		{"challenge.withdrawn", `"challenge_id":"ch_given_2"`, `"challenge_id":"ch_given_9"`, "not found"},
		{"certificate.issued", `"challenge":"ch_given_1"`, `"challenge":"ch_request"`, "spent"},
		{"certificate.delivered", `"certificate_serial":"0a0dbc0f"`, `"certificate_serial":"0a0dbba0"`, "decided"},
		{"certificate.void", `"certificate_serial":"0a0dbc10"`, `"certificate_serial":"0a0dbc0f"`, "decided"},
		{"certificate.void", `"certificate_serial":"0a0dbc10"`, `"certificate_serial":"0a0dbcff"`, "not found"},
		{"redistribution.acknowledged", `"certificate_serial":"0a0dbc6a"`, `"certificate_serial":"0a0dbc68"`, "superseded"},
		{"redistribution.acknowledged", `"certificate_serial":"0a0dbc6a"`, `"certificate_serial":"0a0dbcff"`, "not found"},
		{"redistribution.acknowledged", `"command_id":"2"`, `"command_id":"1"`, "acknowledged so before"},
		{"redistribution.acknowledged", `"stalls_at":"2026`, `"stalls_at":"2926`, "not before it expires"},
		{"redistribution.acknowledged", `"by":"operator"`, `"by":"operator","undone_at":"2026-04-05T00:00:00Z"`, "acknowledged so before"},
		{"redistribution.unacknowledged", `"certificate_serial":"0a0dbc6a"`, `"certificate_serial":"0a0dbc69"`, "in force"},
		{"redistribution.missed", `"mark":"missed"`, `"mark":""`, "mark of 0 bytes"},
		{"certificate.superseded", `"certificate_serial":"0a0dbc68"`, `"certificate_serial":"0a0dbcff"`, "not found"},
		{"certificate.superseded", `"certificate_serial":"0a0dbc68","at":"2026-03-29T00:59:59.123456Z","mark":"superseded"`,
			`"certificate_serial":"0a0dbc6a","at":"2026-03-29T00:59:59.123456Z","mark":"missed"`, "announced before"},
		{"token.added", `"id":"tk_1"`, `"id":"tk_0"`, "already exists"},
		{"token.added", `"id":"tk_0"`, `"id":"tk_0","removed_by":"x"`, "not valid"},
		{"token.removed", `"id":"tk_0"`, `"id":"tk_9"`, "not found"},
		{"webhook.added", `"id":"wh_1"`, `"id":"wh_0"`, "already exists"},
		{"webhook.added", `"revision":1`, `"revision":2`, "not valid"},
		{"webhook.changed", `"revision":2`, `"revision":3`, "changed by another"},
		{"webhook.changed", `"id":"wh_1"`, `"id":"wh_0"`, "not found"},
		{"webhook.removed", `"id":"wh_0"`, `"id":""`, "not valid"},
		{"clock.moved", `"changed_at":`, `"changed_at":"0001-01-01T00:00:00Z","was":`, "was"},
		{"store.seeded", `"count":`, `"count":-`, "not valid"},
		{"challenge.rejected", `"count":`, `"count":-`, "not valid"},
	} {
		t.Run(test.kind+" "+test.after, func(t *testing.T) {
			edited := 0
			forged := forge(whole, func(n int, payload []byte) []byte {
				at := bytes.LastIndex(payload, []byte(test.before))
				if edited > 0 || at < 0 || !bytes.Contains(payload, []byte(`"type":"`+test.kind+`"`)) {
					return payload
				}
				edited = n
				return slices.Concat(payload[:at], []byte(test.after), payload[at+len(test.before):])
			})
			if edited == 0 {
				t.Fatal("nothing was edited")
			}
			dir := filepath.Join(t.TempDir(), "store")
			must(t, os.Mkdir(dir, 0o700))
			write(t, forged, dir, "ledger")
			_, err := bolt.Rebuild(t.Context(), dir, bolt.RebuildOptions{})
			if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("record %d ", edited)) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("record %d was edited: %v, want %q", edited, err, test.want)
			}
		})
	}
}

// A list that does not fit into one ledger record is refused, and nothing is
// changed.
func TestDeviceListTooBig(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	d := open(t, dir)
	configurations(t, d)
	list := depot.DeviceList{ConfigurationID: "rac0", ChangedAt: depottest.Epoch}
	for n := range 20_000 {
		list.Devices = append(list.Devices, depot.ListedDevice{DeviceSerial: fmt.Sprintf("C02%09d", n)})
	}
	must(t, d.SetDeviceList(t.Context(), list))
	big := list
	for n := range 20_000 {
		big.Devices = append(big.Devices, depot.ListedDevice{UDID: fmt.Sprintf("00008103-%016d", n)})
	}
	var wait sync.WaitGroup
	for n := range 8 { // those who share its commit do not share its refusal
		wait.Go(func() {
			if _, err := d.Commit(t.Context(), depottest.Issuance(n)); err != nil {
				t.Error(err)
			}
		})
	}
	if err := d.SetDeviceList(t.Context(), big); !errors.Is(err, depot.ErrInvalid) {
		t.Errorf("SetDeviceList: %v", err)
	}
	wait.Wait()
	got, err := d.DeviceList(t.Context(), "rac0")
	if err != nil || len(got.Devices) != 20_000 {
		t.Errorf("%d devices, %v", len(got.Devices), err)
	}
	holds(t, d, 0, 8)
}

// downgraded makes a store of format 1 of one in which nothing happened that
// format 1 has no room for.
func downgraded(t *testing.T, dir string) {
	t.Helper()
	inDatabase(t, dir, func(tx *bbolt.Tx) error {
		for _, name := range []string{"requests", "requests_by_id", "requests_by_transaction", "requests_by_message", "revoked", "unused", "crl_numbers", "device_lists",
			"challenges_given", "challenges_by_id", "challenges_by_sha256", "challenges_outstanding", "challenges_unspent", "held_back", "held_back_csrs"} {
			if err := tx.DeleteBucket([]byte(name)); err != nil {
				return err
			}
		}
		if err := withoutFormat3(tx); err != nil {
			return err
		}
		return tx.Bucket([]byte("meta")).Put([]byte("format"), []byte{0, 0, 0, 0, 0, 0, 0, 1})
	})
}

// withoutFormat3 removes what format 2 has no room for.
func withoutFormat3(tx *bbolt.Tx) error {
	for _, name := range []string{"by_standing", "standing_counters", "by_stall", "redistribution", "watermarks", "rechecks", "rechecks_by_serial",
		"by_name", "tokens", "tokens_by_sha256", "webhooks", "webhook_progress", "notifications", "seedings"} {
		if err := tx.DeleteBucket([]byte(name)); err != nil {
			return err
		}
	}
	return tx.Bucket([]byte("meta")).Delete([]byte("latest"))
}

// The upgrade to format 2 goes through more certificates than one transaction
// takes.
func TestUpgradeToFormat2(t *testing.T) {
	const certificates = 2100
	dir := filepath.Join(t.TempDir(), "store")
	d := open(t, dir)
	var wait sync.WaitGroup
	for w := range 200 {
		wait.Go(func() {
			for n := w; n < certificates; n += 200 {
				i := depottest.Issuance(n)
				i.Identity.RevokeUnusedAt = depottest.Epoch.Add(time.Duration(n) * time.Minute)
				if _, err := d.Commit(t.Context(), i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	must(t, d.Close())
	want := dump(t, dir)
	downgraded(t, dir)
	must(t, open(t, dir).Close())
	sameDump(t, dump(t, dir), want)
	sound(t, open(t, dir))
}

// A backup of format 1 is brought up to a ledger that tells of what format 1
// has no room for.
func TestCatchUpFormat1(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	d := open(t, dir)
	configurations(t, d)
	commit(t, d, 0, 3)
	must(t, d.Close())
	backup := image(t, dir)
	downgraded(t, backup)
	d = open(t, dir)
	afterlife(t, d)
	must(t, d.Close())
	_, err := bolt.CatchUp(t.Context(), backup, filepath.Join(dir, "ledger"))
	must(t, err)
	sameDump(t, dump(t, backup), dump(t, dir))
	told(t, backup)

	newer := image(t, dir)
	inDatabase(t, newer, func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("format"), []byte{0, 0, 0, 0, 0, 0, 0, bolt.Format + 1})
	})
	if _, err := bolt.CatchUp(t.Context(), newer, filepath.Join(dir, "ledger")); err == nil || !strings.Contains(err.Error(), "knows only") {
		t.Errorf("a newer backup: %v", err)
	}
}
