package conformance

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/scep/client"
	"understudy.example/understudy/scep/client/craft"
)

// hostileCases are small: each is the least that trips an ordinary limit.
func hostileCases() []Case {
	return []Case{
		{Number: 67, late: 2, Title: "elements that run past their parent are HTTP 400, at once", run: overruns},
		{Number: 68, late: 2, Title: "deeply nested indefinite lengths are HTTP 400 or 413", run: nesting},
		{Number: 69, late: 2, Title: "ciphertext of a broken length, or padding longer than a block, is FAILURE", run: each(anyFailure, []oddity{
			{"ciphertext is not whole blocks", func(_ *trial, r *craft.Request) {
				r.Envelope.Ciphertext = func(b []byte) []byte { return b[:len(b)-1] }
			}},
			{"no ciphertext", func(_ *trial, r *craft.Request) {
				r.Envelope.Ciphertext = func([]byte) []byte { return nil }
			}},
			{"padding longer than a block", func(_ *trial, r *craft.Request) { r.Envelope.Padded = lastByte(17) }},
		})},
		{Number: 70, late: 2, Title: "many bad messages at once do not keep a good one out", run: flood},
		{Number: 71, late: 2, Section: "3.2.1.2", Title: "attributes that libraries cannot print do not bring the server down", run: unprintable},
	}
}

// atOnce bounds an answer that takes no work.
const atOnce = time.Second

func overruns(t *trial) {
	for _, overrun := range []struct {
		name    string
		message []byte
	}{
		// A child is one byte longer than its parent has room for; the second
		// time the nearest definite length is two levels up.
		{"by one byte", []byte{0x30, 0x06, 0x30, 0x05, 0x02, 0x03, 0x00, 0x00, 0x00}},
		{"out of an indefinite length", []byte{0x30, 0x08, 0x30, 0x80, 0x30, 0x05, 0x02, 0x01, 0x00, 0x00, 0x00, 0x00}},
	} {
		a := t.post(overrun.message)
		for again := 0; again < 2 && a.err == nil && a.took >= atOnce; again++ { // a busy machine is not busy for ever
			a = t.post(overrun.message)
		}
		t.expect(overrun.name, a, http400)
		t.check(overrun.name+", time", fmt.Sprintf("less than %v", atOnce), fmt.Sprintf("%d ms", a.took.Milliseconds()), a.took < atOnce)
	}
	t.survives()
}

func nesting(t *trial) {
	for _, depth := range []int{25, 1000, 10_000} {
		message := []byte(strings.Repeat("\x30\x80", depth) + strings.Repeat("\x00\x00", depth))
		t.expect(fmt.Sprintf("%d levels", depth), t.post(message), status(http.StatusBadRequest, http.StatusRequestEntityTooLarge))
	}
	t.survives()
}

// survives expects that the server still works, as far as it ever did.
func (t *trial) survives() {
	if t.ca != nil {
		t.probe()
		if t.base.is(client.Success) || t.base.is(client.Pending) {
			t.alive()
			return
		}
	}
	a := t.fetch("operation=GetCACert")
	t.check("afterwards, GetCACert", t.caCert.String(), a.String(), a.err == nil && a.status == t.caCert.status)
}

// flood sends messages of which some fail at once and some as late as
// possible, and an honest one among them.
func flood(t *trial) {
	const workers = 16
	bad := t.request()
	bad.CSR.Signature = changed
	late := t.encode(bad)
	messages := [][]byte{late, late[:len(late)-1], late[:len(late)/2], []byte("garbage")}
	good := t.request()
	raw := t.encode(good)

	jobs := make(chan []byte)
	seen := floodCount{}
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for message := range jobs {
				seen.add(t.deliver(t.ctx, message))
			}
		})
	}
	for n := range t.o.Flood / 2 {
		jobs <- messages[n%len(messages)]
	}
	amid := t.insist(raw)
	for n := range t.o.Flood - t.o.Flood/2 {
		jobs <- messages[n%len(messages)]
	}
	close(jobs)
	running.Wait()
	t.check(fmt.Sprintf("%d bad messages, %d at a time", t.o.Flood, workers),
		"CertReps, HTTP 4xx, or 503 when there is no room", seen.String(), seen.wrong == 0)
	t.expect("an honest request among them", t.settle(good, t.read(good, amid)), t.accepted())
	t.alive()
}

// insist sends a message again while the server says that it has no room.
func (t *trial) insist(raw []byte) (a answer) {
	const tries, interval = 20, 250 * time.Millisecond
	for range tries {
		a = t.post(raw)
		if a.err != nil || a.status != http.StatusServiceUnavailable && a.status != http.StatusTooManyRequests {
			break
		}
		t.must("waiting for room", t.wait(t.ctx, interval))
	}
	return a
}

// floodCount counts answers; it is safe for concurrent use.
type floodCount struct {
	mu                               sync.Mutex
	replies, refused, full, wrong, n int
	first                            string // wrong one
}

func (c *floodCount) add(a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	switch {
	case a.err == nil && a.status == http.StatusOK && a.contentType == typeMessage:
		c.replies++
	case a.err == nil && a.status >= 400 && a.status <= 499:
		c.refused++
	case a.err == nil && a.status == http.StatusServiceUnavailable:
		c.full++
	default:
		if c.wrong == 0 {
			c.first = a.String()
		}
		c.wrong++
	}
}

func (c *floodCount) String() string {
	text := fmt.Sprintf("%d CertReps, %d HTTP 4xx, %d HTTP 503", c.replies, c.refused, c.full)
	if c.wrong > 0 {
		text += fmt.Sprintf(", %d others (%s)", c.wrong, c.first)
	}
	return text
}

// unprintable sends values at which the printing of some libraries panics.
func unprintable(t *trial) {
	want := either(failure(client.BadRequest, client.BadMessageCheck), http400)
	for _, text := range []string{"", "-1", "\x00", "99999999999999999999", strings.Repeat("9", 1000)} {
		r := t.request()
		typed(r, text)
		t.refuses(fmt.Sprintf("messageType %.12q", text), r, want)
	}
	r := t.request()
	for _, last := range []int{3, 4} { // pkiStatus and failInfo, which only a reply has
		oid := append(craft.OIDMessageType[:len(craft.OIDMessageType)-1:len(craft.OIDMessageType)-1], last)
		r.Message.Set(oid, craft.Text(cbasn1.PrintableString, "99"))
	}
	typed(r, "3")
	t.refuses("a reply with pkiStatus 99 and failInfo 99", r, want)
	t.survives()
}
