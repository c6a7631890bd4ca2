package server

import (
	"net/http"
	"net/netip"
	"strings"
)

// maxHops bounds how much of X-Forwarded-For is looked at. A longer chain of
// trusted proxies is not a real one.
const maxHops = 32

// proxies are the peers whose X-Forwarded-For is believed.
type proxies []netip.Prefix

// client returns the address of the client and that of the TCP peer. They
// differ only when the peer is a trusted proxy: then the client is the
// rightmost hop that is not one, since everything left of it was written by
// somebody who is not trusted. Both are invalid when the listener has no IP
// addresses (a Unix socket).
func (p proxies) client(r *http.Request) (client, peer netip.Addr) {
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		peer = plain(ap.Addr())
	}
	if !p.trusts(peer) {
		return peer, peer
	}
	client = peer
	// Several header lines are one list (RFC 9110 section 5.3).
	list := strings.Join(r.Header.Values("X-Forwarded-For"), ",")
	for range maxHops {
		cut := strings.LastIndexByte(list, ',')
		hop, err := parseHop(list[cut+1:])
		if err != nil {
			return client, peer // whoever wrote that did not speak for anybody
		}
		client = hop
		if !p.trusts(hop) || cut < 0 {
			return client, peer
		}
		list = list[:cut]
	}
	return client, peer
}

// trusts says whether a is one of the proxies.
func (p proxies) trusts(a netip.Addr) bool {
	for _, prefix := range p {
		if prefix.Contains(a) {
			return true
		}
	}
	return false
}

// parseHop reads one element of X-Forwarded-For: an address, with a port as
// some proxies add it, in brackets or not.
func parseHop(text string) (netip.Addr, error) {
	text = strings.TrimSpace(text)
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return plain(ap.Addr()), nil
	}
	text = strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
	a, err := netip.ParseAddr(text)
	return plain(a), err
}

// plain is an address without what does not name a client: the zone, and the
// IPv6 clothes of an IPv4 address.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// addressText is the address for records and logs; empty when there is none.
func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
