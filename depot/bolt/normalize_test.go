package bolt_test

import (
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"understudy.example/understudy/depot/depottest"
)

// TestCommitReturnsWhatReadingGives: what Commit returns and what is read back
// are the same to the last bit, whatever time zone, monotonic clock or empty
// list went in.
func TestCommitReturnsWhatReadingGives(t *testing.T) {
	d := open(t, filepath.Join(t.TempDir(), "store"))
	i := depottest.Issuance(1)
	zone := time.FixedZone("somewhere", 3600)
	i.Identity.IssuedAt = time.Now().In(zone)
	i.Identity.NotBefore, i.Identity.NotAfter = i.Identity.NotBefore.In(zone), i.Identity.NotAfter.In(zone)
	i.Identity.RevokedAt = time.Time{}.In(zone)
	i.Identity.Warnings, i.Identity.RequestedSANs = []string{}, []string{}
	got, err := d.Commit(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	read, err := d.Identity(t.Context(), i.Identity.CertificateSerial)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, read) {
		t.Errorf("Commit returned\n%#v, and reading gives\n%#v", got, read)
	}
}
