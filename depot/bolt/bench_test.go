package bolt_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/depot/bolt"
	"understudy.example/understudy/depot/depottest"
)

// realistic is an issuance with a certificate of usual size.
func realistic(n int) depot.Issuance {
	i := depottest.Issuance(n)
	i.Identity.DER = make([]byte, 1200)
	return i
}

// BenchmarkCommit measures durable commits by so many goroutines at once.
func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			benchmarkCommit(b, open(b, filepath.Join(b.TempDir(), "store")), writers, 0)
		})
	}
}

// BenchmarkCommitUnsynced is BenchmarkCommit without the disk: the difference
// is the price of durability.
func BenchmarkCommitUnsynced(b *testing.B) {
	for _, writers := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			d, err := bolt.Open(filepath.Join(b.TempDir(), "store"), bolt.UnsyncedLedger(options()))
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { d.Close() })
			bolt.Unsync(d)
			benchmarkCommit(b, d, writers, 0)
		})
	}
}

// BenchmarkCommitStored measures them with that many certificates stored
// already.
func BenchmarkCommitStored(b *testing.B) {
	for _, stored := range []int{0, 10_000} {
		b.Run(fmt.Sprintf("stored=%d", stored), func(b *testing.B) {
			d := open(b, filepath.Join(b.TempDir(), "store"))
			fill(b, d, stored)
			benchmarkCommit(b, d, 8, stored)
		})
	}
}

func fill(b *testing.B, d *bolt.Depot, n int) {
	var wait sync.WaitGroup
	const writers = 128
	for w := range writers {
		wait.Go(func() {
			for i := w; i < n; i += writers {
				if _, err := d.Commit(context.Background(), realistic(i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
}

func benchmarkCommit(b *testing.B, d *bolt.Depot, writers, first int) {
	var next atomic.Int64
	next.Store(int64(first))
	issuances := make([]depot.Issuance, b.N)
	for n := range issuances {
		issuances[n] = realistic(first + n)
	}
	b.ReportAllocs()
	b.ResetTimer()
	var wait sync.WaitGroup
	for range writers {
		wait.Go(func() {
			for {
				n := int(next.Add(1)) - 1 - first
				if n >= b.N {
					return
				}
				if _, err := d.Commit(context.Background(), issuances[n]); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
}

// BenchmarkOpen opens a store of that many certificates that was closed in
// order, and one that was not, which is looked through. UNDERSTUDY_STORED says
// how many, separated by commas; a million takes some minutes and 6 GB.
func BenchmarkOpen(b *testing.B) {
	for _, stored := range strings.Split(cmp.Or(os.Getenv("UNDERSTUDY_STORED"), "0,10000"), ",") {
		n, err := strconv.Atoi(stored)
		if err != nil {
			b.Fatal(err)
		}
		dir := filepath.Join(b.TempDir(), "store")
		d := open(b, dir)
		fill(b, d, n)
		if err := d.Close(); err != nil {
			b.Fatal(err)
		}
		for _, died := range []bool{false, true} {
			b.Run(fmt.Sprintf("stored=%d/died=%t", n, died), func(b *testing.B) {
				for b.Loop() {
					if died {
						if err := os.WriteFile(filepath.Join(dir, "store.pid"), []byte("1\n"), 0o600); err != nil {
							b.Fatal(err)
						}
					}
					d, err := bolt.Open(dir, options())
					if err != nil {
						b.Fatal(err)
					}
					b.StopTimer()
					d.Close()
					b.StartTimer()
				}
				b.ReportMetric(size(b, dir, "store.db")/float64(max(n, 1)), "db-B/certificate")
				b.ReportMetric(size(b, dir, "ledger")/float64(max(n, 1)), "ledger-B/certificate")
			})
		}
	}
}

func size(b *testing.B, dir, name string) float64 {
	info, err := os.Stat(filepath.Join(dir, name))
	if err != nil {
		b.Fatal(err)
	}
	return float64(info.Size())
}

// BenchmarkFind measures the two reads that every enrolment makes.
func BenchmarkFind(b *testing.B) {
	d := open(b, filepath.Join(b.TempDir(), "store"))
	const stored = 2_000
	fill(b, d, stored)
	i := realistic(stored / 2)
	ctx := context.Background()
	b.Run("Transaction", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := d.Transaction(ctx, "rac0", i.Transaction.ID); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("TransactionOfMessage", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := d.TransactionOfMessage(ctx, i.Transaction.MessageSHA256); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Identities", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := d.Identities(ctx, depot.IdentityQuery{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkSearch measures the lists that people ask for. What is found is the
// same however much is stored: one certificate, ten that begin so, ten of a
// device.
func BenchmarkSearch(b *testing.B) {
	for _, stored := range []int{10_000, 100_000} {
		d, err := bolt.Open(filepath.Join(b.TempDir(), "store"), bolt.UnsyncedLedger(options()))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { d.Close() })
		bolt.Unsync(d)
		fillNamed(b, d, stored)
		for _, search := range []struct {
			name string
			q    depot.IdentityQuery
			want int
		}{
			{"device serial", depot.IdentityQuery{NameKind: depot.NameDeviceSerial, Name: "c000001234"}, 1},
			{"beginning", depot.IdentityQuery{NameKind: depot.NameDeviceSerial, Name: "c00000123", NamePrefix: true}, 10},
			{"device", depot.IdentityQuery{ConfigurationID: "rac0", DeviceKey: "device 123"}, 10},
		} {
			for _, q := range []depot.Order{depot.NewestFirst, depot.ByNotAfter} {
				b.Run(fmt.Sprintf("%s/%s/stored=%d", search.name, q, stored), func(b *testing.B) {
					search.q.Order = q
					for b.Loop() {
						page, err := d.Identities(context.Background(), search.q)
						if err != nil || len(page.Items) != search.want {
							b.Fatalf("%d found, want %d: %v", len(page.Items), search.want, err)
						}
					}
				})
			}
		}
	}
}

// fillNamed stores certificates with device serials that rise, ten to a
// device.
func fillNamed(b *testing.B, d *bolt.Depot, n int) {
	var wait sync.WaitGroup
	const writers = 250
	for w := range writers {
		wait.Go(func() {
			for k := w; k < n; k += writers {
				i := realistic(k)
				i.Identity.Device.Key = fmt.Sprint("device ", k/10)
				i.Identity.Device.DeviceSerial = fmt.Sprintf("C%09d", k)
				if _, err := d.Commit(context.Background(), i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
}
