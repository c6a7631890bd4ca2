package notify

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// ErrTarget: webhooks may not be sent there. The error around it says which
// flag allows it.
var ErrTarget = errors.New("not allowed as a target")

// maxURL is the longest URL of a webhook, in bytes.
const maxURL = 2048

// Targets is where webhooks may be sent. Its zero value allows nothing.
//
// An entry is one of
//
//	hooks.example.com      this host, wherever its name leads: to a private
//	                       or loopback address too, since the operator named it
//	*.example.com          every host below it (not example.com), as long as
//	                       the address is a public one or allowed by itself
//	192.0.2.7, 2001:db8::7 this address, by itself or behind any name
//	10.0.0.0/8             these addresses, by themselves or behind any name
//
// each with a port after it or none: hooks.example.com:8443, [2001:db8::7]:443.
// Without one every port is allowed. Addresses that are no single machine's
// (0.0.0.0, multicast), link-local ones, where clouds keep their metadata, and
// IPv6 that is translated to IPv4 are only ever reached when they are allowed
// as addresses.
type Targets struct{ rules []rule }

// rule is one entry. Exactly one of name and prefix is set.
type rule struct {
	name   string // lower case, without a dot at its end; *.… for what is below
	prefix netip.Prefix
	port   uint16 // 0: any
}

// ParseTargets reads the entries of --webhook-allow.
func ParseTargets(entries []string) (Targets, error) {
	var t Targets
	for _, entry := range entries {
		r, err := parseRule(strings.TrimSpace(entry))
		if err != nil {
			return Targets{}, fmt.Errorf("webhook target %q: %w", entry, err)
		}
		t.rules = append(t.rules, r)
	}
	return t, nil
}

func parseRule(entry string) (rule, error) {
	if prefix, err := netip.ParsePrefix(entry); err == nil {
		return prefixRule(prefix, 0)
	}
	host, port, err := splitPort(entry)
	if err != nil {
		return rule{}, err
	}
	if prefix, err := netip.ParsePrefix(host); err == nil {
		return prefixRule(prefix, port)
	}
	if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		if a.Zone() != "" {
			return rule{}, errors.New("an address with a zone cannot be a target")
		}
		a = a.Unmap()
		return rule{prefix: netip.PrefixFrom(a, a.BitLen()), port: port}, nil
	}
	name, wildcard := strings.CutPrefix(host, "*.")
	name, err = hostName(name)
	if err != nil {
		return rule{}, err
	}
	if wildcard {
		name = "*." + name
	}
	return rule{name: name, port: port}, nil
}

func prefixRule(p netip.Prefix, port uint16) (rule, error) {
	if p.Addr().Is4In6() {
		return rule{}, errors.New("write IPv4 networks as IPv4")
	}
	if p != p.Masked() {
		return rule{}, fmt.Errorf("has bits behind its mask: write %s", p.Masked())
	}
	return rule{prefix: p, port: port}, nil
}

// splitPort takes a port off an entry, if there is one.
func splitPort(entry string) (host string, port uint16, err error) {
	if _, err := netip.ParseAddr(entry); err == nil {
		return entry, 0, nil // IPv6 has colons of its own
	}
	i := strings.LastIndexByte(entry, ':')
	if i < 0 || strings.HasSuffix(entry, "]") {
		return entry, 0, nil
	}
	n, err := strconv.ParseUint(entry[i+1:], 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("%q is no port", entry[i+1:])
	}
	return entry[:i], uint16(n), nil
}

// hostName returns a DNS name in the form in which names are compared: lower
// case, without the dot that may end it. What a resolver could take for an
// address (127.1, 0x7f.1, 2130706433) is no name.
func hostName(s string) (string, error) {
	name := strings.ToLower(strings.TrimSuffix(s, "."))
	if name == "" || len(name) > 253 {
		return "", errors.New("has no host name of 1 to 253 characters")
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return "", fmt.Errorf("%q is no host name", s)
		}
		if strings.ContainsFunc(label, notInName) {
			return "", fmt.Errorf("%q is no host name: only letters, digits, '-' and '_' are allowed (write others as xn--…)", s)
		}
	}
	last := labels[len(labels)-1]
	if _, err := strconv.ParseUint(last, 10, 64); err == nil || strings.HasPrefix(last, "0x") {
		return "", fmt.Errorf("%q is neither a host name nor an address written in full", s)
	}
	return name, nil
}

func notInName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
}

// Check says whether a webhook may be sent to a URL: http or https, without
// user, password and fragment, to a host that is allowed. Of a host that is
// only known by its name, some addresses may be allowed and others not; then
// the connection decides. ErrTarget when the operator could allow it.
func (t Targets) Check(rawURL string) error {
	_, err := t.parse(rawURL)
	return err
}

func (t Targets) parse(rawURL string) (*url.URL, error) {
	if len(rawURL) > maxURL {
		return nil, fmt.Errorf("is longer than %d bytes", maxURL)
	}
	u, err := url.Parse(rawURL)
	switch {
	case err != nil:
		return nil, errors.New("is no URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("must begin with http:// or https://")
	case u.User != nil:
		return nil, errors.New("must not hold a user or password")
	case u.Fragment != "" || strings.Contains(rawURL, "#"):
		return nil, errors.New("must not have a fragment")
	case u.Opaque != "" || u.Hostname() == "":
		return nil, errors.New("has no host")
	}
	port, err := portOf(u)
	if err != nil {
		return nil, err
	}
	host := u.Hostname()
	if a, err := netip.ParseAddr(host); err == nil {
		if a.Zone() != "" {
			return nil, errors.New("must not name a zone")
		}
		return u, t.permit("", netip.AddrPortFrom(a, port))
	}
	name, err := hostName(host)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(t.rules, func(r rule) bool { return r.fitsPort(port) && (r.names(name) || r.prefix.IsValid()) }) {
		return nil, notAllowed(name, port)
	}
	return u, nil
}

func portOf(u *url.URL) (uint16, error) {
	switch {
	case u.Port() == "" && u.Scheme == "https":
		return 443, nil
	case u.Port() == "":
		return 80, nil
	}
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is no port", u.Port())
	}
	return uint16(n), nil
}

// permit says whether a connection to an address is allowed that was asked for
// by a name, or by itself if name is empty.
func (t Targets) permit(name string, to netip.AddrPort) error {
	a := to.Addr().Unmap().WithZone("")
	for _, r := range t.rules {
		if !r.fitsPort(to.Port()) {
			continue
		}
		switch {
		case r.prefix.IsValid() && r.prefix.Contains(a),
			name != "" && r.name == name && single(a),
			name != "" && r.names(name) && public(a):
			return nil
		}
	}
	if name == "" {
		return notAllowed(a.String(), to.Port())
	}
	return fmt.Errorf("%s leads to %s, which is %w: start the server with --webhook-allow %s if it should be", name, a, ErrTarget, joinPort(a.String(), to.Port()))
}

func (r rule) fitsPort(port uint16) bool { return r.port == 0 || r.port == port }

// names says whether the rule is about this name.
func (r rule) names(name string) bool {
	if below, ok := strings.CutPrefix(r.name, "*"); ok {
		return strings.HasSuffix(name, below) && len(name) > len(below)
	}
	return r.name != "" && r.name == name
}

func notAllowed(host string, port uint16) error {
	return fmt.Errorf("%s is %w: start the server with --webhook-allow %s if it should be", joinPort(host, port), ErrTarget, joinPort(host, port))
}

func joinPort(host string, port uint16) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// single says whether an address is that of one machine, written as itself: not
// one that leads into IPv4 by another way.
func single(a netip.Addr) bool {
	detours := []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"),
		netip.MustParsePrefix("240.0.0.0/4"),
		netip.MustParsePrefix("::/96"),           // IPv4-compatible
		netip.MustParsePrefix("::ffff:0:0:0/96"), // IPv4-translated
		netip.MustParsePrefix("64:ff9b::/96"),    // NAT64
		netip.MustParsePrefix("64:ff9b:1::/48"),  // local NAT64
		netip.MustParsePrefix("2001::/32"),       // Teredo
		netip.MustParsePrefix("2002::/16"),       // 6to4
	}
	return a.IsLoopback() || a.IsGlobalUnicast() && !within(a, detours)
}

// public says whether an address is that of one machine on the Internet.
// (IANA special-purpose address registries.)
func public(a netip.Addr) bool {
	special := []netip.Prefix{
		netip.MustParsePrefix("100.64.0.0/10"), // behind a carrier's NAT
		netip.MustParsePrefix("192.0.0.0/24"),
		netip.MustParsePrefix("192.88.99.0/24"), // 6to4 relays
		netip.MustParsePrefix("198.18.0.0/15"),  // benchmarks
		netip.MustParsePrefix("100::/64"),       // discarded
		netip.MustParsePrefix("2001::/23"),
		netip.MustParsePrefix("fec0::/10"), // site-local, as it once was
	}
	return single(a) && !a.IsLoopback() && !a.IsPrivate() && !within(a, special)
}

func within(a netip.Addr, networks []netip.Prefix) bool {
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(a) })
}
