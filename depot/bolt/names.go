package bolt

import (
	"understudy.example/understudy/depot"
)

// maxName is how many bytes of a name are in its key; whoever finds a longer
// one by them compares the rest with the record.
const maxName = 1 << 10

// nameStart is what the keys of all names begin with that begin with this one.
func nameStart(kind depot.NameKind, name string) []byte {
	name = depot.FoldName(name)
	key := append(make([]byte, 0, len(kind)+1+min(len(name), maxName)+1+8), kind...)
	return append(append(key, 0), name[:min(len(name), maxName)]...)
}

// nameKey is what the keys of a name begin with; a number follows. A key that
// begins so can be that of another name, which has a zero byte there: the
// record tells.
func nameKey(kind depot.NameKind, name string) []byte { return append(nameStart(kind, name), 0) }

// nameEntries are the entries of the names that an identity has, which never
// change.
func nameEntries(names depot.DeviceNames, serial []byte, n uint64) (entries []entry) {
	for _, kind := range depot.NameKinds() {
		if name := kind.Of(names); name != "" {
			entries = append(entries, entry{byName, append(nameKey(kind, name), number(n)...), serial})
		}
	}
	return entries
}

// upgradeNames gives an identity of an older format the entries of its names.
func (b *batch) upgradeNames(s stored[depot.Identity], serial []byte) error {
	for _, e := range nameEntries(s.record.Device, serial, s.sequence) {
		if err := b.put(e.bucket, e.key, e.value); err != nil {
			return err
		}
	}
	return nil
}
