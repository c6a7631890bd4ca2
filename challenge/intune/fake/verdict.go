package fake

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// verdict is Intune's answer. The description is always there, if empty.
type verdict struct {
	Code        string `json:"code"`
	Description string `json:"errorDescription"`
}

// Codes returns all codes that Intune has, in the order of its reference
// client.
func Codes() []string {
	return []string{"Success", "Unknown", "CertificateRequestDecodingFailed", "ChallengePasswordMissing",
		"ChallengeDecodingError", "ChallengeDeserializationError", "ChallengeDecryptionError", "SignatureValidationFailed",
		"SigningCertThumbprintMismatch", "ChallengeInvalidTimestamp", "ChallengeExpired", "SubjectNameMissing",
		"SubjectNameMismatch", "SubjectAltNameMissing", "SubjectAltNameMismatch", "KeyUsageMismatch", "KeyLengthMismatch",
		"EnhancedKeyUsageMissing", "EnhancedKeyUsageMismatch", "AadKeyIdentifierListMissing", "RegisteredKeyMismatch",
		"ScepProfileNoLongerTargetedToTheClient", "BadCertificateRequestIdInChallenge", "BadDeviceIdInChallenge",
		"BadUserIdInChallenge"}
}

// judge evaluates a certificate request, in base64 of DER. All codes but
// Unknown come out of it.
func (c *Cloud) judge(certificateRequest string) verdict {
	der, err := base64.StdEncoding.DecodeString(certificateRequest)
	if err != nil {
		return verdict{"CertificateRequestDecodingFailed", "certificateRequest is not base64."}
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return verdict{"CertificateRequestDecodingFailed", "certificateRequest is not a PKCS#10 request."}
	}
	password, err := challengePassword(csr)
	if err != nil {
		return verdict{"ChallengePasswordMissing", "The request has no challengePassword."}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	given, wrong := c.challenges.read(password)
	if wrong.Code != "" {
		return wrong
	}
	r := given.Request
	for _, check := range []func(Request, *x509.CertificateRequest, time.Time) verdict{
		checkTime, checkKnown, checkSubject, checkSANs, checkKey, checkKeyUsage, checkExtendedKeyUsage,
	} {
		if wrong := check(r, csr, c.clock.Now()); wrong.Code != "" {
			return wrong
		}
	}
	given.Validated++
	return verdict{Code: "Success"}
}

// expiredTime is how Intune writes times in that message.
const expiredTime = "01/02/2006 15:04:05"

func checkTime(r Request, _ *x509.CertificateRequest, now time.Time) verdict {
	switch expires := r.CreatedAt.Add(challengeLife); {
	case r.CreatedAt.After(now):
		return verdict{"ChallengeInvalidTimestamp", "The challenge was created in the future."}
	case !now.Before(expires):
		return verdict{"ChallengeExpired", fmt.Sprintf("SCEP challenge has expired. challengeExpInterval=%d, challengeExpiration=%s, challengeCreation=%s",
			int(challengeLife/time.Minute), expires.UTC().Format(expiredTime), r.CreatedAt.UTC().Format(expiredTime))}
	}
	return verdict{}
}

func checkKnown(r Request, csr *x509.CertificateRequest, _ time.Time) verdict {
	switch {
	case slices.Contains(r.Gone, "request"):
		return verdict{"BadCertificateRequestIdInChallenge", "The certificate request id is not known."}
	case slices.Contains(r.Gone, "device"):
		return verdict{"BadDeviceIdInChallenge", "The device id is not known."}
	case slices.Contains(r.Gone, "user"):
		return verdict{"BadUserIdInChallenge", "The user id is not known."}
	case r.Untargeted:
		return verdict{"ScepProfileNoLongerTargetedToTheClient", "The SCEP profile is no longer targeted to the client."}
	case r.RegisteredKeys == nil:
		return verdict{}
	case len(*r.RegisteredKeys) == 0:
		return verdict{"AadKeyIdentifierListMissing", "The list of key identifiers is missing."}
	}
	sum := sha256.Sum256(csr.RawSubjectPublicKeyInfo)
	if !slices.Contains(*r.RegisteredKeys, hex.EncodeToString(sum[:])) {
		return verdict{"RegisteredKeyMismatch", "The key is not one that is registered."}
	}
	return verdict{}
}

func checkSubject(r Request, csr *x509.CertificateRequest, _ time.Time) verdict {
	got := subjectText(csr.Subject)
	switch {
	case got == "":
		return verdict{"SubjectNameMissing", "The request has no subject."}
	case r.Subject != "" && got != r.Subject:
		return verdict{"SubjectNameMismatch", fmt.Sprintf("The subject is %q and not %q.", got, r.Subject)}
	}
	return verdict{}
}

// subjectText writes a subject in its own order. Values are not escaped: this
// is for comparing.
func subjectText(name pkix.Name) string {
	types := map[string]string{"2.5.4.3": "CN", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.10": "O", "2.5.4.11": "OU",
		"2.5.4.5": "SERIALNUMBER", "0.9.2342.19200300.100.1.1": "UID", "1.2.840.113549.1.9.1": "E"}
	var parts []string
	for _, a := range name.Names {
		id := a.Type.String()
		if short, ok := types[id]; ok {
			id = short
		}
		parts = append(parts, fmt.Sprintf("%s=%v", id, a.Value))
	}
	return strings.Join(parts, ",")
}

func checkSANs(r Request, csr *x509.CertificateRequest, _ time.Time) verdict {
	got := subjectAltNames(csr)
	want := slices.Clone(r.SANs)
	slices.Sort(got)
	slices.Sort(want)
	switch {
	case len(got) == 0 && len(want) > 0:
		return verdict{"SubjectAltNameMissing", "The request has no subject alternative name."}
	case !slices.Equal(got, want):
		return verdict{"SubjectAltNameMismatch", fmt.Sprintf("The subject alternative names are %v and not %v.", got, want)}
	}
	return verdict{}
}

func subjectAltNames(csr *x509.CertificateRequest) []string {
	var all []string
	for _, name := range csr.DNSNames {
		all = append(all, "dns:"+name)
	}
	for _, address := range csr.EmailAddresses {
		all = append(all, "email:"+address)
	}
	for _, uri := range csr.URIs {
		all = append(all, "uri:"+uri.String())
	}
	for _, extension := range csr.Extensions {
		if extension.Id.String() == "2.5.29.17" {
			all = append(all, userPrincipalNames(extension.Value)...)
		}
	}
	return all
}

// userPrincipalNames reads the otherNames that hold a UPN, which crypto/x509
// passes over.
func userPrincipalNames(san []byte) []string {
	upn := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}
	names := cryptobyte.String(san)
	var all []string
	for names.ReadASN1(&names, cbasn1.SEQUENCE); !names.Empty(); {
		var name, value cryptobyte.String
		var tag cbasn1.Tag
		if !names.ReadAnyASN1(&name, &tag) {
			break
		}
		var id asn1.ObjectIdentifier
		if tag != cbasn1.Tag(0).ContextSpecific().Constructed() || !name.ReadASN1ObjectIdentifier(&id) || !id.Equal(upn) {
			continue
		}
		if name.ReadASN1(&value, cbasn1.Tag(0).ContextSpecific().Constructed()) && value.ReadASN1(&value, cbasn1.UTF8String) {
			all = append(all, "upn:"+string(value))
		}
	}
	return all
}

func checkKey(r Request, csr *x509.CertificateRequest, _ time.Time) verdict {
	key, ok := csr.PublicKey.(*rsa.PublicKey)
	if r.KeyBits != 0 && (!ok || key.N.BitLen() != r.KeyBits) {
		return verdict{"KeyLengthMismatch", fmt.Sprintf("The key is not of RSA with %d bits.", r.KeyBits)}
	}
	return verdict{}
}

// keyUsages are the names of RFC 5280 §4.2.1.3 in the order of their bits.
var keyUsages = []string{"digitalSignature", "nonRepudiation", "keyEncipherment", "dataEncipherment", "keyAgreement", "keyCertSign",
	"cRLSign", "encipherOnly", "decipherOnly"}

func checkKeyUsage(r Request, csr *x509.CertificateRequest, _ time.Time) verdict {
	if len(r.KeyUsage) == 0 {
		return verdict{}
	}
	want := slices.Clone(r.KeyUsage)
	got := requestedKeyUsage(csr)
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		return verdict{"KeyUsageMismatch", fmt.Sprintf("The key usage is %v and not %v.", got, want)}
	}
	return verdict{}
}

func requestedKeyUsage(csr *x509.CertificateRequest) []string {
	var got []string
	for _, extension := range csr.Extensions {
		var usage asn1.BitString
		if extension.Id.String() != "2.5.29.15" {
			continue
		}
		if _, err := asn1.Unmarshal(extension.Value, &usage); err != nil || len(usage.Bytes) > 2 {
			continue
		}
		for i, name := range keyUsages {
			if i/8 < len(usage.Bytes) && bits.Reverse8(usage.Bytes[i/8])&(1<<(i%8)) != 0 {
				got = append(got, name)
			}
		}
	}
	return got
}

func checkExtendedKeyUsage(r Request, csr *x509.CertificateRequest, _ time.Time) verdict {
	if len(r.ExtendedKeyUsage) == 0 {
		return verdict{}
	}
	var got []string
	for _, extension := range csr.Extensions {
		var ids []asn1.ObjectIdentifier
		if extension.Id.String() != "2.5.29.37" {
			continue
		}
		if _, err := asn1.Unmarshal(extension.Value, &ids); err != nil {
			continue
		}
		for _, id := range ids {
			got = append(got, id.String())
		}
	}
	want := slices.Clone(r.ExtendedKeyUsage)
	slices.Sort(want)
	slices.Sort(got)
	switch {
	case len(got) == 0:
		return verdict{"EnhancedKeyUsageMissing", "The request has no extended key usage."}
	case !slices.Equal(got, want):
		return verdict{"EnhancedKeyUsageMismatch", fmt.Sprintf("The extended key usage is %v and not %v.", got, want)}
	}
	return verdict{}
}

var oidChallengePassword = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 7}

// challengePassword finds the challengePassword of a request, as
// PrintableString, UTF8String or whatever other string (RFC 2985 §5.4.1).
func challengePassword(csr *x509.CertificateRequest) (string, error) {
	info := cryptobyte.String(csr.RawTBSCertificateRequest)
	var attributes cryptobyte.String
	var there bool
	if !info.ReadASN1(&info, cbasn1.SEQUENCE) || !info.SkipASN1(cbasn1.INTEGER) || !info.SkipASN1(cbasn1.SEQUENCE) ||
		!info.SkipASN1(cbasn1.SEQUENCE) || !info.ReadOptionalASN1(&attributes, &there, cbasn1.Tag(0).ContextSpecific().Constructed()) {
		return "", errors.New("the request has no readable attributes")
	}
	for !attributes.Empty() {
		var one, values, value cryptobyte.String
		var id asn1.ObjectIdentifier
		var tag cbasn1.Tag
		if !attributes.ReadASN1(&one, cbasn1.SEQUENCE) || !one.ReadASN1ObjectIdentifier(&id) || !one.ReadASN1(&values, cbasn1.SET) {
			break
		}
		if id.Equal(oidChallengePassword) && values.ReadAnyASN1(&value, &tag) && len(value) > 0 {
			return string(value), nil
		}
	}
	return "", errors.New("the request has no challengePassword")
}
