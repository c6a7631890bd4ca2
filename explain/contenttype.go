package explain

import "strings"

// contentTypes are the types of answers (RFC 8894 §4).
var contentTypes = map[Kind]string{
	Capabilities: "text/plain",
	Certificate:  "application/x-x509-ca-cert",
	CertsOnly:    "application/x-x509-ca-ra-cert",
	NextCA:       "application/x-x509-next-ca-cert",
	Reply:        "application/x-pki-message",
	OCSPResponse: "application/ocsp-response",
	CRL:          "application/pkix-crl",
}

// judgeType compares the Content-Type of an HTTP response with what is in it.
func (x *explainer) judgeType(got string) {
	want := contentTypes[x.item.Kind]
	f := &Field{Name: "Content-Type", Value: got}
	x.item.Fields = append([]*Field{f}, x.item.Fields...)
	media, _, parameters := strings.Cut(got, ";")
	media = strings.TrimSpace(media)
	who, rule := strict, "RFC 8894 §4"
	if x.item.Kind == Certificate || x.item.Kind == CertsOnly {
		who, rule = "Apple", "error 22004"
	}
	if c := x.only; x.item.Kind == Certificate && media == want && c != nil && c.usage != 0 && c.usage&raUsage != raUsage {
		x.find(Objection, "every client", "RFC 8894 §2.1.2", "keyUsage", "the only certificate of a SCEP server needs digitalSignature and keyEncipherment")
	}
	switch {
	case want == "" || x.item.Kind == Capabilities && media == want:
	case media != want:
		x.find(Objection, who, rule, "Content-Type", "it is %q, not %s", media, want)
	case parameters:
		x.find(Objection, who, rule, "Content-Type", "it has parameters: clients compare it as a whole with %s", want)
	}
}
