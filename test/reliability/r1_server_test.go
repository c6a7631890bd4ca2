//go:build reliability

package reliability

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"understudy.example/understudy/scep/client"
	"understudy.example/understudy/test/internal/powercut"
	"understudy.example/understudy/test/internal/program"
)

// TestR1_PowerCutOfServer takes images of the data directory of a whole server
// while devices enrol, starts a server on each, and looks for every
// certificate that a device had received.
func TestR1_PowerCutOfServer(t *testing.T) {
	m := powercut.Start(t, powercut.Options{Command: func(dir string) []string {
		return []string{string(understudy), "serve", "--json", "--data", filepath.Join(dir, "data"),
			"--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}
	}})
	ready := make(chan program.Ready, 1)
	go func() {
		lines := bufio.NewScanner(m.Stdout)
		for lines.Scan() {
			var r program.Ready
			if json.Unmarshal(lines.Bytes(), &r) == nil {
				ready <- r
			}
		}
	}()
	var mu sync.Mutex
	var received []receipt
	look := func(mode powercut.Mode, operations int) {
		mu.Lock()
		sure := received[:len(received):len(received)]
		mu.Unlock()
		dir, err := m.Image(mode, mathrand.Uint64(), operations)
		if err != nil {
			t.Fatal(err)
		}
		server := understudy.Start(t, program.Options{Data: filepath.Join(dir, "data")})
		lookFor(t, server, sure)
		server.Kill()
		os.RemoveAll(dir)
	}
	modes := []powercut.Mode{powercut.None, powercut.Prefix, powercut.Sectors}
	for n := range 3 { // while everything is made
		look(modes[n], 10+mathrand.IntN(20))
	}
	var server program.Ready
	for waiting := true; waiting; {
		select {
		case server = <-ready:
			waiting = false
		default:
			if _, err := m.Image(powercut.None, 0, 1000); err != nil { // lets it go on
				t.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	var group sync.WaitGroup
	for _, key := range makeKeys(t)[:3] {
		group.Go(func() {
			for ctx.Err() == nil {
				scep, err := client.New(server.SCEPURL)
				if err != nil {
					t.Error(err)
					return
				}
				e := client.Enrolment{Key: key, Challenge: client.Password(server.SecretKey), TransactionID: rand.Text(),
					Subject: pkix.Name{CommonName: "C02POWER"}}
				result, err := scep.Enrol(ctx, e)
				if err != nil || result.Status != client.Success {
					continue // the disk stood still for too long
				}
				mu.Lock()
				received = append(received, receipt{hex.EncodeToString(result.Certificate.SerialNumber.Bytes()), e.TransactionID, result.Certificate.Raw})
				mu.Unlock()
			}
		})
	}
	for n := range pick(6, 60) {
		look(modes[n%len(modes)], 40+mathrand.IntN(60))
	}
	cancel()
	m.Stop()
	group.Wait()
	if len(received) == 0 {
		t.Error("no device got a certificate")
	}
	t.Logf("%d certificates received", len(received))
}
