package lab

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/rand/v2"
	"strings"
)

// What requests say about who sends them.
var agents = []string{
	"mdmclient/1.0 CFNetwork/1568.300.101 Darwin/24.2.0", "profiled/1.0 CFNetwork/1568.300.101 Darwin/24.2.0",
	"Mozilla/4.0 (compatible; Win32; NDES client 10.0.26100.1/ge_release)", "Microsoft SCEP Client", "",
}

// People and machines, as they are in names of computers and users.
var (
	people   = []string{"Anna", "Ben", "Chloe", "Dimitri", "Elif", "Fatou", "Goran", "Hana", "Ines", "Jürgen", "Kofi", "Łucja", "Mei", "Noah", "O'Neil", "Priya", "Quentin", "Rosa", "Søren", "Tomás"}
	machines = []string{"MacBook Pro", "MacBook Air", "iMac", "Mac mini", "Mac Studio"}
)

var (
	oidCommonName         = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidOrganizationalUnit = asn1.ObjectIdentifier{2, 5, 4, 11}
)

// subjectOf makes up a device's subject in the form of one of the MDMs, which
// package device knows. Everything about the device comes from r.
func subjectOf(r *rand.Rand) pkix.RDNSequence {
	serial, udid, profile := deviceSerial(r), strings.ToUpper(uuid(r)), profileUUID(r)
	person := pick(r, people)
	switch share := r.IntN(100); {
	case share < 40: // Iru
		return subject(serial + " " + profile)
	case share < 60: // Jamf, at computer level
		return subject(fmt.Sprintf("%s's %s %d managementAttestation %s", person, pick(r, machines), r.IntN(100), udid))
	case share < 75: // Intune
		return subject(fmt.Sprintf("%s%d@lab.example ODA %s", strings.ToLower(person), r.IntN(100_000), strings.ToLower(udid)))
	case share < 85: // cloud-8021x
		return subject(serial + " managementAttestation " + udid + " " + profile)
	case share < 95: // Fleet
		return append(subject("managementAttestation "+udid), pkix.RelativeDistinguishedNameSET{{Type: oidOrganizationalUnit, Value: "fleet-" + profile}})
	default: // WorkOS
		return subject("OktaManagementAttestation for " + serial)
	}
}

func subject(commonName string) pkix.RDNSequence {
	return pkix.RDNSequence{{{Type: oidCommonName, Value: commonName}}}
}

// deviceSerial makes up a serial number of Apple's form of today: ten random
// characters, without vowels. All begin with X, which no Mac's does.
func deviceSerial(r *rand.Rand) string {
	const characters = "0123456789CDFGHJKLMNPQRTVWXY"
	b := []byte("X")
	for range 9 {
		b = append(b, characters[r.IntN(len(characters))])
	}
	return string(b)
}

// profileUUID is one of a few: a profile goes to many devices.
func profileUUID(r *rand.Rand) string {
	return fmt.Sprintf("5eed0000-0000-4000-8000-%012x", r.IntN(5))
}

// uuid makes up a UUID of version 4.
func uuid(r *rand.Rand) string {
	high, low := r.Uint64(), r.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", high>>32, high>>16&0xffff, high&0xfff, low>>48&0x3fff|0x8000, low&0xffffffffffff)
}

// address is where a device's requests come from.
func address(r *rand.Rand) string {
	if r.IntN(20) == 0 {
		return fmt.Sprintf("2001:db8::%x:%x", 1+r.IntN(1<<16-1), 1+r.IntN(1<<16-1))
	}
	return fmt.Sprintf("10.%d.%d.%d", r.IntN(256), r.IntN(256), 1+r.IntN(254))
}

// wire is how a request was encrypted and signed, and what was odd about it.
func wire(r *rand.Rand) (digest, cipher string, warnings []string) {
	switch share := r.IntN(100); {
	case share < 80:
		return "SHA-256", "AES-128-CBC", nil
	case share < 90:
		return "SHA-512", "AES-256-CBC", nil
	default:
		return "SHA-1", "DES-EDE3-CBC", []string{"the request is signed with SHA-1", "the request is encrypted with triple DES"}
	}
}

// pick returns one of a list.
func pick(r *rand.Rand, list []string) string { return list[r.IntN(len(list))] }
