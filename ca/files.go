package ca

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// The files of an authority: root, issuer and RAs. The first issuer is called
// issuer, in ShapeSingle root; those that rollovers made have a hyphen and their
// certificate serial behind that, as RAs do. authority.json says which of them
// are in force.
const (
	stateFile  = "authority.json"
	rootFile   = "root"
	issuerFile = "issuer"
	raPrefix   = "ra-"

	certificateSuffix = ".pem"
	keySuffix         = ".key.pem"

	stateFormat = 2        // 1 knew no rollover
	fileLimit   = 64 << 10 // octets; a PEM of RSA-16384 is smaller
)

// state is the content of authority.json.
type state struct {
	Format  int         `json:"format"`
	Shape   Shape       `json:"shape"`
	Org     string      `json:"org"`
	OrgID   string      `json:"org_id"`
	RA      string      `json:"ra,omitempty"` // certificate serial
	Retired []retiredRA `json:"retired,omitempty"`

	// What rollovers made; all absent before the first.
	Issuer *issuerState   `json:"issuer,omitempty"` // in force
	Former []issuerState  `json:"former,omitempty"` // latest first
	Next   *preparedState `json:"next,omitempty"`
}

// issuerState is one generation.
type issuerState struct {
	File  string    `json:"file"` // without suffix
	Since time.Time `json:"since"`
	Until time.Time `json:"until,omitzero"`
}

// preparedState is the generation of a prepared rollover.
type preparedState struct {
	File       string    `json:"file"`         // without suffix
	RA         string    `json:"ra,omitempty"` // certificate serial
	PreparedAt time.Time `json:"prepared_at"`
}

// retiredRA is an RA that was replaced.
type retiredRA struct {
	RA        string    `json:"ra"` // certificate serial
	RetiredAt time.Time `json:"retired_at"`
}

// disk is how the files of an authority are changed. A test stops it half-way.
type disk interface {
	create(path string, data []byte) error
	rename(from, to string) error
	remove(path string) error // of a file that may be missing
	sync(dir string) error    // makes the names in a directory durable
}

// osDisk is the real one.
type osDisk struct{}

// create writes a new file of mode 0600 whatever the umask is, and returns when
// it is on the disk.
func (osDisk) create(path string, data []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Chmod(0o600); err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

// replaceFile puts a file in the place of another: after a crash there is the
// old one or the new one.
func replaceFile(d disk, path string, data []byte) error {
	next := path + ".new"
	if err := d.remove(next); err != nil {
		return err
	}
	if err := d.create(next, data); err != nil {
		return err
	}
	if err := d.rename(next, path); err != nil {
		return err
	}
	return d.sync(filepath.Dir(path))
}

func (osDisk) rename(from, to string) error { return os.Rename(from, to) }

func (osDisk) remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (osDisk) sync(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// writePair writes a certificate and its key under a name in dir.
func writePair(d disk, dir, name string, certificate *x509.Certificate, key crypto.Signer) error {
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	if err := d.create(filepath.Join(dir, name+keySuffix), keyPEM); err != nil {
		return err
	}
	certificatePEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
	return d.create(filepath.Join(dir, name+certificateSuffix), certificatePEM)
}

// removePair removes a certificate and its key, the key first.
func removePair(d disk, dir, name string) error {
	return errors.Join(d.remove(filepath.Join(dir, name+keySuffix)), d.remove(filepath.Join(dir, name+certificateSuffix)))
}

// encodeState returns the content of authority.json.
func encodeState(s state) ([]byte, error) {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}

// readPrivate reads a file that nobody but its owner may touch. A symbolic
// link is refused, because the permissions of what it points to, and of the
// way there, are somebody else's.
func readPrivate(path string) ([]byte, error) {
	named, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if named.Mode()&fs.ModeSymlink != 0 {
		return nil, fmt.Errorf("%s is a symbolic link: put the file itself there", path)
	}
	if !named.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a plain file: put the file itself there", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	opened, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !os.SameFile(named, opened) {
		return nil, fmt.Errorf("%s was exchanged while it was opened: try again when nobody is at work there", path)
	}
	if mode := opened.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s is open to others (mode %04o): run chmod 600 on it, and think of its content as known to whoever could read it", path, mode)
	}
	return readLimited(f, path)
}

// readLimited reads a file that has no reason to be large.
func readLimited(f *os.File, path string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, fileLimit+1))
	if err != nil {
		return nil, err
	}
	if len(data) > fileLimit {
		return nil, fmt.Errorf("%s is larger than %d octets: it is not what an authority writes", path, fileLimit)
	}
	return data, nil
}

// readPair reads a certificate and its key and checks that they belong
// together.
func readPair(dir, name string) (*x509.Certificate, crypto.Signer, error) {
	certificatePath := filepath.Join(dir, name+certificateSuffix)
	der, err := readPEM(certificatePath, "CERTIFICATE")
	if err != nil {
		return nil, nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, fmt.Errorf("%s holds no readable certificate (%w): restore it from a backup", certificatePath, err)
	}
	keyPath := filepath.Join(dir, name+keySuffix)
	if der, err = readPEM(keyPath, "PRIVATE KEY"); err != nil {
		return nil, nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, nil, fmt.Errorf("%s holds no readable key: restore it from a backup", keyPath)
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, nil, fmt.Errorf("%s holds a key that cannot sign: restore it from a backup", keyPath)
	}
	if public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(certificate.PublicKey) {
		return nil, nil, fmt.Errorf("%s is not the key of %s: restore both from the same backup", keyPath, certificatePath)
	}
	return certificate, key, nil
}

// readPEM reads a private file that holds one PEM block of a type.
func readPEM(path, blockType string) ([]byte, error) {
	data, err := readPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is missing: restore it from a backup", path)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != blockType {
		return nil, fmt.Errorf("%s holds no PEM block of type %s: restore it from a backup", path, blockType)
	}
	return block.Bytes, nil
}
