package conformance

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"strings"
	"time"

	"understudy.example/understudy/scep/client"
)

func renewalCases() []Case {
	return []Case{
		{Number: 52, Section: "2.3, 2.4, 2.5", Title: "RenewalReq signed by a valid certificate, no challenge, new key: SUCCESS", run: renews},
		{Number: 53, Section: "2.3", Title: "PKCSReq signed by such a certificate (macOS) renews, or needs a challenge", run: renewsByPKCSReq},
		{Number: 54, Section: "2.4", Title: "RenewalReq by a self-signed, foreign or revoked certificate is FAILURE", run: strangersRenew},
		{Number: 55, Title: "a renewal with another subject is FAILURE", run: renewsAnother},
		{Number: 56, Section: "3.5.2", Title: "without Renewal among the words, a RenewalReq is FAILURE badRequest", run: noRenewal},
	}
}

// needRenewal ends the case when the server does not offer renewal.
func (t *trial) needRenewal() {
	if !t.words.Renewal() {
		t.notApplicable("Renewal is not offered, see case 56")
	}
}

func renews(t *trial) {
	t.needRenewal()
	t.enrols("RenewalReq", t.renewal(t.holder()))
}

func renewsByPKCSReq(t *trial) {
	r := t.renewal(t.holder())
	typed(r, string(client.PKCSReq))
	r.CSR.Challenges = t.request().CSR.Challenges
	t.enrols("with a good challenge", r)
	r = t.renewal(t.holder()) // the certificate of the first may be superseded now
	typed(r, string(client.PKCSReq))
	want := either(badRequest, pending)
	if t.words.Renewal() || len(t.request().CSR.Challenges) == 0 {
		want = either(success, want)
	}
	t.expect("without a challenge", t.enrol(r), want)
}

// refusedRenewal is how a renewal is refused: by its signer or by its policy.
var refusedRenewal = failure(client.BadRequest, client.BadMessageCheck)

func strangersRenew(t *trial) {
	t.needRenewal()
	device := t.holder()

	selfSigned := t.request() // of a new device, which only its challenge could let in
	typed(selfSigned, string(client.RenewalReq))
	t.refuses("self-signed, with a good challenge", selfSigned, refusedRenewal)

	foreign := t.renewal(t.forged(device))
	foreign.CSR.Challenges = t.request().CSR.Challenges
	t.refuses("by a foreign CA of the same name, with a good challenge", foreign, refusedRenewal)

	if t.o.Operator.Revoke == nil {
		return
	}
	t.must("--revoke", t.o.Operator.Revoke(t.ctx, device.certificate))
	t.refuses("revoked", t.renewal(device), refusedRenewal)
	withChallenge := t.renewal(device)
	withChallenge.CSR.Challenges = t.request().CSR.Challenges
	t.refuses("revoked, with a good challenge", withChallenge, refusedRenewal)
}

// forged returns a device whose certificate says the same as that of another
// one, and was issued by nobody.
func (t *trial) forged(h holder) holder {
	key, err := t.otherKey()
	t.must("a key", err)
	issuer := &x509.Certificate{
		SerialNumber: big.NewInt(1), RawSubject: h.certificate.RawIssuer, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0), KeyUsage: x509.KeyUsageCertSign,
		SubjectKeyId: h.certificate.AuthorityKeyId,
	}
	template := &x509.Certificate{
		SerialNumber: h.certificate.SerialNumber, RawSubject: h.certificate.RawSubject,
		NotBefore: h.certificate.NotBefore, NotAfter: h.certificate.NotAfter, KeyUsage: h.certificate.KeyUsage,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, h.key.Public(), key)
	t.must("a forged certificate", err)
	certificate, err := x509.ParseCertificate(der)
	t.must("a forged certificate", err)
	return holder{certificate, h.key}
}

func renewsAnother(t *trial) {
	t.needRenewal()
	if control := t.enrol(t.renewal(t.holder())); !control.is(client.Success) {
		t.notApplicable("an honest renewal is not accepted, see case 52")
	}
	r := t.renewal(t.holder())
	subject, err := t.subject(t.id())
	t.must("a subject", err)
	r.CSR.Subject = subject
	t.refuses("the subject of another device", r, refusedRenewal)
	r = t.renewal(t.holder())
	var name pkix.RDNSequence
	_, err = asn1.Unmarshal(r.CSR.Subject, &name)
	t.must("a subject", err)
	unit := pkix.RelativeDistinguishedNameSET{{Type: asn1.ObjectIdentifier{2, 5, 4, 11}, Value: "Administrators"}}
	r.CSR.Subject = marshal(append(name, unit))
	t.refuses("the same subject with OU=Administrators added", r, refusedRenewal)
}

func noRenewal(t *trial) {
	if t.words.Renewal() {
		t.notApplicable("Renewal is offered, see cases 52 to 55")
	}
	t.check("GetCACaps", "no Renewal among the words", strings.Join(t.words, " "), true)
	r := t.request()
	typed(r, string(client.RenewalReq))
	t.refuses("RenewalReq, self-signed, with a good challenge", r, badRequest)
	if t.certifies() {
		t.refuses("RenewalReq by a certificate of this server", t.renewal(t.holder()), badRequest)
	}
}
