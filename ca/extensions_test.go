package ca_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"understudy.example/understudy/refusal"
)

func ext(t testing.TB, oid string, value []byte) pkix.Extension {
	t.Helper()
	parsed, err := x509.ParseOID(oid)
	must(t, err)
	var id asn1.ObjectIdentifier
	var wire []byte
	wire, err = parsed.MarshalBinary()
	must(t, err)
	_, err = asn1.Unmarshal(der(t, 6, wire), &id)
	must(t, err)
	return pkix.Extension{Id: id, Critical: true, Value: value}
}

const (
	basicConstraints = "2.5.29.19"
	keyUsage         = "2.5.29.15"
	extKeyUsage      = "2.5.29.37"
	subjectAltName   = "2.5.29.17"
)

// wanted is a request for everything that a device must not get.
func wanted(t testing.TB) []pkix.Extension {
	eku := func(dotted ...asn1.ObjectIdentifier) []byte {
		b, err := asn1.Marshal(dotted)
		must(t, err)
		return b
	}
	purpose := func(n int) asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, n} }
	return []pkix.Extension{
		ext(t, basicConstraints, []byte{0x30, 6, 1, 1, 0xff, 2, 1, 3}),
		ext(t, keyUsage, []byte{3, 2, 1, 0xfe}),
		ext(t, extKeyUsage, eku(purpose(3), purpose(9), purpose(8), // codeSigning, OCSPSigning, timeStamping
			asn1.ObjectIdentifier{2, 5, 29, 37, 0},                   // any
			asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 2})), // smartcard logon
		ext(t, subjectAltName, der(t, 0x30, upn(t, "admin@lab.example"))),
		ext(t, "1.3.6.1.4.1.51150.13.1", []byte{2, 1, 1}),
		ext(t, "1.2.3.4", []byte("anything")),
	}
}

func upn(t testing.TB, text string) []byte {
	oid, err := asn1.Marshal(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3})
	must(t, err)
	return der(t, 0xa0, oid, der(t, 0xa0, der(t, utf8String, []byte(text))))
}

func TestExtensionsAreDropped(t *testing.T) { // A09, A10, A11
	a, _ := opened(t, "chain", today)
	plain := request(t, commonName(t, "x"))
	greedy := request(t, commonName(t, "x"), wanted(t)...)
	if len(greedy.Extensions) != 6 {
		t.Fatalf("the request has %d extensions", len(greedy.Extensions))
	}
	want, err := issueAt(t, a, deviceAccess(), plain, today)
	must(t, err)
	got, err := issueAt(t, a, deviceAccess(), greedy, today)
	must(t, err)
	equal := func(a, b pkix.Extension) bool {
		return a.Id.Equal(b.Id) && a.Critical == b.Critical && slices.Equal(a.Value, b.Value)
	}
	if !slices.EqualFunc(got.Extensions, want.Extensions, equal) || got.IsCA {
		t.Errorf("extensions %v, want those of a plain request %v", got.Extensions, want.Extensions)
	}
}

func TestStrictExtensions(t *testing.T) { // A09
	for _, tt := range []struct {
		name    string
		e       pkix.Extension
		refused bool
	}{
		{"CA:true", ext(t, basicConstraints, []byte{0x30, 3, 1, 1, 0xff}), true},
		{"CA:true with path length", ext(t, basicConstraints, []byte{0x30, 6, 1, 1, 0xff, 2, 1, 0}), true},
		{"path length alone", ext(t, basicConstraints, []byte{0x30, 3, 2, 1, 0}), true},
		{"unreadable constraints", ext(t, basicConstraints, []byte{0x30, 9}), true},
		{"CA:false", ext(t, basicConstraints, []byte{0x30, 0}), false},
		{"keyCertSign", ext(t, keyUsage, []byte{3, 2, 2, 0x84}), true},
		{"cRLSign", ext(t, keyUsage, []byte{3, 2, 1, 0x82}), true},
		{"unreadable usage", ext(t, keyUsage, []byte{3}), true},
		{"digitalSignature and keyEncipherment", ext(t, keyUsage, []byte{3, 2, 5, 0xa0}), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			csr := subjectRequest(t, commonName(t, "x"))
			csr.Extensions = []pkix.Extension{tt.e}
			if _, err := deviceAccess().Check(csr, today); err != nil {
				t.Errorf("not strict: %v", err)
			}
			p := deviceAccess()
			p.StrictExtensions = true
			_, err := p.Check(csr, today)
			if !tt.refused {
				must(t, err)
				return
			}
			wantRefusal(t, err, refusal.SubjectRejected, "rights of a CA")
		})
	}
}

func TestRequestedSANs(t *testing.T) { // A11
	oid := func(o ...int) []byte {
		b, err := asn1.Marshal(asn1.ObjectIdentifier(o))
		must(t, err)
		return b
	}
	long := strings.Repeat("é", 200)
	entries := []struct {
		entry []byte
		want  string
	}{
		{der(t, 0x82, []byte("mac.lab.example")), "dns:mac.lab.example"},
		{der(t, 0x81, []byte("u@lab.example")), "email:u@lab.example"},
		{der(t, 0x86, []byte("tag:microsoft.com,2022-09-14:sid:S-1")), "uri:tag:microsoft.com,2022-09-14:sid:S-1"},
		{der(t, 0x87, netip.MustParseAddr("192.0.2.1").AsSlice()), "ip:192.0.2.1"},
		{der(t, 0x87, netip.MustParseAddr("2001:db8::1").AsSlice()), "ip:2001:db8::1"},
		{der(t, 0x87, []byte{1, 2, 3}), "ip:#010203"},
		{upn(t, "u@lab.example"), "upn:u@lab.example"},
		{der(t, 0xa0, oid(1, 2, 3, 4), der(t, 0xa0, der(t, utf8String, []byte("x")))), "other:1.2.3.4:x"},
		{der(t, 0xa0, oid(1, 2, 3, 4), der(t, 0xa0, der(t, 4, []byte{1, 2}))), "other:1.2.3.4:#0102"},
		{der(t, 0xa0, []byte("junk")), "other:#6a756e6b"},
		{der(t, 0xa4, commonName(t, "x")), "dirname:#300c310a300806035504030c0178"},
		{der(t, 0x88, []byte{0x2a, 3}), "rid:1.2.3"},
		{der(t, 0xa5, []byte{1}), "unknown:#01"},
		{der(t, 0x82, []byte("a\nb")), "dns:#610a62"},
		{der(t, 0x82, []byte("\xff")), "dns:#ff"},
		{der(t, 0x82, []byte(long)), "dns:" + strings.Repeat("é", 128) + "…"},
	}
	var parts [][]byte
	var want []string
	for _, e := range entries {
		parts, want = append(parts, e.entry), append(want, e.want)
	}
	csr := subjectRequest(t, commonName(t, "x"))
	csr.Extensions = []pkix.Extension{ext(t, subjectAltName, der(t, 0x30, parts...))}
	permit, err := deviceAccess().Check(csr, today)
	must(t, err)
	if got := permit.RequestedSANs(); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	permit.RequestedSANs()[0] = "changed"
	if permit.RequestedSANs()[0] == "changed" {
		t.Error("a permit can be changed")
	}
}

func TestSANLimits(t *testing.T) { // A11
	some := func(n int) []byte {
		var parts [][]byte
		for range n {
			parts = append(parts, der(t, 0x82, []byte(strings.Repeat("x", 300))))
		}
		return der(t, 0x30, parts...)
	}
	for _, tt := range []struct {
		name   string
		values [][]byte
		detail string
	}{
		{"64", [][]byte{some(64)}, ""},
		{"65", [][]byte{some(65)}, "more than 64"},
		{"65 in two", [][]byte{some(33), some(32)}, "more than 64"},
		{"10000", [][]byte{some(10_000)}, "more than 64"},
		{"no sequence", [][]byte{{4, 0}}, "not a sequence"},
		{"more behind it", [][]byte{append(some(1), 0)}, "not a sequence"},
		{"cut entry", [][]byte{{0x30, 2, 0x82, 5}}, "entry 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			csr := subjectRequest(t, commonName(t, "x"))
			for _, v := range tt.values {
				csr.Extensions = append(csr.Extensions, ext(t, subjectAltName, v))
			}
			permit, err := deviceAccess().Check(csr, today)
			if tt.detail != "" {
				wantRefusal(t, err, refusal.SubjectRejected, tt.detail)
				return
			}
			must(t, err)
			for _, s := range permit.RequestedSANs() {
				if len(s) >= 400 {
					t.Errorf("evidence of %d octets", len(s))
				}
			}
		})
	}
}
