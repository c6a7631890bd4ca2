package server_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/scep"
	"understudy.example/understudy/scep/client"
	"understudy.example/understudy/server"
)

// pipes is a listener without a network, so that a bubble of package synctest
// can hold it: minutes of idling pass at once.
type pipes struct {
	calls  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes {
	return &pipes{calls: make(chan net.Conn), closed: make(chan struct{})}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.calls:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

// dial connects, or fails when nobody accepts now.
func (p *pipes) dial() (net.Conn, error) {
	ours, theirs := net.Pipe()
	synctest.Wait()
	select {
	case p.calls <- theirs:
		return ours, nil
	default:
		return nil, errors.New("nobody accepts")
	}
}

// served is a house that listens.
type served struct {
	*house
	public, admin *pipes
	stop          context.CancelFunc
	stopped       chan error
}

func serve(t *testing.T, h *house) *served {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &served{house: h, public: newPipes(), admin: newPipes(), stop: cancel, stopped: make(chan error, 1)}
	go func() { s.stopped <- h.Serve(ctx, s.public, s.admin, nil) }()
	return s
}

// send dials and writes.
func (s *served) send(p *pipes, text string) net.Conn {
	s.t.Helper()
	c, err := p.dial()
	if err != nil {
		s.t.Fatal(err)
	}
	go func() { _, _ = io.WriteString(c, text) }() // the server may not read all of it
	return c
}

// receive reads one answer.
func (s *served) receive(c net.Conn) reply {
	s.t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return reply{response.StatusCode, response.Header, string(body)}
}

// close ends the server and expects a clean end.
func (s *served) close() {
	s.t.Helper()
	s.stop()
	if err := <-s.stopped; err != nil {
		s.t.Errorf("Serve: %v", err)
	}
}

func TestRawRequests(t *testing.T) {
	longest := strings.Repeat("A", 64<<10)
	chunk := fmt.Sprintf("%x\r\n%s\r\n", 4096, strings.Repeat("x", 4096))
	for _, test := range []struct {
		name, request string
		status        int
	}{
		{"HTTP/1.0 without Host", "GET /scep?operation=GetCACaps HTTP/1.0\r\n\r\n", 200},
		{"HTTP/1.1 with Host", "GET /scep?operation=GetCACaps HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200},
		{"absolute form", "GET http://elsewhere/scep?operation=GetCACaps HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200},
		{"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404},
		{"longest GET message", "GET /scep?operation=PKIOperation&message=" + longest + " HTTP/1.0\r\n\r\n", 400},
		{"too long a GET message", "GET /scep?operation=PKIOperation&message=" + longest + "AAAA HTTP/1.0\r\n\r\n", 414},
		{"GET message of 1 MB", "GET /scep?operation=PKIOperation&message=" + strings.Repeat(longest, 16) + " HTTP/1.0\r\n\r\n", 431},
		{"two lengths", "POST /scep HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400},
		{"negative length", "POST /scep HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\nxx", 400},
		{"too large", "POST /scep HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n", 413},
		{"too large in chunks", "POST /scep HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" +
			strings.Repeat(chunk, scep.MaxMessage/4096+1), 413},
		{"no length at all", "POST /scep HTTP/1.0\r\n\r\n", 400},
		{"expects 100-continue and is too large", "POST /scep HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100000000\r\n\r\n", 413},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t, open(t))
				c := s.send(s.public, test.request)
				if a := s.receive(c); a.status != test.status || a.body == "" {
					t.Errorf("%d %q, want %d", a.status, a.body, test.status)
				}
				c.Close()
				s.close()
			})
		})
	}
}

// Who is slow is not waited for.
func TestTimeouts(t *testing.T) {
	const complete = "GET /scep?operation=GetCACaps HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, test := range []struct {
		name, request string
		status        int // 0: the connection is closed without a word
		after         time.Duration
	}{
		{"says nothing", "", 0, 5 * time.Second},
		{"slow header", "GET /scep?operation=GetCACaps HTTP/1.1\r\nHost:", 0, 5 * time.Second},
		{"slow body", "POST /scep HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nslow", 408, 10 * time.Second},
		{"slow chunks", "POST /scep HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", 408, 10 * time.Second},
		{"idle", complete, 200, 60 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t, open(t))
				begin := time.Now()
				c := s.send(s.public, test.request)
				if test.status != 0 {
					if a := s.receive(c); a.status != test.status {
						t.Errorf("%d, want %d", a.status, test.status)
					}
				}
				if _, err := c.Read(make([]byte, 1)); err == nil {
					t.Error("the connection is not closed")
				}
				if took := time.Since(begin); took < test.after || took > test.after+time.Second {
					t.Errorf("closed after %v, want %v", took, test.after)
				}
				s.close()
			})
		})
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, open(t))
		var connections []net.Conn
		for len(connections) < 4200 {
			c, err := s.public.dial()
			if err != nil {
				break
			}
			connections = append(connections, c)
		}
		if len(connections) != 4096 {
			t.Errorf("%d connections at once, want 4096", len(connections))
		}
		connections[0].Close()
		c, err := s.public.dial()
		if err != nil {
			t.Errorf("after one was closed: %v", err)
		} else {
			c.Close()
		}
		for _, c := range connections {
			c.Close()
		}
		s.close()
	})
}

// dialFrom connects from an address.
func (p *pipes) dialFrom(address string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	synctest.Wait()
	select {
	case p.calls <- comingFrom{theirs, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address))}:
		return ours, nil
	default:
		return nil, errors.New("nobody accepts")
	}
}

// comingFrom is a connection with the address of who made it.
type comingFrom struct {
	net.Conn
	address net.Addr
}

func (c comingFrom) RemoteAddr() net.Addr { return c.address }

// One client cannot have all connections, whichever of its addresses it takes;
// a proxy, which speaks for many, can.
func TestConnectionsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const share = 2048
		s := serve(t, open(t, inMemory, func(h *house) { h.config.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} }))
		var all []net.Conn
		// open returns how many of n connections from an address stay open.
		open := func(n int, address func(i int) string) (stay int) {
			t.Helper()
			for i := range n {
				c, err := s.public.dialFrom(address(i))
				if err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if c.SetReadDeadline(time.Time{}) == nil { // of a pipe, it fails when the other end is closed
					stay++
					all = append(all, c)
				}
			}
			return stay
		}
		one := func(address string) func(int) string { return func(int) string { return address } }
		if got := open(share+5, one("192.0.2.1:1")); got != share {
			t.Errorf("%d connections from one address, want %d", got, share)
		}
		if got := open(3, func(i int) string { return fmt.Sprintf("[2001:db8::%d]:1", i) }); got != 3 {
			t.Errorf("%d of 3 from elsewhere", got)
		}
		if lines := s.log.lines(t, "connections refused"); len(lines) != 1 || lines[0]["remote"] != "192.0.2.1" {
			t.Errorf("logged %v", lines)
		}
		all[0].Close()
		if got := open(2, one("192.0.2.1:2")); got != 1 {
			t.Errorf("%d of 2 after one was closed", got)
		}
		for _, c := range all {
			c.Close()
		}
		synctest.Wait()
		if got := open(share+5, func(i int) string { return fmt.Sprintf("[2001:db8::%x]:1", i) }); got != share {
			t.Errorf("%d connections from one network, want %d", got, share)
		}
		for _, c := range all {
			c.Close()
		}
		if got := open(share+5, one("10.0.0.1:1")); got != share+5 {
			t.Errorf("%d connections from a proxy", got)
		}
		for _, c := range all {
			c.Close()
		}
		s.close()
	})
}

// Who has no connection any more is forgotten; one that is closed twice gives
// back one place.
func TestClientsAreForgotten(t *testing.T) {
	calls := &pipes{calls: make(chan net.Conn, 1), closed: make(chan struct{})}
	l, remembered := server.NewSharing(calls)
	accept := func(address string) net.Conn {
		t.Helper()
		_, theirs := net.Pipe()
		calls.calls <- comingFrom{theirs, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address))}
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for i := range 1000 {
		accept(fmt.Sprintf("192.0.%d.%d:1", i/250, i%250)).Close()
	}
	if n := remembered(); n != 0 {
		t.Errorf("%d of 1000 that left are remembered", n)
	}
	first := accept("192.0.2.1:1")
	accept("192.0.2.1:2")
	first.Close()
	first.Close()
	if n := remembered(); n != 1 {
		t.Errorf("%d are remembered, want 1", n)
	}
}

// What is in flight at a stop finishes, and /readyz has turned before.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, first, release := blocked(t)
		s := serve(t, h)
		request := h.message("SECOND", secretKey)
		c := s.send(s.public, fmt.Sprintf("POST /scep HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(request.Raw), request.Raw))
		ready := func() reply {
			admin := s.send(s.admin, "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
			defer admin.Close()
			return s.receive(admin)
		}
		if a := ready(); a.status != 200 {
			t.Errorf("/readyz before: %d %s", a.status, a.body)
		}
		synctest.Wait()
		s.stop()
		synctest.Wait()
		if a := ready(); a.status != 503 || !strings.Contains(a.body, `"server": "stopping"`) {
			t.Errorf("/readyz while stopping: %d %s", a.status, a.body)
		}
		if _, err := s.public.dial(); err == nil {
			t.Error("new connections are accepted")
		}
		release()
		<-first
		h.success(request, s.receive(c))
		if err := <-s.stopped; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

// A request that does not end does not keep the server for ever.
func TestStopIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		s := serve(t, h)
		// The body is slow; the server stops before its time is over.
		c := s.send(s.public, "POST /scep HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nslow")
		time.Sleep(9 * time.Second)
		s.stop()
		begin := time.Now()
		if a := s.receive(c); a.status != 408 {
			t.Errorf("%d", a.status)
		}
		if err := <-s.stopped; err != nil || time.Since(begin) > 2*time.Second {
			t.Errorf("stopped after %v: %v", time.Since(begin), err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		h := open(t, commitWith(func(context.Context, depot.Issuance) (depot.Identity, error) {
			<-goOn // deaf to its context
			return depot.Identity{}, depot.ErrUnavailable
		}))
		s := serve(t, h)
		request := h.message("SERIAL1", secretKey)
		c := s.send(s.public, fmt.Sprintf("POST /scep HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(request.Raw), request.Raw))
		synctest.Wait()
		s.stop()
		begin := time.Now()
		if err := <-s.stopped; err == nil || time.Since(begin) != 20*time.Second {
			t.Errorf("stopped after %v: %v", time.Since(begin), err)
		}
		close(goOn)
		c.Close()
	})
}

// A listener that fails ends the server with its error.
func TestListenerFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, open(t))
		synctest.Wait()
		s.admin.Close()
		if err := <-s.stopped; err == nil {
			t.Error("Serve returns nil")
		}
	})
}

// Lines that anybody can cause by the thousand are summed up.
func TestFloodOfLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, limited(1))
		s := serve(t, h)
		for range 51 {
			h.from("192.0.2.1", "/scep")
		}
		time.Sleep(1100 * time.Millisecond)
		if n := len(h.log.lines(t, "transaction")); n != 11 { // one that was let through, ten of the others
			t.Errorf("%d lines, want 11", n)
		}
		sums := h.log.lines(t, "transactions not logged")
		if len(sums) != 1 || sums[0]["reason"] != "rate_limited" || sums[0]["count"] != 40.0 {
			t.Errorf("summed up as %v", sums)
		}
		s.close()
	})
}

// Over TLS no client certificate is asked for and HTTP/2 is not spoken, even if
// the given configuration would.
func TestTLS(t *testing.T) {
	h := open(t)
	ctx, stop := context.WithCancel(t.Context())
	public, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	admin, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	certificate, pool := selfSigned(t)
	stopped := make(chan error)
	go func() {
		stopped <- h.Serve(ctx, public, admin, &tls.Config{
			Certificates: []tls.Certificate{certificate},
			ClientAuth:   tls.RequireAnyClientCert,
			NextProtos:   []string{"h2", "http/1.1"},
		})
	}()
	asked := false
	var protocol string
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{
		RootCAs:    pool,
		NextProtos: []string{"h2", "http/1.1"},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			asked = true
			return &tls.Certificate{}, nil
		},
		VerifyConnection: func(s tls.ConnectionState) error { protocol = s.NegotiatedProtocol; return nil },
	}}
	device := &client.Client{
		URL:        "https://" + public.Addr().String() + "/scep/default",
		HTTPClient: &http.Client{Transport: transport},
		UserAgent:  "device",
	}
	result, err := device.Enrol(t.Context(), client.Enrolment{
		Key: shared.key, Subject: pkix.Name{CommonName: "C02XL0GTJGH5"}, Challenge: secretKey,
	})
	if err != nil || result.Status != client.Success {
		t.Fatalf("%+v %v", result, err)
	}
	if asked || protocol != "http/1.1" {
		t.Errorf("asked for a certificate: %v, protocol %q", asked, protocol)
	}
	identity, err := h.depot.Identity(t.Context(), fmt.Sprintf("%x", result.Certificate.SerialNumber.Bytes()))
	if err != nil || !identity.TLS || identity.SourcePeer != "127.0.0.1" || identity.UserAgent != "device" {
		t.Errorf("stored %+v (%v)", identity, err)
	}
	transport.CloseIdleConnections()
	stop()
	if err := <-stopped; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// selfSigned makes a TLS certificate for loopback.
func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}
