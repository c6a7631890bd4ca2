package enroll

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/device"
	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep"
)

// getCertificate answers a GetCert (RFC 8894 §4.5): a certificate of this
// configuration, by issuer and certificate serial.
func (f *flow) getCertificate(ctx context.Context) (depot.Identity, Outcome, error) {
	query, err := f.openQuery(ctx)
	if err != nil {
		return depot.Identity{}, "", err
	}
	if _, ours := f.service.issuerNamed(query.Issuer); !ours {
		return depot.Identity{}, "", refusal.New(refusal.NotFound, "issuer %q is not one of ours", device.FormatName(query.Issuer))
	}
	identity, err := f.asked(ctx, query)
	if errors.Is(err, depot.ErrNotFound) {
		return depot.Identity{}, "", refusal.New(refusal.NotFound, "no such certificate in this configuration")
	}
	if err != nil {
		return depot.Identity{}, "", fmt.Errorf("find certificate: %w", err)
	}
	f.device = device.Names(identity.Device)
	return identity, Answered, f.deliver(identity)
}

// asked finds the certificate that a query names. One of another configuration
// does not exist here, and neither does one that nobody ever got.
func (f *flow) asked(ctx context.Context, query *scep.Query) (depot.Identity, error) {
	if query.SerialNumber.Sign() <= 0 {
		return depot.Identity{}, depot.ErrNotFound
	}
	identity, err := f.service.depot.Identity(ctx, ca.FormatSerial(query.SerialNumber))
	if err == nil && (identity.Void || identity.ConfigurationID != f.request.Configuration.Record.ID) {
		return depot.Identity{}, depot.ErrNotFound
	}
	return identity, err
}

// getCRL answers a GetCRL (RFC 8894 §4.6): the CRL of whoever issued the
// certificate that is named, or of the current issuer of that name when the
// certificate serial is none of ours.
func (f *flow) getCRL(ctx context.Context) error {
	if f.service.crls == nil {
		return unserved(f.message.Type)
	}
	query, err := f.openQuery(ctx)
	if err != nil {
		return err
	}
	issuer, ours := f.service.issuerNamed(query.Issuer)
	if !ours {
		return refusal.New(refusal.NotFound, "issuer %q is not one of ours", device.FormatName(query.Issuer))
	}
	identity, err := f.asked(ctx, query)
	switch {
	case err == nil:
		issuer = f.service.issuerWithHash(identity.IssuerSHA256, issuer)
	case !errors.Is(err, depot.ErrNotFound):
		return fmt.Errorf("find certificate: %w", err)
	}
	crl, err := f.service.crls(ctx, issuer)
	if err != nil {
		return fmt.Errorf("make CRL: %w", err)
	}
	if f.reply, err = f.recipient().CRL(f.message, f.now, crl); err != nil {
		return fmt.Errorf("make reply: %w", err)
	}
	return nil
}

// openQuery reads a GetCert or GetCRL of somebody who may ask.
func (f *flow) openQuery(ctx context.Context) (*scep.Query, error) {
	switch f.policy().Queries {
	case configuration.QueriesAnyone:
	case configuration.QueriesEnrolled:
		if err := f.enrolled(ctx); err != nil {
			return nil, err
		}
	default:
		return nil, unserved(f.message.Type)
	}
	return f.message.OpenQuery(f.recipients(), f.request.Configuration.SCEPOptions(f.now))
}

// enrolled refuses whoever does not hold a live certificate of this
// configuration.
func (f *flow) enrolled(ctx context.Context) error {
	identity, err := f.ourSigner(ctx)
	if err == nil {
		err = supersededSigner(identity)
	}
	if _, refused := refusal.Of(err); refused && !f.forged(identity) {
		return scep.WithFailInfo(err, scep.BadRequest)
	}
	return err
}

// issuerNamed returns the latest of our issuers that has a name.
func (s *Service) issuerNamed(name []byte) (*x509.Certificate, bool) {
	for _, g := range s.authority.Generations() {
		if sameName(g.Issuer.RawSubject, name) {
			return g.Issuer, true
		}
	}
	return nil, false
}
