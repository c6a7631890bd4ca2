package device_test

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/device"
)

const (
	udid    = "0A1B2C3D-4E5F-6071-8293-A4B5C6D7E8F9"
	profile = "5C3A1B2D-0000-4AAA-9BBB-0123456789ab"
)

// value is one attribute of a subject; and says that it shares its RDN with
// the one before.
type value struct {
	oid  string
	tag  cbasn1.Tag
	text string
	and  bool
}

func cn(text string) value { return value{"2.5.4.3", cbasn1.UTF8String, text, false} }
func ou(text string) value { return value{"2.5.4.11", cbasn1.UTF8String, text, false} }
func o(text string) value  { return value{"2.5.4.10", cbasn1.PrintableString, text, false} }
func and(v value) value    { v.and = true; return v }

// subject encodes a Name, keeping the order also inside a SET.
func subject(values ...value) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for i := 0; i < len(values); {
			b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) {
				for first := true; i < len(values) && (first || values[i].and); i++ {
					v := values[i]
					b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddASN1ObjectIdentifier(parseOID(v.oid))
						b.AddASN1(v.tag, func(b *cryptobyte.Builder) { b.AddBytes([]byte(v.text)) })
					})
					first = false
				}
			})
		}
	})
	return b.BytesOrPanic()
}

func parseOID(dotted string) (oid []int) {
	for part := range strings.SplitSeq(dotted, ".") {
		var n int
		fmt.Sscan(part, &n)
		oid = append(oid, n)
	}
	return oid
}

func utf16be(s string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, byte(u>>8), byte(u))
	}
	return string(b)
}

func TestVendorForms(t *testing.T) {
	lowProfile := strings.ToLower(profile)
	iru := device.Names{Key: "serial:C02XL0GYJGH5+profile:" + lowProfile, DeviceSerial: "C02XL0GYJGH5", ProfileUUID: profile}
	tests := []struct {
		name    string
		subject []byte
		want    device.Names
	}{
		{"WorkOS", subject(cn("OktaManagementAttestation for C02XL0GYJGH5")),
			device.Names{Key: "serial:C02XL0GYJGH5", DeviceSerial: "C02XL0GYJGH5"}},
		{"WorkOS with a serial of another shape", subject(cn("OktaManagementAttestation for vm-7 ")),
			device.Names{Key: "serial:VM-7", DeviceSerial: "vm-7"}},
		{"Intune, device access", subject(cn("anna.o'neil+x@example.com ODA 3F2504E0-4F89-41D3-9A0C-0305E82C3301")),
			device.Names{Key: "device:3f2504e0-4f89-41d3-9a0c-0305e82c3301", UPN: "anna.o'neil+x@example.com", DeviceID: "3F2504E0-4F89-41D3-9A0C-0305E82C3301"}},
		{"Intune, attestation", subject(cn("a@b managementAttestation 42")),
			device.Names{Key: "device:42", UPN: "a@b", DeviceID: "42"}},
		{"Jamf at user level with a profile", subject(cn("a@b managementAttestation " + udid + " " + profile)),
			device.Names{Key: "device:" + strings.ToLower(udid) + "+profile:" + lowProfile, UPN: "a@b", DeviceID: udid, ProfileUUID: profile}},
		{"cloud-8021x", subject(cn("C02XL0GYJGH5 managementAttestation " + udid + " " + profile)),
			device.Names{Key: "udid:" + udid + "+profile:" + lowProfile, DeviceSerial: "C02XL0GYJGH5", UDID: udid, ProfileUUID: profile}},
		{"cloud-8021x with an identifier for a profile", subject(cn("C02XL0GYJGH5 managementAttestation " + udid + " com.example.WiFi")),
			device.Names{Key: "udid:" + udid + "+profile:com.example.wifi", DeviceSerial: "C02XL0GYJGH5", UDID: udid, ProfileUUID: "com.example.WiFi"}},
		{"cloud-8021x without a profile", subject(cn("C02XL0GYJGH5 managementAttestation " + udid)),
			device.Names{Key: "udid:" + udid, DeviceSerial: "C02XL0GYJGH5", UDID: udid}},
		{"Jamf at computer level", subject(cn("Anna's MacBook Pro managementAttestation " + strings.ToLower(udid))),
			device.Names{Key: "udid:" + udid, ComputerName: "Anna's MacBook Pro", UDID: strings.ToLower(udid)}},
		{"Jamf at computer level, no-break space", subject(cn("Anna’s MacBook\u00a0Pro ODA " + udid)),
			device.Names{Key: "udid:" + udid, ComputerName: "Anna’s MacBook Pro", UDID: udid}},
		{"Jamf at computer level with a profile", subject(cn("lab mac ODA " + udid + " " + profile)),
			device.Names{Key: "udid:" + udid + "+profile:" + lowProfile, ComputerName: "lab mac", UDID: udid, ProfileUUID: profile}},
		{"computer name that holds the word", subject(cn("ODA ODA ODA " + udid)),
			device.Names{Key: "udid:" + udid, ComputerName: "ODA ODA", UDID: udid}},
		{"Fleet", subject(cn("managementAttestation "+udid), ou("fleet-"+profile)),
			device.Names{Key: "udid:" + udid + "+profile:" + lowProfile, UDID: udid, ProfileUUID: profile}},
		{"Fleet, OU first and in one RDN", subject(ou("fleet-"+profile), and(cn("managementAttestation "+udid))),
			device.Names{Key: "udid:" + udid + "+profile:" + lowProfile, UDID: udid, ProfileUUID: profile}},
		{"Fleet without its OU", subject(cn("managementAttestation " + udid)),
			device.Names{Key: "udid:" + udid, UDID: udid}},
		{"Iru before it appends", subject(cn("C02XL0GYJGH5")),
			device.Names{Key: "serial:C02XL0GYJGH5", DeviceSerial: "C02XL0GYJGH5"}},
		{"Iru joined by a space", subject(cn("C02XL0GYJGH5 " + profile)), iru},
		{"Iru joined by -", subject(cn("C02XL0GYJGH5-" + profile)), iru},
		{"Iru joined by _", subject(cn("C02XL0GYJGH5_" + profile)), iru},
		{"Iru joined by :", subject(cn("C02XL0GYJGH5:" + profile)), iru},
		{"Iru joined by .", subject(cn("C02XL0GYJGH5." + profile)), iru},
		{"Iru joined by several", subject(cn("C02XL0GYJGH5 -_:. " + profile)), iru},
		{"Iru joined by nothing", subject(cn("C02XL0GYJGH5" + profile)), iru},
		{"Iru, ten characters, joined by nothing", subject(cn("ABCDEF0123" + profile)),
			device.Names{Key: "serial:ABCDEF0123+profile:" + lowProfile, DeviceSerial: "ABCDEF0123", ProfileUUID: profile}},
		{"Iru, eight characters", subject(cn("ABCDEF01" + profile)),
			device.Names{Key: "serial:ABCDEF01+profile:" + lowProfile, DeviceSerial: "ABCDEF01", ProfileUUID: profile}},
		{"Iru, fourteen characters", subject(cn("ABCDEF01234567 " + profile)),
			device.Names{Key: "serial:ABCDEF01234567+profile:" + lowProfile, DeviceSerial: "ABCDEF01234567", ProfileUUID: profile}},
		{"seven characters are no serial", subject(cn("ABCDEF0 " + profile)),
			device.Names{Key: "subject:CN=abcdef0 " + lowProfile}},
		{"fifteen characters are no serial", subject(cn("ABCDEF012345678")),
			device.Names{Key: "subject:CN=abcdef012345678"}},
		{"another joiner", subject(cn("C02XL0GYJGH5/" + profile)),
			device.Names{Key: "subject:CN=c02xl0gyjgh5/" + lowProfile}},
		{"bare UUID", subject(cn(strings.ToLower(udid))),
			device.Names{Key: "uuid:" + udid}},
		{"only in the OU", subject(o("Example"), ou("C02XL0GYJGH5 "+profile)), iru},
		{"CN of no form, then OU", subject(ou("C02XL0GYJGH5 "+profile), cn("Anna")), iru},
		{"CN before OU", subject(ou("Z99ZZ9ZZ9ZZ9"), cn("C02XL0GYJGH5 "+profile)), iru},
		{"second CN", subject(cn("Anna"), cn("C02XL0GYJGH5 "+profile)), iru},
		{"second CN of one RDN", subject(cn("Anna"), and(cn("C02XL0GYJGH5 "+profile))), iru},
		{"first of two that match", subject(cn("C02XL0GYJGH5"), cn("Z99ZZ9ZZ9ZZ9")),
			device.Names{Key: "serial:C02XL0GYJGH5", DeviceSerial: "C02XL0GYJGH5"}},
		{"department in the OU", subject(cn("anna"), ou("ENGINEERING")),
			device.Names{Key: "subject:CN=anna,OU=engineering"}},
		{"PrintableString", subject(value{oid: "2.5.4.3", tag: cbasn1.PrintableString, text: "C02XL0GYJGH5 " + profile}), iru},
		{"IA5String", subject(value{oid: "2.5.4.3", tag: cbasn1.IA5String, text: "C02XL0GYJGH5 " + profile}), iru},
		{"T61String", subject(value{oid: "2.5.4.3", tag: cbasn1.T61String, text: "B\xfcro ODA " + udid}),
			device.Names{Key: "udid:" + udid, ComputerName: "Büro", UDID: udid}},
		{"BMPString", subject(value{oid: "2.5.4.3", tag: 30, text: utf16be("Büro 😀 ODA " + udid)}),
			device.Names{Key: "udid:" + udid, ComputerName: "Büro 😀", UDID: udid}},
		{"UniversalString", subject(value{oid: "2.5.4.3", tag: 28, text: "\x00\x00\x00A\x00\x01\xf6\x00"}),
			device.Names{Key: "subject:CN=a😀"}},
		{"empty subject", subject(), device.Names{Key: "subject:"}},
		{"control characters", subject(cn("a\nb ODA " + udid)),
			device.Names{Key: "udid:" + udid, ComputerName: "a b", UDID: udid}},
		{"no UTF-8, and a backslash", subject(cn("a\\\xef@b ODA \uFFFD\xef\xbf")),
			device.Names{Key: "device:\uFFFD\\ef\\bf", UPN: `a\\\EF@b`, DeviceID: "\uFFFD\\EF\\BF"}},
		{"only a backslash", subject(cn(`LAB\mac ODA ` + udid)),
			device.Names{Key: "udid:" + udid, ComputerName: `LAB\mac`, UDID: udid}},
		{"characters that do not print", subject(cn("a\x1b[2J\u202eb@c ODA x\x00y")),
			device.Names{Key: `device:x\00y`, UPN: `a\1B[2J\E2\80\AEb@c`, DeviceID: `x\00y`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := device.FromSubject(tt.subject)
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("FromSubject(%s)\n got %+v\nwant %+v", device.FormatName(tt.subject), got, tt.want)
			}
		})
	}
}

// Subjects of no known form name the same device when they differ only in what
// people do not see.
func TestSameDevice(t *testing.T) {
	bmp := value{oid: "2.5.4.3", tag: 30, text: utf16be("Büro 7")}
	groups := [][][]byte{
		{subject(cn("Büro 7")), subject(cn("büro 7")), subject(cn("BÜRO  7")), subject(cn("Bu\u0308ro 7.")), subject(cn("Büro\u00a07")), subject(cn("Büro ７")), subject(bmp)},
		{subject(cn("Büro 7"), o("x")), subject(cn("büro 7"), o("X"))},
		{subject(cn("Büro 7,O=x"))},
		{subject(cn("Büro 7"), and(o("x")))},
		{subject(cn("Büro 8"))},
		{subject(cn("C02XL0GYJGH5")), subject(cn("OktaManagementAttestation for c02xl0gyjgh5"))},
		{subject(cn(udid)), subject(cn(strings.ToLower(udid)))},
		{subject(cn("a@b ODA Dev")), subject(cn("c@d ODA dEV"))},
		{subject(cn("\xff1"))},
		{subject(cn("\xfe1"))},
		{subject(value{oid: "2.5.4.3", tag: 30, text: "\xd8\x00"})},
		{subject(value{oid: "2.5.4.3", tag: 30, text: "\xd8\x01"})},
		{subject(cn(strings.Repeat("long ", 200)))},
		{subject(cn(strings.Repeat("long ", 201)))},
	}
	owner := map[string]int{}
	for i, group := range groups {
		var first string
		for j, s := range group {
			n, err := device.FromSubject(s)
			if err != nil {
				t.Fatal(err)
			}
			if j == 0 {
				first = n.Key
			}
			if n.Key != first {
				t.Errorf("group %d: %q and %q should be one device", i, first, n.Key)
			}
		}
		if other, taken := owner[first]; taken {
			t.Errorf("groups %d and %d have the same key %q", other, i, first)
		}
		owner[first] = i
	}
}

// Keys fit into any index, and long names stay apart.
func TestKeysAreBounded(t *testing.T) {
	for name, format := range map[string]string{
		"device serial": "OktaManagementAttestation for %s", "device id": "a@b ODA %s", "profile": "a@b ODA 1 %s",
		"both": "a@b ODA %[1]s %[1]s", "subject": "of no form: %s", "escaped": "a@b ODA %s\x01\x01\x01",
	} {
		for _, length := range []int{128, 320, 4000} { // the longest that are kept, and beyond
			long := strings.Repeat("x", length)
			one, err := device.FromSubject(subject(cn(fmt.Sprintf(format, long))))
			if err != nil {
				t.Fatal(err)
			}
			two, err := device.FromSubject(subject(cn(fmt.Sprintf(format, long+"y"))))
			if err != nil {
				t.Fatal(err)
			}
			if len(one.Key) > device.MaxKey || one.Key == two.Key {
				t.Errorf("%s: keys of %d bytes, %q and %q", name, len(one.Key), one.Key, two.Key)
			}
		}
	}
}

func TestNotAName(t *testing.T) {
	for name, raw := range map[string][]byte{
		"nothing":            nil,
		"text":               []byte("CN=x"),
		"trailing byte":      append(subject(cn("x")), 0),
		"cut":                subject(cn("x"))[:8],
		"SET for SEQUENCE":   {0x31, 0},
		"empty RDN":          {0x30, 2, 0x31, 0},
		"type without value": {0x30, 9, 0x31, 7, 0x30, 5, 6, 3, 0x55, 4, 3},
		"no type":            {0x30, 6, 0x31, 4, 0x30, 2, 12, 0},
		"indefinite length":  {0x30, 0x80, 0, 0},
	} {
		if n, err := device.FromSubject(raw); err == nil {
			t.Errorf("%s: FromSubject = %+v, want an error", name, n)
		}
		if got, want := device.FormatName(raw), "#"+hex.EncodeToString(raw); got != want {
			t.Errorf("%s: FormatName = %q, want %q", name, got, want)
		}
	}
}

func TestFormatName(t *testing.T) {
	dc := func(s string) value { return value{"0.9.2342.19200300.100.1.25", cbasn1.IA5String, s, false} }
	tests := []struct {
		subject []byte
		want    string
	}{
		{subject(dc("com"), dc("okta"), dc("lab"), ou("x"), cn("y")), "DC=com,DC=okta,DC=lab,OU=x,CN=y"},
		{subject(cn("a"), and(value{"0.9.2342.19200300.100.1.1", cbasn1.UTF8String, "b", true}), o("c")), "CN=a+UID=b,O=c"},
		{subject(value{"2.5.4.5", cbasn1.PrintableString, "C02", false}, value{"1.2.840.113549.1.9.1", cbasn1.IA5String, "a@b", false}),
			"serialNumber=C02,emailAddress=a@b"},
		{subject(cn(`a,b+c"d\e<f>g;h=i`)), `CN=a\,b\+c\"d\\e\<f\>g\;h=i`},
		{subject(cn("#a#")), `CN=\#a#`},
		{subject(cn("  a  ")), `CN=\  a \ `},
		{subject(cn(" ")), `CN=\ `},
		{subject(cn("")), `CN=`},
		{subject(cn("a\x00\n\x7f\u202e\u00a0b")), `CN=a\00\0A\7F\E2\80\AE\C2\A0b`},
		{subject(cn("\xc3(\xff")), `CN=\C3(\FF`},
		{subject(cn("Łódź 😀 \uFFFD")), "CN=Łódź 😀 \uFFFD"},
		{subject(value{"1.2.3.4", cbasn1.UTF8String, "x", false}), "1.2.3.4=#0c0178"},
		{subject(value{"2.5.4.3", cbasn1.INTEGER, "\x07", false}), "CN=#020107"},
		{subject(value{"2.5.4.3", 30, "\x00", false}), "CN=#1e0100"},
		{subject(value{"2.5.4.3", 30, "\x00\r", false}), `CN=\0D`},
		{subject(value{"2.5.4.3", 28, "\x00\x11\x00\x00", false}), "CN=#1c0400110000"},
		{subject(), ""},
	}
	for _, tt := range tests {
		if got := device.FormatName(tt.subject); got != tt.want {
			t.Errorf("FormatName(%x)\n got %q\nwant %q", tt.subject, got, tt.want)
		}
	}
}

func TestFormatNameWithHugeOID(t *testing.T) {
	// A UUID under 2.25, as X.667 makes them.
	oid := append([]byte{0x69, 0x83}, append([]byte(strings.Repeat("\xff", 17)), 0x7f)...)
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(cbasn1.OBJECT_IDENTIFIER, func(b *cryptobyte.Builder) { b.AddBytes(oid) })
				b.AddASN1(cbasn1.UTF8String, func(b *cryptobyte.Builder) { b.AddBytes([]byte("x")) })
			})
		})
	})
	if got, want := device.FormatName(b.BytesOrPanic()), "2.25.340282366920938463463374607431768211455=#0c0178"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A number without end takes seconds to write in decimal.
func TestNameWithEndlessOID(t *testing.T) {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(cbasn1.OBJECT_IDENTIFIER, func(b *cryptobyte.Builder) {
					b.AddBytes(append([]byte(strings.Repeat("\xff", 120<<10)), 1))
				})
				b.AddASN1(cbasn1.UTF8String, func(*cryptobyte.Builder) {})
			})
		})
	})
	if n, err := device.FromSubject(b.BytesOrPanic()); err == nil {
		t.Errorf("FromSubject = %+v, want an error", n)
	}
}

func FuzzFromSubject(f *testing.F) {
	f.Add(subject(cn("C02XL0GYJGH5-" + profile)))
	f.Add(subject(cn("Anna's MacBook Pro managementAttestation "+udid), ou("fleet-"+profile)))
	f.Add(subject(cn("a@b ODA x\x00y"), and(o(" #\xff"))))
	f.Add(subject(value{oid: "2.5.4.3", tag: 30, text: "\xd8\x00\x00a"}))
	f.Add([]byte{0x30, 0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		line := device.FormatName(raw)
		n, err := device.FromSubject(raw)
		if err != nil {
			if n != (device.Names{}) {
				t.Errorf("names with an error: %+v", n)
			}
			return
		}
		for _, s := range []string{line, n.Key, n.DeviceSerial, n.ProfileUUID, n.UDID, n.UPN, n.DeviceID, n.ComputerName} {
			if !utf8.ValidString(s) || strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) }) {
				t.Errorf("not printable: %q", s)
			}
		}
		if n.Key == "" || len(n.Key) > device.MaxKey {
			t.Errorf("key of %d bytes: %q", len(n.Key), n.Key)
		}
		if again, _ := device.FromSubject(raw); again != n {
			t.Errorf("two answers: %+v and %+v", n, again)
		}
	})
}

func BenchmarkFromSubject(b *testing.B) {
	raw := subject(o("Example"), cn("C02XL0GYJGH5 "+profile))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := device.FromSubject(raw); err != nil {
			b.Fatal(err)
		}
	}
}
