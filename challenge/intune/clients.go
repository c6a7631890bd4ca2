package intune

import (
	"cmp"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"

	"understudy.example/understudy/challenge"
	"understudy.example/understudy/depot"
)

// Clients makes a client for each credential, and gives the same one to every
// configuration that has it: tokens and addresses are kept in the client. It is
// safe for concurrent use.
type Clients struct {
	CallerInfo string
	Log        *slog.Logger
	Observe    func(Exchange)
	// IssuerName is how an issuing authority is called towards Intune.
	IssuerName func(*x509.Certificate) string

	mu   sync.Mutex
	made map[string]*Client // by what they are made of
}

// A FileError says that a file which a configuration names cannot be used.
type FileError struct {
	Setting string // of the configuration, named as in JSON
	Path    string
	Err     error
}

func (e *FileError) Error() string {
	cause := e.Err
	var of *fs.PathError
	if errors.As(cause, &of) { // it names the path once more
		cause = of.Err
	}
	return fmt.Sprintf("%s %s: %v", strings.ReplaceAll(e.Setting, "_", " "), e.Path, cause)
}

// Unwrap returns the cause.
func (e *FileError) Unwrap() error { return e.Err }

// Validator makes what judges challenges by the settings of a configuration.
// The files that they name are read now. *FileError.
func (c *Clients) Validator(s depot.IntuneSettings) (challenge.Validator, error) {
	o, key, err := c.options(s)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	client := c.made[key]
	if client == nil {
		if client, err = New(o); err != nil {
			return nil, err
		}
		if c.made == nil {
			c.made = map[string]*Client{}
		}
		c.made[key] = client
	}
	return &Validator{Client: client, IssuerName: c.IssuerName}, nil
}

// options reads what a client is made of, and returns a key that is another
// one when any of it is.
func (c *Clients) options(s depot.IntuneSettings) (Options, string, error) {
	o := Options{Cloud: CloudOf(s), Tenant: s.Tenant, ClientID: s.ClientID, CallerInfo: c.CallerInfo, Log: c.Log, Observe: c.Observe}
	sum := sha256.New()
	if err := json.NewEncoder(sum).Encode(s); err != nil {
		return o, "", err
	}
	read := func(path string) ([]byte, error) {
		content, err := readFile(path)
		fmt.Fprintf(sum, "%d\n%s", len(content), content)
		return content, err
	}
	if s.SecretFile != "" {
		secret, err := read(s.SecretFile)
		if o.Secret = strings.TrimSpace(string(secret)); err == nil && o.Secret == "" {
			err = errors.New("it is empty")
		}
		if err != nil {
			return o, "", &FileError{"client_secret_file", s.SecretFile, err}
		}
	}
	if s.CertificateFile != "" {
		content, err := read(s.CertificateFile)
		if err == nil {
			o.Certificates, o.Key, err = readCredential(content)
		}
		if err != nil {
			return o, "", &FileError{"client_certificate_file", s.CertificateFile, err}
		}
	}
	if s.CAFile != "" {
		content, err := read(s.CAFile)
		if o.RootCAs = x509.NewCertPool(); err == nil && !o.RootCAs.AppendCertsFromPEM(content) {
			err = errors.New("it holds no certificate in PEM")
		}
		if err != nil {
			return o, "", &FileError{"ca_file", s.CAFile, err}
		}
	}
	return o, hex.EncodeToString(sum.Sum(nil)), nil
}

// CloudOf returns where the services are: those of the preset, with what is
// given besides put over it.
func CloudOf(s depot.IntuneSettings) Cloud {
	cloud := Clouds()[s.Cloud]
	cloud.Authority = cmp.Or(s.Authority, cloud.Authority)
	cloud.GraphURL = cmp.Or(s.GraphURL, cloud.GraphURL)
	cloud.IntuneResource = cmp.Or(s.IntuneResource, cloud.IntuneResource, Clouds()["public"].IntuneResource)
	cloud.IntuneHosts = append(append([]string{}, cloud.IntuneHosts...), s.IntuneHosts...)
	return cloud
}

// maxFile bounds a file with a credential.
const maxFile = 1 << 20

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = fmt.Errorf("it has more than %d bytes", maxFile)
	}
	return content, err
}

// readCredential reads certificates, the application's own first, and an RSA
// key from PEM.
func readCredential(content []byte) ([]*x509.Certificate, crypto.PrivateKey, error) {
	var chain []*x509.Certificate
	var key *rsa.PrivateKey
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "CERTIFICATE":
			certificate, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, nil, fmt.Errorf("read certificate: %w", err)
			}
			chain = append(chain, certificate)
		case "PRIVATE KEY", "RSA PRIVATE KEY":
			parsed, err := parseKey(block)
			if err != nil {
				return nil, nil, err
			}
			key = parsed
		}
	}
	switch {
	case len(chain) == 0:
		return nil, nil, errors.New("it holds no certificate in PEM")
	case key == nil:
		return nil, nil, errors.New("it holds no RSA key in PEM (PKCS #8 or PKCS #1, not encrypted)")
	case !key.PublicKey.Equal(chain[0].PublicKey):
		return nil, nil, errors.New("its key is not that of its first certificate")
	}
	return chain, key, nil
}

func parseKey(block *pem.Block) (*rsa.PrivateKey, error) {
	if block.Type == "RSA PRIVATE KEY" {
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("read key: it is not PKCS #8")
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("its key is not RSA, and Entra knows no other")
	}
	return key, nil
}
