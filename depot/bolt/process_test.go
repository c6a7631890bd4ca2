//go:build unix

package bolt_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/depot/bolt"
	"understudy.example/understudy/depot/depottest"
)

var killRounds = flag.Int("kill.rounds", 5, "how often TestKilled kills a process that writes")

// Some tests need a process that can be killed or limited: this test binary,
// started again with these variables.
const (
	childTask  = "UNDERSTUDY_TEST_CHILD"
	childStore = "UNDERSTUDY_TEST_STORE"
	childFirst = "UNDERSTUDY_TEST_FIRST"
)

func TestMain(m *testing.M) {
	tasks := map[string]func(dir string) error{"write": writeForEver, "revoke": revokeForEver, "hold": holdOpen, "fill": fillDisk, "upgrade": upgradeFull}
	task, ok := tasks[os.Getenv(childTask)]
	if !ok {
		os.Exit(m.Run())
	}
	if err := task(os.Getenv(childStore)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// child starts a process and returns its standard output.
func child(t *testing.T, task, dir string, first int) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), childTask+"="+task, childStore+"="+dir, childFirst+"="+strconv.Itoa(first))
	c.Stderr = os.Stderr
	if _, err := c.StdinPipe(); err != nil { // open for as long as we live
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
	})
	return c, bufio.NewScanner(out)
}

// writeForEver commits from several goroutines and names what was
// acknowledged.
func writeForEver(dir string) error {
	d, err := bolt.Open(dir, options())
	if err != nil {
		return err
	}
	first, err := strconv.Atoi(os.Getenv(childFirst))
	if err != nil {
		return err
	}
	var mu sync.Mutex
	for w := range 4 {
		go func() {
			for n := first + w; ; n += 4 {
				if _, err := d.Commit(context.Background(), depottest.Issuance(n)); err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
				mu.Lock()
				fmt.Println(n)
				mu.Unlock()
			}
		}()
	}
	return parentDies()
}

// parentDies returns when the test that started this process is gone.
func parentDies() error {
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// TestKilled kills a writing process at random moments: what it acknowledged
// is there, nothing is half there, and the store opens.
func TestKilled(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	total := 0
	for round := range *killRounds {
		c, out := child(t, "write", dir, round*100_000)
		if !out.Scan() {
			t.Fatal("the child wrote nothing")
		}
		acknowledged := []string{out.Text()}
		timer := time.AfterFunc(time.Duration(rand.IntN(150))*time.Millisecond, func() { c.Process.Kill() })
		for out.Scan() {
			acknowledged = append(acknowledged, out.Text())
		}
		timer.Stop()
		c.Wait()
		total += len(acknowledged)

		d := open(t, dir)
		for _, line := range acknowledged {
			n, err := strconv.Atoi(line)
			if err != nil {
				continue // the line was cut by the death
			}
			if err := holdsOne(t, d, n); err != nil {
				t.Errorf("round %d: acknowledged certificate %d: %v", round, n, err)
			}
		}
		holds(t, d, 0, 0)
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d acknowledged in %d rounds", total, *killRounds)
}

// revokeForEver issues, revokes, numbers CRLs and lets requests be approved
// from several goroutines, and names what was acknowledged.
func revokeForEver(dir string) error {
	d, err := bolt.Open(dir, options())
	if err != nil {
		return err
	}
	first, err := strconv.Atoi(os.Getenv(childFirst))
	if err != nil {
		return err
	}
	var mu sync.Mutex
	say := func(what string, n uint64) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Println(what, n)
	}
	ctx := context.Background()
	one := func(n int) error {
		i := depottest.Issuance(n)
		i.Identity.IssuerSHA256 = anIssuer
		if _, err := d.Commit(ctx, i); err != nil {
			return err
		}
		if _, err := d.Revoke(ctx, depot.Revocation{CertificateSerial: i.Identity.CertificateSerial, Reason: depot.ReasonKeyCompromise, At: depottest.Epoch}); err != nil {
			return err
		}
		say("revoked", uint64(n))
		number, err := d.TakeCRLNumber(ctx, anIssuer, 1000)
		if err != nil {
			return err
		}
		say("number", number)
		r := depottest.Request(n + 50_000)
		if err := d.AddRequest(ctx, r, 0, ""); err != nil {
			return err
		}
		say("pending", uint64(n+50_000))
		if n%2 == 0 {
			return nil
		}
		if _, err := d.Decide(ctx, depottest.Approval(r, n+50_000)); err != nil {
			return err
		}
		say("approved", uint64(n+50_000))
		return nil
	}
	for w := range 4 {
		go func() {
			for n := first + w; ; n += 4 {
				if err := one(n); err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
			}
		}()
	}
	return parentDies()
}

// R18, the store's half: a process that revokes is killed at random moments.
// What it acknowledged is revoked and in the list for the CRL, numbers never
// come twice, requests that waited wait and what was approved has its
// certificate; so it is, too, in a store made anew from the ledger.
func TestKilledRevoking(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	var acknowledged []string
	highest := uint64(0)
	for round := range *killRounds {
		c, out := child(t, "revoke", dir, round*100_000)
		if !out.Scan() {
			t.Fatal("the child wrote nothing")
		}
		acknowledged = append(acknowledged, out.Text())
		timer := time.AfterFunc(time.Duration(rand.IntN(150))*time.Millisecond, func() { c.Process.Kill() })
		for out.Scan() {
			acknowledged = append(acknowledged, out.Text())
		}
		timer.Stop()
		c.Wait()

		d := open(t, dir)
		survived(t, d, acknowledged)
		number, err := d.TakeCRLNumber(t.Context(), anIssuer, 0)
		must(t, err)
		if number <= highest {
			t.Errorf("round %d: CRL number %d after %d", round, number, highest)
		}
		highest = number
		must(t, d.Close())
	}
	must(t, os.Remove(filepath.Join(dir, "store.db")))
	_, err := bolt.Rebuild(t.Context(), dir, bolt.RebuildOptions{})
	must(t, err)
	d := open(t, dir)
	survived(t, d, acknowledged)
	if number, err := d.TakeCRLNumber(t.Context(), anIssuer, 0); err != nil || number <= highest {
		t.Errorf("rebuilt: CRL number %d after %d, %v", number, highest, err)
	}
	t.Logf("%d acknowledged in %d rounds", len(acknowledged), *killRounds)
}

// survived asserts that what a killed process acknowledged is there.
func survived(t *testing.T, d *bolt.Depot, acknowledged []string) {
	t.Helper()
	ctx := t.Context()
	last, err := d.LastCRLNumber(ctx, anIssuer)
	must(t, err)
	listed := map[string]bool{}
	for q := (depot.RevokedQuery{IssuerSHA256: anIssuer, Limit: 500}); ; {
		page, err := d.Revoked(ctx, q)
		must(t, err)
		for _, r := range page.Items {
			listed[r.CertificateSerial] = true
		}
		if q.Cursor = page.NextCursor; q.Cursor == "" {
			break
		}
	}
	for _, line := range acknowledged {
		var what string
		var n int
		if _, err := fmt.Sscan(line, &what, &n); err != nil {
			continue // the line was cut by the death
		}
		switch what {
		case "revoked":
			id, err := d.Identity(ctx, depottest.Issuance(n).Identity.CertificateSerial)
			if err != nil || id.RevocationReason != string(depot.ReasonKeyCompromise) || !listed[id.CertificateSerial] {
				t.Errorf("certificate %d: revoked for %q, in the list: %v; %v", n, id.RevocationReason, listed[id.CertificateSerial], err)
			}
		case "number":
			if uint64(n) > last {
				t.Errorf("CRL number %d was given, and the last one is %d", n, last)
			}
		case "pending":
			if r, err := d.Request(ctx, depottest.Request(n).ID); err != nil || r.State == depot.RequestDenied {
				t.Errorf("request %d: %s, %v", n, r.State, err)
			}
		case "approved":
			r, err := d.Request(ctx, depottest.Request(n).ID)
			_, err2 := d.Identity(ctx, r.Transaction.CertificateSerial)
			if err != nil || err2 != nil || r.State != depot.RequestApproved {
				t.Errorf("request %d: %s, %v, %v", n, r.State, err, err2)
			}
		}
	}
	sound(t, d)
}

// holdOpen keeps the store until the test is gone or kills it.
func holdOpen(dir string) error {
	d, err := bolt.Open(dir, options())
	if err != nil {
		return err
	}
	defer d.Close()
	fmt.Println("open")
	return parentDies()
}

func TestSecondProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	c, out := child(t, "hold", dir, 0)
	if !out.Scan() {
		t.Fatal("the child did not open the store")
	}
	refuses(t, dir, "in use by process "+strconv.Itoa(c.Process.Pid), dir)
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	c.Wait()
	d := open(t, dir)
	refuses(t, dir, "in use by process "+strconv.Itoa(os.Getpid()))
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "store.pid")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("pid file after Close: %v", err)
	}
}

// fillDisk commits until no file may grow any more, and goes on when they may.
func fillDisk(dir string) error {
	signal.Ignore(syscall.SIGXFSZ)
	d, err := bolt.Open(dir, options())
	if err != nil {
		return err
	}
	ctx, n := context.Background(), 0
	for ; n < 20; n++ {
		if _, err := d.Commit(ctx, depottest.Issuance(n)); err != nil {
			return err
		}
	}
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		return err
	}
	database, err := os.Stat(filepath.Join(dir, "store.db"))
	if err != nil {
		return err
	}
	full := before
	full.Cur = uint64(database.Size())
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &full); err != nil {
		return err
	}
	for ; err == nil && n < 10_000; n++ {
		_, err = d.Commit(ctx, depottest.Issuance(n))
	}
	n-- // this one was not acknowledged
	if !errors.Is(err, depot.ErrUnavailable) {
		return fmt.Errorf("full disk: error %w", err)
	}
	for range 10 {
		if _, err := d.Commit(ctx, depottest.Issuance(n)); !errors.Is(err, depot.ErrUnavailable) {
			return fmt.Errorf("commit on a full disk: %w", err)
		}
	}
	if err := d.Ready(ctx); !errors.Is(err, depot.ErrUnavailable) {
		return fmt.Errorf("ready with a full disk: %w", err)
	}
	if _, err := d.Identity(ctx, depottest.Issuance(0).Identity.CertificateSerial); err != nil {
		return fmt.Errorf("read with a full disk: %w", err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		return err
	}
	if err := d.Ready(ctx); err != nil {
		return fmt.Errorf("ready with room again: %w", err)
	}
	for end := n + 20; n < end; n++ {
		// The first one may be there: its ledger record could have been what
		// failed.
		if _, err := d.Commit(ctx, depottest.Issuance(n)); err != nil && !errors.Is(err, depot.ErrTransactionConflict) {
			return fmt.Errorf("commit with room again: %w", err)
		}
	}
	if findings, err := d.Check(ctx); err != nil || len(findings) > 0 {
		return fmt.Errorf("check: %s: %w", strings.Join(findings, ", "), err)
	}
	fmt.Println("committed", n)
	return d.Close()
}

func TestDiskFull(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	c, out := child(t, "fill", dir, 0)
	said := ""
	for out.Scan() {
		said += out.Text()
	}
	if err := c.Wait(); err != nil || !strings.HasPrefix(said, "committed") {
		t.Fatalf("child: %v, %q", err, said)
	}
	holds(t, open(t, dir), 0, 20)
}

// upgradeFull opens a store of an older format while no file may grow beyond a
// number of bytes, and once more when they may.
func upgradeFull(dir string) error {
	signal.Ignore(syscall.SIGXFSZ)
	most, err := strconv.Atoi(os.Getenv(childFirst))
	if err != nil {
		return err
	}
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		return err
	}
	full := before
	full.Cur = uint64(most)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &full); err != nil {
		return err
	}
	if _, err := bolt.Open(dir, options()); err == nil || !strings.Contains(err.Error(), "upgrade store") || !strings.Contains(err.Error(), "start again to go on") {
		return fmt.Errorf("upgrade on a full disk: %w", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.tmp"))
	if err != nil || len(left) > 0 {
		return fmt.Errorf("it left %q, %w", left, err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		return err
	}
	d, err := bolt.Open(dir, options())
	if err != nil {
		return fmt.Errorf("with room again: %w", err)
	}
	if findings, err := d.Check(context.Background()); err != nil || len(findings) > 0 {
		return fmt.Errorf("check: %s: %w", strings.Join(findings, ", "), err)
	}
	fmt.Println("upgraded")
	return d.Close()
}

// A disk that is too full for the copy of the older format refuses the upgrade
// and is no fuller than before; with room again it goes on.
func TestUpgradeOnFullDisk(t *testing.T) {
	dir := image(t, filepath.Join(stores, "format-2"))
	info, err := os.Stat(filepath.Join(dir, "store.db"))
	must(t, err)
	c, out := child(t, "upgrade", dir, int(info.Size())-1)
	said := ""
	for out.Scan() {
		said += out.Text()
	}
	if err := c.Wait(); err != nil || said != "upgraded" {
		t.Fatalf("child: %v, %q", err, said)
	}
}
