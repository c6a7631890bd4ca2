package inspect

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"understudy.example/understudy/depot"
)

// A key is what can stand before a colon.
type key struct {
	name      string
	operators string // of ":<>", those that make sense
	example   string
	// read reads the term's value, makes it canonical and sets what fits.
	read func(t *term) error
}

const (
	equals  = ":"
	compare = "<>"
)

// keys are all of them, in the order in which docs/search.md tells of them.
var keys = [...]key{
	{"device-serial", equals, `device-serial:C02*`, name(func(i *depot.Identity) string { return i.Device.DeviceSerial })},
	{"uuid", equals, `uuid:5c3a1b2d-0000-4aaa-9bbb-0123456789ab`, name(func(i *depot.Identity) string { return i.Device.ProfileUUID })},
	{"udid", equals, `udid:0A1B2C3D-*`, name(func(i *depot.Identity) string { return i.Device.UDID })},
	{"upn", equals, `upn:*@example.com`, name(func(i *depot.Identity) string { return i.Device.UPN })},
	{"device", equals, `device:serial:C02XL0GYJGH5`, exactly(func(i *depot.Identity) string { return i.Device.Key })},
	{"cn", equals, `cn:"anna's mac*"`, readCommonName},
	{"subject", equals, `subject:example.com`, anywhere(subjects)},
	{"san", equals, `san:dns:*`, anywhere(func(i *depot.Identity) []string { return i.RequestedSANs })},
	{"serial", equals, `serial:59:a3:0f:1c (hex; of a device: device-serial:C02XL0GYJGH5)`, readSerial},
	{"sha256", equals, `sha256:9f86d081*`, fingerprint(func(i *depot.Identity) [32]byte { return i.SHA256 })},
	{"key", equals, `key:9f86d081*`, fingerprint(func(i *depot.Identity) [32]byte { return i.PublicKeySHA256 })},
	{"issuer", equals, `issuer:9f86d081*`, fingerprint(func(i *depot.Identity) [32]byte { return i.IssuerSHA256 })},
	{"bits", equals + compare, `bits<2048`, readBits},
	{"configuration", equals, `configuration:default`, readConfiguration},
	{"purpose", equals, `purpose:device-access`, oneOf(purposes, func(i *depot.Identity) string { return i.Purpose })},
	{"mode", equals, `mode:static`, oneOf(modes, func(i *depot.Identity) string { return i.ChallengeMode })},
	{"challenge", equals, `challenge:ch_0123456789abcdef`, exactly(func(i *depot.Identity) string { return i.ChallengeID })},
	{"transaction", equals, `transaction:4F2A*`, exactly(func(i *depot.Identity) string { return i.TransactionID })},
	{"ip", equals, `ip:10.0.0.0/8`, readNetwork},
	{"agent", equals, `agent:"mdmclient/1.0"`, anywhere(func(i *depot.Identity) []string { return []string{i.UserAgent} })},
	{"wire", equals, `wire:SHA-1`, readWire},
	{"warning", equals, `warning:*`, anywhere(func(i *depot.Identity) []string { return i.Warnings })},
	{"clock", equals, `clock:moved`, readClock},
	{"state", equals, `state:superseded`, readState},
	{"reason", equals, `reason:keyCompromise`, readReason},
	{"expires", compare, `expires<30d`, ahead(func(i *depot.Identity) time.Time { return i.NotAfter })},
	{"issued", compare, `issued<7d`, ago(func(i *depot.Identity) time.Time { return i.IssuedAt })},
	{"revoked", equals + compare, `revoked<24h`, ago(func(i *depot.Identity) time.Time { return i.RevokedAt })},
	{"used", equals + compare, `used:never`, ago(func(i *depot.Identity) time.Time { return i.UsedAt })},
}

// bareWord looks for a word in everything that names the device.
func bareWord(t *term) error {
	return anywhere(func(i *depot.Identity) []string {
		return append(subjects(i), i.Device.DeviceSerial, i.Device.UPN, i.Device.ComputerName)
	})(t)
}

// name compares a whole name, without regard to case. Names beyond ASCII are
// compared in all their forms: see device.Fold. Those within are not, so that
// the depot's index of names gives the same answer.
func name(of func(*depot.Identity) string) func(*term) error {
	return func(t *term) error {
		p, form := t.value.folded(), fold
		if t.value.isASCII() {
			p, form = t.value.lower(), depot.FoldName
		}
		t.fits = func(f *facts) bool { return of(f.identity) != "" && p.fits(form(of(f.identity))) }
		return nil
	}
}

// fitsName says whether a name that is there fits a folded pattern.
func fitsName(p pattern, name string) bool {
	return name != "" && p.fits(fold(name))
}

// exactly compares an identifier byte by byte.
func exactly(of func(*depot.Identity) string) func(*term) error {
	return func(t *term) error {
		p := t.value
		t.fits = func(f *facts) bool { return of(f.identity) != "" && p.fits(of(f.identity)) }
		return nil
	}
}

// anywhere looks for text inside of any of the values.
func anywhere(of func(*depot.Identity) []string) func(*term) error {
	return func(t *term) error {
		p := t.value.folded().within()
		t.fits = func(f *facts) bool {
			return slices.ContainsFunc(of(f.identity), func(v string) bool { return fitsName(p, v) })
		}
		return nil
	}
}

// The words that some keys are followed by, and what is stored for them.
var (
	purposes = map[string]string{
		string(depot.PurposeDeviceAccess):          string(depot.PurposeDeviceAccess),
		string(depot.PurposeManagementAttestation): string(depot.PurposeManagementAttestation),
	}
	modes = map[string]string{
		string(depot.ModeStatic): string(depot.ModeStatic), string(depot.ModeDynamic): string(depot.ModeDynamic),
		string(depot.ModeIntune): string(depot.ModeIntune), "none": "", // a renewal needs no challenge
	}
)

// oneOf compares with one of a few words.
func oneOf(words map[string]string, of func(*depot.Identity) string) func(*term) error {
	return func(t *term) error {
		word, err := t.word(slices.Sorted(keysOf(words))...)
		if err != nil {
			return err
		}
		want := words[word]
		t.fits = func(f *facts) bool { return of(f.identity) == want }
		return nil
	}
}

// keysOf goes through the keys of a map.
func keysOf(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// word returns the term's value, one of a few words, and makes it canonical.
func (t *term) word(words ...string) (string, error) {
	text, ok := t.value.exact()
	if i := slices.IndexFunc(words, func(w string) bool { return strings.EqualFold(w, text) }); ok && i >= 0 {
		t.value = plain(words[i])
		return words[i], nil
	}
	return "", fmt.Errorf("%s is followed by one of %s", t.key, strings.Join(words, ", "))
}

// hexPattern reads hex as people and tools write it, in any case and with
// colons, at most so many digits.
func (t *term) hexPattern(most int) error {
	clean := make(pattern, len(t.value))
	total := 0
	for i, part := range t.value {
		clean[i] = strings.ToLower(strings.ReplaceAll(part, ":", ""))
		if strings.Trim(clean[i], "0123456789abcdef") != "" {
			return fmt.Errorf("%s is followed by hex", t.key)
		}
		total += len(clean[i])
	}
	if total > most {
		return fmt.Errorf("%s has at most %d hex digits", t.key, most)
	}
	t.value = clean.tidy()
	return nil
}

// fingerprint compares the hex of a SHA-256.
func fingerprint(of func(*depot.Identity) [32]byte) func(*term) error {
	return func(t *term) error {
		if err := t.hexPattern(64); err != nil {
			return err
		}
		if digits, ok := t.value.exact(); ok && len(digits) != 64 {
			return fmt.Errorf("a SHA-256 has 64 hex digits and this has %d: write a * where some are left out", len(digits))
		}
		p := t.value
		t.fits = func(f *facts) bool { sum := of(f.identity); return p.fits(hexOf(sum)) }
		return nil
	}
}

// readSerial reads a certificate serial.
func readSerial(t *term) error {
	t.value[0] = strings.TrimPrefix(strings.ToLower(t.value[0]), "0x")
	// As many zeros as somebody likes may stand before it.
	t.value[0] = strings.TrimLeft(t.value[0], "0:")
	if err := t.hexPattern(40); err != nil {
		return err
	}
	if digits, ok := t.value.exact(); ok {
		switch {
		case digits == "":
			return errors.New("a certificate serial is not zero")
		case len(digits)%2 == 1:
			digits = "0" + digits
		}
		t.value = plain(digits)
	}
	p := t.value
	t.fits = func(f *facts) bool {
		serial := f.identity.CertificateSerial
		if len(p) > 1 {
			serial = strings.TrimLeft(serial, "0")
		}
		return p.fits(serial)
	}
	return nil
}

// readBits reads the length of a key.
func readBits(t *term) error {
	text, _ := t.value.exact()
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > 1<<20 {
		return errors.New("bits is followed by a number")
	}
	t.value = plain(strconv.Itoa(n))
	op := t.op
	t.fits = func(f *facts) bool {
		switch bits := f.identity.KeyBits; op {
		case '<':
			return bits < n
		case '>':
			return bits > n
		default:
			return bits == n
		}
	}
	return nil
}

// readConfiguration reads a name or an id; Query finds out which.
func readConfiguration(t *term) error {
	text, ok := t.value.exact()
	if !ok {
		return errors.New("configuration is followed by a whole name or id")
	}
	t.fits = func(f *facts) bool { return f.identity.ConfigurationID == f.configurations[text] }
	return nil
}

// readNetwork reads an address or a network.
func readNetwork(t *term) error {
	text, _ := t.value.exact()
	network, err := netip.ParsePrefix(text)
	if address, wrong := netip.ParseAddr(text); wrong == nil && address.Zone() == "" {
		network, err = netip.PrefixFrom(address.Unmap(), address.Unmap().BitLen()), nil
	}
	if err != nil || network.Addr().Is4In6() {
		return errors.New("ip is followed by an address or a network")
	}
	network = network.Masked()
	t.value = plain(network.String())
	if network.IsSingleIP() {
		t.value = plain(network.Addr().String())
	}
	t.fits = func(f *facts) bool {
		address, err := netip.ParseAddr(f.identity.SourceAddress)
		return err == nil && network.Contains(address.Unmap().WithZone(""))
	}
	return nil
}

// readWire reads an algorithm of the request: a digest or a cipher. SHA1 and
// SHA-1 are one; DES is single DES, 3DES triple DES, AES any of its sizes.
func readWire(t *term) error {
	text, ok := t.value.exact()
	text = letters(text)
	if !ok || text == "" {
		return errors.New("wire is followed by an algorithm")
	}
	t.fits = func(f *facts) bool {
		cipher := letters(f.identity.Cipher)
		switch text {
		case "des":
			return strings.HasPrefix(cipher, "des") && !isTripleDES(cipher)
		case "3des", "tripledes", "des3":
			return isTripleDES(cipher)
		}
		return letters(f.identity.Digest) == text || strings.HasPrefix(cipher, text)
	}
	return nil
}

func isTripleDES(cipher string) bool {
	return strings.HasPrefix(cipher, "desede3") || strings.HasPrefix(cipher, "3des") || strings.HasPrefix(cipher, "des3")
}

// letters returns the letters and digits of a name of an algorithm, in lower
// case.
func letters(name string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c >= 'A' && c <= 'Z':
			return c + 'a' - 'A'
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			return c
		}
		return -1
	}, name)
}

// readClock reads whether a lab had moved the time.
func readClock(t *term) error {
	if _, err := t.word("moved"); err != nil {
		return err
	}
	t.fits = func(f *facts) bool { return f.identity.ClockOffset != 0 }
	return nil
}

// readReason reads why a certificate is revoked.
func readReason(t *term) error {
	reasons := []string{NeverDelivered}
	for _, r := range []depot.RevocationReason{
		depot.ReasonUnspecified, depot.ReasonKeyCompromise, depot.ReasonCACompromise, depot.ReasonAffiliationChanged, depot.ReasonSuperseded,
		depot.ReasonCessationOfOperation, depot.ReasonCertificateHold, depot.ReasonPrivilegeWithdrawn, depot.ReasonAACompromise,
	} {
		reasons = append(reasons, string(r))
	}
	reason, err := t.word(reasons...)
	if err != nil {
		return err
	}
	t.fits = func(f *facts) bool { return Reason(*f.identity) == reason }
	return nil
}
