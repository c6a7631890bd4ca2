package subject_test

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"understudy.example/understudy/cmd/understudy/internal/subject"
)

// describe writes a Name in its own order: type=value, "+" inside a part, ","
// between parts.
func describe(t *testing.T, der []byte) string {
	t.Helper()
	var name pkix.RDNSequence
	if rest, err := asn1.Unmarshal(der, &name); err != nil || len(rest) > 0 {
		t.Fatalf("%x is no Name: %v", der, err)
	}
	var parts []string
	for _, part := range name {
		var attributes []string
		for _, a := range part {
			attributes = append(attributes, fmt.Sprintf("%v=%v", a.Type, a.Value))
		}
		parts = append(parts, strings.Join(attributes, "+"))
	}
	return strings.Join(parts, ",")
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, want string }{
		{"CN=C02XL0GTJGH5", "2.5.4.3=C02XL0GTJGH5"},
		{"cn=a,ou=b", "2.5.4.3=a,2.5.4.11=b"},
		{"CN=a, OU=b", "2.5.4.3=a,2.5.4.11=b"},
		{"/CN=a/OU=b, c", "2.5.4.3=a,2.5.4.11=b, c"},
		{"DC=com,DC=okta,CN=x", "0.9.2342.19200300.100.1.25=com,0.9.2342.19200300.100.1.25=okta,2.5.4.3=x"},
		{"CN=a+OU=b", "2.5.4.3=a+2.5.4.11=b"},
		{"/CN=a+OU=b/O=c", "2.5.4.3=a+2.5.4.11=b,2.5.4.10=c"},
		// Joiners that MDMs put between device serial and profile UUID.
		{"CN=C02XL0GTJGH5 8d5f0c1e", "2.5.4.3=C02XL0GTJGH5 8d5f0c1e"},
		{"CN=C02XL0GTJGH5+8d5f0c1e", "2.5.4.3=C02XL0GTJGH5+8d5f0c1e"},
		{"CN=C02XL0GTJGH5/8d5f0c1e", "2.5.4.3=C02XL0GTJGH5/8d5f0c1e"},
		{"CN=C02XL0GTJGH5,8d5f0c1e", "2.5.4.3=C02XL0GTJGH5,8d5f0c1e"},
		{"CN=a=b", "2.5.4.3=a=b"},
		// One form's separator is the other's value.
		{"CN=a/OU=b", "2.5.4.3=a/OU=b"},
		{"/CN=a,OU=b/O=c", "2.5.4.3=a,OU=b,2.5.4.10=c"},
		{`CN=a\,OU=b`, "2.5.4.3=a,OU=b"},
		{`CN=a\2cb\\`, `2.5.4.3=a,b\`},
		{"CN=Über", "2.5.4.3=Über"},
		{"2.5.4.3=x,1.2.3.4=y", "2.5.4.3=x,1.2.3.4=y"},
		{"SERIALNUMBER=C02,UID=u,E=a@b.example", "2.5.4.5=C02,0.9.2342.19200300.100.1.1=u,1.2.840.113549.1.9.1=a@b.example"},
	} {
		der, err := subject.Parse(test.text)
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
			continue
		}
		if got := describe(t, der); got != test.want {
			t.Errorf("%s: got %s, want %s", test.text, got, test.want)
		}
	}
}

// TestParseBytes: the string types are those of RFC 5280.
func TestParseBytes(t *testing.T) {
	t.Parallel()
	der, err := subject.Parse("DC=a,CN=b")
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(der); !strings.Contains(got, "160161") || !strings.HasSuffix(got, "0c0162") {
		t.Errorf("got %s: a DC is an IA5String, a CN a UTF8String", got)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "/", "C02XL0GTJGH5", "=x", "CN=", "CN=a,OU=", `CN=a\`, "FOO=x", ",CN=a", "+CN=a", "CN a", "C=Dä", "DC=ä", `CN=\ff`} {
		if der, err := subject.Parse(text); err == nil {
			t.Errorf("%q: got %x, want an error", text, der)
		}
	}
}
