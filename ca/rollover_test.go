package ca_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/clock"
)

// shapes are the authorities of testdata.
var shapes = []string{"chain", "chain-p256", "single"}

// device issues a certificate.
func device(t *testing.T, a *ca.Authority, now time.Time) *x509.Certificate {
	t.Helper()
	c, err := issueAt(t, a, deviceAccess(), request(t, commonName(t, "C02XK1ZZJG5H")), now)
	must(t, err)
	return c
}

// prepare and activate do that, or end the test.
func prepare(t *testing.T, a *ca.Authority) ca.Rollover {
	t.Helper()
	r, err := a.PrepareRollover()
	must(t, err)
	return r
}

func activate(t *testing.T, a *ca.Authority) ca.Rollover {
	t.Helper()
	r, err := a.ActivateRollover()
	must(t, err)
	return r
}

// verifies says whether a certificate verifies under a root, with the issuers
// that a relying party may have.
func verifies(a *ca.Authority, c, root *x509.Certificate, now time.Time) error {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(root)
	for _, g := range a.Generations() {
		between.AddCert(g.Issuer)
	}
	_, err := c.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err
}

// sameCertificates compares two lists.
func sameCertificates(a, b []*x509.Certificate) bool {
	return slices.EqualFunc(a, b, (*x509.Certificate).Equal)
}

// What is prepared changes nothing but what GetNextCACert answers.
func TestPrepareRollover(t *testing.T) {
	for _, name := range shapes {
		t.Run(name, func(t *testing.T) {
			dir, c := fixture(t, name), clock.NewManual(today)
			a := reopen(t, dir, c)
			if r := a.Rollover(); r != (ca.Rollover{State: ca.RolloverNone}) || a.NextChain(false) != nil {
				t.Errorf("before: %+v", r)
			}
			before, generations, both := a.Chain(false), len(a.Generations()), serials(a)
			r := prepare(t, a)
			if r.State != ca.RolloverPrepared || !r.PreparedAt.Equal(today) || !r.ActivatedAt.IsZero() || r != a.Rollover() {
				t.Errorf("%+v", r)
			}
			if _, err := a.PrepareRollover(); !errors.Is(err, ca.ErrRolloverPrepared) {
				t.Errorf("again: %v", err)
			}
			for _, a := range []*ca.Authority{a, reopen(t, dir, c)} {
				if !sameCertificates(a.Chain(false), before) || len(a.Generations()) != generations || serials(a) != both || len(a.IDs()) != 1 {
					t.Error("something changed already")
				}
				if issuer, _ := a.IssuerOf(device(t, a, today)); !issuer.Equal(before[len(before)/2]) {
					t.Errorf("issued by %s", issuer.SerialNumber)
				}
				checkNext(t, a, a.Rollover().Next)
			}
		})
	}
}

// checkNext looks at a prepared generation.
func checkNext(t *testing.T, a *ca.Authority, next ca.Certificates) {
	t.Helper()
	if a.Shape() == ca.ShapeSingle {
		if next.Root != next.Issuer || next.RA != next.Issuer || next.Issuer.Equal(a.Issuer()) {
			t.Error("not another CA that does everything itself")
		}
		if !sameCertificates(a.NextChain(false), []*x509.Certificate{next.Issuer}) || !sameCertificates(a.NextChain(true), a.NextChain(false)) {
			t.Errorf("next chain of %d", len(a.NextChain(false)))
		}
		must(t, next.Issuer.CheckSignatureFrom(next.Issuer))
	} else {
		if !sameCertificates(a.NextChain(false), []*x509.Certificate{next.RA, next.Issuer, a.Root()}) ||
			!sameCertificates(a.NextChain(true), []*x509.Certificate{next.RA, next.Issuer}) || !next.Root.Equal(a.Root()) {
			t.Errorf("next chain of %d", len(a.NextChain(false)))
		}
		must(t, next.Issuer.CheckSignatureFrom(a.Root()))
		must(t, next.RA.CheckSignatureFrom(next.Issuer))
	}
	// MDMs match on the issuer's name; the key tells the generations apart.
	if !bytes.Equal(next.Issuer.RawSubject, a.Issuer().RawSubject) || bytes.Equal(next.Issuer.SubjectKeyId, a.Issuer().SubjectKeyId) {
		t.Errorf("next issuer %s", next.Issuer.Subject)
	}
	if next.Issuer.KeyUsage != a.Issuer().KeyUsage || next.Issuer.PublicKeyAlgorithm != a.Issuer().PublicKeyAlgorithm || !next.Issuer.MaxPathLenZero {
		t.Errorf("next issuer: usage %b, %s", next.Issuer.KeyUsage, next.Issuer.PublicKeyAlgorithm)
	}
}

func TestActivateRollover(t *testing.T) {
	for _, name := range shapes {
		t.Run(name, func(t *testing.T) {
			dir, c := fixture(t, name), clock.NewManual(today)
			a := reopen(t, dir, c)
			old, oldRoot, oldID, oldDevice := a.Issuer(), a.Root(), a.ID(), device(t, a, today)
			oldRA, _ := a.RA()
			announced := prepare(t, a).Next
			next := a.NextChain(false)
			then := today.Add(48 * time.Hour)
			c.Set(then)
			r := activate(t, a)
			if r.State != ca.RolloverNone || !r.ActivatedAt.Equal(then) || r.Next != (ca.Certificates{}) || a.NextChain(false) != nil {
				t.Errorf("%+v", r)
			}
			if _, err := a.ActivateRollover(); !errors.Is(err, ca.ErrNoRollover) {
				t.Errorf("again: %v", err)
			}
			newDevice := device(t, a, then)
			for _, a := range []*ca.Authority{a, reopen(t, dir, c)} {
				if !sameCertificates(a.Chain(false), next) || !a.InForce().Issuer.Equal(announced.Issuer) || !a.InForce().RA.Equal(announced.RA) || !a.InForce().Root.Equal(a.Root()) {
					t.Error("what is in force is not what was announced")
				}
				want := []ca.Generation{{Issuer: announced.Issuer, Current: true, Since: then}, {Issuer: old, Since: born, Until: then}}
				if got := a.Generations(); !slices.EqualFunc(got, want, sameGeneration) {
					t.Errorf("generations %+v, want %+v", got, want)
				}
				if got := serials(a); got != ca.FormatSerial(announced.RA.SerialNumber)+" "+ca.FormatSerial(oldRA.SerialNumber) {
					t.Errorf("recipients %s", got)
				}
				checkIDs(t, a, oldID)
				must(t, verifies(a, oldDevice, oldRoot, then))
				must(t, verifies(a, newDevice, a.Root(), then))
				for c, issuer := range map[*x509.Certificate]*x509.Certificate{oldDevice: old, newDevice: announced.Issuer} {
					if got, ok := a.IssuerOf(c); !ok || !got.Equal(issuer) {
						t.Errorf("issuer of %s: %t", c.SerialNumber, ok)
					}
				}
			}
		})
	}
}

func sameGeneration(a, b ca.Generation) bool {
	return a.Issuer.Equal(b.Issuer) && a.Current == b.Current && a.Since.Equal(b.Since) && a.Until.Equal(b.Until)
}

// checkIDs: URLs stay in ShapeChain; in ShapeSingle the old ones go on to route.
func checkIDs(t *testing.T, a *ca.Authority, old string) {
	t.Helper()
	want := []string{old}
	if a.Shape() == ca.ShapeSingle {
		if want = []string{a.ID(), old}; a.ID() == old {
			t.Error("another root has the same id")
		}
	}
	if !slices.Equal(a.IDs(), want) || a.IDs()[0] != a.ID() {
		t.Errorf("ids %q, want %q", a.IDs(), want)
	}
}

// IssuerOf believes signatures, not names.
func TestIssuerOfAStranger(t *testing.T) {
	a, _ := opened(t, "chain-p256", today)
	other, err := ca.Create(filepath.Join(t.TempDir(), "a"), ca.Options{Org: "lab", OrgID: "00olab0001", IssuerKey: ca.KeyP256, Clock: clock.NewManual(today)})
	must(t, err)
	stranger := device(t, other, today)
	impostor := *stranger
	impostor.AuthorityKeyId = a.Issuer().SubjectKeyId
	for name, c := range map[string]*x509.Certificate{"another authority's": stranger, "with our key identifier": &impostor, "the root": a.Root(), "the issuer": a.Issuer()} {
		if issuer, ok := a.IssuerOf(c); ok || issuer != nil {
			t.Errorf("%s: taken for ours", name)
		}
	}
}

// The old RA, in ShapeSingle the old CA, opens envelopes for exactly a day; its
// files stay in ShapeSingle, because the key still signs CRLs.
func TestOldKeyOpensForADay(t *testing.T) {
	for _, name := range shapes {
		dir, c := fixture(t, name), clock.NewManual(today)
		a := reopen(t, dir, c)
		old, oldKey := a.RA()
		prepare(t, a)
		activate(t, a)
		current, _, _ := strings.Cut(serials(a), " ")
		both := current + " " + ca.FormatSerial(old.SerialNumber)
		for _, step := range []struct {
			after time.Duration
			want  string
		}{{24*time.Hour - time.Second, both}, {24 * time.Hour, current}} {
			c.Set(today.Add(step.after))
			for _, a := range []*ca.Authority{a, reopen(t, dir, c)} {
				if serials(a) != step.want {
					t.Errorf("%s, after %s: recipients %s, want %s", name, step.after, serials(a), step.want)
				}
				if r := a.Recipients(); len(r) == 2 && !r[1].Key.Public().(*rsa.PublicKey).Equal(oldKey.Public()) {
					t.Errorf("%s: the old certificate has another key", name)
				}
			}
		}
		_, err := a.RotateRA()
		must(t, err)
		if left := raFiles(t, dir); name != "single" && left != 2 {
			t.Errorf("%s: %d files of RAs", name, left)
		}
		reopen(t, dir, c)
	}
}

// A prepared RA is no leftover.
func TestRotateRAKeepsThePreparedOne(t *testing.T) {
	dir, c := fixture(t, "chain-p256"), clock.NewManual(today)
	a := reopen(t, dir, c)
	next := prepare(t, a).Next
	_, err := a.RotateRA()
	must(t, err)
	if a = reopen(t, dir, c); !a.Rollover().Next.RA.Equal(next.RA) {
		t.Error("another RA is prepared")
	}
	c.Set(dueAt)
	rotated, err := a.RotateRA()
	must(t, err)
	if !rotated || !reopen(t, dir, c).Rollover().Next.RA.Equal(next.RA) {
		t.Errorf("rotated %t, or another RA is prepared", rotated)
	}
}

// A rollover that was prepared long ago begins with a new RA, and those who
// were told the other one are opened too.
func TestActivateLate(t *testing.T) {
	dir, c := fixture(t, "chain-p256"), clock.NewManual(today)
	a := reopen(t, dir, c)
	told := prepare(t, a).Next
	c.Set(today.AddDate(2, 6, 0))
	activate(t, a)
	for _, a := range []*ca.Authority{a, reopen(t, dir, c)} {
		ra, _ := a.RA()
		if ra.Equal(told.RA) || ra.NotAfter.Before(c.Now()) || !a.Issuer().Equal(told.Issuer) || len(a.Recipients()) != 3 || !a.Recipients()[1].Certificate.Equal(told.RA) {
			t.Errorf("RA until %s, %d recipients", ra.NotAfter, len(a.Recipients()))
		}
	}
	if rotated, err := a.RotateRA(); rotated || err != nil {
		t.Errorf("replaced again: %t, %v", rotated, err)
	}
}

// When a lab's clock goes back over the birth of the RA, one of the generation
// before is not the right one again, however young it is.
func TestRAOfTheGenerationBefore(t *testing.T) {
	a, c := opened(t, "chain-p256", today)
	prepare(t, a)
	c.Set(today.AddDate(0, 17, 0))
	rotated, err := a.RotateRA()
	must(t, err)
	c.Set(today.AddDate(0, 18, 0))
	activate(t, a) // late: with a new RA
	c.Set(today.AddDate(0, 17, 1))
	again, err := a.RotateRA()
	must(t, err)
	if f := a.InForce(); !rotated || !again || f.RA.CheckSignatureFrom(f.Issuer) != nil {
		t.Errorf("rotated %t and %t, and the RA is of another generation", rotated, again)
	}
}

// What a lab's clock makes impossible is said, and can be cancelled.
func TestActivateBeforeItsTime(t *testing.T) {
	a, c := opened(t, "single", today)
	prepare(t, a)
	c.Set(today.Add(-2 * time.Hour))
	_, err := a.ActivateRollover()
	wantError(t, err, "cancel the rollover and prepare another")
	must(t, a.CancelRollover())
	prepare(t, a)
	activate(t, a)
}

func TestCancelRollover(t *testing.T) {
	for _, name := range shapes {
		dir, c := fixture(t, name), clock.NewManual(today)
		a := reopen(t, dir, c)
		if err := a.CancelRollover(); !errors.Is(err, ca.ErrNoRollover) {
			t.Errorf("none: %v", err)
		}
		before, chain := names(t, dir), a.Chain(false)
		prepare(t, a)
		if len(names(t, dir)) == len(before) {
			t.Error("no files are prepared")
		}
		must(t, a.CancelRollover())
		if a.Rollover().State != ca.RolloverNone || a.NextChain(false) != nil {
			t.Errorf("%+v", a.Rollover())
		}
		wantNames(t, dir, before...)
		if !sameCertificates(reopen(t, dir, c).Chain(false), chain) {
			t.Error("another chain")
		}
		prepare(t, a)
		activate(t, a)
		if err := a.CancelRollover(); !errors.Is(err, ca.ErrNoRollover) {
			t.Errorf("after activation: %v", err)
		}
	}
}

// names are the files of a directory.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// The answer to GetNextCACert is signed by the CA that devices know.
func TestNextCASigner(t *testing.T) {
	for _, name := range shapes {
		a, _ := opened(t, name, today)
		prepare(t, a)
		ra, _ := a.RA()
		for asRA, want := range map[bool]*x509.Certificate{false: a.Issuer(), true: ra} {
			c, key := a.NextCASigner(asRA)
			public, err := x509.MarshalPKIXPublicKey(key.Public())
			must(t, err)
			if !c.Equal(want) || !bytes.Equal(public, c.RawSubjectPublicKeyInfo) {
				t.Errorf("%s, RA %t: %s", name, asRA, c.Subject)
			}
		}
	}
}

// Directories that the version before rollovers wrote are opened, and stay as
// they are until something changes.
func TestFormat1(t *testing.T) {
	for _, name := range []string{"chain", "single"} {
		dir, c := fixture(t, filepath.Join("format-1", name)), clock.NewManual(today)
		path := filepath.Join(dir, "authority.json")
		format := func() (text string, n int) {
			data, err := os.ReadFile(path)
			must(t, err)
			var s struct{ Format int }
			must(t, json.Unmarshal(data, &s))
			return string(data), s.Format
		}
		before, n := format()
		if n != 1 {
			t.Fatalf("%s has the format %d", name, n)
		}
		a := reopen(t, dir, c)
		_, err := a.RotateRA()
		must(t, err)
		if after, _ := format(); after != before {
			t.Errorf("%s: changed for nothing: %s", name, after)
		}
		want := []ca.Generation{{Issuer: a.Issuer(), Current: true, Since: born}}
		if got := a.Generations(); !slices.EqualFunc(got, want, sameGeneration) {
			t.Errorf("%s: generations %+v", name, got)
		}
		first := device(t, a, today)
		prepare(t, a)
		activate(t, a)
		if _, n := format(); n != 2 {
			t.Errorf("%s: format %d after a rollover", name, n)
		}
		a = reopen(t, dir, c)
		if issuer, ok := a.IssuerOf(first); !ok || !issuer.Equal(a.Generations()[1].Issuer) {
			t.Errorf("%s: the first generation's certificate is not known", name)
		}
	}
}

// Every generation answers for its own, after several rollovers and a start; a
// generation that has ended answers no more, and is no hindrance.
func TestOldGenerationsSign(t *testing.T) {
	for _, name := range []string{"chain-p256", "single"} {
		t.Run(name, func(t *testing.T) {
			dir, c := fixture(t, name), clock.NewManual(today)
			a := reopen(t, dir, c)
			var good, revoked []*x509.Certificate
			for range 3 {
				good, revoked = append(good, device(t, a, today)), append(revoked, device(t, a, today))
				prepare(t, a)
				activate(t, a)
			}
			a = reopen(t, dir, c)
			if len(a.Generations()) != 4 {
				t.Fatalf("%d generations", len(a.Generations()))
			}
			var crls [][]byte
			trusted := []*x509.Certificate{a.Root()}
			for i := range good {
				issuer, ok := a.IssuerOf(good[i])
				if !ok || !issuer.Equal(a.Generations()[len(good)-i].Issuer) {
					t.Fatalf("device %d: issuer %v", i, issuer)
				}
				r, err := a.OCSPResponder(issuer)
				must(t, err)
				must(t, r.Certificate.CheckSignatureFrom(issuer))
				crls = append(crls, crlOf(t, a, issuer, today, revoked[i].SerialNumber))
				trusted = append(trusted, issuer)
			}
			verifyWithCRLs(t, trusted, crls, good, revoked)
		})
	}
}

// verifyWithCRLs has OpenSSL choose among CRLs of issuers with the same name.
func verifyWithCRLs(t *testing.T, trusted []*x509.Certificate, crls [][]byte, good, revoked []*x509.Certificate) {
	t.Helper()
	cas, lists := certificateFile(t, trusted...), pemFile(t, "X509 CRL", crls...)
	verify := func(c *x509.Certificate) (string, error) {
		return openssl(t, "verify", "-crl_check", "-attime", unix(today), "-CAfile", cas, "-CRLfile", lists, certificateFile(t, c))
	}
	for i := range good {
		if out, err := verify(good[i]); err != nil {
			t.Errorf("good %d: %v\n%s", i, err, out)
		}
		if out, err := verify(revoked[i]); err == nil || !strings.Contains(out, "certificate revoked") {
			t.Errorf("revoked %d: %v\n%s", i, err, out)
		}
	}
}

// Nobody sees half a rollover: what is read at once belongs together, and a
// certificate is always of an issuer that is known.
func TestRolloverWhileInUse(t *testing.T) {
	for _, name := range []string{"chain-p256", "single"} {
		t.Run(name, func(t *testing.T) {
			a, _ := opened(t, name, today)
			permit, err := deviceAccess().Check(request(t, commonName(t, "x")), today)
			must(t, err)
			done := make(chan struct{})
			var readers sync.WaitGroup
			for _, read := range []func(){
				func() { checkIssued(t, a, permit) },
				func() { checkTogether(t, a) },
				func() { checkAnswers(t, a) },
			} {
				readers.Go(func() {
					for {
						select {
						case <-done:
							return
						default:
							read()
						}
					}
				})
			}
			for range 2 {
				prepare(t, a)
				activate(t, a)
			}
			close(done)
			readers.Wait()
		})
	}
}

func checkIssued(t *testing.T, a *ca.Authority, permit *ca.Permit) {
	c, err := a.Issue(permit)
	if err != nil {
		t.Error(err)
		return
	}
	if _, ok := a.IssuerOf(c); !ok {
		t.Error("the issuer of a new certificate is not known")
	}
}

func checkTogether(t *testing.T, a *ca.Authority) {
	if chain := a.Chain(false); len(chain) == 3 && (chain[0].CheckSignatureFrom(chain[1]) != nil || chain[1].CheckSignatureFrom(chain[2]) != nil) {
		t.Error("the chain is of two generations")
	}
	if f := a.InForce(); f.RA.CheckSignatureFrom(f.Issuer) != nil || f.Issuer.CheckSignatureFrom(f.Root) != nil {
		t.Error("what is in force is of two generations")
	}
	for _, r := range a.Recipients() {
		if !r.Key.Public().(*rsa.PublicKey).Equal(r.Certificate.PublicKey) {
			t.Error("certificate and key of different recipients")
		}
	}
	if c, key := a.NextCASigner(true); !key.Public().(*rsa.PublicKey).Equal(c.PublicKey) {
		t.Error("certificate and key of different signers")
	}
}

func checkAnswers(t *testing.T, a *ca.Authority) {
	generations := a.Generations()
	if !generations[0].Current || !generations[0].Until.IsZero() {
		t.Error("the first generation does not issue")
	}
	for _, g := range generations {
		if r, err := a.OCSPResponder(g.Issuer); err != nil || r.Certificate.CheckSignatureFrom(g.Issuer) != nil {
			t.Errorf("responder: %v", err)
		}
		if _, err := a.SignCRL(g.Issuer, g.Issuer.SerialNumber, today, today.Add(time.Hour), nil); err != nil {
			t.Error(err)
		}
	}
}

// A generation that has ended signs nothing and is no hindrance.
func TestGenerationThatHasEnded(t *testing.T) {
	dir, c := fixture(t, "single"), clock.NewManual(born.AddDate(10, 0, 0))
	a := reopen(t, dir, c)
	old := a.Issuer()
	prepare(t, a)
	activate(t, a)
	c.Set(born.AddDate(21, 0, 0))
	a = reopen(t, dir, c)
	if _, err := a.SignCRL(old, old.SerialNumber, c.Now(), c.Now().Add(time.Hour), nil); err == nil {
		t.Error("it signed a CRL")
	}
	if _, err := a.OCSPResponder(old); err == nil {
		t.Error("it signed an OCSP responder")
	}
	crlOf(t, a, a.Issuer(), c.Now())
	device(t, a, c.Now())
}

// TestOpenRefusesGenerations spoils an authority with a former and a prepared
// generation.
func TestOpenRefusesGenerations(t *testing.T) {
	edit := func(old, new string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, "authority.json")
			data, err := os.ReadFile(path)
			must(t, err)
			changed := strings.Replace(string(data), old, new, 1)
			if changed == string(data) {
				t.Fatalf("%q is not in %s", old, data)
			}
			must(t, os.WriteFile(path, []byte(changed), 0o600))
		}
	}
	onFiles := func(glob string, do func(path string) error) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			found, err := filepath.Glob(filepath.Join(dir, glob))
			must(t, err)
			if len(found) == 0 {
				t.Fatalf("no %s", glob)
			}
			for _, path := range found {
				must(t, do(path))
			}
		}
	}
	whole, c := fixture(t, "chain-p256"), clock.NewManual(today)
	a := reopen(t, whole, c)
	prepare(t, a)
	activate(t, a)
	next, current := prepare(t, a).Next.RA, a.InForce().RA
	reopen(t, whole, c)
	for _, tt := range []struct {
		name, want string
		spoil      func(t *testing.T, dir string)
	}{
		{"issuer outside", `names no issuer: "../issuer"`, edit(`"file": "issuer"`, `"file": "../issuer"`)},
		{"issuer that is an RA", "names no issuer", edit(`"file": "issuer-`, `"file": "ra-`)},
		{"issuer that is a root", "names no issuer", edit(`"file": "issuer-`, `"file": "root-`)},
		{"issuer without a number", "names no issuer", edit(`"file": "issuer"`, `"file": "issuer-"`)},
		{"former without current", "is not what an authority writes", edit(`"issuer": {`, `"other": {`)},
		{"prepared without RA", "is not what an authority writes", edit(`"ra": "`+ca.FormatSerial(next.SerialNumber)+`",`, "")},
		{"prepared with another's RA", "is not the RA certificate", edit(ca.FormatSerial(next.SerialNumber), ca.FormatSerial(current.SerialNumber))},
		{"missing keys", "is missing: restore it from a backup", onFiles("issuer-*.key.pem", os.Remove)},
		{"missing first key", "issuer.key.pem is missing", onFiles("issuer.key.pem", os.Remove)},
		{"open keys", "is open to others", onFiles("issuer-*.key.pem", func(path string) error { return os.Chmod(path, 0o640) })},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := copied(t, whole)
			tt.spoil(t, dir)
			_, err := ca.Open(dir, ca.Options{Clock: c})
			wantError(t, err, tt.want)
		})
	}
}

// A root that was exchanged while the authority is open signs nothing.
func TestPrepareWithAnotherRoot(t *testing.T) {
	dir := fixture(t, "chain-p256")
	a := reopen(t, dir, clock.NewManual(today))
	for _, name := range []string{"root.pem", "root.key.pem"} {
		other, err := os.ReadFile(filepath.Join("testdata/chain", name))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, name), other, 0o600))
	}
	_, err := a.PrepareRollover()
	wantError(t, err, "root.pem was exchanged")
}
