package notify_test

import (
	"errors"
	"strings"
	"testing"

	"understudy.example/understudy/notify"
)

func targets(t testing.TB, entries ...string) notify.Targets {
	t.Helper()
	parsed, err := notify.ParseTargets(entries)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// What anybody may think of who wants the server to call what only the server
// can reach (A55).
func hostileURLs() []string {
	return []string{
		"http://169.254.169.254/latest/meta-data/", "http://[::1]/", "http://[::1]:8081/", "http://0.0.0.0/", "http://127.1/",
		"http://127.0.0.1/", "http://127.0.0.1./", "http://2130706433/", "http://0x7f000001/", "http://0x7f.1/", "http://017700000001/", "http://127.0.0.1:8081/",
		"http://localhost/", "http://localhost./", "http://LOCALHOST/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://[::]/",
		"http://[fe80::1%25eth0]/", "http://[fe80::1]/", "http://[64:ff9b::7f00:1]/", "http://10.0.0.1/", "http://192.168.1.1/", "http://172.16.0.1/",
		"http://[fd00:ec2::254]/", "http://100.100.100.200/", "http://metadata.google.internal/", "http://224.0.0.1/", "http://255.255.255.255/",
		"http://example.com/", "https://example.com/", "http://１２７.0.0.1/", "http://127。0。0。1/",
		"file:///etc/passwd", "gopher://127.0.0.1:70/", "ftp://example.com/", "unix:///run/x", "//example.com/", "example.com", "", "http://", "http:///x",
		"http://user@example.com/", "http://example.com#@127.0.0.1/", "http:127.0.0.1", "http://example.com:0/", "http://example.com:99999/", "http://exa mple.com/",
		"http://example..com/", "http://-a.com/", "javascript:alert(1)", "http://[::1", "\x00http://example.com/", "http://%31%32%37.0.0.1/",
	}
}

func TestNothingIsAllowed(t *testing.T) {
	for _, url := range append(hostileURLs(), "https://hooks.example.com/", "http://8.8.8.8/", "https://[2606:4700::1111]/") {
		if err := (notify.Targets{}).Check(url); err == nil {
			t.Errorf("%q is allowed", url)
		}
	}
	err := notify.Targets{}.Check("https://hooks.example.com/x")
	if !errors.Is(err, notify.ErrTarget) || !strings.Contains(err.Error(), "--webhook-allow hooks.example.com:443") {
		t.Errorf("error is %q: it does not say what to do", err)
	}
}

// Where one host is allowed, nothing else is.
func TestOneHostIsAllowed(t *testing.T) {
	allowed := targets(t, "hooks.example.org", "203.0.113.7")
	for _, url := range hostileURLs() {
		// A name may lead to 203.0.113.7; the connection decides.
		if err := allowed.Check(url); err == nil && !strings.Contains(url, "example.com") && !strings.Contains(strings.ToLower(url), "localhost") && !strings.Contains(url, "metadata") {
			t.Errorf("%q is allowed", url)
		}
	}
	only := targets(t, "hooks.example.org")
	for _, url := range hostileURLs() {
		if err := only.Check(url); err == nil {
			t.Errorf("%q is allowed", url)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		allow, url string
		good       bool
	}{
		{"hooks.example.com", "https://hooks.example.com/path?q=1", true},
		{"hooks.example.com", "http://HOOKS.example.com.:8080/", true},
		{"Hooks.Example.com.", "http://hooks.example.com/", true},
		{"hooks.example.com", "https://xhooks.example.com/", false},
		{"hooks.example.com", "https://a.hooks.example.com/", false},
		{"hooks.example.com:8443", "https://hooks.example.com:8443/", true},
		{"hooks.example.com:8443", "https://hooks.example.com/", false},
		{"hooks.example.com:443", "https://hooks.example.com/", true},
		{"hooks.example.com:443", "http://hooks.example.com/", false},
		{"hooks.example.com:80", "http://hooks.example.com/", true},
		{"*.example.com", "https://a.example.com/", true},
		{"*.example.com", "https://a.b.example.com/", true},
		{"*.example.com", "https://example.com/", false},
		{"*.example.com", "https://.example.com/", false},
		{"*.example.com", "https://badexample.com/", false},
		{"*.example.com", "https://10.0.0.1/", false},
		{"*.example.com:8443", "https://a.example.com/", false},
		{"10.0.0.0/8", "http://10.255.255.255/", true},
		{"10.0.0.0/8", "http://11.0.0.0/", false},
		{"10.0.0.0/8", "http://[::ffff:10.0.0.1]/", true},
		{"10.0.0.0/8:8080", "http://10.0.0.1:8080/", true},
		{"10.0.0.0/8:8080", "http://10.0.0.1/", false},
		{"127.0.0.1", "http://127.0.0.1:1234/", true},
		{"127.0.0.1", "http://127.1:1234/", false},
		{"127.0.0.1", "http://127.0.0.2/", false},
		{"::1", "http://[::1]/", true},
		{"[::1]:9", "http://[::1]:9/", true},
		{"[::1]:9", "http://[::1]:10/", false},
		{"::ffff:10.0.0.1", "http://10.0.0.1/", true},
		{"fd00::/8", "http://[fd00::7]/", true},
		{"[fd00::/8]:80", "http://[fd00::7]/", false},
		{"0.0.0.0/0", "http://169.254.169.254/", true}, // who writes this means it
		{"169.254.169.254", "http://169.254.169.254/", true},
		{"hooks.example.com", "https://user:password@hooks.example.com/", false},
		{"hooks.example.com", "https://hooks.example.com/#a", false},
		{"hooks.example.com", "https://hooks.example.com/#", false},
		{"hooks.example.com", "ftp://hooks.example.com/", false},
		{"hooks.example.com", "https://hooks.example.com/" + strings.Repeat("a", 2048), false},
	} {
		allowed, err := notify.ParseTargets([]string{c.allow})
		if err != nil {
			if c.good {
				t.Errorf("%s: %v", c.allow, err)
			}
			continue
		}
		if err := allowed.Check(c.url); (err == nil) != c.good {
			t.Errorf("--webhook-allow %s: %s: %v, want it allowed: %v", c.allow, c.url, err, c.good)
		}
	}
}

func TestParseTargets(t *testing.T) {
	for _, entry := range []string{
		"", " ", "127.1", "0x7f.1", "10.0.0.1/8", "10.0.0.0/33", "host:0", "host:65536", "host:port", "*.", "*", "a*b.com", "*.*.com", "http://host", "host/path",
		"fe80::1%eth0", "::ffff:10.0.0.0/104", "bücher.example", "a b", "-host", "host-", "a..b", ":80", strings.Repeat("a", 64), strings.Repeat("a.", 130) + "a", "host\n",
	} {
		if _, err := notify.ParseTargets([]string{entry}); err == nil && strings.TrimSpace(entry) != "host" {
			t.Errorf("%q was taken", entry)
		} else if err != nil && !strings.HasPrefix(err.Error(), "webhook target") {
			t.Errorf("%q: error %q does not say what it is about", entry, err)
		}
	}
	if _, err := notify.ParseTargets(nil); err != nil {
		t.Error(err)
	}
	two := targets(t, " a.example ", "b.example")
	for _, url := range []string{"http://a.example/", "http://b.example/"} {
		if err := two.Check(url); err != nil {
			t.Error(err)
		}
	}
}
