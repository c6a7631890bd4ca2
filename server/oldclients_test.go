package server_test

import (
	"strings"
	"testing"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/scep/client"
)

// TestClientsOfYesterday: a client that fetched the CA certificates before a
// rollover encrypts to the old RA and knows no other signer. For a day it gets
// replies that it can read. The certificate in them is of the new issuer, which
// it has to fetch.
func TestClientsOfYesterday(t *testing.T) {
	for _, shape := range []ca.Shape{ca.ShapeChain, ca.ShapeSingle} {
		t.Run(string(shape), func(t *testing.T) {
			w := newWorld(t, worldOptions{shape: shape})
			if _, err := w.authority.PrepareRollover(); err != nil {
				t.Fatal(err)
			}
			if _, err := w.authority.ActivateRollover(); err != nil {
				t.Fatal(err)
			}
			refused := w.requestWith(t, "wrong", "C02XLOLDCA01")
			if reply := w.read(t, refused, w.post(t, "default", encode(t, refused))); reply.Status != client.Failure {
				t.Errorf("a wrong challenge: status %s", reply.Status)
			}
			r := w.request(t)
			_, err := w.expectation(r).ReadReply(w.post(t, "default", encode(t, r)).body, w.clock.Now())
			if err == nil || !strings.Contains(err.Error(), "the certificate does not chain to the CA of GetCACert") {
				t.Errorf("the reply is read so: %v; want that only its certificate is strange", err)
			}
		})
	}
}
