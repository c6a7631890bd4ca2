package enroll

import (
	"time"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep"
)

// renewed returns the certificate serial of what this request renews, empty if
// it is no renewal. A RenewalReq that renews nothing is refused; a PKCSReq that
// a certificate of ours signed (macOS) is a renewal when it can be one, and
// otherwise a challenge decides about it.
//
// The key may be the old one or another: strongSwan makes a new one, scepclient
// keeps its own.
func (f *flow) renewed() (string, error) {
	if f.signer == nil {
		return "", nil
	}
	superseded := supersededSigner(*f.signer)
	err := superseded
	if err == nil {
		err = f.mayRenew(*f.signer)
	}
	switch {
	case f.message.Type == scep.RenewalReq:
		if err != nil {
			return "", scep.WithFailInfo(err, scep.BadRequest)
		}
	case superseded != nil && !f.enrolment.SignerKeyIsCSRKey:
		return "", superseded // it speaks for nobody any more
	case err != nil || !f.policy().Renewal:
		return "", nil
	}
	return f.signer.CertificateSerial, nil
}

// supersededSigner refuses a certificate that was renewed before.
func supersededSigner(old depot.Identity) error {
	if old.SupersededAt.IsZero() {
		return nil
	}
	return refusal.New(refusal.SignerNotTrusted, "signer certificate %s was renewed by certificate %s", old.CertificateSerial, old.SupersededBy)
}

// mayRenew refuses a renewal that names somebody else than the old certificate
// does, or that comes too early.
func (f *flow) mayRenew(old depot.Identity) error {
	if !sameName(f.enrolment.CSR.RawSubject, f.message.Signer.RawSubject) {
		return refusal.New(refusal.SubjectRejected, "subject of the renewal is not that of certificate %s", old.CertificateSerial)
	}
	window := f.policy().RenewalWindow
	if from := old.NotAfter.Add(-window); window > 0 && f.now.Before(from) {
		return refusal.WithText(refusal.RenewalNotOffered, "too early to renew: possible from "+from.UTC().Format(time.RFC3339),
			"certificate %s may be renewed from %s on", old.CertificateSerial, from.UTC().Format(time.RFC3339))
	}
	return nil
}
