package inspect_test

import (
	"encoding/hex"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/depot/bolt"
	"understudy.example/understudy/inspect"
	"understudy.example/understudy/lab"
)

// Whatever index a search walks, it finds what a look at everything finds.
func TestIndexesLeaveNothingOut(t *testing.T) {
	d, err := bolt.Open(filepath.Join(t.TempDir(), "store"), bolt.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	id, _ := configurations("default")
	if err := d.AddConfiguration(t.Context(), depot.Configuration{ID: id, Name: "default", Mode: depot.ModeStatic, Revision: 1, CreatedAt: now}); err != nil {
		t.Fatal(err)
	}
	// None is in its window, so nothing is acknowledged.
	if err := lab.Seed(t.Context(), d, lab.Options{N: 300, ConfigurationID: id, Now: now, Span: 300 * day, Random: 3}); err != nil {
		t.Fatal(err)
	}
	// Device keys are in capitals, of which these two letters have plain ones.
	odd := depot.Identity{
		CertificateSerial: "0b", SHA256: [32]byte{1}, DER: []byte("x"), IssuedAt: now, NotAfter: now.Add(400 * day), ConfigurationID: id,
		Device: depot.DeviceNames{Key: "serial:SI7", DeviceSerial: "\u017f\u01317"}, TransactionID: "odd",
	}
	if _, err := d.Commit(t.Context(), depot.Issuance{Identity: odd, Transaction: depot.Transaction{
		ConfigurationID: id, ID: "odd", MessageSHA256: [32]byte{1}, CertificateSerial: "0b",
	}}); err != nil {
		t.Fatal(err)
	}
	everything := list(t, d, depot.IdentityQuery{})
	var of depot.Identity // a device with a serial and a profile
	var upn, beyond string
	for _, i := range everything {
		switch name := i.Device.UPN; {
		case strings.ContainsFunc(name, func(c rune) bool { return c >= 0x80 }):
			beyond = name
		case name != "":
			upn = name
		}
		if i.Device.DeviceSerial != "" && i.Device.ProfileUUID != "" && i.Device.UDID != "" {
			of = i
		}
	}
	with := strings.NewReplacer("SERIAL", of.Device.DeviceSerial, "LOWER", strings.ToLower(of.Device.DeviceSerial), "PROFILE", of.Device.ProfileUUID,
		"UDID", of.Device.UDID, "KEY", of.Device.Key, "UPN", strings.ToUpper(upn), "BEYOND", strings.ToUpper(beyond), "TRANSACTION", of.TransactionID, "PUBLIC", hex.EncodeToString(of.PublicKeySHA256[:]))
	for _, text := range []string{
		`device-serial:SERIAL`, `device-serial:LOWER`, `device-serial:X1*`, `device-serial:x1*Q*`, `device-serial:X*5`, `device-serial:X* udid:UDID`, `uuid:PROFILE`, `uuid:5EED*`, `udid:UDID`, `udid:A*`, `upn:UPN`, `upn:UPN*`, `upn:BEYOND`, `upn:BEYOND*`, `upn:*@lab.example`,
		`device:KEY`, `device:serial:SI7`, `device-serial:si7`, `device-serial:s*`, `configuration:default device:KEY`, `device:udid:*`, `configuration:default transaction:TRANSACTION`, `transaction:TRANSACTION`, `key:PUBLIC`,
		`expires<100d`, `expires>100d expires<200d`, `issued<10d`, `issued>250d`, `issued>30d issued<60d expires<330d`, `issued<2026-02-01 issued>2026-01-01`, `expires>2026-12-01`,
		`anna`, `-anna issued<30d`, `revoked<9999d`, `wire:3des bits:2048`, `ip:10.0.0.0/9`, `agent:mdmclient device-serial:X*`, `mode:static`,
	} {
		q := query(t, with.Replace(text))
		var want []string
		for _, i := range everything {
			if q.Match(i, depot.StandingNone) {
				want = append(want, i.CertificateSerial)
			}
		}
		var got []string
		for _, i := range list(t, d, q) {
			got = append(got, i.CertificateSerial)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) || len(want) == 0 {
			t.Errorf("%s finds %d, a look at everything %d", text, len(got), len(want))
		}
	}
	s, err := inspect.Parse("serial:" + strings.ToUpper(of.CertificateSerial))
	if err != nil {
		t.Fatal(err)
	}
	serial, _, ok := s.Single()
	if i, err := d.Identity(t.Context(), serial); !ok || err != nil || i.Subject != of.Subject {
		t.Errorf("directly: %v", err)
	}
}

// list returns all that a query selects.
func list(t *testing.T, d depot.Depot, q depot.IdentityQuery) (found []depot.Identity) {
	t.Helper()
	q.Limit = 500
	for {
		page, err := d.Identities(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, page.Items...)
		if q.Cursor = page.NextCursor; q.Cursor == "" {
			return found
		}
	}
}
