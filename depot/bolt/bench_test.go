package bolt_test

import (
	"context"
	"fmt"
	"path/filepath"
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

// BenchmarkOpen measures opening 10 000 certificates that were closed in
// order; the store is small enough to be looked through.
func BenchmarkOpen(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "store")
	d := open(b, dir)
	fill(b, d, 10_000)
	d.Close()
	b.ResetTimer()
	for b.Loop() {
		d, err := bolt.Open(dir, options())
		if err != nil {
			b.Fatal(err)
		}
		d.Close()
	}
	b.ReportMetric(float64(len(read(b, dir, "store.db")))/10_000, "db-B/certificate")
	b.ReportMetric(float64(len(read(b, dir, "ledger")))/10_000, "ledger-B/certificate")
}
