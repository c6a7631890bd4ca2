//go:build reliability

package reliability

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"understudy.example/understudy/depot/bolt"
	"understudy.example/understudy/depot/depottest"
	"understudy.example/understudy/test/internal/powercut"
)

func init() {
	startAsDisk = powercut.Run
	children["write"] = func() error { return writeForEver(os.Args[1]) }
}

// imagesPerDisk is how many images one run of the writer gives; the first of
// them see it make the store. Up to operationsBetween lie before the first, twice
// as many before the second, and so on.
const (
	imagesPerDisk     = 10
	operationsBetween = 60
)

// TestR1_PowerCut takes images of the disk of a store that is being written,
// opens each, and looks for everything that was acknowledged before.
func TestR1_PowerCut(t *testing.T) {
	images := pick(30, 200)
	found := 0
	for done := 0; done < images; done += imagesPerDisk {
		acknowledged, err := cutPower(t, nil, imagesPerDisk)
		if err != nil {
			t.Error(err)
		}
		found += acknowledged
	}
	if found == 0 {
		t.Error("nothing was acknowledged before any image")
	}
	t.Logf("%d images; the last of each disk held, together, %d acknowledged certificates", images, found)
}

// TestR1_PowerCutSeesMissingSync takes fsync away, file by file: an image must
// then be found that broke the promise, or the test above proves nothing.
func TestR1_PowerCutSeesMissingSync(t *testing.T) {
	for _, deaf := range []string{"store.db", "ledger", "."} {
		t.Run(deaf, func(t *testing.T) {
			for range 5 {
				if _, err := cutPower(t, []string{deaf}, imagesPerDisk); err != nil {
					t.Logf("found, as it should be: %.200v", err)
					return
				}
			}
			t.Errorf("without fsync of %q no image broke the promise", deaf)
		})
	}
}

// cutPower runs a writer on a new disk, takes images at random moments, and
// returns how many certificates were acknowledged before the last, and what is
// wrong with the images.
func cutPower(t *testing.T, deaf []string, images int) (int, error) {
	t.Helper()
	m := powercut.Start(t, powercut.Options{
		Deaf:    deaf,
		Command: func(dir string) []string { return []string{os.Args[0], dir} },
		Env:     []string{childVariable + "=write"},
	})
	defer m.Stop()
	acks := readAcks(m)
	var wrong error
	known := 0
	for n := range images {
		seed := rand.Uint64()
		mode := []powercut.Mode{powercut.None, powercut.Prefix, powercut.Sectors, powercut.Sectors}[n%4]
		sure := acks.list() // before the image, or a good store looks bad
		known = len(sure)
		dir, err := m.Image(mode, seed, rand.IntN(operationsBetween*(1+n)))
		if err != nil {
			t.Fatal(err)
		}
		if err := holdsAll(filepath.Join(dir, "store"), sure); err != nil {
			wrong = errors.Join(wrong, fmt.Errorf("image %d, mode %s, seed %d, %d acknowledged: %w", n, mode, seed, known, err))
		}
		os.RemoveAll(dir)
	}
	return known, wrong
}

// acks are the numbers that a writer printed.
type acks struct {
	mu  sync.Mutex
	all []int
}

func readAcks(m *powercut.Machine) *acks {
	a := &acks{}
	go func() {
		for lines := bufio.NewScanner(m.Stdout); lines.Scan(); {
			if n, err := strconv.Atoi(lines.Text()); err == nil {
				a.mu.Lock()
				a.all = append(a.all, n)
				a.mu.Unlock()
			}
		}
	}()
	return a
}

func (a *acks) list() []int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.all[:len(a.all):len(a.all)]
}

// holdsAll opens a store and says what it lacks.
func holdsAll(dir string, numbers []int) error {
	d, err := bolt.Open(dir, bolt.Options{})
	if err != nil {
		return fmt.Errorf("does not open: %w", err)
	}
	defer d.Close()
	ctx := context.Background()
	inLedger := map[string]bool{}
	_, err = bolt.ReadLedger(filepath.Join(dir, "ledger"), func(e bolt.Entry) error {
		i, err := e.Issuance()
		inLedger[i.Identity.CertificateSerial] = true
		if e.Type != "certificate.issued" {
			err = nil
		}
		return err
	})
	if err != nil {
		return err
	}
	lost := 0
	for _, n := range numbers {
		want := depottest.Issuance(n)
		got, err := d.Identity(ctx, want.Identity.CertificateSerial)
		if err != nil || !inLedger[want.Identity.CertificateSerial] {
			lost++
			continue
		}
		want.Identity.PreviousSerial = got.PreviousSerial
		if diff := cmp.Diff(want.Identity, got); diff != "" {
			return fmt.Errorf("certificate %d is another one: %s", n, diff)
		}
		if tx, err := d.TransactionOfMessage(ctx, want.Transaction.MessageSHA256); err != nil || tx.CertificateSerial != want.Identity.CertificateSerial {
			return fmt.Errorf("the message of certificate %d leads to %q, %w", n, tx.CertificateSerial, err)
		}
	}
	if lost > 0 {
		return fmt.Errorf("%d of %d acknowledged certificates are lost", lost, len(numbers))
	}
	if findings, err := d.Check(ctx); err != nil || len(findings) > 0 {
		return fmt.Errorf("check found %q, %w", findings, err)
	}
	if _, err := d.Commit(ctx, depottest.Issuance(900_000)); err != nil {
		return fmt.Errorf("does not take another certificate: %w", err)
	}
	return nil
}

// writeForEver commits from several goroutines and names what was
// acknowledged.
func writeForEver(dir string) error {
	d, err := bolt.Open(filepath.Join(dir, "store"), bolt.Options{})
	if err != nil {
		return err
	}
	const writers = 4
	failed := make(chan error)
	var mu sync.Mutex
	for w := range writers {
		go func() {
			for n := w; ; n += writers {
				if _, err := d.Commit(context.Background(), depottest.Issuance(n)); err != nil {
					failed <- err
					return
				}
				mu.Lock()
				fmt.Println(n)
				mu.Unlock()
			}
		}()
	}
	return <-failed
}
