package client_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/scep"
	"understudy.example/understudy/scep/client"
	"understudy.example/understudy/scep/internal/cms"
)

// query builds a query by a device that has a certificate of the CA.
func query(t *testing.T, s *server, kind client.MessageType) (*client.Request, *x509.Certificate) {
	t.Helper()
	device := issue(t, "C02QUERY", x509.KeyUsageDigitalSignature, false, deviceKey(), caKey(), s.ca)
	r, err := client.BuildQuery(nil, client.Query{
		Type: kind, Issuer: device.RawIssuer, CertificateSerial: device.SerialNumber, Signer: device, SignerKey: deviceKey(),
	}, s.certificates())
	if err != nil {
		t.Fatal(err)
	}
	return r, device
}

// TestQueryIsUnderstood reads both queries as our server does.
func TestQueryIsUnderstood(t *testing.T) {
	s := newServer(t)
	for _, kind := range []client.MessageType{client.GetCert, client.GetCRL} {
		r, device := query(t, s, kind)
		m, err := scep.Decode(r.Raw, scep.Options{Now: today, KeySizes: []int{2048}})
		if err != nil {
			t.Fatal(err)
		}
		q, err := m.OpenQuery([]scep.Recipient{{Certificate: s.ra, Key: raKey()}}, scep.Options{Now: today, KeySizes: []int{2048}})
		if err != nil {
			t.Fatal(err)
		}
		if string(m.Type) != string(kind) || !bytes.Equal(q.Issuer, s.ca.RawSubject) || q.SerialNumber.Cmp(device.SerialNumber) != 0 {
			t.Errorf("%s asks for %x of %x", m.Type, q.SerialNumber, q.Issuer)
		}
	}
}

func TestBuildQuerySaysWhatIsMissing(t *testing.T) {
	s := newServer(t)
	device := issue(t, "C02QUERY", 0, false, deviceKey(), caKey(), s.ca)
	whole := client.Query{Type: client.GetCert, Issuer: device.RawIssuer, CertificateSerial: device.SerialNumber, Signer: device, SignerKey: deviceKey()}
	for want, spoil := range map[string]func(*client.Query){
		"messageType": func(q *client.Query) { q.Type = client.PKCSReq },
		"no signer":   func(q *client.Query) { q.SignerKey = nil },
		"no issuer":   func(q *client.Query) { q.Issuer = nil },
		"digest":      func(q *client.Query) { q.Digest = crypto.MD5SHA1 },
		"cipher":      func(q *client.Query) { q.Cipher = "ROT13" },
	} {
		q := whole
		spoil(&q)
		_, err := client.BuildQuery(nil, q, s.certificates())
		wantError(t, err, want)
	}
}

// answer makes the reply to a query.
func answerQuery(t *testing.T, s *server, r *client.Request, certificates []*x509.Certificate, crls [][]byte) []byte {
	t.Helper()
	bundle, err := cms.Bundle(certificates, crls)
	if err != nil {
		t.Fatal(err)
	}
	envelope, err := cms.Envelope(rand.Reader, bundle, cms.AES128CBC, r.Signer)
	if err != nil {
		t.Fatal(err)
	}
	p := response{
		messageType: "3", status: "0", transactionID: r.TransactionID, senderNonce: bytes.Repeat([]byte{1}, 16),
		recipientNonce: r.SenderNonce, digest: crypto.SHA256, signer: s.ra, key: raKey(), content: envelope,
	}
	return p.encode(t)
}

func TestReadStoredCertificate(t *testing.T) {
	s := newServer(t)
	r, device := query(t, s, client.GetCert)
	reply, err := r.ReadReply(answerQuery(t, s, r, []*x509.Certificate{device}, nil), today)
	if err != nil || !reply.Certificate.Equal(device) || len(reply.Deviations) != 0 {
		t.Fatalf("%+v, %v", reply, err)
	}
	reply, err = r.ReadReply(answerQuery(t, s, r, []*x509.Certificate{device, s.ca}, nil), today)
	if err != nil || len(reply.Deviations) != 1 {
		t.Errorf("with the CA's certificate: %+v, %v", reply, err)
	}
	other := issue(t, "C02OTHER", 0, false, deviceKey(), caKey(), s.ca)
	_, err = r.ReadReply(answerQuery(t, s, r, []*x509.Certificate{other}, nil), today)
	wantError(t, err, "not the one that was asked for")
	_, err = r.ReadReply(answerQuery(t, s, r, nil, [][]byte{crl(t, s, nil)}), today)
	wantError(t, err, "holds no certificate")
}

// crl makes a CRL, changed by f.
func crl(t *testing.T, s *server, f func(*x509.RevocationList)) []byte {
	t.Helper()
	list := &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: today.Add(-time.Hour), NextUpdate: today.Add(time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(4711), RevocationTime: today}},
	}
	if f != nil {
		f(list)
	}
	issuer := *s.ca
	issuer.KeyUsage |= x509.KeyUsageCRLSign
	der, err := x509.CreateRevocationList(rand.Reader, list, &issuer, caKey())
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestReadCRL(t *testing.T) {
	s := newServer(t)
	s.ca = issue(t, "Test CA", x509.KeyUsageCertSign|x509.KeyUsageCRLSign, true, caKey(), nil, nil)
	s.ra = issue(t, "Test RA", signAndEncrypt, false, raKey(), caKey(), s.ca)
	r, device := query(t, s, client.GetCRL)
	reply, err := r.ReadReply(answerQuery(t, s, r, nil, [][]byte{crl(t, s, nil)}), today)
	if err != nil {
		t.Fatal(err)
	}
	if reply.CRL == nil || len(reply.CRL.RevokedCertificateEntries) != 1 || reply.Certificate != nil || len(reply.Deviations) != 0 {
		t.Errorf("%+v", reply)
	}
	reply, err = r.ReadReply(answerQuery(t, s, r, []*x509.Certificate{device}, [][]byte{crl(t, s, nil)}), today)
	if err != nil || len(reply.Deviations) != 1 {
		t.Errorf("with a certificate: %+v, %v", reply, err)
	}
	_, err = r.ReadReply(answerQuery(t, s, r, []*x509.Certificate{device}, nil), today)
	wantError(t, err, "holds 0 CRLs")
	_, err = r.ReadReply(answerQuery(t, s, r, nil, [][]byte{crl(t, s, nil), crl(t, s, nil)}), today)
	wantError(t, err, "holds 2 CRLs")
	_, err = r.ReadReply(answerQuery(t, s, r, nil, [][]byte{crl(t, s, func(l *x509.RevocationList) { l.NextUpdate = today.Add(-time.Minute) })}), today)
	wantError(t, err, "not for now")
	_, err = r.ReadReply(answerQuery(t, s, r, nil, [][]byte{crl(t, s, func(l *x509.RevocationList) { l.ThisUpdate = today.Add(time.Minute) })}), today)
	wantError(t, err, "not for now")
	forged := crl(t, s, nil)
	forged[len(forged)-1] ^= 1
	_, err = r.ReadReply(answerQuery(t, s, r, nil, [][]byte{forged}), today)
	wantError(t, err, "not signed by its issuer")
	r.Issuer = s.ra.RawSubject
	_, err = r.ReadReply(answerQuery(t, s, r, nil, [][]byte{crl(t, s, nil)}), today)
	wantError(t, err, "not of the issuer that was asked for")
}

// TestPasswordEnvelope tells an envelope for a password from a broken one.
func TestPasswordEnvelope(t *testing.T) {
	s := newServer(t)
	r, device := query(t, s, client.GetCert)
	envelope, err := cms.Envelope(rand.Reader, []byte("what it holds does not matter"), cms.AES128CBC, device)
	if err != nil {
		t.Fatal(err)
	}
	// RecipientInfos hold one element; its tag makes it [3] pwri.
	const recipientInfos = 0x31
	at := bytes.Index(envelope, append([]byte{recipientInfos, 0x82}, lengthOfSet(t, envelope)...)) + 4
	envelope[at] = 0xa3
	p := response{
		messageType: "3", status: "0", transactionID: r.TransactionID, senderNonce: bytes.Repeat([]byte{1}, 16),
		recipientNonce: r.SenderNonce, digest: crypto.SHA256, signer: s.ra, key: raKey(), content: envelope,
	}
	if _, err := r.ReadReply(p.encode(t), today); !errors.Is(err, client.ErrPasswordEnvelope) {
		t.Errorf("error is %v", err)
	}
}

// lengthOfSet returns the two length octets of the first long SET.
func lengthOfSet(t *testing.T, der []byte) []byte {
	t.Helper()
	at := bytes.Index(der, []byte{0x31, 0x82})
	if at < 0 {
		t.Fatal("no SET in the envelope")
	}
	return der[at+2 : at+4]
}

// TestNextCA asks for the certificates after a rollover.
func TestNextCA(t *testing.T) {
	s := newServer(t)
	next := issue(t, "Next CA", x509.KeyUsageCertSign, true, otherKey(), nil, nil)
	bundle, err := cms.Bundle([]*x509.Certificate{next}, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed := func(content []byte, by *x509.Certificate, key crypto.Signer) []byte {
		raw, err := cms.Sign(rand.Reader, cms.SignedData{Content: content, Digest: crypto.SHA256, Certificates: []*x509.Certificate{by}, Signer: by, Key: key})
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	const rightType = "application/x-x509-next-ca-cert"
	spoiled := signed(bundle, s.ca, caKey())
	spoiled[len(spoiled)-1] ^= 1
	for _, test := range []struct {
		name, contentType string
		body              []byte
		by                *x509.Certificate
		wrong             string
	}{
		{"by the CA", rightType, signed(bundle, s.ca, caKey()), s.ca, ""},
		{"by the RA", rightType, signed(bundle, s.ra, raKey()), s.ra, ""},
		{"by the next CA itself", rightType, signed(bundle, next, otherKey()), nil, "not signed by the CA or RA of today"},
		{"another type", "application/x-x509-ca-cert", signed(bundle, s.ca, caKey()), nil, "Content-Type"},
		{"signature spoiled", rightType, spoiled, nil, "not signed by the CA or RA of today"},
		{"not signed", rightType, bundle, nil, "0 signers"},
		{"no bundle", rightType, signed([]byte("hello"), s.ca, caKey()), nil, "§3.4"},
		{"garbage", rightType, []byte("garbage"), nil, "§4.7.1"},
	} {
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("operation") != "GetNextCACert" {
				t.Errorf("asked for %s", r.URL)
			}
			w.Header().Set("Content-Type", test.contentType)
			_, _ = io.Copy(w, bytes.NewReader(test.body))
		}))
		c := &client.Client{URL: web.URL, Clock: clock.NewManual(today)}
		got, err := c.NextCACertificates(t.Context(), s.certificates())
		web.Close()
		if test.wrong != "" {
			wantError(t, err, test.wrong)
			continue
		}
		if err != nil || !equalCertificates(got.Certificates, []*x509.Certificate{next}) || !got.SignedBy.Equal(test.by) {
			t.Errorf("%s: %+v, %v", test.name, got, err)
		}
	}
}
