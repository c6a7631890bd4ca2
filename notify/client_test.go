package notify_test

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"understudy.example/understudy/notify"
)

// names is a DNS server in the test: it answers each question for an IPv4
// address with what lookUp says.
func names(t testing.TB, lookUp func(name string, n int) string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buffer := make([]byte, 1500)
		for n := 1; ; {
			size, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buffer[:size]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			m.Response, m.Authoritative, m.Additionals = true, true, nil
			address, err := netip.ParseAddr(lookUp(strings.TrimSuffix(q.Name.String(), "."), n))
			head := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 0}
			switch {
			case err != nil:
			case q.Type == dnsmessage.TypeA && address.Is4():
				n++
				m.Answers = []dnsmessage.Resource{{Header: head, Body: &dnsmessage.AResource{A: address.As4()}}}
			case q.Type == dnsmessage.TypeAAAA && address.Is6():
				n++
				m.Answers = []dnsmessage.Resource{{Header: head, Body: &dnsmessage.AAAAResource{AAAA: address.As16()}}}
			}
			if packed, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(packed, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// sent sends a test to a URL that was stored when everything was allowed, as
// a server does that was started again with other flags or whose name now
// leads elsewhere.
func sent(t testing.TB, c *notify.Client, url string) notify.TestResult {
	t.Helper()
	w := newWorld(t, func(o *notify.Options) {
		o.Client = notify.NewClient(targets(t, "0.0.0.0/0", "::/0"), notify.ClientOptions{})
	})
	id, _ := w.add("http://192.0.2.1/")
	w.store.set(func() {
		h := w.store.webhooks[id]
		h.URL = url
		w.store.webhooks[id] = h
	})
	w.options.Client = c
	w.open()
	result, err := w.service.Test(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// port returns the port of a server's URL.
func port(url string) string { return url[strings.LastIndexByte(url, ':')+1:] }

// victim is a server on loopback that nobody may reach.
func victim(t testing.TB) (url string, reached *atomic.Int64) {
	t.Helper()
	reached = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(s.Close)
	return s.URL, reached
}

// A URL that got into the store is not called because it is there.
func TestHostileURLsAreNotCalled(t *testing.T) {
	url, reached := victim(t)
	c := notify.NewClient(targets(t, "hooks.example.org"), notify.ClientOptions{Resolver: names(t, func(string, int) string { return "127.0.0.1" })})
	for _, hostile := range append(hostileURLs(), url, "http://127.1:"+port(url)+"/", "http://localhost:"+port(url)+"/", "http://[::ffff:127.0.0.1]:"+port(url)+"/", "http://0.0.0.0:"+port(url)) {
		if r := sent(t, c, hostile); r.Err == nil || r.Delivered() {
			t.Errorf("%s: status %d", hostile, r.Status)
		}
	}
	// The host is allowed now, and the rest of the URL is not.
	c = notify.NewClient(targets(t, "127.0.0.1"), notify.ClientOptions{})
	for _, hostile := range []string{strings.Replace(url, "://", "://user:password@", 1), url + "/#fragment"} {
		if r := sent(t, c, hostile); r.Err == nil {
			t.Errorf("%s: status %d", hostile, r.Status)
		}
	}
	if reached.Load() != 0 {
		t.Error("the victim was reached")
	}
}

// A name leads elsewhere when it is called than when it was checked.
func TestRebinding(t *testing.T) {
	url, reached := victim(t)
	for name, c := range map[string]struct {
		allow   []string
		address string
		reaches bool
	}{
		"below a name, loopback":       {[]string{"*.example.com"}, "127.0.0.1", false},
		"below a name, IPv6 loopback":  {[]string{"*.example.com"}, "::1", false},
		"below a name, mapped":         {[]string{"*.example.com"}, "::ffff:127.0.0.1", false},
		"below a name, unspecified":    {[]string{"*.example.com"}, "0.0.0.0", false},
		"below a name, metadata":       {[]string{"*.example.com"}, "169.254.169.254", false},
		"below a name, private":        {[]string{"*.example.com"}, "10.0.0.1", false},
		"below a name, carrier":        {[]string{"*.example.com"}, "100.64.0.1", false},
		"below a name, NAT64":          {[]string{"*.example.com"}, "64:ff9b::7f00:1", false},
		"below a name, 6to4":           {[]string{"*.example.com"}, "2002:7f00:1::", false},
		"below a name, and by address": {[]string{"*.example.com", "127.0.0.1"}, "127.0.0.1", true},
		"behind a network":             {[]string{"10.0.0.0/8"}, "127.0.0.1", false},
		"by network":                   {[]string{"127.0.0.0/8"}, "127.0.0.1", true},
		"by name":                      {[]string{"a.example.com"}, "127.0.0.1", true},
		"by name, other port":          {[]string{"a.example.com:9", "10.0.0.0/8"}, "127.0.0.1", false},
		"by name, metadata":            {[]string{"a.example.com"}, "169.254.169.254", false},
		"by name, unspecified":         {[]string{"a.example.com"}, "0.0.0.0", false},
		"by name, multicast":           {[]string{"a.example.com"}, "224.0.0.1", false},
		"by name, link-local":          {[]string{"a.example.com"}, "fe80::1", false},
		"by name, NAT64":               {[]string{"a.example.com"}, "64:ff9b::a9fe:a9fe", false},
		"by name, translated":          {[]string{"a.example.com"}, "::ffff:0:7f00:1", false},
		"by other name":                {[]string{"b.example.com", "10.0.0.0/8"}, "127.0.0.1", false},
	} {
		reached.Store(0)
		client := notify.NewClient(targets(t, c.allow...), notify.ClientOptions{Timeout: patience, Resolver: names(t, func(string, int) string { return c.address })})
		for _, host := range []string{"a.example.com", "a.example.com.", "A.EXAMPLE.com"} {
			reached.Store(0)
			r := sent(t, client, "http://"+host+":"+port(url)+"/")
			if r.Delivered() != c.reaches || reached.Load() > 0 != c.reaches {
				t.Errorf("%s: %s: status %d, %v; want it reached: %v", name, host, r.Status, r.Err, c.reaches)
			}
			if !c.reaches && !errors.Is(r.Err, notify.ErrTarget) {
				t.Errorf("%s: %s: error %v is none of the target: it may have been dialled", name, host, r.Err)
			}
		}
	}
}

// The address is looked at anew for each connection.
func TestRebindingBetweenConnections(t *testing.T) {
	url, reached := victim(t)
	c := notify.NewClient(targets(t, "*.example.com", "127.0.0.1"), notify.ClientOptions{Timeout: patience, Resolver: names(t, func(_ string, n int) string {
		if n > 1 {
			return "127.0.0.2"
		}
		return "127.0.0.1"
	})})
	if r := sent(t, c, "http://a.example.com:"+port(url)+"/"); !r.Delivered() {
		t.Fatalf("%d %v", r.Status, r.Err)
	}
	if r := sent(t, c, "http://b.example.com:"+port(url)+"/"); !errors.Is(r.Err, notify.ErrTarget) {
		t.Errorf("%d %v", r.Status, r.Err)
	}
	if reached.Load() != 1 {
		t.Errorf("reached %d times", reached.Load())
	}
}

// A redirect is a failure, wherever it leads: the target is allowed, and what
// it says next is somebody else's choice.
func TestRedirectsAreNotFollowed(t *testing.T) {
	url, reached := victim(t)
	for _, code := range []int{301, 302, 303, 307, 308} {
		r := receive(t, func(_ int, w http.ResponseWriter, q *http.Request) { http.Redirect(w, q, url, code) })
		c := notify.NewClient(targets(t, "127.0.0.1"), notify.ClientOptions{})
		if got := sent(t, c, r.URL); got.Status != code || got.Delivered() {
			t.Errorf("%d: %+v", code, got)
		}
	}
	if reached.Load() != 0 {
		t.Error("a redirect was followed")
	}
}

// The environment says that there is a proxy, and nobody asks it. net/http
// reads the environment once, so this is a process of its own.
func TestNoProxy(t *testing.T) {
	const asked = "UNDERSTUDY_TEST_PROXY"
	if os.Getenv(asked) == "" {
		url, reached := victim(t)
		c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNoProxy$")
		c.Env = append(os.Environ(), asked+"=1", "HTTP_PROXY="+url, "HTTPS_PROXY="+url, "ALL_PROXY="+url, "NO_PROXY=")
		if output, err := c.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, output)
		}
		if reached.Load() != 0 {
			t.Error("a proxy was asked")
		}
		return
	}
	c := notify.NewClient(targets(t, "a.example.com"), notify.ClientOptions{Timeout: patience, Resolver: names(t, func(string, int) string { return "127.0.0.1" })})
	r := receive(t, nil)
	if got := sent(t, c, "http://a.example.com:"+port(r.URL)); !got.Delivered() {
		t.Errorf("%+v", got)
	}
}

// However much a receiver says, and however slowly, it ends. What it could
// write is what was read, and a little more that the kernel holds.
func TestEndlessAnswers(t *testing.T) {
	var written atomic.Int64
	for name, c := range map[string]struct {
		answer func(_ int, w http.ResponseWriter, r *http.Request)
		status int // 0: there is none
	}{
		"10 GB": {func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(10<<30))
			n, _ := io.Copy(w, io.LimitReader(zeros{}, 10<<30))
			written.Store(n)
		}, 200},
		"endless": {func(_ int, w http.ResponseWriter, _ *http.Request) {
			n, _ := io.Copy(w, zeros{})
			written.Store(n)
		}, 200},
		"endless head": {func(_ int, w http.ResponseWriter, _ *http.Request) {
			for i := range 2000 {
				w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 100))
			}
		}, 0},
	} {
		r := receive(t, c.answer)
		client := notify.NewClient(targets(t, "127.0.0.1"), notify.ClientOptions{Timeout: patience})
		got := sent(t, client, r.URL)
		if got.Status != c.status || (got.Err == nil) != (c.status != 0) || got.Took >= patience {
			t.Errorf("%s: %+v, want status %d", name, got, c.status)
		}
		if c.status != 0 {
			r.next(t)
		}
		if n := written.Swap(0); n > 32<<20 {
			t.Errorf("%s: %d bytes were taken", name, n)
		}
	}
}

// A receiver that says nothing, or nothing more, is left when the time is over.
func TestSilentReceivers(t *testing.T) {
	for name, begin := range map[string]string{"nothing": "", "a head": "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		left := make(chan error, 1)
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.SetReadDeadline(time.Now().Add(patience))
			_, _ = io.WriteString(conn, begin)
			_, err = io.Copy(io.Discard, conn)
			left <- err
			_ = conn.Close()
		}()
		client := notify.NewClient(targets(t, "127.0.0.1"), notify.ClientOptions{Timeout: time.Second})
		if got := sent(t, client, "http://"+l.Addr().String()); name == "nothing" && got.Err == nil {
			t.Errorf("%s: %+v", name, got)
		}
		if err := take(t, left, "end of the connection"); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection was held until the receiver ended it", name)
		}
		_ = l.Close()
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A server that begins an answer and never ends its first line.
func TestEndlessStatusLine(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				_, _ = io.WriteString(conn, "HTTP/1.1 200 ")
				_, _ = io.Copy(conn, zeros{})
			}()
		}
	}()
	client := notify.NewClient(targets(t, "127.0.0.1"), notify.ClientOptions{Timeout: patience})
	if got := sent(t, client, "http://"+l.Addr().String()); got.Err == nil || strings.Contains(got.Err.Error(), "too long") {
		t.Errorf("%+v", got)
	}
}

// A receiver that answers with another protocol and then with nothing gets no
// connection to hold on to: no deadline would end what is read from it.
func TestSwitchedProtocol(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	left := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		// An answer that is there before the request is no answer to it.
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
			left <- err
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: forever\r\n\r\n")
		_, err = io.Copy(io.Discard, conn)
		left <- err
	}()
	client := notify.NewClient(targets(t, "127.0.0.1"), notify.ClientOptions{})
	if got := sent(t, client, "http://"+l.Addr().String()); got.Status != http.StatusSwitchingProtocols || got.Delivered() {
		t.Errorf("%+v", got)
	}
	if err := take(t, left, "end of the connection"); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection was held until the receiver ended it")
	}
}

func TestTLS(t *testing.T) {
	r := &receiver{arrivals: make(chan arrival, 1)}
	r.Server = httptest.NewUnstartedServer(r)
	r.Config.ErrorLog = log.New(io.Discard, "", 0)
	r.StartTLS()
	t.Cleanup(r.Close)
	pool := x509.NewCertPool()
	pool.AddCert(r.Certificate())
	if got := sent(t, notify.NewClient(targets(t, "127.0.0.1"), notify.ClientOptions{RootCAs: pool}), r.URL); !got.Delivered() {
		t.Errorf("%+v", got)
	}
	r.next(t)
	if got := sent(t, notify.NewClient(targets(t, "127.0.0.1"), notify.ClientOptions{}), r.URL); got.Err == nil || !strings.Contains(got.Err.Error(), "certificate") {
		t.Errorf("nobody vouches for it: %+v", got)
	}
	r.none(t)
	elsewhere := notify.NewClient(targets(t, "other.example.org"), notify.ClientOptions{RootCAs: pool, Resolver: names(t, func(string, int) string { return "127.0.0.1" })})
	if got := sent(t, elsewhere, "https://other.example.org:"+port(r.URL)); got.Err == nil {
		t.Errorf("another's certificate: %+v", got)
	}
	r.none(t)
}

// Errors say nothing that only the operator's URL does.
func TestErrorsHoldNoURL(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	client := notify.NewClient(targets(t, "127.0.0.1"), notify.ClientOptions{})
	got := sent(t, client, "http://"+l.Addr().String()+"/T0KEN?key=T0KEN")
	if got.Err == nil || strings.Contains(got.Err.Error(), "T0KEN") {
		t.Errorf("error %v", got.Err)
	}
}
