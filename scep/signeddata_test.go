package scep_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/smallstep/pkcs7"

	"understudy.example/understudy/scep"
)

// TestDecodeIsNoLooserThanTheLibrary damages every byte of a message. What
// Decode still takes for genuine, smallstep/pkcs7, which shares no code with
// our reader, must too: one signer, the same content, a signature that holds.
func TestDecodeIsNoLooserThanTheLibrary(t *testing.T) {
	raw := honest(t, recipient(t))
	if !libraryAccepts(raw) {
		t.Fatal("the library does not take the honest message")
	}
	m, err := scep.Decode(raw, options())
	if err != nil {
		t.Fatal(err)
	}
	certificate := bytes.Index(raw, m.Signer.Raw)
	accepted := 0
	for i := range raw {
		for _, flip := range []byte{0x01, 0x20, 0x80} {
			damaged := bytes.Clone(raw)
			damaged[i] ^= flip
			if _, err := scep.Decode(damaged, options()); err != nil {
				continue
			}
			if i < certificate || i >= certificate+len(m.Signer.Raw) { // what its own signature would protect
				accepted++
			}
			if !libraryAccepts(damaged) {
				t.Errorf("byte %d ^ %#x: Decode takes what the library refuses", i, flip)
			}
		}
	}
	// Left are two version numbers, the digest algorithms that the message
	// announces, and parameters.
	if accepted > 60 {
		t.Errorf("%d damaged messages of %d were accepted", accepted, 3*len(raw))
	}
}

func libraryAccepts(raw []byte) bool {
	if der, err := scep.ToDER(raw); err == nil { // what Decode hands to its reader
		raw = der
	}
	pkcs7.SetFallbackLegacyX509CertificateParserEnabled(true)
	p7, err := pkcs7.Parse(raw)
	if err != nil || len(p7.Signers) != 1 {
		return false
	}
	for _, c := range p7.Certificates { // it judges the signing time too, which Decode does elsewhere
		c.NotBefore, c.NotAfter = time.Time{}, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return p7.Verify() == nil
}
