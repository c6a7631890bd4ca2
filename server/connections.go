package server

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxFromOne is how many connections one client may have open on the public
// listener. It is as much as a crowd behind one address needs, and leaves half
// of all to others: a connection that is kept open costs its client nothing.
const maxFromOne = maxPublicConnections / 2

// A sharing listener closes the connections of a client that has its share
// already. It remembers those only who have one open.
type sharing struct {
	net.Listener
	exempt  proxies // who speaks for many
	log     *slog.Logger
	seldom  rate.Sometimes // a client's connections are refused by the thousand
	mu      sync.Mutex     // of the next
	numbers map[netip.Prefix]int
}

// newSharing returns a listener that shares out what l accepts. Proxies may have
// all of it.
func newSharing(l net.Listener, exempt proxies, log *slog.Logger) *sharing {
	return &sharing{Listener: l, exempt: exempt, log: log, seldom: rate.Sometimes{Interval: time.Minute}, numbers: make(map[netip.Prefix]int)}
}

// Accept returns the next connection of a client that may have one more.
func (l *sharing) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from, err := netip.ParseAddrPort(c.RemoteAddr().String())
		client := plain(from.Addr())
		if err != nil || l.exempt.trusts(client) {
			return c, nil // not a network, or somebody who speaks for many
		}
		if key := clientKey(client); l.enter(key) {
			return &shared{Conn: c, leave: sync.OnceFunc(func() { l.leave(key) })}, nil
		}
		_ = c.Close() // nobody is told anything by it
		l.seldom.Do(func() {
			l.log.Warn("connections refused", slog.String("remote", addressText(client)), slog.Int("most_from_one", maxFromOne))
		})
	}
}

// enter counts a connection of a client, if it may have it.
func (l *sharing) enter(client netip.Prefix) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.numbers[client] >= maxFromOne {
		return false
	}
	l.numbers[client]++
	return true
}

// leave counts it no more.
func (l *sharing) leave(client netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.numbers[client]--; l.numbers[client] == 0 {
		delete(l.numbers, client)
	}
}

// shared is a connection that is counted until it is closed.
type shared struct {
	net.Conn
	leave func()
}

// Close closes the connection, and gives its place back.
func (c *shared) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
