package load_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"understudy.example/understudy/load"
)

// TestNameLeadsElsewhere: a name is judged by what it leads to, when the
// connection is made, and an address that is not the loopback's gets no packet.
// It is not parallel, because it puts its own answers in the place of DNS.
func TestNameLeadsElsewhere(t *testing.T) {
	addresses := map[string]netip.Addr{
		"elsewhere.example.": netip.MustParseAddr("192.0.2.1"),
		"here.example.":      netip.MustParseAddr("127.0.0.1"),
	}
	usual := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		resolver, nameServer := net.Pipe()
		go answer(nameServer, addresses)
		return resolver, nil
	}}
	t.Cleanup(func() { net.DefaultResolver = usual })

	fetch := func(url string) error {
		target, err := load.NewTarget(url, load.TargetOptions{})
		if err != nil {
			t.Fatalf("%s: %v", url, err) // a name is no reason yet
		}
		_, err = target.CACertificates(t.Context())
		return err
	}
	if err := fetch("http://elsewhere.example:9/scep"); !errors.Is(err, load.ErrRemote) {
		t.Errorf("a name that leads elsewhere: %v", err)
	}
	if err := fetch("http://here.example:1/scep"); err == nil || errors.Is(err, load.ErrRemote) {
		t.Errorf("a name of the loopback, where nobody listens: %v", err)
	}
}

// answer is a name server for one question, over a stream (RFC 1035 §4.2.2),
// since a pipe is no packet connection.
func answer(c net.Conn, addresses map[string]netip.Addr) {
	defer c.Close()
	for {
		length := make([]byte, 2)
		if _, err := c.Read(length); err != nil {
			return
		}
		question := make([]byte, int(length[0])<<8|int(length[1]))
		var m dnsmessage.Message
		if _, err := c.Read(question); err != nil || m.Unpack(question) != nil {
			return
		}
		m.Response, m.Additionals = true, nil
		q := m.Questions[0]
		if a, ok := addresses[q.Name.String()]; ok && q.Type == dnsmessage.TypeA {
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
				Body:   &dnsmessage.AResource{A: a.As4()},
			}}
		}
		reply, err := m.Pack()
		if err != nil {
			return
		}
		if _, err := c.Write(append([]byte{byte(len(reply) >> 8), byte(len(reply))}, reply...)); err != nil {
			return
		}
	}
}
