package explain

import (
	"crypto/x509"
	"fmt"
	"math/big"
	"net/netip"
	"strings"
)

// keyUsages are the names of the bits (RFC 5280 §4.2.1.3).
var keyUsages = []string{
	"digitalSignature", "nonRepudiation", "keyEncipherment", "dataEncipherment",
	"keyAgreement", "keyCertSign", "cRLSign", "encipherOnly", "decipherOnly",
}

// anExtension is an Extension, taken apart.
type anExtension struct {
	oid      string
	critical bool
	value    []byte
}

// readExtension reads an Extension (RFC 5280 §4.1).
func readExtension(n *node) anExtension {
	e := anExtension{oid: oidOf(n.kid(0))}
	i := 1
	if c := n.kid(1); c.is(tagBoolean) {
		e.critical = len(c.body) == 1 && c.body[0] != 0
		i = 2
	}
	e.value = n.kid(i).octets()
	return e
}

// readExtensions takes from the extensions what others have to know.
func (c *cert) readExtensions(n *node) {
	for i := range n.childCount() {
		e := readExtension(n.kid(i))
		inside := reparse(e.value)
		switch e.oid {
		case oidKeyUsage:
			c.usage = usageOf(inside)
		case oidBasicConstraints:
			c.isCA = isTrue(inside.kid(0))
		case oidSubjectKeyID:
			c.keyID = inside.octets()
		case oidExtKeyUsage:
			for j := range inside.childCount() {
				c.purposes = append(c.purposes, oidOf(inside.kid(j)))
			}
		}
	}
}

func isTrue(n *node) bool { return n.is(tagBoolean) && len(n.body) == 1 && n.body[0] != 0 }

func usageOf(n *node) x509.KeyUsage {
	var usage x509.KeyUsage
	for bit := range keyUsages {
		if hasBit(n, bit) {
			usage |= 1 << bit
		}
	}
	return usage
}

func hasBit(n *node, bit int) bool {
	return n.is(tagBitString) && len(n.body) > bit/8+1 && n.body[bit/8+1]&(0x80>>(bit%8)) != 0
}

// extensions adds the fields of Extensions.
func (x *explainer) extensions(f *Field, n *node, where string) {
	seen := map[string]bool{}
	for i := range n.childCount() {
		e := readExtension(n.kid(i))
		line := f.add(nameOf(e.oid), "").oid(e.oid)
		if e.critical {
			line.note("critical")
		}
		if seen[e.oid] {
			x.find(Objection, strict, "RFC 5280 §4.2", where, "%s is there twice", nameOf(e.oid))
		}
		seen[e.oid] = true
		inside, rest, fault := parse(e.value, x.left)
		if inside == nil || fault != nil || len(rest) > 0 {
			line.Value = octets(e.value)
			line.note("not DER")
			if _, known := names[e.oid]; known {
				x.find(Objection, strict, "RFC 5280 §4.2", where, "the value of %s is not DER", nameOf(e.oid))
			}
			continue
		}
		x.extension(line, e, inside, where)
	}
}

// extension shows the value of one extension.
func (x *explainer) extension(f *Field, e anExtension, n *node, where string) {
	switch e.oid {
	case oidKeyUsage:
		f.Value = usages(n)
	case oidExtKeyUsage:
		x.purposes(f, n)
	case oidBasicConstraints:
		f.Value = "cA FALSE"
		if isTrue(n.kid(0)) {
			f.Value = "cA TRUE"
		}
		if length := n.kid(len(n.kids) - 1); length.is(tagInteger) {
			f.Value += ", pathLen " + decimal(length)
		}
	case oidSubjectKeyID:
		f.Value = octets(n.octets())
	case oidAuthorityKeyID:
		f.Value = octets(n.kid(0).octets())
		if e.critical {
			x.find(Objection, "Go programs", "RFC 5280 §4.2.1.1", where,
				"authorityKeyIdentifier is critical, as Windows clients write it; Go from 1.23 refuses the certificate, and RA software in Go with it")
		}
	case oidSubjectAltName:
		generalNames(f, n)
	case oidCRLDistribution, oidAuthorityInfo:
		addresses(f, n)
	case oidCRLNumber, oidDeltaCRL, oidReasonCode:
		f.Value = value(n)
	case oidOCSPNoCheck:
		f.note("nobody asks whether this responder is revoked")
	case oidMarker:
		x.marker(f, e, n, where)
	default:
		f.Value = value(n)
		if e.critical {
			x.find(Remark, strict, "RFC 5280 §4.2", where, "%s is critical: who does not know it must refuse", nameOf(e.oid))
		}
	}
}

func usages(n *node) string {
	var all []string
	for bit, usage := range keyUsages {
		if hasBit(n, bit) {
			all = append(all, usage)
		}
	}
	return strings.Join(all, ", ")
}

func (x *explainer) purposes(f *Field, n *node) {
	var all []string
	for i := range n.kids {
		oid := oidOf(&n.kids[i])
		all = append(all, nameOf(oid))
		if oid == oidMarkerPurpose {
			f.note("it has Okta's Device Access marker in the form that AD CS can write")
		}
	}
	f.Value = strings.Join(all, ", ")
}

// marker explains Okta's marker of Device Access.
func (x *explainer) marker(f *Field, e anExtension, n *node, where string) {
	f.Value = value(n)
	f.note("Okta finds the Device Access certificate of a device by it")
	if !n.is(tagInteger) || integer(n).Cmp(big.NewInt(1)) != 0 {
		x.find(Objection, "Okta Device Access", "okta-help, custom CA", where, "the value of the marker is not INTEGER 1")
	}
	if e.critical {
		x.find(Objection, "Go, OpenSSL and other verifiers", "RFC 5280 §4.2", where, "the marker is critical: verifiers that do not know it refuse the certificate")
	}
}

// generalNames adds a field for each GeneralName (RFC 5280 §4.2.1.6).
func generalNames(f *Field, n *node) {
	for i := range n.kids {
		kind, text := generalName(&n.kids[i])
		f.add(kind, text)
	}
}

func generalName(n *node) (kind, text string) {
	if n == nil {
		return "name", "absent"
	}
	switch n.tag &^ constructed {
	case context0:
		oid := oidOf(n.kid(0))
		return "otherName " + nameOf(oid), value(n.kid(1).kid(0))
	case context0 | 1:
		return "rfc822Name", string(n.octets())
	case context0 | 2:
		return "dNSName", string(n.octets())
	case context0 | 4:
		return "directoryName", name(n.kid(0))
	case context0 | 6:
		return "uniformResourceIdentifier", string(n.octets())
	case context0 | 7:
		if address, ok := netip.AddrFromSlice(n.octets()); ok {
			return "iPAddress", address.String()
		}
		return "iPAddress", octets(n.octets())
	case context0 | 8:
		return "registeredID", fmt.Sprintf("%x", n.octets())
	default:
		return tagName(n.tag), octets(n.octets())
	}
}

// addresses adds the URLs of CRL distribution points and of authority
// information, which is where they are used.
func addresses(f *Field, n *node) {
	for i := range n.kids {
		kid := &n.kids[i]
		if oid := oidOf(kid.kid(0)); oid != "" {
			_, text := generalName(kid.kid(1))
			f.add(nameOf(oid), text)
			continue
		}
		names := kid.kid(0).kid(0)
		for j := range names.childCount() {
			kind, text := generalName(names.kid(j))
			f.add(kind, text)
		}
	}
}
