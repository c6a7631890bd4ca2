package scep_test

import (
	"bytes"
	"crypto/x509"
	"testing"

	"understudy.example/understudy/scep"
	"understudy.example/understudy/scep/client/craft"
)

// TestWithoutChallenge takes out every challenge and nothing else.
func TestWithoutChallenge(t *testing.T) {
	const secret = "kJ3vQ9xZ1mN7pR5t"
	printable, utf8 := craft.Text(19, secret), craft.Text(12, secret)
	for name, change := range map[string]func(*craft.CSR){
		"none":                 func(*craft.CSR) {},
		"one":                  func(c *craft.CSR) { c.Challenges = [][]byte{printable} },
		"two":                  func(c *craft.CSR) { c.Challenges = [][]byte{printable, utf8} },
		"among others":         func(c *craft.CSR) { c.Challenges = [][]byte{printable}; c.Attributes = other() },
		"others and no secret": func(c *craft.CSR) { c.Attributes = other() },
	} {
		t.Run(name, func(t *testing.T) {
			c := craft.CSR{Key: loadKey(t, "client"), Subject: rawName(12, "device")}
			change(&c)
			der, err := c.Encode()
			if err != nil {
				t.Fatal(err)
			}
			kept, err := scep.WithoutChallenge(der)
			if err != nil {
				t.Fatal(err)
			}
			before, err := x509.ParseCertificateRequest(der)
			if err != nil {
				t.Fatal(err)
			}
			after, err := x509.ParseCertificateRequest(kept)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(kept, []byte(secret)) {
				t.Error("the challenge is still there")
			}
			if !bytes.Equal(before.RawSubject, after.RawSubject) || !bytes.Equal(before.RawSubjectPublicKeyInfo, after.RawSubjectPublicKeyInfo) ||
				!bytes.Equal(before.Signature, after.Signature) || before.SignatureAlgorithm != after.SignatureAlgorithm {
				t.Error("something else has changed")
			}
			if c.Challenges == nil && !bytes.Equal(der, kept) {
				t.Error("a request without a challenge has changed")
			}
			if len(c.Attributes) > 0 && !bytes.Contains(kept, []byte("kept as it is")) {
				t.Error("another attribute is gone")
			}
		})
	}
}

func other() []craft.Attribute {
	return []craft.Attribute{{Type: craft.OIDData, Values: [][]byte{craft.Text(12, "kept as it is")}}}
}

// TestWithoutChallengeRefuses what is no request, or one cut anywhere.
func TestWithoutChallengeRefuses(t *testing.T) {
	der, err := craft.CSR{Key: loadKey(t, "client"), Subject: rawName(12, "device"), Challenges: [][]byte{craft.Text(19, "x")}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for n := range der {
		if _, err := scep.WithoutChallenge(der[:n]); err == nil {
			t.Fatalf("cut at %d: no error", n)
		}
	}
	for _, bad := range [][]byte{append(bytes.Clone(der), 0), []byte("hello"), {0x30, 0x02, 0x30, 0x00}} {
		if _, err := scep.WithoutChallenge(bad); err == nil {
			t.Errorf("%.20x: no error", bad)
		}
	}
}
