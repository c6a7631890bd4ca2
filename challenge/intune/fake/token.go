package fake

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// tokenKey signs the tokens of a cloud. Microsoft signs with RSA; whoever
// carries a token does not look into it, so the difference is not seen.
type tokenKey struct{ secret [32]byte }

func (k *tokenKey) make(random io.Reader) error {
	_, err := io.ReadFull(random, k.secret[:])
	return err
}

// accessClaims are the claims of an application's token.
type accessClaims struct {
	jwt.RegisteredClaims
	Tenant   string   `json:"tid"`
	ClientID string   `json:"appid"`
	Roles    []string `json:"roles,omitempty"`
}

func (k *tokenKey) sign(g grant, now time.Time, life time.Duration) (string, error) {
	return jwt.NewWithClaims(jwt.SigningMethodHS256, accessClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Audience: jwt.ClaimStrings{g.resource}, IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(life)),
		},
		Tenant: g.tenant, ClientID: g.clientID, Roles: g.roles,
	}).SignedString(k.secret[:])
}

func (k *tokenKey) read(token string, now time.Time) (grant, error) {
	var claims accessClaims
	_, err := jwt.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return k.secret[:], nil },
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired(), jwt.WithTimeFunc(func() time.Time { return now }))
	if err != nil {
		return grant{}, fmt.Errorf("the token is not valid: %w", err)
	}
	if len(claims.Audience) != 1 {
		return grant{}, errors.New("the token has not one audience")
	}
	return grant{claims.Tenant, claims.ClientID, claims.Audience[0], claims.Roles}, nil
}

// clockSkew is how far the clock of an application may be off.
const clockSkew = 5 * time.Minute

// checkAssertion verifies a client assertion as Entra does: PS256 by the key
// of a registered certificate, which the header names by its SHA-256 thumbprint
// in standard base64, for this token endpoint, in this client's name, and of
// about now.
func checkAssertion(a Application, assertion, endpoint string, now time.Time) error {
	var claims jwt.RegisteredClaims
	_, err := jwt.ParseWithClaims(assertion, &claims, func(t *jwt.Token) (any, error) {
		thumbprint, _ := t.Header["x5t#S256"].(string)
		for _, certificate := range a.Certificates {
			sum := sha256.Sum256(certificate.Raw)
			if thumbprint == base64.StdEncoding.EncodeToString(sum[:]) {
				return certificate.PublicKey, checkDates(certificate, now)
			}
		}
		return nil, errors.New("the certificate with the thumbprint of the assertion is not registered")
	},
		jwt.WithValidMethods([]string{"PS256"}), jwt.WithAudience(endpoint), jwt.WithIssuer(a.ClientID), jwt.WithSubject(a.ClientID),
		jwt.WithExpirationRequired(), jwt.WithLeeway(clockSkew), jwt.WithTimeFunc(func() time.Time { return now }))
	if err != nil {
		return err
	}
	switch {
	case claims.ID == "":
		return errors.New("the assertion has no jti")
	case claims.NotBefore == nil:
		return errors.New("the assertion has no nbf")
	}
	return nil
}

func checkDates(c *x509.Certificate, now time.Time) error {
	if now.Before(c.NotBefore) || now.After(c.NotAfter) {
		return fmt.Errorf("the certificate is not valid at %s", now.Format(time.RFC3339))
	}
	return nil
}
