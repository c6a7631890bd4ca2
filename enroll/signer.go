package enroll

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/device"
	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep"
)

// bind makes sure that whoever signed the message may speak for the CSR's key:
// the same key did, or a live certificate that this authority issued to the
// same device (macOS signs with the old identity when it enrols again). Names
// prove nothing, so the certificate is compared whole.
//
// A RenewalReq needs such a certificate in any case: one that signs itself
// authenticates nobody (RFC 8894 §2.4).
func (f *flow) bind(ctx context.Context) error {
	f.signer = nil
	renewal := f.message.Type == scep.RenewalReq
	own := f.enrolment.SignerKeyIsCSRKey && !renewal
	if own && !f.policy().Renewal {
		return nil
	}
	identity, err := f.ourSigner(ctx)
	if err == nil && identity.Device.Key != f.device.Key {
		err = refusal.New(refusal.SignerNotTrusted, "signer certificate %s belongs to another device", identity.CertificateSerial)
	}
	_, refused := refusal.Of(err)
	switch {
	case err == nil:
		f.signer = &identity
		return nil
	case own && refused:
		return nil // no renewal, then: a challenge decides
	case renewal && refused && !f.forged(identity):
		return scep.WithFailInfo(err, scep.BadRequest)
	}
	return err
}

// ourSigner returns the identity whose certificate signed the message. It is
// one of this configuration, and neither void nor revoked nor out of its time.
// A refusal comes with the identity when there is one.
func (f *flow) ourSigner(ctx context.Context) (depot.Identity, error) {
	signer := f.message.Signer
	identity, err := f.service.depot.IdentityBySHA256(ctx, sha256.Sum256(signer.Raw))
	if errors.Is(err, depot.ErrNotFound) {
		return depot.Identity{}, refusal.New(refusal.SignerNotTrusted, "signer certificate is not one of ours")
	}
	if err != nil {
		return depot.Identity{}, fmt.Errorf("find signer certificate: %w", err)
	}
	if !bytes.Equal(identity.DER, signer.Raw) {
		return depot.Identity{}, refusal.New(refusal.SignerNotTrusted, "signer certificate differs from certificate %s of ours", identity.CertificateSerial)
	}
	switch {
	case identity.ConfigurationID != f.request.Configuration.Record.ID:
		err = refusal.New(refusal.SignerNotTrusted, "signer certificate %s belongs to another configuration", identity.CertificateSerial)
	case identity.Void || !identity.RevokedAt.IsZero():
		err = refusal.New(refusal.SignerNotTrusted, "signer certificate %s is revoked", identity.CertificateSerial)
	case f.now.Before(identity.NotBefore) || !f.now.Before(identity.NotAfter):
		err = refusal.New(refusal.SignerNotTrusted, "signer certificate %s is not valid now", identity.CertificateSerial)
	}
	return identity, err
}

// forged says whether the signer certificate names an issuer of ours and is
// not ours, as far as we know: an attack, of which the client learns nothing.
func (f *flow) forged(identity depot.Identity) bool {
	if identity.CertificateSerial != "" {
		return false
	}
	_, ours := f.service.issuerNamed(f.message.Signer.RawIssuer)
	return ours
}

// sameName says that two Names have the same text, in whichever string types:
// a client that decodes a name and encodes it anew often takes another one.
func sameName(a, b []byte) bool {
	return bytes.Equal(a, b) || device.FormatName(a) == device.FormatName(b)
}
