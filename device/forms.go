package device

import "strings"

// form is what one value of a subject says, in one of the vendors' forms.
type form struct {
	serial, profile, udid, upn, deviceID, computerName string

	uuid string // a UUID of which nobody can say what it identifies
}

// Words with which vendors say what the certificate is for.
const (
	wordAttestation     = "managementAttestation"
	wordDeviceAccess    = "ODA"
	wordOktaAttestation = "OktaManagementAttestation"
)

// forms are the known forms, tried in this order on the words of a value.
// They are written by hand and not as regular expressions because every
// enrolment passes here.
var forms = [...]func(words []string) (form, bool){
	serialAfterFor,
	userThenDevice,
	serialThenUDID,
	nameThenUDID,
	onlyUDID,
	serialAndProfile,
	bareUUID,
}

// match returns what a value says if one of the forms knows it.
func match(value string) (form, bool) {
	words := strings.Fields(value)
	for _, try := range forms {
		if f, ok := try(words); ok {
			return f, true
		}
	}
	return form{}, false
}

// serialAfterFor reads "OktaManagementAttestation for SERIAL" (WorkOS).
func serialAfterFor(w []string) (form, bool) {
	if len(w) != 3 || w[0] != wordOktaAttestation || w[1] != "for" {
		return form{}, false
	}
	return form{serial: w[2]}, true
}

// userThenDevice reads "USER@DOMAIN ODA|managementAttestation DEVICE
// [PROFILE]" (Intune, Okta's FAQ, Jamf at user level). Intune's device id and
// Jamf's UDID look alike, so neither is taken for a UDID.
func userThenDevice(w []string) (form, bool) {
	if len(w) != 3 && len(w) != 4 || !isUPN(w[0]) || !isPurposeWord(w[1]) {
		return form{}, false
	}
	return form{upn: w[0], deviceID: w[2], profile: optional(w, 3)}, true
}

// serialThenUDID reads "SERIAL managementAttestation UDID [PROFILE]"
// (cloud-8021x for Jamf).
func serialThenUDID(w []string) (form, bool) {
	if len(w) != 3 && len(w) != 4 || !isSerial(w[0]) || w[1] != wordAttestation || !isUUID(w[2]) {
		return form{}, false
	}
	return form{serial: w[0], udid: w[2], profile: optional(w, 3)}, true
}

// nameThenUDID reads "COMPUTER NAME ODA|managementAttestation UDID [PROFILE]"
// (Jamf at computer level).
func nameThenUDID(w []string) (form, bool) {
	for _, tail := range []int{3, 2} { // words from the purpose to the end
		at := len(w) - tail
		if at >= 1 && isPurposeWord(w[at]) && isUUID(w[at+1]) {
			return form{computerName: strings.Join(w[:at], " "), udid: w[at+1], profile: optional(w, at+2)}, true
		}
	}
	return form{}, false
}

// onlyUDID reads "managementAttestation UDID" (Fleet, which puts the profile
// elsewhere: see fleetProfile).
func onlyUDID(w []string) (form, bool) {
	if len(w) != 2 || w[0] != wordAttestation || !isUUID(w[1]) {
		return form{}, false
	}
	return form{udid: w[1]}, true
}

// serialAndProfile reads "SERIAL" and "SERIAL PROFILE" (Iru). How Iru joins
// the two is not documented: any run of spaces and of _ : . - will do, and so
// will nothing, because a UUID has exactly eight digits before its first
// hyphen.
func serialAndProfile(w []string) (form, bool) {
	if len(w) == 0 {
		return form{}, false
	}
	if len(w) == 1 && isSerial(w[0]) {
		return form{serial: w[0]}, true
	}
	value := strings.Join(w, " ")
	if len(value) <= uuidLength || !isUUID(value[len(value)-uuidLength:]) {
		return form{}, false
	}
	serial := strings.TrimRight(value[:len(value)-uuidLength], " _:.-")
	if !isSerial(serial) {
		return form{}, false
	}
	return form{serial: serial, profile: value[len(value)-uuidLength:]}, true
}

// bareUUID reads a UUID alone.
func bareUUID(w []string) (form, bool) {
	if len(w) != 1 || !isUUID(w[0]) {
		return form{}, false
	}
	return form{uuid: w[0]}, true
}

// fleetProfile returns the UUID of the first "fleet-UUID". Fleet's guide puts
// it into the OU, but its variable may stand in the CN as well.
func fleetProfile(values ...[]string) string {
	for _, list := range values {
		for _, v := range list {
			if id, ok := strings.CutPrefix(strings.TrimSpace(v), "fleet-"); ok && isUUID(id) {
				return id
			}
		}
	}
	return ""
}

func optional(w []string, i int) string {
	if i < len(w) {
		return w[i]
	}
	return ""
}

func isPurposeWord(s string) bool { return s == wordDeviceAccess || s == wordAttestation }

// isUPN says whether s has an @ with something on both sides.
func isUPN(s string) bool {
	return len(s) >= 3 && strings.Contains(s[1:len(s)-1], "@")
}

// isSerial says whether s looks like a hardware serial number: Apple's have 8
// to 12 characters, those of others up to 14.
func isSerial(s string) bool {
	if len(s) < 8 || len(s) > 14 {
		return false
	}
	for _, c := range []byte(s) {
		if !(c >= 'A' && c <= 'Z' || c >= '0' && c <= '9') {
			return false
		}
	}
	return true
}

// uuidLength is the length of 8-4-4-4-12 hexadecimal digits.
const uuidLength = 36

// isUUID says whether s is a UUID in its usual writing, in any case.
func isUUID(s string) bool {
	if len(s) != uuidLength {
		return false
	}
	for i, c := range []byte(s) {
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F') {
				return false
			}
		}
	}
	return true
}
