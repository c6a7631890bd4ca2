package depot

import "strings"

// NameKind is a kind of name by which identities are found.
type NameKind string

// The names that have an index.
const (
	NameDeviceSerial NameKind = "device_serial"
	NameProfileUUID  NameKind = "profile_uuid"
	NameUDID         NameKind = "udid"
	NameUPN          NameKind = "upn"
)

// NameKinds are all of them.
func NameKinds() []NameKind {
	return []NameKind{NameDeviceSerial, NameProfileUUID, NameUDID, NameUPN}
}

// Of returns the name of that kind; empty: there is none.
func (k NameKind) Of(d DeviceNames) string {
	switch k {
	case NameDeviceSerial:
		return d.DeviceSerial
	case NameProfileUUID:
		return d.ProfileUUID
	case NameUDID:
		return d.UDID
	case NameUPN:
		return d.UPN
	}
	return ""
}

// FoldName returns a name in the one case in which names are compared: the
// lower one, letter by letter, so that the beginning of a name folds to the
// beginning of what the name folds to. It comes by way of the upper one, which
// device keys have, so that a name in a key is found by the name.
func FoldName(name string) string { return strings.ToLower(strings.ToUpper(name)) }

// selectsName says whether the query asks for these names.
func (q IdentityQuery) selectsName(d DeviceNames) bool {
	if q.NameKind == "" {
		return true
	}
	name, want := FoldName(q.NameKind.Of(d)), FoldName(q.Name)
	return name == want || q.NamePrefix && strings.HasPrefix(name, want)
}
