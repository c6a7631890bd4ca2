package conformance

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509/pkix"
	"errors"
	"math/big"

	"understudy.example/understudy/scep/client"
)

func queryCases() []Case {
	return []Case{
		{Number: 63, Section: "3.3.4, 3.3.2.1", Title: "GetCert answers the certificate that was issued", run: getsCertificate},
		{Number: 64, Section: "3.2.1.4, 4.5.1", Title: "GetCert for an unknown certificate serial or issuer is FAILURE badCertId", run: getsUnknown},
		{Number: 65, Section: "2.7, 4.6.1", Title: "GetCRL answers the current CRL and nothing else", run: getsCRL},
		{Number: 66, Section: "2.6", Title: "GetCert and GetCRL by a stranger are FAILURE badRequest", run: strangersQuery},
	}
}

// answered ends the case when queries are refused by policy.
func (t *trial) answered(name string, a answer) answer {
	if badRequest.holds(a) {
		t.notApplicable("%s is refused to the holder of a certificate: %v", name, a)
	}
	return a
}

func getsCertificate(t *trial) {
	device := t.holder()
	a := t.answered("GetCert", t.query(client.GetCert, device.certificate.RawIssuer, device.certificate.SerialNumber, device))
	if t.expect("GetCert", a, success) {
		t.check("its certificate", "the one that was issued", serial(a), a.reply.Certificate.Equal(device.certificate))
		t.deviations("bundle", "that certificate alone", a.reply, "RFC 8894 §3.3.2.1")
	}
}

func getsUnknown(t *trial) {
	device := t.holder()
	issuer := device.certificate.RawIssuer
	t.answered("GetCert", t.query(client.GetCert, issuer, device.certificate.SerialNumber, device))
	const bits = 120
	unknown, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), bits))
	t.must("a number", err)
	t.expect("certificate serial", t.query(client.GetCert, issuer, unknown, device), failure(client.BadCertID))
	nobody := marshal(pkix.Name{CommonName: "Nobody"}.ToRDNSequence())
	t.expect("issuer", t.query(client.GetCert, nobody, device.certificate.SerialNumber, device), failure(client.BadCertID))
}

func getsCRL(t *trial) {
	device := t.holder()
	a := t.answered("GetCRL", t.query(client.GetCRL, device.certificate.RawIssuer, device.certificate.SerialNumber, device))
	if t.expect("GetCRL", a, success) {
		t.deviations("bundle", "the CRL and no certificate", a.reply, "RFC 8894 §4.6.1")
		t.check("the device's certificate", "not on the CRL", a.String(), !t.listed(a, device.certificate.SerialNumber))
	}
	if t.o.Operator.Revoke == nil || !a.is(client.Success) {
		return
	}
	revoked := t.holder()
	t.must("--revoke", t.o.Operator.Revoke(t.ctx, revoked.certificate))
	a = t.query(client.GetCRL, device.certificate.RawIssuer, device.certificate.SerialNumber, device)
	if t.expect("GetCRL after a revocation", a, success) {
		t.check("the revoked certificate", "on the CRL", a.String(), t.listed(a, revoked.certificate.SerialNumber))
	}
}

func (t *trial) listed(a answer, serial *big.Int) bool {
	for _, entry := range a.reply.CRL.RevokedCertificateEntries {
		if entry.SerialNumber.Cmp(serial) == 0 {
			return true
		}
	}
	return false
}

func strangersQuery(t *trial) {
	r := t.request()
	key, ok := r.Message.Key.(*rsa.PrivateKey)
	if !ok {
		t.giveUp("a stranger", errors.New("its key is not RSA"))
	}
	stranger := holder{r.Message.Signer, key}
	issuer, serial := t.ca.Issuer.RawSubject, t.ca.Issuer.SerialNumber
	if t.certifies() {
		device := t.holder()
		issuer, serial = device.certificate.RawIssuer, device.certificate.SerialNumber
	}
	for _, q := range []struct {
		name string
		kind client.MessageType
	}{{"GetCert", client.GetCert}, {"GetCRL", client.GetCRL}} {
		a := t.query(q.kind, issuer, serial, stranger)
		if a.is(client.Success) {
			t.notApplicable("%s is answered to anyone", q.name)
		}
		t.expect(q.name+" by a self-signed signer", a, badRequest)
	}
}
