package depot

import (
	"bytes"
	"slices"
)

// Clone returns a copy that shares no memory with i.
func (i Identity) Clone() Identity {
	i.DER = bytes.Clone(i.DER)
	i.RequestedSANs = slices.Clone(i.RequestedSANs)
	i.Warnings = slices.Clone(i.Warnings)
	return i
}

// Clone returns a copy that shares no memory with c.
func (c Configuration) Clone() Configuration {
	c.Secret.Salt = bytes.Clone(c.Secret.Salt)
	c.Secret.Hash = bytes.Clone(c.Secret.Hash)
	c.Policy.KeySizes = slices.Clone(c.Policy.KeySizes)
	return c
}

// Clone returns a copy that shares no memory with r.
func (r Request) Clone() Request {
	r.Draft = r.Draft.Clone()
	r.CSR = bytes.Clone(r.CSR)
	return r
}

// Clone returns a copy that shares no memory with l.
func (l DeviceList) Clone() DeviceList {
	l.Devices = slices.Clone(l.Devices)
	return l
}
