package ca_test

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/clock"
)

func TestCreate(t *testing.T) {
	for _, tt := range []struct {
		o      ca.Options
		issuer string
		chain  []string
	}{
		{
			ca.Options{Org: "acme", OrgID: "00o1"},
			"DC:22=com, DC:22=okta, DC:22=acme, OU:12=00o1, CN:12=Organization Intermediate Authority",
			[]string{"CN=Understudy Lab Registration Authority", "CN=Organization Intermediate Authority", "CN=Understudy Lab Root"},
		},
		{
			ca.Options{IssuerKey: ca.KeyP256, OrgID: "00o1"},
			"DC:22=com, DC:22=okta, DC:22=lab, OU:12=00o1, CN:12=Organization Intermediate Authority",
			[]string{"CN=Understudy Lab Registration Authority", "CN=Organization Intermediate Authority", "CN=Understudy Lab Root"},
		},
		{
			ca.Options{Shape: ca.ShapeSingle, OrgID: "00o1"},
			"DC:22=com, DC:22=okta, DC:22=lab, OU:12=00o1, O:12=Understudy Lab - NOT FOR PRODUCTION, CN:12=Understudy Lab Root",
			[]string{"CN=Understudy Lab Root"},
		},
	} {
		t.Run(string(tt.o.Shape)+tt.o.IssuerKey, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "authority")
			tt.o.Clock = clock.NewManual(today)
			a, err := ca.Create(dir, tt.o)
			must(t, err)
			if got := encodedName(t, a.Issuer().RawSubject); got != tt.issuer {
				t.Errorf("issuer %s, want %s", got, tt.issuer)
			}
			var names []string
			for _, c := range a.Chain(false) {
				names = append(names, "CN="+c.Subject.CommonName)
			}
			if !slices.Equal(names, tt.chain) {
				t.Errorf("chain %q, want %q", names, tt.chain)
			}
			checkAuthority(t, a, tt.o)

			again, err := ca.Open(dir, tt.o)
			must(t, err)
			if again.ID() != a.ID() || !again.Issuer().Equal(a.Issuer()) || !again.Root().Equal(a.Root()) {
				t.Error("another authority was opened than was created")
			}
		})
	}
}

// encodedName writes a Name in the order in which it is encoded, with the tag
// of each value.
func encodedName(t *testing.T, raw []byte) string {
	t.Helper()
	var relative []asn1.RawValue
	_, err := asn1.Unmarshal(raw, &relative)
	must(t, err)
	var all []string
	for _, r := range relative {
		var a struct {
			Type  asn1.ObjectIdentifier
			Value asn1.RawValue
		}
		_, err := asn1.Unmarshal(r.Bytes, &a)
		must(t, err)
		letters := map[string]string{"0.9.2342.19200300.100.1.25": "DC", "2.5.4.3": "CN", "2.5.4.10": "O", "2.5.4.11": "OU"}
		all = append(all, fmt.Sprintf("%s:%d=%s", letters[a.Type.String()], a.Value.Tag, a.Value.Bytes))
	}
	return strings.Join(all, ", ")
}

// checkAuthority looks at names, usages, constraints and lifetimes.
func checkAuthority(t *testing.T, a *ca.Authority, o ca.Options) {
	t.Helper()
	sum := sha1.Sum(a.Root().RawSubjectPublicKeyInfo)
	if a.ID() != hex.EncodeToString(sum[:]) {
		t.Errorf("id %s", a.ID())
	}
	const sign, crl = x509.KeyUsageCertSign, x509.KeyUsageCRLSign
	const both = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	from := today.Truncate(time.Second).Add(-time.Hour)
	check := func(c *x509.Certificate, usage x509.KeyUsage, isCA bool, pathLen, years int) {
		t.Helper()
		if c.KeyUsage != usage || c.IsCA != isCA || !c.BasicConstraintsValid || c.MaxPathLen != pathLen {
			t.Errorf("%s: usage %b, CA %t, path length %d", c.Subject.CommonName, c.KeyUsage, c.IsCA, c.MaxPathLen)
		}
		if !c.NotBefore.Equal(from) || !c.NotAfter.Equal(from.AddDate(years, 0, 0)) {
			t.Errorf("%s: from %s to %s", c.Subject.CommonName, c.NotBefore, c.NotAfter)
		}
		if len(c.SubjectKeyId) != 20 || len(c.SerialNumber.Bytes()) != 16 {
			t.Errorf("%s: key identifier %x, certificate serial %x", c.Subject.CommonName, c.SubjectKeyId, c.SerialNumber)
		}
	}
	ra, key := a.RA()
	if !key.Public().(*rsa.PublicKey).Equal(ra.PublicKey) || ra.PublicKey.(*rsa.PublicKey).N.BitLen() != 2048 {
		t.Error("the RA's key is not its certificate's, or not RSA-2048")
	}
	if a.Root().PublicKey.(*rsa.PublicKey).N.BitLen() != 2048 {
		t.Error("the root is not RSA-2048")
	}
	if o.Shape == ca.ShapeSingle {
		check(a.Root(), sign|crl|both, true, 0, 20)
		if !ra.Equal(a.Root()) || !a.Issuer().Equal(a.Root()) || len(a.Chain(true)) != 1 || a.Shape() != ca.ShapeSingle {
			t.Error("a single CA has several certificates")
		}
		return
	}
	check(a.Root(), sign|crl, true, -1, 20)
	check(a.Issuer(), sign|crl|x509.KeyUsageDigitalSignature, true, 0, 20)
	check(ra, both, false, -1, 2)
	if got := a.Root().Subject.String(); got != "CN=Understudy Lab Root,O=Understudy Lab - NOT FOR PRODUCTION" {
		t.Errorf("root %s", got)
	}
	if _, isEC := a.Issuer().PublicKey.(*ecdsa.PublicKey); isEC != (o.IssuerKey == ca.KeyP256) {
		t.Errorf("issuer key %T", a.Issuer().PublicKey)
	}
	if short := a.Chain(true); len(short) != 2 || !short[1].Equal(a.Issuer()) || a.Shape() != ca.ShapeChain {
		t.Errorf("chain without root has %d certificates", len(short))
	}
	must(t, a.Root().CheckSignatureFrom(a.Root()))
	must(t, a.Issuer().CheckSignatureFrom(a.Root()))
	must(t, ra.CheckSignatureFrom(a.Issuer()))
}

func TestCreateInventsAnOrgID(t *testing.T) {
	a, err := ca.Create(filepath.Join(t.TempDir(), "a"), ca.Options{IssuerKey: ca.KeyP256})
	must(t, err)
	ou := a.Issuer().Subject.OrganizationalUnit
	if len(ou) != 1 || !regexp.MustCompile(`^00o[a-z0-9]{17}$`).MatchString(ou[0]) {
		t.Errorf("organisation id %q", ou)
	}
}

func TestCreateRefuses(t *testing.T) {
	for _, tt := range []struct {
		o    ca.Options
		want string
	}{
		{ca.Options{Shape: "triangle"}, `no shape "triangle"`},
		{ca.Options{IssuerKey: "rsa4096"}, `no issuer key "rsa4096"`},
		{ca.Options{Shape: ca.ShapeSingle, IssuerKey: ca.KeyP256}, "p256 cannot"},
		{ca.Options{Org: "a.b"}, "not a subdomain"},
		{ca.Options{Org: "-a"}, "not a subdomain"},
		{ca.Options{Org: strings.Repeat("a", 64)}, "not a subdomain"},
		{ca.Options{OrgID: "a/b"}, "not an id"},
		{ca.Options{OrgID: strings.Repeat("a", 65)}, "not an id"},
		{ca.Options{Random: strings.NewReader("short")}, "EOF"},
	} {
		parent := t.TempDir()
		_, err := ca.Create(filepath.Join(parent, "a"), tt.o)
		wantError(t, err, tt.want)
		wantNames(t, parent)
	}
}

// wantError fails unless err is one sentence with some text.
func wantError(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want one line with %q", err, text)
	}
}

// wantNames fails unless a directory holds exactly these names.
func wantNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s holds %q, want %q", dir, got, want)
	}
}

func TestCreateKeepsWhatIsThere(t *testing.T) {
	dir := fixture(t, "chain")
	before, err := os.ReadFile(filepath.Join(dir, "root.key.pem"))
	must(t, err)
	_, err = ca.Create(dir, ca.Options{})
	wantError(t, err, "is not empty")
	after, err := os.ReadFile(filepath.Join(dir, "root.key.pem"))
	must(t, err)
	if string(before) != string(after) {
		t.Error("the root's key was replaced")
	}
}

// A process that died while it created an authority leaves a directory beside
// the place. It is no authority, and the next attempt removes it.
func TestCreateAfterACrash(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "authority")
	must(t, os.Mkdir(dir+".new", 0o700))
	must(t, os.WriteFile(filepath.Join(dir+".new", "root.key.pem"), []byte("half"), 0o600))
	_, err := ca.Open(dir, ca.Options{})
	if !errors.Is(err, ca.ErrNoAuthority) {
		t.Errorf("half an authority: %v", err)
	}
	_, err = ca.Create(dir, ca.Options{IssuerKey: ca.KeyP256})
	must(t, err)
	wantNames(t, parent, "authority")
}

func TestOpenFindsNone(t *testing.T) {
	empty := t.TempDir()
	for _, dir := range []string{empty, filepath.Join(empty, "missing")} {
		if _, err := ca.Open(dir, ca.Options{}); !errors.Is(err, ca.ErrNoAuthority) {
			t.Errorf("got %v, want ErrNoAuthority", err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	at := func(now time.Time) ca.Options { return ca.Options{Clock: clock.NewManual(now)} }
	file := func(dir, glob string) string {
		found, err := filepath.Glob(filepath.Join(dir, glob))
		if err != nil || len(found) != 1 {
			t.Fatalf("%s: %v %v", glob, found, err)
		}
		return found[0]
	}
	put := func(t *testing.T, path, content string) { must(t, os.WriteFile(path, []byte(content), 0o600)) }
	take := func(t *testing.T, dir, from, glob string) { // from another authority
		data, err := os.ReadFile(file(filepath.Join("testdata", from), glob))
		must(t, err)
		put(t, file(dir, glob), string(data))
	}
	chainRA := strings.TrimSuffix(filepath.Base(file("testdata/chain", "ra-*.key.pem")), ".key.pem")[3:]
	const issuerKey, issuer, root = "issuer.key.pem", "issuer.pem", "root.pem"
	for _, tt := range []struct {
		name, want string
		spoil      func(t *testing.T, dir string)
		o          ca.Options
	}{
		{"key for the group", "issuer.key.pem is open to others (mode 0640): run chmod 600", func(t *testing.T, dir string) {
			must(t, os.Chmod(file(dir, issuerKey), 0o640))
		}, at(today)},
		{"root key for all", "root.key.pem is open to others (mode 0604): run chmod 600", func(t *testing.T, dir string) {
			must(t, os.Chmod(file(dir, "root.key.pem"), 0o604))
		}, at(today)},
		{"RA key for all", "is open to others (mode 0644): run chmod 600", func(t *testing.T, dir string) {
			must(t, os.Chmod(file(dir, "ra-*.key.pem"), 0o644))
		}, at(today)},
		{"directory for all", "is open to others (mode 0777): run chmod 700", func(t *testing.T, dir string) {
			must(t, os.Chmod(dir, 0o777))
		}, at(today)},
		{"directory for the group", "is open to others (mode 0750): run chmod 700", func(t *testing.T, dir string) {
			must(t, os.Chmod(dir, 0o750))
		}, at(today)},
		{"linked key", "issuer.key.pem is a symbolic link", func(t *testing.T, dir string) {
			elsewhere := filepath.Join(t.TempDir(), "key")
			must(t, os.Rename(file(dir, issuerKey), elsewhere))
			must(t, os.Symlink(elsewhere, filepath.Join(dir, issuerKey)))
		}, at(today)},
		{"key that is a directory", "is not a plain file", func(t *testing.T, dir string) {
			must(t, os.Remove(file(dir, issuerKey)))
			must(t, os.Mkdir(filepath.Join(dir, issuerKey), 0o700))
		}, at(today)},
		{"key of another", "issuer.key.pem is not the key of", func(t *testing.T, dir string) {
			take(t, dir, "chain-p256", issuerKey)
		}, at(today)},
		{"root key of another", "root.key.pem is not the key of", func(t *testing.T, dir string) {
			take(t, dir, "chain-p256", "root.key.pem")
		}, at(today)},
		{"missing key", "issuer.key.pem is missing: restore it from a backup", func(t *testing.T, dir string) {
			must(t, os.Remove(file(dir, issuerKey)))
		}, at(today)},
		{"missing certificate", "root.pem is missing", func(t *testing.T, dir string) {
			must(t, os.Remove(file(dir, root)))
		}, at(today)},
		{"damaged key", "issuer.key.pem holds no", func(t *testing.T, dir string) {
			put(t, file(dir, issuerKey), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
		}, at(today)},
		{"key without PEM", "holds no PEM block of type PRIVATE KEY", func(t *testing.T, dir string) {
			put(t, file(dir, issuerKey), "")
		}, at(today)},
		{"damaged certificate", "issuer.pem holds no readable certificate", func(t *testing.T, dir string) {
			put(t, file(dir, issuer), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
		}, at(today)},
		{"huge key", "is larger than", func(t *testing.T, dir string) {
			put(t, file(dir, issuerKey), strings.Repeat("x", 64<<10+1))
		}, at(today)},
		{"foreign issuer", "issuer.pem is not signed by this authority's root", func(t *testing.T, dir string) {
			take(t, dir, "chain-p256", issuer)
			take(t, dir, "chain-p256", issuerKey)
		}, at(today)},
		{"foreign root", "issuer.pem is not signed by this authority's root", func(t *testing.T, dir string) {
			take(t, dir, "chain-p256", root)
			take(t, dir, "chain-p256", "root.key.pem")
		}, at(today)},
		{"RA of another name", "is not the RA certificate that this authority's issuer signed", func(t *testing.T, dir string) {
			for _, suffix := range []string{".key.pem", ".pem"} {
				must(t, os.Rename(filepath.Join(dir, "ra-"+chainRA+suffix), filepath.Join(dir, "ra-01"+suffix)))
			}
			put(t, file(dir, "authority.json"), `{"format":1,"shape":"chain","org":"lab","org_id":"00olab0001","ra":"01"}`)
		}, at(today)},
		{"foreign RA", "is not the RA certificate that this authority's issuer signed", func(t *testing.T, dir string) {
			other := strings.TrimSuffix(filepath.Base(file("testdata/chain-p256", "ra-*.key.pem")), ".key.pem")
			for _, suffix := range []string{".key.pem", ".pem"} {
				from, err := os.ReadFile(filepath.Join("testdata/chain-p256", other+suffix))
				must(t, err)
				put(t, filepath.Join(dir, other+suffix), string(from))
			}
			put(t, file(dir, "authority.json"), `{"format":1,"shape":"chain","org":"lab","org_id":"00olab0001","ra":"`+other[3:]+`"}`)
		}, at(today)},
		{"missing state", "authority.json is missing, but", func(t *testing.T, dir string) {
			must(t, os.Remove(file(dir, "authority.json")))
		}, at(today)},
		{"damaged state", "authority.json cannot be read", func(t *testing.T, dir string) {
			put(t, file(dir, "authority.json"), "{")
		}, at(today)},
		{"newer state", "has the format 3, this version knows 2: use a newer version", func(t *testing.T, dir string) {
			put(t, file(dir, "authority.json"), `{"format":3}`)
		}, at(today)},
		{"empty state", "is not what an authority writes", func(t *testing.T, dir string) {
			put(t, file(dir, "authority.json"), `{}`)
		}, at(today)},
		{"RA outside", "names no RA", func(t *testing.T, dir string) {
			put(t, file(dir, "authority.json"), `{"format":1,"shape":"chain","org":"lab","org_id":"00olab0001","ra":"../../x"}`)
		}, at(today)},
		{"state of another", "does not have the name that authority.json says", func(t *testing.T, dir string) {
			put(t, file(dir, "authority.json"), `{"format":1,"shape":"chain","org":"lab","org_id":"other","ra":"01"}`)
		}, at(today)},
		{"another shape", `has the shape "chain", not "single"`, nil, ca.Options{Shape: ca.ShapeSingle}},
		{"another organisation", `has the organisation "lab", not "acme"`, nil, ca.Options{Org: "acme"}},
		{"another organisation id", `has the organisation id "00olab0001", not "x"`, nil, ca.Options{OrgID: "x"}},
		{"another issuer key", `has the issuer key "rsa2048", not "p256"`, nil, ca.Options{IssuerKey: ca.KeyP256, Clock: clock.NewManual(today)}},
		{"expired", "root.pem expired on 2045-12-31T23:00:00Z: create a new authority", nil, at(born.AddDate(20, 0, 0))},
		{"not yet valid", "root.pem is not valid before 2025-12-31T23:00:00Z", nil, at(born.AddDate(0, 0, -1))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := fixture(t, "chain")
			if tt.spoil != nil {
				tt.spoil(t, dir)
			}
			_, err := ca.Open(dir, tt.o)
			wantError(t, err, tt.want)
			if errors.Is(err, ca.ErrNoAuthority) {
				t.Error("a spoiled authority must not invite to create another")
			}
		})
	}
}

// What Open is asked for may be what is stored.
func TestOpenAsked(t *testing.T) {
	for name, o := range map[string]ca.Options{
		"chain":      {Shape: ca.ShapeChain, Org: "lab", OrgID: "00olab0001", IssuerKey: ca.KeyRSA2048},
		"chain-p256": {Shape: ca.ShapeChain, IssuerKey: ca.KeyP256},
		"single":     {Shape: ca.ShapeSingle},
	} {
		o.Clock = clock.NewManual(today)
		if _, err := ca.Open(fixture(t, name), o); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
