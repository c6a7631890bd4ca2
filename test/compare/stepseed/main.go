// Command stepseed fills the database of a step-ca, which does not run, with
// certificates, so that what an enrolment costs there can be measured in a filled
// store: by real enrolments that would take a quarter of an hour for 100 000.
//
//	stepseed DIRECTORY NUMBER
//
// It writes what step-ca v0.30.2 writes for a certificate (db.StoreCertificateChain:
// the DER and a JSON object with the provisioner, both under the serial in
// decimal), through the library that step-ca uses. It is a module of its own, so
// that none of that is a dependency of Understudy.
package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/big"
	"os"
	"strconv"

	"github.com/smallstep/nosql"
	"github.com/smallstep/nosql/database"
)

const (
	certificates = "x509_certs"
	data         = "x509_certs_data"
	provisioner  = `{"provisioner":{"id":"scep/scep","name":"scep","type":"SCEP"}}`
	perCommit    = 200
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: stepseed DIRECTORY NUMBER")
		os.Exit(2)
	}
	n, err := strconv.Atoi(os.Args[2])
	if err == nil {
		err = seed(os.Args[1], n)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "stepseed:", err)
		os.Exit(1)
	}
}

func seed(dir string, n int) error {
	db, err := nosql.New("badgerv2", dir)
	if err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}
	for _, table := range []string{certificates, data} {
		if err := db.CreateTable([]byte(table)); err != nil {
			return fmt.Errorf("make table %s: %w", table, err)
		}
	}
	for from := 0; from < n; from += perCommit {
		tx := new(database.Tx)
		for i := from; i < min(from+perCommit, n); i++ {
			serial, der := certificate(i)
			tx.Set([]byte(certificates), serial, der)
			tx.Set([]byte(data), serial, []byte(provisioner))
		}
		if err := db.Update(tx); err != nil {
			return fmt.Errorf("store certificate %d: %w", from, err)
		}
	}
	if err := db.Close(); err != nil {
		return fmt.Errorf("close %s: %w", dir, err)
	}
	return nil
}

// certificate is the i-th: a random serial as step-ca has them, and as many bytes
// as a certificate. Nothing reads them.
func certificate(i int) (serial, der []byte) {
	for n := byte(0); len(der) < 1200; n++ {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte{n}, uint64(i)))
		der = append(der, sum[:]...)
	}
	return []byte(new(big.Int).SetBytes(der[:16]).String()), der[:1200]
}
