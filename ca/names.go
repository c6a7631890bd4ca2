package ca

import (
	"encoding/asn1"
	"fmt"
	"io"
	"regexp"
)

// Names that say aloud what this authority is.
const (
	labOrganization = "Understudy Lab - NOT FOR PRODUCTION"
	rootName        = "Understudy Lab Root"
	raName          = "Understudy Lab Registration Authority"
	responderName   = "Understudy Lab OCSP Responder"
	issuerName      = "Organization Intermediate Authority" // as Okta's
)

var (
	oidCommonName         = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidOrganization       = asn1.ObjectIdentifier{2, 5, 4, 10}
	oidOrganizationalUnit = asn1.ObjectIdentifier{2, 5, 4, 11}
	oidDomainComponent    = asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}

	orgForm   = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`) // a DNS label
	orgIDForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)                        // ub-organizational-unit-name
)

// attribute is one relative distinguished name with one value.
type attribute struct {
	oid   asn1.ObjectIdentifier
	value string
}

// encodeName returns the attributes as a Name in DER, in the given order.
// pkix.Name cannot do that: it knows no domain components and has an order of
// its own.
func encodeName(attributes ...attribute) ([]byte, error) {
	type typeAndValue struct {
		Type  asn1.ObjectIdentifier
		Value asn1.RawValue
	}
	type relativeNameSET []typeAndValue
	var name []relativeNameSET
	for _, a := range attributes {
		tag := asn1.TagUTF8String
		if a.oid.Equal(oidDomainComponent) {
			tag = asn1.TagIA5String // RFC 4519 §2.4
		}
		value := asn1.RawValue{Tag: tag, Bytes: []byte(a.value)}
		name = append(name, relativeNameSET{{Type: a.oid, Value: value}})
	}
	return asn1.Marshal(name)
}

// oktaShape returns the beginning that an issuer's name shares with Okta's,
// which is what MDM queries match on: DC=com, DC=okta, DC=<org>, OU=<org id>.
func oktaShape(org, orgID string) []attribute {
	return []attribute{
		{oidDomainComponent, "com"}, {oidDomainComponent, "okta"}, {oidDomainComponent, org},
		{oidOrganizationalUnit, orgID},
	}
}

// subjects are the names of an authority's certificates, in DER. In
// ShapeSingle issuer and ra are not used, and the root carries the Okta shape
// because device certificates name it as their issuer.
type subjects struct{ root, issuer, ra, responder []byte }

func newSubjects(shape Shape, org, orgID string) (subjects, error) {
	lab := attribute{oidOrganization, labOrganization}
	root := []attribute{lab, {oidCommonName, rootName}}
	if shape == ShapeSingle {
		root = append(oktaShape(org, orgID), root...)
	}
	issuer := append(oktaShape(org, orgID), attribute{oidCommonName, issuerName})
	ra := []attribute{lab, {oidCommonName, raName}}
	responder := []attribute{lab, {oidCommonName, responderName}}

	var s subjects
	var err error
	for _, n := range []struct {
		to   *[]byte
		name []attribute
	}{{&s.root, root}, {&s.issuer, issuer}, {&s.ra, ra}, {&s.responder, responder}} {
		if *n.to, err = encodeName(n.name...); err != nil {
			return subjects{}, fmt.Errorf("encode name: %w", err)
		}
	}
	return s, nil
}

// checkOrg says whether an organisation can stand in a name and in a host name.
func checkOrg(org, orgID string) error {
	if !orgForm.MatchString(org) {
		return fmt.Errorf("organisation %q is not a subdomain: use up to 63 letters, digits and hyphens", org)
	}
	if !orgIDForm.MatchString(orgID) {
		return fmt.Errorf("organisation id %q is not an id: use up to 64 letters, digits, dots, hyphens and underscores", orgID)
	}
	return nil
}

// newOrgID returns an id of the form of Okta's: 00o and 17 of [a-z0-9].
func newOrgID(random io.Reader) (string, error) {
	const alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
	octets := make([]byte, 17)
	if _, err := io.ReadFull(random, octets); err != nil {
		return "", fmt.Errorf("make organisation id: %w", err)
	}
	for i, o := range octets {
		octets[i] = alphabet[int(o)%len(alphabet)] // an id, no secret: the slight bias does not matter
	}
	return "00o" + string(octets), nil
}
