package load

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// ErrRemote is a server that is not on this machine.
var ErrRemote = errors.New("load goes to this machine's loopback only: a server elsewhere may serve others, and its network too; " +
	"allow it with --allow-remote if both are yours")

// checkHost refuses a host that is plainly elsewhere. Names are judged by what
// they lead to, when a connection is made.
func checkHost(host string) error {
	if address, err := netip.ParseAddr(host); err == nil && !address.Unmap().IsLoopback() {
		return fmt.Errorf("%s: %w", host, ErrRemote)
	}
	return nil
}

// onlyLoopback is a dialler's Control: it sees the address after the name was
// resolved, so that no name leads anywhere else.
func onlyLoopback(_, address string, _ syscall.RawConn) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%s: %w", address, ErrRemote)
	}
	host, _, _ = strings.Cut(host, "%") // the zone of an IPv6 address
	if ip, err := netip.ParseAddr(host); err != nil || !ip.Unmap().IsLoopback() {
		return fmt.Errorf("%s: %w", address, ErrRemote)
	}
	return nil
}

// transports returns a maker of transports that hold one connection each. No
// proxy: behind one, nobody knows where a request goes.
func transports(o TargetOptions) func() *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	if !o.AllowRemote {
		dialer.Control = onlyLoopback
	}
	return func() *http.Transport {
		t := &http.Transport{}
		if o.Transport != nil {
			t = o.Transport()
		}
		t.Proxy = nil
		t.DialContext = dialer.DialContext
		t.MaxIdleConnsPerHost, t.MaxConnsPerHost = 1, 1
		t.DisableCompression = true
		return t
	}
}
