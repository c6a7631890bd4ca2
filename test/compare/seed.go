package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/depot/bolt"
)

// seedUnderstudy stores n certificates through the depot, as a server would,
// many at a time so that they share commits. They have a certificate's size
// and no more: nothing reads them.
func seedUnderstudy(ctx context.Context, dir string, n int) (err error) {
	store, err := bolt.Open(filepath.Join(dir, "data", "store"), bolt.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	configurations, err := store.Configurations(ctx)
	if err != nil || len(configurations) == 0 {
		return errors.Join(err, errors.New("the store has no configuration"))
	}
	issuer, err := issuerOf(dir)
	if err != nil {
		return err
	}
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var wait sync.WaitGroup
	begin := time.Now().Add(-time.Duration(n) * time.Second)
	for range 256 {
		wait.Go(func() {
			for i := int(next.Add(1)); i <= n && failed.Load() == nil; i = int(next.Add(1)) {
				if _, err := store.Commit(ctx, issuance(configurations[0], issuer, i, begin)); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	wait.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// issuerOf is the hash of the certificate that issues in a directory.
func issuerOf(dir string) (hash [32]byte, err error) {
	path := filepath.Join(dir, "data", "authority", "issuer.pem")
	if !isFile(path) {
		path = filepath.Join(filepath.Dir(path), "root.pem")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return hash, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return hash, fmt.Errorf("%s is no PEM", path)
	}
	return sha256.Sum256(block.Bytes), nil
}

// issuance is the i-th certificate of a store, a second after the one before.
func issuance(c depot.Configuration, issuer [32]byte, i int, begin time.Time) depot.Issuance {
	hash := func(what byte) [32]byte { return sha256.Sum256(binary.BigEndian.AppendUint64([]byte{what}, uint64(i))) }
	der, at := make([]byte, 0, 1216), begin.Add(time.Duration(i)*time.Second).UTC()
	for n := byte(0); len(der) < 1200; n++ {
		h := hash(n)
		der = append(der, h[:]...)
	}
	random := hash('r')
	serial := fmt.Sprintf("%012x%x", at.UnixMilli(), random[:10])
	device := fmt.Sprintf("SEED%08d", i)
	id := depot.Identity{
		CertificateSerial: serial, SHA256: hash('s'), PublicKeySHA256: hash('k'), CSRSHA256: hash('c'), DER: der,
		Subject: "CN=" + device, NotBefore: at, NotAfter: at.Add(365 * 24 * time.Hour), IssuedAt: at, IssuerSHA256: issuer,
		KeyAlgorithm: "RSA", KeyBits: 2048, SignatureAlgo: "SHA256-RSA", ConfigurationID: c.ID, ConfigurationName: c.Name,
		Purpose: string(c.Purpose), Device: depot.DeviceNames{Key: "serial:" + device, DeviceSerial: device}, ChallengeMode: string(c.Mode),
		TransactionID: fmt.Sprintf("%X", random[:20]), MessageType: "19", SignerKeyIsCSRKey: true, SignerSHA256: hash('g'),
		Digest: "SHA-256", Cipher: "AES-128-CBC", SourceAddress: "127.0.0.1", SourcePeer: "127.0.0.1",
	}
	return depot.Issuance{Identity: id, Transaction: depot.Transaction{
		ConfigurationID: c.ID, ID: id.TransactionID, MessageType: "19", MessageSHA256: hash('m'), CSRSHA256: id.CSRSHA256,
		PublicKeySHA256: id.PublicKeySHA256, SignerSHA256: id.SignerSHA256, CertificateSerial: serial, At: at,
	}}
}

// seedMicromdm writes the index that scepserver looks names up in. The
// certificates themselves it never reads again.
func seedMicromdm(_ context.Context, dir string, n int) (err error) {
	f, err := os.Create(filepath.Join(dir, "index.txt"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriter(f)
	expires := time.Now().AddDate(1, 0, 0).UTC().Format("060102150405Z")
	for i := 2; i < n+2; i++ {
		fmt.Fprintf(w, "V\t%s\t\t%06X\tSEED%08d.%d.pem\t/CN=SEED%08d 00000000-0000-4000-8000-%012d\n", expires, i, i, i, i, i)
	}
	if err := os.WriteFile(filepath.Join(dir, "serial"), fmt.Appendf(nil, "%06X\n", n+2), 0o600); err != nil {
		return err
	}
	return w.Flush()
}
