// Package selftls makes the certificate of an HTTPS listener from a TLS root
// of its own.
//
// The root signs server certificates and nothing else; it has nothing to do
// with the authority that signs device certificates, which it must not know.
package selftls

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"time"

	"understudy.example/understudy/cmd/understudy/internal/datadir"
)

const (
	rootLife   = 10 * 365 * 24 * time.Hour
	serverLife = 397 * 24 * time.Hour // Apple refuses more than 398 days; each start makes a new one
	backdate   = 5 * time.Minute
)

// Certificate returns a server certificate for the hosts, which are names or
// IP addresses, signed by the root in d. The root is made if there is none.
func Certificate(d datadir.Dir, hosts []string, now time.Time) (tls.Certificate, error) {
	root, rootKey, err := openRoot(d)
	if errors.Is(err, fs.ErrNotExist) {
		root, rootKey, err = makeRoot(d, now)
	}
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make TLS key: %w", err)
	}
	template, err := newTemplate(hosts[0], now, serverLife)
	if err != nil {
		return tls.Certificate{}, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, root, key.Public(), rootKey)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make TLS certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

func openRoot(d datadir.Dir) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	text, err := datadir.ReadPrivate(d.TLSRootKey())
	if err != nil {
		return nil, nil, err
	}
	public, err := os.ReadFile(d.TLSRoot())
	if err != nil {
		return nil, nil, fmt.Errorf("read TLS root: %w", err)
	}
	pair, err := tls.X509KeyPair(public, text)
	if err != nil {
		return nil, nil, fmt.Errorf("read TLS root %s: %w", d.TLSRoot(), err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, nil, fmt.Errorf("read TLS root: %s holds another kind of key", d.TLSRootKey())
	}
	return pair.Leaf, key, nil
}

// makeRoot writes the certificate last: the key alone is not taken for a root.
func makeRoot(d datadir.Dir, now time.Time) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make TLS root: %w", err)
	}
	template, err := newTemplate("Understudy Lab TLS Root", now, rootLife)
	if err != nil {
		return nil, nil, err
	}
	template.Subject.Organization = []string{"Understudy Lab - NOT FOR PRODUCTION"}
	template.KeyUsage = x509.KeyUsageCertSign
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	template.BasicConstraintsValid, template.IsCA, template.MaxPathLenZero = true, true, true
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, fmt.Errorf("make TLS root: %w", err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, fmt.Errorf("make TLS root: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("make TLS root: %w", err)
	}
	if err := datadir.WritePrivate(d.TLSRootKey(), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})); err != nil {
		return nil, nil, err
	}
	return root, key, datadir.WritePublic(d.TLSRoot(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func newTemplate(name string, now time.Time, life time.Duration) (*x509.Certificate, error) {
	number, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make TLS certificate: %w", err)
	}
	return &x509.Certificate{
		SerialNumber: number.Add(number, big.NewInt(1)),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(life),
	}, nil
}
