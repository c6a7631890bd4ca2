package explain_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"math/big"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"understudy.example/understudy/explain"
)

// The signature covers the attributes in the order of DER, whatever order they
// come in.
func TestAttributesInAnotherOrder(t *testing.T) {
	request := sample(t, "request-pkcsreq.der")
	octets := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	messageType := octets("3012060a6086480186f84501090231041302" + "3139")
	contentType := octets("301806092a864886f70d010903310b06092a864886f70d010701")
	first, second := bytes.Join([][]byte{messageType, contentType}, nil), bytes.Join([][]byte{contentType, messageType}, nil)
	if !bytes.Contains(request, first) {
		t.Fatal("the attributes are not where they were")
	}
	if d := explain.Explain(bytes.Replace(request, first, second, 1), options(t)); d.Strict() {
		t.Error(d.Text())
	}
}

func TestBytesAfterTheEnd(t *testing.T) {
	for _, name := range []string{"request-pkcsreq.der", "getcacert.p7", "ocsp-request.der"} {
		d := explain.Explain(append(sample(t, name), 0, 0), options(t))
		if !finding(d, explain.Objection, "strict", "2 bytes after the end") {
			t.Errorf("%s: %s", name, d.Text())
		}
	}
}

func TestNegativeSerial(t *testing.T) {
	leaf := unpem(t, sample(t, "leaf.pem"))
	odd := bytes.Replace(leaf, []byte{2, 16, 0x41}, []byte{2, 16, 0xc1}, 1)
	d := explain.Explain(odd, options(t))
	if !finding(d, explain.Objection, "strict", "not positive") || !strings.HasPrefix(value(d.Items[0].Fields, "serialNumber"), "-") {
		t.Error(d.Text())
	}
}

func TestDeep(t *testing.T) {
	for _, input := range [][]byte{nest(64), bytes.Repeat([]byte{0x30, 0x80}, 64)} {
		d := explain.Explain(input, options(t))
		if b := d.Items[0].Break; b == nil || !strings.Contains(b.Why, "deeper than 32 levels") {
			t.Error(d.Text())
		}
	}
}

func TestReadKeys(t *testing.T) {
	key, certificate := sample(t, "keys/ra.key.pem"), sample(t, "leaf.pem")
	for name, file := range map[string][]byte{"PEM": key, "with a certificate": append(bytes.Clone(certificate), key...), "DER": unpem(t, key)} {
		if keys, err := explain.ReadKeys(file); err != nil || len(keys) != 1 {
			t.Errorf("%s: %d keys, %v", name, len(keys), err)
		}
	}
	for name, file := range map[string][]byte{"nothing": nil, "a certificate": certificate, "a bad block": []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")} {
		if keys, err := explain.ReadKeys(file); err == nil {
			t.Errorf("%s: %v", name, keys)
		}
	}
}

func TestOCSPRules(t *testing.T) {
	w := newWorld(t)
	leaf := w.certificate("leaf", w.issuer, leafTemplate, w.client)
	responder := func(purposes ...x509.ExtKeyUsage) *x509.Certificate {
		return w.certificate("responder", w.issuer, func(c *x509.Certificate) { leafTemplate(c); c.ExtKeyUsage = purposes }, w.ra)
	}
	for name, tt := range map[string]struct {
		by     *x509.Certificate
		inside bool
		text   string
	}{
		"delegated":         {responder(x509.ExtKeyUsageOCSPSigning), true, ""},
		"the issuer":        {w.issuer, false, ""},
		"without a purpose": {responder(), true, "no OCSPSigning"},
		"not inside":        {responder(x509.ExtKeyUsageOCSPSigning), false, "not in the response"},
	} {
		template := ocsp.Response{Status: ocsp.Good, SerialNumber: leaf.SerialNumber, ThisUpdate: now, NextUpdate: now.Add(time.Hour), IssuerHash: crypto.SHA1}
		if tt.inside {
			template.Certificate = tt.by
		}
		der, err := ocsp.CreateResponse(w.issuer, tt.by, template, w.ra)
		if err != nil {
			t.Fatal(err)
		}
		o := options(t)
		o.Certificates = []*x509.Certificate{w.issuer, tt.by}
		d := explain.Explain(der, o)
		if tt.text == "" && d.Strict() || tt.text != "" && !finding(d, explain.Objection, "", tt.text) {
			t.Errorf("%s: %s", name, d.Text())
		}
		der[len(der)-3] ^= 1
		if d := explain.Explain(der, o); !tt.inside && !finding(d, explain.Wrong, "everybody", "does not hold") {
			t.Errorf("%s, forged: %s", name, d.Text())
		}
	}
	for _, n := range []int{0, 1, 32, 33} {
		nonce := tlv(0x30, []byte{6, 9, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 2}, tlv(4, tlv(4, make([]byte, n))))
		id := tlv(0x30, tlv(0x30, []byte{6, 5, 0x2b, 14, 3, 2, 26}), tlv(4, make([]byte, 20)), tlv(4, make([]byte, 20)), []byte{2, 1, 5})
		request := tlv(0x30, tlv(0x30, tlv(0x30, tlv(0x30, id)), tlv(0xa2, tlv(0x30, nonce))))
		d := explain.Explain(request, options(t))
		if d.Items[0].Kind != explain.OCSPRequest || finding(d, explain.Objection, "strict", "not 1 to 32") != (n < 1 || n > 32) {
			t.Errorf("nonce of %d octets: %s", n, d.Text())
		}
	}
}

func TestCRLRules(t *testing.T) {
	if d := explain.Explain(sample(t, "crl-unnumbered.pem"), options(t, "chain.pem")); !finding(d, explain.Objection, "strict", "no cRLNumber") {
		t.Error(d.Text())
	}
	w := newWorld(t)
	mute := w.certificate("issuer", w.root, func(c *x509.Certificate) { caTemplate(c); c.KeyUsage = x509.KeyUsageCertSign }, w.ra)
	der, err := x509.CreateRevocationList(nil, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(-time.Minute)}, w.issuer, w.ra)
	if err != nil {
		t.Fatal(err)
	}
	o := options(t)
	o.Certificates = []*x509.Certificate{mute}
	d := explain.Explain(der, o)
	if !finding(d, explain.Objection, "strict", "no cRLSign") || !finding(d, explain.Remark, "verifiers", "it is past") {
		t.Error(d.Text())
	}
	o.Certificates = []*x509.Certificate{w.certificate("issuer", nil, caTemplate, w.client)}
	if d := explain.Explain(der, o); !finding(d, explain.Wrong, "everybody", "does not hold") {
		t.Error(d.Text())
	}
}
