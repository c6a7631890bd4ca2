package conformance

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/scep/client/craft"
)

func transportCases() []Case {
	return []Case{
		{Number: 12, Section: "4.3", Title: "POST works with any content type that clients send", run: contentTypes},
		{Number: 13, Section: "4.3", Title: "POST without operation is a PKIOperation, or HTTP 4xx", run: postWithoutOperation},
		{Number: 14, Section: "4.1", Title: "GET works with percent-escapes", run: gets(map[string]func(string) string{
			"escaped": url.QueryEscape,
		})},
		{Number: 15, Section: "4.1", Title: "GET works with + and / as they are (macOS, iOS)", run: gets(map[string]func(string) string{
			"raw + and /": func(b64 string) string { return strings.ReplaceAll(b64, "=", "%3D") },
		})},
		{Number: 16, Section: "4.1", Title: "GET works when a proxy made + a space", run: gets(map[string]func(string) string{
			"+ as %20": func(b64 string) string { return strings.NewReplacer("+", "%20", "/", "%2F", "=", "%3D").Replace(b64) },
		})},
		{Number: 17, Section: "4.1", Title: "GET works URL-safe, unpadded, in lines, and with a newline at the end", run: gets(map[string]func(string) string{
			"URL-safe":              func(b64 string) string { return strings.NewReplacer("+", "-", "/", "_", "=", "%3D").Replace(b64) },
			"no padding":            func(b64 string) string { return url.QueryEscape(strings.TrimRight(b64, "=")) },
			"newline at the end":    func(b64 string) string { return url.QueryEscape(b64) + "%0A" },
			"lines of 64 columns":   inLines,
			"lower-case hex digits": func(b64 string) string { return strings.NewReplacer("+", "%2b", "/", "%2f", "=", "%3d").Replace(b64) },
		})},
		{Number: 18, Section: "4.1", Title: "an empty or garbage message is HTTP 400", run: garbage},
		{Number: 19, Title: "a body over the limit is HTTP 413", run: tooLarge},
		{Number: 20, Title: "HEAD and PUT are HTTP 405", run: methods},
	}
}

func contentTypes(t *trial) {
	for _, contentType := range []string{typeMessage, "application/octet-stream", "text/plain"} {
		r := t.request()
		a := t.exchange(t.ctx, request{method: http.MethodPost, query: "operation=PKIOperation", contentType: contentType, body: t.encode(r)})
		t.expect(contentType, t.settle(r, t.read(r, a)), t.accepted())
	}
}

func postWithoutOperation(t *trial) {
	r := t.request()
	a := t.exchange(t.ctx, request{method: http.MethodPost, contentType: typeMessage, body: t.encode(r)})
	t.expect("POST", t.settle(r, t.read(r, a)), either(t.accepted(), clientError))
}

// gets sends messages by GET, written in some ways.
func gets(ways map[string]func(base64 string) string) func(*trial) {
	return func(t *trial) {
		for _, name := range slices.Sorted(maps.Keys(ways)) {
			r := t.request()
			b64 := t.oddBase64(r)
			a := t.fetch("operation=PKIOperation&message=" + ways[name](b64))
			t.expect(name, t.settle(r, t.read(r, a)), t.accepted())
		}
	}
}

// oddBase64 encodes a request until its base64 has every odd character. The
// length of the transactionID decides about the padding.
func (t *trial) oddBase64(r *craft.Request) string {
	id := transactionID()
	for n := 0; ; n++ {
		r.Message.Set(craft.OIDTransactionID, craft.Text(cbasn1.PrintableString, id[n%3:]))
		b64 := base64.StdEncoding.EncodeToString(t.encode(r))
		if strings.ContainsRune(b64, '+') && strings.ContainsRune(b64, '/') && strings.HasSuffix(b64, "=") {
			return b64
		}
	}
}

func inLines(b64 string) string {
	const columns = 64
	var out strings.Builder
	for len(b64) > columns {
		out.WriteString(url.QueryEscape(b64[:columns]) + "%0D%0A")
		b64 = b64[columns:]
	}
	return out.String() + url.QueryEscape(b64)
}

func garbage(t *trial) {
	for _, body := range []struct{ name, text string }{
		{"empty", ""}, {"text", "garbage"}, {"HTML", "<html></html>"}, {"zeros", strings.Repeat("\x00", 100)},
	} {
		a := t.exchange(t.ctx, request{method: http.MethodPost, query: "operation=PKIOperation", contentType: typeMessage, body: []byte(body.text)})
		t.expect("POST, "+body.name, a, http400)
	}
	for _, query := range []struct{ name, text string }{
		{"no message", ""}, {"empty", "&message="}, {"zeros", "&message=AAAA"}, {"not base64", "&message=$$$"},
	} {
		t.expect("GET, "+query.name, t.fetch("operation=PKIOperation"+query.text), http400)
	}
}

// tooLarge sends larger and larger bodies until one is too large.
func tooLarge(t *trial) {
	var a answer
	for _, size := range []int{1 << 20, 4 << 20, 16 << 20} {
		a = t.exchange(t.ctx, request{
			method: http.MethodPost, query: "operation=PKIOperation", contentType: typeMessage, body: make([]byte, size), announce: true,
		})
		if a.err == nil && a.status == http.StatusRequestEntityTooLarge {
			t.check("body of zeros", "HTTP 413 for 16 MiB or less", fmt.Sprintf("HTTP 413 for %d MiB", size>>20), true)
			return
		}
	}
	t.check("body of zeros", "HTTP 413 for 16 MiB or less", a.String(), false)
}

func methods(t *trial) {
	for _, method := range []string{http.MethodHead, http.MethodPut} {
		a := t.exchange(t.ctx, request{method: method, query: "operation=GetCACaps"})
		t.expect(method, a, status(http.StatusMethodNotAllowed))
	}
}
