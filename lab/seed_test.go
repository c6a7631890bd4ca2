package lab_test

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/depot/bolt"
	"understudy.example/understudy/device"
	"understudy.example/understudy/lab"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const here = "rac00000000000000001"

// store is a depot that notes what is acknowledged, and who signed.
type store struct {
	*bolt.Depot
	dir          string
	mu           sync.Mutex
	acknowledged []depot.Acknowledgement
	authority    depot.AuthorityGeneration
}

func (s *store) RecordAuthority(ctx context.Context, a depot.AuthorityGeneration) error {
	s.authority = a
	return s.Depot.RecordAuthority(ctx, a)
}

func (s *store) Acknowledge(ctx context.Context, a depot.Acknowledgement) (depot.WindowItem, bool, error) {
	item, made, err := s.Depot.Acknowledge(ctx, a)
	s.mu.Lock()
	defer s.mu.Unlock()
	if made {
		s.acknowledged = append(s.acknowledged, a)
	}
	return item, made, err
}

// open makes a store with one configuration.
func open(t testing.TB) *store {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	d, err := bolt.Open(dir, bolt.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	err = d.AddConfiguration(t.Context(), depot.Configuration{
		ID: here, Name: "default", Mode: depot.ModeStatic, Purpose: depot.PurposeDeviceAccess, Revision: 1, CreatedAt: now, Policy: depot.ConfigurationPolicy{Validity: 365 * day},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &store{Depot: d, dir: dir}
}

func seed(t testing.TB, d depot.Depot, n int) {
	t.Helper()
	if err := lab.Seed(t.Context(), d, lab.Options{N: n, ConfigurationID: here, Now: now, Random: 1}); err != nil {
		t.Fatal(err)
	}
}

// all lists everything, last committed first.
func all(t testing.TB, d depot.Depot) (found []depot.Identity) {
	t.Helper()
	q := depot.IdentityQuery{Limit: 500}
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

// share fails unless n of total is about what it should be.
func share(t *testing.T, what string, n, total int, least, most float64) {
	t.Helper()
	if got := float64(n) / float64(total); got < least || got > most {
		t.Errorf("%s: %d of %d, %.3f, want %.3f to %.3f", what, n, total, got, least, most)
	}
}

// Records are what a server would have stored, in shape and in proportions.
func TestSeed(t *testing.T) {
	d := open(t)
	const n = 3000
	seed(t, d, n)
	found := all(t, d)
	if len(found) != n {
		t.Fatalf("%d identities, want %d", len(found), n)
	}
	seedings, err := d.Seedings(t.Context())
	if err != nil || len(seedings) != 1 || seedings[0].Count != n || seedings[0].ConfigurationID != here || !seedings[0].At.Equal(now) {
		t.Fatalf("seedings are %+v, %v", seedings, err)
	}
	byserial := map[string]depot.Identity{}
	inWindow := 0
	for _, i := range found {
		byserial[i.CertificateSerial] = i
		if i.NotAfter.After(now) && !i.NotAfter.After(now.Add(30*day)) {
			inWindow++
		}
	}
	share(t, "acknowledged in the last month", len(d.acknowledged), inWindow, 0.10, 0.30)
	for _, a := range d.acknowledged {
		i := byserial[a.CertificateSerial]
		if i.NotAfter.Before(now) || i.NotAfter.After(now.Add(30*day)) || a.At.After(now) || a.At.Before(now.Add(-2*day)) || a.By == "" ||
			!a.StallsAt.IsZero() && (!a.StallsAt.Equal(a.At.Add(day)) || !a.StallsAt.Before(i.NotAfter)) || a.StallsAt.IsZero() && a.At.Add(day).Before(i.NotAfter) {
			t.Errorf("acknowledgement of one that ends %v: %+v", i.NotAfter, a)
		}
	}
	devices, previous, revoked, old, agents := map[string]bool{}, 0, 0, 0, map[string]bool{}
	for _, i := range found {
		devices[i.Device.Key] = true
		agents[i.UserAgent] = true
		if i.PreviousSerial != "" {
			previous++
		}
		if !i.RevokedAt.IsZero() {
			revoked++
			if i.RevokedAt.Before(i.IssuedAt.Add(-time.Second)) || i.RevokedAt.After(now) {
				t.Errorf("%s is revoked at %v", i.CertificateSerial, i.RevokedAt)
			}
		}
		if i.NotAfter.Before(now) {
			old++
		}
		if i.IssuerSHA256 != seedings[0].IssuerSHA256 {
			t.Errorf("%s is of another issuer", i.CertificateSerial)
		}
	}
	share(t, "devices with an earlier certificate", previous, len(devices), 0.11, 0.19)
	share(t, "revoked", revoked, n, 0.01, 0.03)
	share(t, "expired", old, n, 35.0/400-0.03, 35.0/400+0.03)
	if len(agents) < 4 || len(devices)+previous != n {
		t.Errorf("%d user agents, %d devices, %d with an earlier certificate", len(agents), len(devices), previous)
	}
	if problems, err := d.Check(t.Context()); err != nil || len(problems) > 0 {
		t.Errorf("the store does not hold: %v, %v", problems, err)
	}
}

// A record says what its certificate says, and the certificate is real.
func TestRecordsAndCertificates(t *testing.T) {
	d := open(t)
	seed(t, d, 300)
	issuer, err := x509.ParseCertificate(d.authority.Issuer)
	if err != nil || issuer.CheckSignatureFrom(issuer) != nil {
		t.Fatalf("issuer: %v", err)
	}
	forms := map[string]int{}
	var before time.Time
	found := all(t, d)
	for n := range found {
		i := found[len(found)-1-n]
		c, err := x509.ParseCertificate(i.DER)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.CheckSignatureFrom(issuer); err != nil {
			t.Error(err)
		}
		key, ok := c.PublicKey.(*rsa.PublicKey)
		if !ok || key.N.BitLen() != 2048 || key.N.Bit(0) != 1 || key.E != 65537 || i.KeyBits != 2048 || i.KeyAlgorithm != "RSA" {
			t.Errorf("key of %T", c.PublicKey)
		}
		if i.SHA256 != sha256.Sum256(i.DER) || i.PublicKeySHA256 != sha256.Sum256(c.RawSubjectPublicKeyInfo) || fmt.Sprintf("%x", c.SerialNumber) != i.CertificateSerial ||
			!c.NotBefore.Equal(i.NotBefore) || !c.NotAfter.Equal(i.NotAfter) || i.Subject != device.FormatName(c.RawSubject) || i.SignatureAlgo != c.SignatureAlgorithm.String() {
			t.Errorf("the record of %s is not that of its certificate: %+v", i.CertificateSerial, i)
		}
		who, err := device.FromSubject(c.RawSubject)
		if err != nil || depot.DeviceNames(who) != i.Device || strings.HasPrefix(who.Key, "subject:") {
			t.Errorf("%s names %+v, %v", i.Subject, who, err)
		}
		kind, _, _ := strings.Cut(who.Key, ":")
		forms[kind]++
		if len(c.SerialNumber.Bytes()) != 16 || c.IsCA || c.KeyUsage != x509.KeyUsageDigitalSignature || len(c.ExtKeyUsage) != 1 || !strings.Contains(c.Issuer.String(), "NOT AN AUTHORITY") {
			t.Errorf("%s is not of a device's form", i.CertificateSerial)
		}
		marker := false
		for _, e := range c.Extensions {
			marker = marker || e.Id.String() == "1.3.6.1.4.1.51150.13.1" && string(e.Value) == "\x02\x01\x01"
		}
		if !marker {
			t.Errorf("%s has no marker", i.CertificateSerial)
		}
		if i.NotAfter.Sub(i.NotBefore) != 365*day || i.IssuedAt.Before(now.Add(-lab.DefaultSpan)) || i.IssuedAt.After(now) || i.IssuedAt.Sub(i.NotBefore) < 5*time.Minute || i.IssuedAt.Sub(i.NotBefore) > 5*time.Minute+time.Second {
			t.Errorf("%s: issued %v, valid %v to %v", i.CertificateSerial, i.IssuedAt, i.NotBefore, i.NotAfter)
		}
		if _, err := netip.ParseAddr(i.SourceAddress); err != nil || i.Digest == "" || i.Cipher == "" || i.TransactionID == "" || i.ChallengeMode != "static" || i.ConfigurationName != "default" || i.Purpose != "device-access" {
			t.Errorf("%s lacks something: %+v, %v", i.CertificateSerial, i, err)
		}
		if before.After(i.IssuedAt.Add(200 * day)) {
			t.Errorf("%s was committed in another order than issued", i.CertificateSerial)
		}
		before = i.IssuedAt
		if tx, err := d.Transaction(t.Context(), here, i.TransactionID); err != nil || tx.CertificateSerial != i.CertificateSerial {
			t.Errorf("transaction of %s: %v", i.CertificateSerial, err)
		}
		if i.PreviousSerial != "" {
			p, err := d.Identity(t.Context(), i.PreviousSerial)
			if err != nil || !p.IssuedAt.Before(i.IssuedAt) || p.Subject != i.Subject || p.PublicKeySHA256 == i.PublicKeySHA256 {
				t.Errorf("%s follows on %+v, %v", i.CertificateSerial, p, err)
			}
		}
	}
	for _, kind := range []string{"serial", "udid", "device"} {
		if forms[kind] < 20 {
			t.Errorf("forms are %v", forms)
		}
	}
}

// The same number gives the same identities, another one others, and a second
// seeding of a store goes on with others.
func TestSeedIsDeterministic(t *testing.T) {
	set := func(random uint64, times int) map[string]string {
		d := open(t)
		for range times {
			if err := lab.Seed(t.Context(), d, lab.Options{N: 60, ConfigurationID: here, Now: now, Random: random}); err != nil {
				t.Fatal(err)
			}
		}
		found := map[string]string{}
		for _, i := range all(t, d) {
			found[string(i.DER)] = fmt.Sprint(i.Subject, i.SourceAddress, i.TransactionID, i.RevokedAt, i.PreviousSerial, i.UserAgent)
		}
		return found
	}
	one, same, other, twice := set(1, 1), set(1, 1), set(2, 1), set(1, 2)
	if len(one) != 60 || len(twice) != 120 {
		t.Fatalf("%d and %d identities", len(one), len(twice))
	}
	for der, record := range one {
		if same[der] != record || twice[der] == "" {
			t.Errorf("not made again: %s, %s", record, same[der])
		}
		if other[der] != "" {
			t.Errorf("made by another number too: %s", record)
		}
	}
}

// It refuses a store that a server was used with, also after a seeding.
func TestSeedRefusesForeign(t *testing.T) {
	d := open(t)
	real := depot.Identity{
		CertificateSerial: "0a", SHA256: [32]byte{1}, DER: []byte("x"), IssuedAt: now, NotAfter: now.Add(day), ConfigurationID: here,
		Device: depot.DeviceNames{Key: "serial:X"}, TransactionID: "t", IssuerSHA256: [32]byte{7},
	}
	seed(t, d, 10)
	_, err := d.Commit(t.Context(), depot.Issuance{Identity: real, Transaction: depot.Transaction{ConfigurationID: here, ID: "t", MessageSHA256: [32]byte{1}, CertificateSerial: "0a"}})
	if err != nil {
		t.Fatal(err)
	}
	err = lab.Seed(t.Context(), d, lab.Options{N: 1, ConfigurationID: here, Now: now})
	if !errors.Is(err, lab.ErrForeign) || !strings.Contains(err.Error(), "0a") {
		t.Errorf("Seed = %v", err)
	}
	if s, _ := d.Seedings(t.Context()); len(s) != 1 {
		t.Errorf("%d seedings are on record", len(s))
	}
}

func TestSeedRefusesOptions(t *testing.T) {
	d := open(t)
	for what, o := range map[string]lab.Options{
		"none": {ConfigurationID: here, Now: now}, "too many": {N: lab.MaxSeeded + 1, ConfigurationID: here, Now: now}, "no configuration": {N: 1, ConfigurationID: "rac2", Now: now},
	} {
		if err := lab.Seed(t.Context(), d, o); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	if s, _ := d.Seedings(t.Context()); len(s) != 0 || len(all(t, d)) != 0 {
		t.Error("something was stored")
	}
}

// One that was stopped is on record, and the store can be seeded again.
func TestSeedStops(t *testing.T) {
	d := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	heard := 0
	err := lab.Seed(ctx, d, lab.Options{N: 400, ConfigurationID: here, Now: now, Progress: func(stored int) {
		if heard = stored; stored >= 100 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || heard != 100 {
		t.Fatalf("Seed = %v after %d", err, heard)
	}
	stored := len(all(t, d))
	if stored < 100 || stored > 200 {
		t.Errorf("%d are stored", stored)
	}
	if s, _ := d.Seedings(t.Context()); len(s) != 1 {
		t.Errorf("%d seedings are on record", len(s))
	}
	seed(t, d, 20)
	if n := len(all(t, d)); n != stored+20 {
		t.Errorf("%d are stored after another seeding of 20", n)
	}
}

// full is a store that takes no certificate.
type full struct{ *store }

func (full) Commit(context.Context, depot.Issuance) (depot.Identity, error) {
	return depot.Identity{}, depot.ErrUnavailable
}

// What the store does not take ends the seeding with its error.
func TestSeedFails(t *testing.T) {
	err := lab.Seed(t.Context(), full{open(t)}, lab.Options{N: 10, ConfigurationID: here, Now: now})
	if !errors.Is(err, depot.ErrUnavailable) {
		t.Errorf("Seed = %v", err)
	}
}

// BenchmarkSeed reports what a record costs, in time and on disk.
func BenchmarkSeed(b *testing.B) {
	d := open(b)
	b.ResetTimer()
	seed(b, d, b.N)
	b.StopTimer()
	size := int64(0)
	for _, name := range []string{"store.db", "ledger"} {
		info, err := os.Stat(filepath.Join(d.dir, name))
		if err != nil {
			b.Fatal(err)
		}
		size += info.Size()
	}
	b.ReportMetric(float64(size)/float64(b.N), "bytes/record")
}
