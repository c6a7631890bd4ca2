package load

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"understudy.example/understudy/scep/client"
)

// checked is what the complete check of the sample found.
type checked struct {
	sampled    int
	wrong      map[int]string // message → why
	deviations map[string]int // rules broken without harm, and how often
}

// verify checks the sampled replies completely: signed by the certificate of
// GetCACert, for this transaction and nonce, decrypted, the right key, subject
// and chain, valid now, and a certificate serial that was not seen before.
func verify(r *Requests, results []result, now time.Time) checked {
	c := checked{wrong: map[int]string{}, deviations: map[string]int{}}
	seen := map[string]int{}
	for _, one := range results {
		if one.reply == nil {
			continue
		}
		c.sampled++
		if err := c.one(r.request(one.index), one, seen, now); err != nil {
			c.wrong[one.index] = err.Error()
		}
	}
	return c
}

func (c *checked) one(request *client.Request, r result, seen map[string]int, now time.Time) error {
	reply, err := request.ReadReply(r.reply, now)
	if err != nil {
		return err
	}
	if reply.Certificate == nil {
		return fmt.Errorf("pkiStatus is %q, and looked like SUCCESS", reply.Status)
	}
	for _, d := range reply.Deviations {
		c.deviations[d.Error()]++
	}
	if err := sameSubject(reply.Certificate, request.Subject); err != nil {
		return err
	}
	serial := reply.Certificate.Issuer.String() + "/" + reply.Certificate.SerialNumber.Text(16)
	if first, twice := seen[serial]; twice {
		return fmt.Errorf("certificate serial %x is that of message %d too", reply.Certificate.SerialNumber, first)
	}
	seen[serial] = r.index
	return nil
}

// sameSubject compares names by their text: a server may choose other string
// types.
func sameSubject(c *x509.Certificate, want []byte) error {
	if bytes.Equal(c.RawSubject, want) {
		return nil
	}
	var sequence pkix.RDNSequence
	if _, err := asn1.Unmarshal(want, &sequence); err != nil {
		return errors.New("the subject that was asked for cannot be read")
	}
	if got := c.Subject.ToRDNSequence().String(); got != sequence.String() {
		return fmt.Errorf("the subject is %q, not %q", got, sequence.String())
	}
	return nil
}

// sortedDeviations lists them, most frequent first.
func (c *checked) sortedDeviations() []Deviation {
	list := []Deviation{}
	for text, n := range c.deviations {
		list = append(list, Deviation{text, n})
	}
	slices.SortFunc(list, func(a, b Deviation) int {
		if a.Count != b.Count {
			return b.Count - a.Count
		}
		return strings.Compare(a.Rule, b.Rule)
	})
	return list
}
