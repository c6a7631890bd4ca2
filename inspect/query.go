package inspect

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"understudy.example/understudy/depot"
)

// A ConfigurationError is a search for a configuration that is not there.
type ConfigurationError struct{ Name string }

func (e *ConfigurationError) Error() string {
	return fmt.Sprintf("search: there is no configuration %q: one that was removed is found by its id", e.Name)
}

// Query makes the search a query at a time, which is now or the query's AsOf.
// configurations returns the id of the configuration with a name or an id. The
// caller may narrow the query further.
//
// Match alone decides whether an identity fits, so it serves for one that was
// found in another way as well (see Single); everything else in the query only
// says where to look. A search that no index answers looks at everything, a
// page at a time (depot.MaxLook).
func (s Search) Query(now time.Time, configurations func(name string) (id string, ok bool)) (depot.IdentityQuery, error) {
	var q depot.IdentityQuery
	if s.Empty() {
		return q, nil
	}
	ids := map[string]string{}
	for _, t := range s.terms {
		name, _ := t.value.exact()
		if t.key != "configuration" {
			continue
		}
		id, ok := configurations(name)
		if !ok {
			return q, &ConfigurationError{name}
		}
		ids[name] = id
		if !t.not {
			q.ConfigurationID = id
		}
	}
	for _, t := range s.terms {
		q.WithStanding = q.WithStanding || t.key == "state"
		if !t.not {
			t.narrow(&q, now)
		}
	}
	s.chooseIndex(&q)
	q.Match = func(i depot.Identity, standing depot.Standing) bool {
		return s.matches(&facts{now: now, identity: &i, standing: standing, configurations: ids})
	}
	return q, nil
}

// narrow sets the bounds that a comparison of times gives. Ends are in whole
// seconds and a little wide: Match is exact.
func (t term) narrow(q *depot.IdentityQuery, now time.Time) {
	if !t.when.given {
		return
	}
	from, to := &q.NotAfterFrom, &q.NotAfterTo
	switch t.key {
	case "expires":
	case "issued":
		from, to = &q.IssuedFrom, &q.IssuedTo
	default:
		return
	}
	limit := t.when.in(now)
	if t.earlier {
		if limit = limit.Truncate(time.Second).Add(time.Second); to.IsZero() || limit.Before(*to) {
			*to = limit
		}
	} else if limit = limit.Truncate(time.Second); limit.After(*from) {
		*from = limit
	}
}

// chooseIndex names the index to walk: the one that leads to the fewest.
func (s Search) chooseIndex(q *depot.IdentityQuery) {
	choices := []func(term, *depot.IdentityQuery) bool{byTransaction, byDevice, byKey, byWholeName, byBeginning}
	for _, choose := range choices {
		for _, t := range s.terms {
			if !t.not && choose(t, q) {
				return
			}
		}
	}
	if !q.NotAfterFrom.IsZero() || !q.NotAfterTo.IsZero() {
		if q.IssuedFrom.IsZero() && q.IssuedTo.IsZero() {
			q.Order = depot.ByNotAfter
		}
	}
}

func byTransaction(t term, q *depot.IdentityQuery) bool {
	id, ok := t.value.exact()
	if ok = ok && t.key == "transaction" && q.ConfigurationID != ""; ok {
		q.TransactionID = id
	}
	return ok
}

func byDevice(t term, q *depot.IdentityQuery) bool {
	key, ok := t.value.exact()
	if ok = ok && t.key == "device" && q.ConfigurationID != ""; ok {
		q.DeviceKey = key
	}
	return ok
}

func byKey(t term, q *depot.IdentityQuery) bool {
	digits, ok := t.value.exact()
	if ok = ok && t.key == "key"; ok {
		_, err := hex.Decode(q.PublicKeySHA256[:], []byte(digits))
		ok = err == nil
	}
	return ok
}

// byWholeName uses the index of a name. It keeps names in one case and as they
// are otherwise, so a name beyond ASCII can be there in forms that it would
// not find.
func byWholeName(t term, q *depot.IdentityQuery) bool {
	kind, p := t.nameKind()
	text, ok := p.exact()
	if ok = ok && kind != "" && p.isASCII(); ok {
		q.NameKind, q.Name = kind, text
	}
	return ok
}

// byBeginning uses the same index for what stands before a star.
func byBeginning(t term, q *depot.IdentityQuery) bool {
	kind, p := t.nameKind()
	ok := kind != "" && p[0] != "" && p.isASCII()
	if ok {
		q.NameKind, q.Name, q.NamePrefix = kind, p[0], len(p) > 1
	}
	return ok
}

// nameKind returns the index of names that a term can use, and what to look
// for in it.
func (t term) nameKind() (depot.NameKind, pattern) {
	switch t.key {
	case "device-serial":
		return depot.NameDeviceSerial, t.value
	case "uuid":
		return depot.NameProfileUUID, t.value
	case "udid":
		return depot.NameUDID, t.value
	case "upn":
		return depot.NameUPN, t.value
	case "device":
		return nameInKey(t.value)
	}
	return "", nil
}

// nameInKey returns the name that a device key is made of, see package device.
func nameInKey(key pattern) (depot.NameKind, pattern) {
	text, _ := key.exact()
	text, _, _ = strings.Cut(text, "+profile:")
	if serial, ok := strings.CutPrefix(text, "serial:"); ok && !strings.HasPrefix(serial, "sha256:") {
		return depot.NameDeviceSerial, plain(serial)
	}
	if udid, ok := strings.CutPrefix(text, "udid:"); ok {
		return depot.NameUDID, plain(udid)
	}
	return "", nil
}

// Single returns the certificate serial, or else the SHA-256, of the only
// certificate that can fit: it is found directly, and the Match of Query then
// says whether it fits the rest too.
func (s Search) Single() (certificateSerial string, sha256 [32]byte, ok bool) {
	for _, t := range s.terms {
		text, exact := t.value.exact()
		if t.not || !exact {
			continue
		}
		switch t.key {
		case "serial":
			return text, sha256, true
		case "sha256":
			if _, err := hex.Decode(sha256[:], []byte(text)); err == nil {
				return "", sha256, true
			}
		}
	}
	return "", [32]byte{}, false
}

func isASCII(text string) bool {
	return strings.IndexFunc(text, func(c rune) bool { return c >= 0x80 }) < 0
}
