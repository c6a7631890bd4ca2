package inspect_test

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/inspect"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// anna is the identity that searches are tried on.
func anna() depot.Identity {
	return depot.Identity{
		CertificateSerial: "0a3f1c", SHA256: [32]byte{0xab, 0xcd}, PublicKeySHA256: [32]byte{0x12, 0x34}, IssuerSHA256: [32]byte{0x56},
		Subject:   `O=100% Example_Co,CN=Anna's MacBook\, the 2nd managementAttestation 0A1B2C3D-4E5F-6071-8293-A4B5C6D7E8F9`,
		NotBefore: now.Add(-100 * day), NotAfter: now.Add(20 * day), IssuedAt: now.Add(-100*day + 1500*time.Millisecond),
		KeyAlgorithm: "RSA", KeyBits: 2048, ConfigurationID: "rac00000000000000001", ConfigurationName: "default", Purpose: "device-access",
		Device: depot.DeviceNames{
			Key: "udid:0A1B2C3D-4E5F-6071-8293-A4B5C6D7E8F9", DeviceSerial: "C02XL0GYJGH5", ProfileUUID: "5C3A1B2D-0000-4AAA-9BBB-0123456789ab",
			UDID: "0A1B2C3D-4E5F-6071-8293-A4B5C6D7E8F9", UPN: "anna.o'neil+x@example.com", ComputerName: "Anna's MacBook, the 2nd",
		},
		RequestedSANs: []string{"dns:mac.example.com"}, ChallengeMode: "dynamic", ChallengeID: "ch_Ab", TransactionID: "4F2Ab",
		Digest: "SHA-1", Cipher: "DES-EDE3-CBC", Warnings: []string{"no senderNonce"}, SourceAddress: "10.1.2.3", UserAgent: "mdmclient/1.0 (macOS)",
	}
}

// configurations knows one by name and id.
func configurations(name string) (string, bool) {
	return "rac00000000000000001", name == "default" || name == "rac00000000000000001"
}

// query parses a search and makes a query of it.
func query(t *testing.T, text string) depot.IdentityQuery {
	t.Helper()
	s, err := inspect.Parse(text)
	if err != nil {
		t.Fatalf("Parse(%q): %v", text, err)
	}
	q, err := s.Query(now, configurations)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return q
}

// found says whether a search finds an identity of a standing.
func found(t *testing.T, text string, i depot.Identity, standing depot.Standing) bool {
	t.Helper()
	q := query(t, text)
	return q.Match == nil || q.Match(i, standing)
}

func TestSearchFinds(t *testing.T) {
	for _, text := range []string{
		``, ` 	`, `anna`, `ANNA macbook`, `c02xl0`, `"the 2nd"`, `o'neil+x@`, `*`, `100%`, `Example_Co`, `MacBook*ment`, `CN=anna`, `"MacBook, the"`, `"MacBook\, the"`,
		`device-serial:C02XL0GYJGH5`, `device-serial:c02xl0gyjgh5`, `device-serial:C02*`, `device-serial:*GH5`, `device-serial:C*X*0*5`, `device-serial:*`, `device-serial:C02XL0GYJGH5*`, `DEVICE-SERIAL:c02*`,
		`uuid:5c3a1b2d-0000-4aaa-9bbb-0123456789AB`, `udid:0a1b*`, `upn:ANNA.o'neil+x@example.com`, `upn:*@Example.com`,
		`device:udid:0A1B2C3D-4E5F-6071-8293-A4B5C6D7E8F9`, `device:udid:0A*`,
		`cn:"anna's macbook, the 2nd managementattestation 0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"`, `cn:anna*`, `cn:*2nd*`, `subject:example`, `subject:"100% example_co"`, `san:dns:`, `san:*`,
		`serial:0a3f1c`, `serial:A3F1C`, `serial:0A:3f:1C`, `serial:000a3f1c`, `serial:0x0a3f1c`, `serial:a3*`, `serial:0a:3*`, `serial:*1c`,
		`sha256:abcd*`, `sha256:AB:CD:*`, `sha256:abcd` + strings.Repeat("0", 60), `key:1234*`, `issuer:56*`,
		`bits:2048`, `bits<2049`, `bits>2047`, `configuration:default`, `configuration:rac00000000000000001`, `purpose:device-access`, `purpose:DEVICE-ACCESS`, `mode:dynamic`,
		`challenge:ch_Ab`, `transaction:4F2Ab`, `transaction:4F*`, `ip:10.1.2.3`, `ip:10.0.0.0/8`, `ip:10.9.9.9/8`, `ip:::ffff:10.1.2.3`, `agent:MDMclient`, `agent:"(macos)"`,
		`wire:SHA-1`, `wire:sha1`, `wire:3DES`, `wire:des-ede3`, `warning:sendernonce`, `warning:*`, `-clock:moved`,
		`expires<30d`, `expires>now`, `expires>19d`, `expires<21d`, `expires<2026-03-22`, `expires>2026-03-21`, `expires<2026-03-21T12:00:01Z`, `expires>2026-03-21T11:59:59Z`, `expires<2026-03-21t14:00:01+02:00`,
		`issued>99d`, `issued<100d`, `issued<101d`, `issued<2026-01-01`, `issued>2025-11-21`, `issued>2025-11-21T12:00:01Z`, `issued<now`,
		`revoked:never`, `used:never`, `-used<9999d`, `-used>0s`, `state:valid`, `-state:revoked`, `-reason:keycompromise`, `-nobody`, `-device-serial:D*`, `anna -bob expires<30d mode:dynamic ip:10.0.0.0/8`,
	} {
		if !found(t, text, anna(), depot.StandingCurrent) {
			t.Errorf("%s does not find it", text)
		}
	}
}

func TestSearchDoesNotFind(t *testing.T) {
	for _, text := range []string{
		`bob`, `anna bob`, `-anna`, `%anna`, `a_na`, `"*"`, `cn:a.na*`, `"anna*"`, `^anna`, `.+anna`,
		`device-serial:C02`, `device-serial:"C02*"`, `device-serial:D*`, `device-serial:C02XL0GYJGH5?`, `device-serial:*GH`, `device-serial:C02XL0GYJGH5*5`, `device-serial:C*H5*5`, `device-serial:C*0*0*0*`, `-device-serial:c02*`,
		`uuid:5c3a1b2d`, `upn:anna*@example.org`, `device:udid:0a*`, `cn:"anna's macbook"`, `cn:example*`, `subject:exampel`, `san:upn:`,
		`serial:0a3f1d`, `serial:3f1c`, `serial:0a3f1c00`, `sha256:abce*`, `key:abcd*`, `issuer:57*`, `bits:2047`, `bits<2048`, `bits>2048`, `-configuration:default`,
		`purpose:management-attestation`, `mode:static`, `mode:none`, `challenge:ch_ab`, `transaction:4f2ab`, `transaction:4F2A`, `ip:10.1.2.4`, `ip:11.0.0.0/8`, `ip:::/0`, `agent:intune`,
		`wire:SHA-256`, `wire:DES`, `wire:AES`, `warning:sha`, `clock:moved`,
		`expires<now`, `expires<19d`, `expires>20d`, `expires<20d`, `expires>21d`, `expires<2026-03-21T12:00:00Z`, `expires>2026-03-21T12:00:00Z`, `expires<2026-03-21T12:00:00.9Z`, `issued>100d`, `issued<99d`, `issued<2025-11-21`, `issued>now`,
		`issued<2025-11-21T12:00:01Z`, `-used:never`, `used<9999d`, `used>0s`, `revoked<9999d`, `revoked>0s`, `state:expired`, `state:superseded`, `state:revoked`, `state:void`, `state:held_back`, `state:acknowledged`,
		`reason:keyCompromise`, `anna -anna`,
	} {
		if found(t, text, anna(), depot.StandingCurrent) {
			t.Errorf("%s finds it", text)
		}
	}
}

// What only other identities have.
func TestSearchByWhatHappened(t *testing.T) {
	tests := []struct {
		what     string
		change   func(*depot.Identity)
		standing depot.Standing
		finds    string
		not      string
	}{
		{"revoked", func(i *depot.Identity) { i.RevokedAt, i.RevocationReason = now.Add(-time.Hour), "keyCompromise" }, depot.StandingRevoked,
			`state:revoked reason:KEYCOMPROMISE revoked<2h revoked>30m -revoked:never`, `revoked<30m`},
		{"void", func(i *depot.Identity) { i.Void = true }, depot.StandingRevoked, `state:void reason:never_delivered revoked:never`, `state:revoked`},
		{"void and revoked", func(i *depot.Identity) { i.Void, i.RevocationReason = true, "superseded" }, depot.StandingRevoked, `state:void reason:superseded`, `reason:never_delivered`},
		{"superseded", func(*depot.Identity) {}, depot.StandingSuperseded, `state:superseded`, `state:valid`},
		{"renewed, and its renewal revoked", func(i *depot.Identity) { i.SupersededBy = "01" }, depot.StandingCurrent, `state:valid`, `state:superseded`},
		{"superseded and expired", func(i *depot.Identity) { i.NotAfter = now }, depot.StandingSuperseded, `state:superseded`, `state:expired`},
		{"expired", func(i *depot.Identity) { i.NotAfter = now }, depot.StandingCurrent, `state:expired expires<1s expires<30d`, `state:valid`},
		{"the last moment", func(i *depot.Identity) { i.NotAfter = now.Add(1) }, depot.StandingCurrent, `state:valid`, `state:expired`},
		{"acknowledged", func(*depot.Identity) {}, depot.StandingAcknowledged, `state:acknowledged state:valid`, `state:superseded`},
		{"held back", func(i *depot.Identity) { i.HeldBack = true }, depot.StandingNone, `state:held_back`, `state:valid`},
		{"used", func(i *depot.Identity) { i.UsedAt = now.Add(-10 * day) }, depot.StandingCurrent, `used>9d used<11d -used:never`, `used:never`},
		{"moved", func(i *depot.Identity) { i.ClockOffset = -time.Second }, depot.StandingCurrent, `clock:moved`, `-clock:moved`},
		{"single DES", func(i *depot.Identity) { i.Cipher = "DES-CBC" }, depot.StandingCurrent, `wire:DES`, `wire:3DES`},
		{"AES", func(i *depot.Identity) { i.Cipher = "AES-256-CBC" }, depot.StandingCurrent, `wire:AES wire:aes256`, `wire:AES-128`},
		{"a renewal", func(i *depot.Identity) { i.ChallengeMode = "" }, depot.StandingCurrent, `mode:none`, `mode:dynamic`},
		{"from IPv6", func(i *depot.Identity) { i.SourceAddress = "2001:db8::7" }, depot.StandingCurrent, `ip:2001:db8::/32 ip:2001:DB8:0::7`, `ip:0.0.0.0/0`},
		{"from IPv4 in IPv6", func(i *depot.Identity) { i.SourceAddress = "::ffff:10.0.0.9" }, depot.StandingCurrent, `ip:10.0.0.9 ip:10.0.0.0/24`, `ip:::/0`},
		{"from nowhere", func(i *depot.Identity) { i.SourceAddress = "" }, depot.StandingCurrent, `-ip:0.0.0.0/0`, `ip:0.0.0.0/0`},
		{"without names", func(i *depot.Identity) { i.Device, i.UserAgent = depot.DeviceNames{Key: "subject:x"}, "" }, depot.StandingCurrent, `-agent:* -upn:* -udid:* -uuid:* -device-serial:*`, `upn:*`},
		{"with a dot at the end", func(i *depot.Identity) { i.Subject = "CN=Lab7." }, depot.StandingCurrent, `cn:lab7 cn:LAB7. cn:lab*`, `cn:lab8`},
		{"in another configuration", func(i *depot.Identity) { i.ConfigurationID = "rac2" }, depot.StandingCurrent, `-configuration:default`, `configuration:default`},
	}
	for _, tt := range tests {
		i := anna()
		tt.change(&i)
		if !found(t, tt.finds, i, tt.standing) {
			t.Errorf("%s: %s does not find it", tt.what, tt.finds)
		}
		if found(t, tt.not, i, tt.standing) {
			t.Errorf("%s: %s finds it", tt.what, tt.not)
		}
	}
}

// A second common name, and a comma in the first, hid a name from another
// product's search.
func TestEveryCommonName(t *testing.T) {
	i := anna()
	i.Subject = `CN=decoy\,CN\=x,O=y+CN=C02 \C3\9F\0A,OU=CN=no,1.2.3=#0c0178`
	for text, want := range map[string]bool{
		`cn:"decoy,cn=x"`: true, `cn:"c02 ß"`: true, `cn:x`: false, `cn:decoy`: false, `cn:no`: false, `cn:y`: false, `"c02 ß"`: true, `subject:\C3\9F`: true,
	} {
		if found(t, text, i, depot.StandingCurrent) != want {
			t.Errorf("%s: finds is %t", text, !want)
		}
	}
	i.Subject = `CN=a\`
	found(t, `cn:a`, i, depot.StandingCurrent)
}

// A64: names that people cannot tell apart are one, as they are one device.
func TestFormsOfUnicode(t *testing.T) {
	for _, stored := range []string{"Büro 7", "büro 7", "BÜRO  7", "Bu\u0308ro 7.", "Büro\u00a07", "Büro ７", "Büro 7..."} {
		i := anna()
		i.Subject, i.Device = "CN="+stored, depot.DeviceNames{Key: "subject:x", UPN: stored, ComputerName: stored}
		for _, text := range []string{
			`cn:"Büro 7"`, `cn:"BU` + "\u0308" + `RO 7"`, `cn:"büro 7."`, `cn:büro*`, `cn:*7*`, `subject:büro`, `"üro 7"`, `BÜRO`, `upn:"büro 7"`, `upn:"bü"*`, `cn:"büro "*`, "cn:\"büro\u00a07\"",
		} {
			if !found(t, text, i, depot.StandingCurrent) {
				t.Errorf("%s does not find %q", text, stored)
			}
		}
		for _, text := range []string{`cn:"Buro 7"`, `cn:"büro 8"`, `cn:"büro7"`, `cn:"büro  "*x`} {
			if found(t, text, i, depot.StandingCurrent) {
				t.Errorf("%s finds %q", text, stored)
			}
		}
	}
}

// A63: what other search boxes fall over is ordinary here.
func TestHostileSearches(t *testing.T) {
	for _, text := range []string{
		`'; DROP TABLE identities;`, `%`, `_`, `\`, `(a+)+$`, `[`, `{{.}}`, `"<script>"`, `$(id)`, `cn:%`, `cn:_`, `subject:\`, `cn:"' OR '1'='1"`,
	} {
		if s, err := inspect.Parse(text); err != nil {
			t.Errorf("Parse(%q): %v", text, err)
		} else if q, err := s.Query(now, configurations); err != nil || q.Match(depot.Identity{Subject: "CN=x"}, "") {
			t.Errorf("%q finds CN=x, or %v", text, err)
		}
	}
	if !found(t, `cn:%_*`, depot.Identity{Subject: "CN=%_x"}, "") || found(t, `cn:%_*`, depot.Identity{Subject: "CN=ab_x"}, "") {
		t.Error("% and _ do not stand for themselves")
	}
}

// A63: the time of a match is that of reading the text, whatever the stars.
func TestManyStars(t *testing.T) {
	pattern := strings.Repeat("a*", inspect.MaxSearch/2-8) + "b"
	s, err := inspect.Parse("subject:" + pattern)
	if err != nil {
		t.Fatal(err)
	}
	q, err := s.Query(now, configurations)
	if err != nil {
		t.Fatal(err)
	}
	i := depot.Identity{Subject: "CN=" + strings.Repeat("a", 64<<10)}
	began := time.Now()
	for range 20 {
		if q.Match(i, "") {
			t.Fatal("found what is not there")
		}
	}
	// A matcher that tries again from every star needs hours.
	if took := time.Since(began); took > time.Minute {
		t.Errorf("20 matches took %v", took)
	}
}

func TestSyntaxErrors(t *testing.T) {
	tests := []struct {
		text      string
		character int
		wants     string
	}{
		{`anna foo:bar`, 6, `no key "foo".*device-serial.*quote`},
		{`Büro foo:bar`, 6, `no key`},
		{`  a<b`, 3, `no key "a".*quote a word that holds '<'`},
		{`serial:C02XL0GYJGH5`, 1, `hex.*device-serial:C02`},
		{`serial:00`, 1, `not zero`},
		{`serial:` + strings.Repeat("1", 41), 1, `at most 40`},
		{`sha256:abcd`, 1, `64 hex digits and this has 4.*\*`},
		{`sha256:` + strings.Repeat("1", 65), 1, `at most 64`},
		{`key:xyz*`, 1, `hex`},
		{`bits:many`, 1, `number, as in bits<2048`},
		{`bits:-1`, 1, `number`},
		{`configuration:def*`, 1, `whole name or id`},
		{`purpose:device`, 1, `device-access, management-attestation`},
		{`mode:stat*`, 1, `dynamic, intune, none, static`},
		{`ip:10.0.0`, 1, `address or a network, as in ip:10.0.0.0/8`},
		{`ip:10.0.0.0/33`, 1, `address or a network`},
		{`ip:::ffff:10.0.0.0/104`, 1, `address or a network`},
		{`ip:fe80::1%eth0`, 1, `address or a network`},
		{`wire:-`, 1, `algorithm`},
		{`clock:back`, 1, `one of moved`},
		{`state:due`, 1, `one of valid, superseded`},
		{`reason:because`, 1, `keyCompromise`},
		{`reason:removeFromCRL`, 1, `keyCompromise`},
		{`expires:30d`, 1, `not compared with ':': write expires<30d`},
		{`device-serial<C02`, 1, `not compared with '<': write device-serial:C02\*`},
		{`expires<30x`, 1, `30d or 12h.*2027-01-01.*as in expires<30d`},
		{`expires<-1d`, 1, `30d`}, {`expires<d`, 1, `30d`}, {`expires<1d*`, 1, `30d`}, {`expires<99999d`, 1, `30d`}, {`expires<2026-02-30`, 1, `2027-01-01`}, {`expires<é`, 1, `30d`},
		{`used:30d`, 1, `one of never`},
		{`a cn:`, 3, `nothing follows "cn:"`}, {`cn:""`, 1, `nothing follows`}, {`expires<`, 1, `nothing follows`},
		{`expires < 30d`, 9, `needs a key before it.*as in expires<30d`}, {`-:a`, 1, `needs a key`}, {`>1`, 1, `quote a word`},
		{`cn:" "`, 1, `nothing to look for`}, {`""`, 1, `nothing to look for`},
		{`a "b c`, 3, `never closed`}, {`cn:"a\"`, 1, `never closed`},
		{`a -`, 3, `-state:revoked`}, {`--a`, 1, `-state:revoked`},
		{"a b\x00", 3, `U\+0000 does not print`}, {"\u202ea", 1, `U\+202E`},
		{strings.Repeat("x ", inspect.MaxTerms+1), 0, `more than 50 terms`},
		{strings.Repeat("x", inspect.MaxSearch+1), 0, `10240 are the most`},
		{"\xff", 0, `not UTF-8`},
	}
	for _, tt := range tests {
		_, err := inspect.Parse(tt.text)
		var syntax *inspect.SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("Parse(%q) = %v, want a SyntaxError", tt.text, err)
			continue
		}
		if syntax.Character != tt.character || !regexp.MustCompile(tt.wants).MatchString(err.Error()) {
			t.Errorf("Parse(%q): character %d, %v; want %d, %s", tt.text, syntax.Character, err, tt.character, tt.wants)
		}
		if len(err.Error()) > 1000 {
			t.Errorf("Parse(%.40q): an error of %d bytes", tt.text, len(err.Error()))
		}
	}
	if s, err := inspect.Parse(strings.Repeat("x ", inspect.MaxTerms)); err != nil || s.Empty() {
		t.Errorf("as many terms as may be: %v", err)
	}
	if _, err := inspect.Parse(strings.Repeat("x", inspect.MaxSearch)); err != nil {
		t.Errorf("as long as may be: %v", err)
	}
}

func TestUnknownConfiguration(t *testing.T) {
	for _, text := range []string{`configuration:other`, `-configuration:other`} {
		s, err := inspect.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		var unknown *inspect.ConfigurationError
		if _, err := s.Query(now, configurations); !errors.As(err, &unknown) || unknown.Name != "other" {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestCanonical(t *testing.T) {
	for text, want := range map[string]string{
		``: ``, ` a   b `: `a b`, `"a b"`: `"a b"`, `a" "b`: `"a b"`, `"ab"`: `ab`, `-"-x"`: `-"-x"`, `"a:b"`: `"a:b"`, `CN=x:y`: `"CN=x:y"`, `**a**`: `*a*`, `"*"*`: `"*"*`,
		`SERIAL:0X0A:3F`: `serial:0a3f`, `serial:a3f`: `serial:0a3f`, `SHA256:AB*`: `sha256:ab*`, `Mode:STATIC`: `mode:static`, `reason:keycompromise`: `reason:keyCompromise`,
		`ip:10.1.2.3/8`: `ip:10.0.0.0/8`, `ip:10.1.2.3/32`: `ip:10.1.2.3`, `ip:::FFFF:10.1.2.3`: `ip:10.1.2.3`, `bits<02048`: `bits<2048`, `expires<030D`: `expires<30d`, `expires<NOW`: `expires<now`,
		`issued<2026-01-01T02:00:00.7+02:00`: `issued<2026-01-01T00:00:00Z`, `issued<2026-01-01`: `issued<2026-01-01`, `cn:"a\"b\\c\,d"`: `cn:"a\"b\\c\\,d"`, "cn:\"a\tb\"": `cn:"a b"`,
	} {
		s, err := inspect.Parse(text)
		if err != nil {
			t.Errorf("Parse(%q): %v", text, err)
			continue
		}
		if got := s.String(); got != want {
			t.Errorf("Parse(%q).String() = %q, want %q", text, got, want)
		}
	}
}

// Examples in docs/search.md are searches.
func TestDocumentedSearches(t *testing.T) {
	text, err := os.ReadFile("../docs/search.md")
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	n := 0
	for line := range strings.Lines(string(text)) {
		cell, isRow := strings.CutPrefix(line, "| `")
		if isRow {
			cell, _, _ = strings.Cut("`"+cell, " |")
		}
		examples := regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1)
		if !isRow {
			examples = nil
		}
		if strings.HasPrefix(line, "device-serial:") {
			examples = [][]string{{line, line}}
		}
		for _, e := range examples {
			s, err := inspect.Parse(e[1])
			if err != nil || s.Empty() {
				t.Errorf("docs/search.md: %s: %v", e[1], err)
				continue
			}
			if _, err := s.Query(now, configurations); err != nil {
				t.Errorf("docs/search.md: %s: %v", e[1], err)
			}
			key, _, _ := strings.Cut(strings.FieldsFunc(e[1], func(c rune) bool { return c == ':' || c == '<' || c == '>' })[0], " ")
			keys[key] = true
			n++
		}
	}
	if n < 40 {
		t.Errorf("only %d examples were found", n)
	}
	_, err = inspect.Parse("nothing:x")
	_, list, _ := strings.Cut(err.Error(), "use one of ")
	list, _, _ = strings.Cut(list, ", or quote")
	for _, key := range strings.Split(list, ", ") {
		if !keys[key] {
			t.Errorf("docs/search.md has no example of %s:", key)
		}
	}
}

// What a mistake recommends is right.
func TestRecommendedSearches(t *testing.T) {
	for _, wrong := range []string{`device-serial<x`, `uuid<x`, `udid<x`, `upn<x`, `device<x`, `cn<x`, `subject<x`, `san<x`, `serial<x`, `sha256<x`, `key<x`, `issuer<x`, `configuration<x`, `purpose<x`, `mode<x`,
		`challenge<x`, `transaction<x`, `ip<x`, `agent<x`, `wire<x`, `warning<x`, `clock<x`, `state<x`, `reason<x`, `expires:x`, `issued:x`} {
		_, err := inspect.Parse(wrong)
		_, advice, ok := strings.Cut(err.Error(), "write ")
		advice, _, _ = strings.Cut(advice, " (")
		if _, err := inspect.Parse(advice); !ok || err != nil {
			t.Errorf("%s: recommends %q: %v", wrong, advice, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{
		`device-serial:C02* expires<30d mode:static ip:10.0.0.0/8`, `-"a \"b" cn:"x"*"y z"**`, `serial:0:a:* -sha256:ab*`, `"\\\x"*`, `state:valid used:never issued>2026-01-01T00:00:00Z`, "a\u00a0\"\u3000b\"",
		`configuration:default device:serial:C02 key:*`, `-* * ** "*"`, `wire:des subject:\C3 cn:. upn:"ü "*`, `bits>1 ip:::1/3`,
	} {
		f.Add(text, `CN=a\,b\C3\9F+O=x`)
	}
	f.Fuzz(func(t *testing.T, text, subject string) {
		s, err := inspect.Parse(text)
		if err != nil {
			var syntax *inspect.SyntaxError
			if !errors.As(err, &syntax) {
				t.Fatalf("Parse(%q): %v", text, err)
			}
			return
		}
		canonical := s.String()
		again, err := inspect.Parse(canonical)
		if len(canonical) > inspect.MaxSearch {
			return // quotation marks made it too long
		}
		if err != nil || again.String() != canonical {
			t.Fatalf("%q is %q in its canonical form, which is %q: %v", text, canonical, again.String(), err)
		}
		everything := func(string) (string, bool) { return "rac1", true }
		one, _ := s.Query(now, everything)
		two, _ := again.Query(now, everything)
		for _, i := range []depot.Identity{{Subject: subject}, anna(), {Subject: text, Device: depot.DeviceNames{DeviceSerial: subject, UPN: text}, SourceAddress: subject, Cipher: text}} {
			for _, standing := range []depot.Standing{depot.StandingNone, depot.StandingSuperseded} {
				if one.Match != nil && one.Match(i, standing) != two.Match(i, standing) {
					t.Fatalf("%q and %q disagree about %q", text, canonical, i.Subject)
				}
			}
		}
	})
}

// The index that a search walks, and that it never leaves out what fits: the
// narrowing is compared with Match alone.
func TestIndexes(t *testing.T) {
	sha := strings.Repeat("12", 32)
	tests := []struct {
		text string
		want depot.IdentityQuery
	}{
		{`anna`, depot.IdentityQuery{}},
		{`-device-serial:C02* -expires<30d -key:` + sha + ` -configuration:default`, depot.IdentityQuery{}},
		{`device-serial:C02`, depot.IdentityQuery{NameKind: depot.NameDeviceSerial, Name: "C02"}},
		{`device-serial:C02*`, depot.IdentityQuery{NameKind: depot.NameDeviceSerial, Name: "C02", NamePrefix: true}},
		{`device-serial:C02*X*`, depot.IdentityQuery{NameKind: depot.NameDeviceSerial, Name: "C02", NamePrefix: true}},
		{`device-serial:C02* udid:x`, depot.IdentityQuery{NameKind: depot.NameUDID, Name: "x"}},
		{`device-serial:*X`, depot.IdentityQuery{}},
		{`device-serial:Cé*`, depot.IdentityQuery{}},
		{`device-serial:Cé upn:é`, depot.IdentityQuery{}},
		{`uuid:x`, depot.IdentityQuery{NameKind: depot.NameProfileUUID, Name: "x"}},
		{`upn:x`, depot.IdentityQuery{NameKind: depot.NameUPN, Name: "x"}},
		{`key:` + sha, depot.IdentityQuery{PublicKeySHA256: [32]byte([]byte(strings.Repeat("\x12", 32)))}},
		{`key:12*`, depot.IdentityQuery{}},
		{`configuration:default`, depot.IdentityQuery{ConfigurationID: "rac00000000000000001"}},
		{`configuration:default transaction:T device:D upn:x`, depot.IdentityQuery{ConfigurationID: "rac00000000000000001", TransactionID: "T"}},
		{`configuration:default device:D upn:x`, depot.IdentityQuery{ConfigurationID: "rac00000000000000001", DeviceKey: "D"}},
		{`transaction:T`, depot.IdentityQuery{}},
		{`device:serial:C02+profile:x`, depot.IdentityQuery{NameKind: depot.NameDeviceSerial, Name: "C02"}},
		{`device:udid:AB`, depot.IdentityQuery{NameKind: depot.NameUDID, Name: "AB"}},
		{`device:serial:sha256:AB`, depot.IdentityQuery{}},
		{`device:serial:C0*`, depot.IdentityQuery{}},
		{`state:valid`, depot.IdentityQuery{WithStanding: true}},
		{`expires<30d expires<40d`, depot.IdentityQuery{NotAfterTo: now.Add(30*day + time.Second), Order: depot.ByNotAfter}},
		{`expires>30d expires>20d`, depot.IdentityQuery{NotAfterFrom: now.Add(30 * day), Order: depot.ByNotAfter}},
		{`issued<7d`, depot.IdentityQuery{IssuedFrom: now.Add(-7 * day)}},
		{`issued>7d`, depot.IdentityQuery{IssuedTo: now.Add(-7*day + time.Second)}},
		{`issued<2026-01-01 expires>now`, depot.IdentityQuery{IssuedTo: time.Date(2026, 1, 1, 0, 0, 1, 0, time.UTC), NotAfterFrom: now}},
		{`upn:x expires>now`, depot.IdentityQuery{NameKind: depot.NameUPN, Name: "x", NotAfterFrom: now}},
		{`revoked<1d used<1d`, depot.IdentityQuery{}},
	}
	for _, tt := range tests {
		got := query(t, tt.text)
		if got.Match == nil {
			t.Errorf("%s: nothing matches", tt.text)
		}
		got.Match = nil
		if !sameQuery(got, tt.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", tt.text, got, tt.want)
		}
	}
	if q := query(t, ""); q.Match != nil {
		t.Error("the empty search matches one by one")
	}
}

func sameQuery(a, b depot.IdentityQuery) bool {
	times := func(q depot.IdentityQuery) []time.Time {
		return []time.Time{q.NotAfterFrom, q.NotAfterTo, q.IssuedFrom, q.IssuedTo}
	}
	return a.ConfigurationID == b.ConfigurationID && a.DeviceKey == b.DeviceKey && a.TransactionID == b.TransactionID && a.PublicKeySHA256 == b.PublicKeySHA256 &&
		a.NameKind == b.NameKind && a.Name == b.Name && a.NamePrefix == b.NamePrefix && a.WithStanding == b.WithStanding && a.Order == b.Order &&
		slices.EqualFunc(times(a), times(b), time.Time.Equal)
}

func TestSingle(t *testing.T) {
	sum := strings.Repeat("12", 32)
	for text, want := range map[string]string{
		`anna`: "", `serial:0A3F`: "0a3f", `state:valid serial:0x0a:3f`: "0a3f", `-serial:0a3f`: "", `serial:0a*`: "", `sha256:` + sum: sum, `sha256:12*`: "", `-sha256:` + sum: "",
	} {
		s, err := inspect.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		serial, sha256, ok := s.Single()
		got := serial
		if ok && serial == "" {
			got = strings.Repeat("12", 32)
			if sha256 != [32]byte([]byte(strings.Repeat("\x12", 32))) {
				t.Errorf("%s: %x", text, sha256)
			}
		}
		if got != want || ok != (want != "") {
			t.Errorf("%s: Single = %q, %t", text, got, ok)
		}
	}
}
