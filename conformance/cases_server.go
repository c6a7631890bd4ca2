package conformance

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"understudy.example/understudy/scep/client"
	"understudy.example/understudy/scep/client/craft"
)

const (
	typeCACert = "application/x-x509-ca-cert"
	typeCARA   = "application/x-x509-ca-ra-cert"
)

// capabilityWords are those of RFC 8894 §3.5.2 and SHA-384, which strongSwan
// looks for.
var capabilityWords = []string{
	"AES", "DES3", "GetNextCACert", "POSTPKIOperation", "Renewal", "SHA-1", "SHA-256", "SHA-384", "SHA-512", "SCEPStandard", "Update",
}

var digests = []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512}

var ciphers = []struct {
	name   client.Cipher
	cipher craft.Cipher
}{
	{client.AES128CBC, craft.AES128CBC}, {client.AES256CBC, craft.AES256CBC}, {client.TripleDESCBC, craft.TripleDESCBC},
}

func capabilityCases() []Case {
	return []Case{
		{Number: 1, Section: "3.5.1, 3.5.2", Title: "GetCACaps answers with words in exact case, one on a line", run: capabilityLines},
		{Number: 2, Section: "3.5.1", Title: "GetCACaps answers the same with any message, and without", run: capabilitiesWithMessage},
		{Number: 3, Section: "3.5.2, 2.9", Title: "SCEPStandard holds: AES, SHA-256 and POST work", run: standardHolds},
		{Number: 4, Section: "3.5.2", Title: "what GetCACaps offers is not refused", run: offersHold},
	}
}

func certificateCases() []Case {
	return []Case{
		{Number: 5, Section: "4.2.1.1", Title: "GetCACert of a CA without RA is one certificate in DER", run: singleCertificate},
		{Number: 6, Section: "4.2.1.2, 3.4", Title: "GetCACert with RA or intermediate is a certs-only bundle, the RA first", run: certificateBundle},
		{Number: 7, Section: "4.2", Title: "GetCACert answers the same with any message", run: certificatesWithMessage},
		{Number: 8, Section: "2.1.2", Title: "the SCEP certificate may sign and decrypt", run: keyUsage},
		{Number: 9, Section: "4.1", Title: "a trailing slash and /pkiclient.exe, which clients append, do no harm", run: paths},
	}
}

func nextCACases() []Case {
	return []Case{
		{Number: 10, Section: "4.7.1", Title: "GetNextCACert answers a bundle signed by the CA of today", run: nextCA},
		{Number: 11, Section: "3.5.2, 4.7", Title: "without a next CA, GetNextCACert is HTTP 4xx and not offered", run: noNextCA},
	}
}

// fetch runs one of the Get operations.
func (t *trial) fetch(query string) answer { return t.exchange(t.ctx, request{query: query}) }

func capabilityLines(t *trial) {
	media, _, _ := mime.ParseMediaType(t.caps.contentType)
	t.check("status and type", `HTTP 200, "text/plain"`, t.caps.String(), t.caps.status == http.StatusOK && media == "text/plain")
	if t.caps.status != http.StatusOK {
		return
	}
	text := string(t.caps.body)
	t.check("line ends", "LF alone, and no empty line", fmt.Sprintf("%.120q", text),
		!strings.Contains(text, "\r") && !strings.Contains("\n"+text, "\n\n") && text != "")
	var odd []string
	for _, word := range t.words {
		for _, known := range capabilityWords {
			if strings.EqualFold(word, known) && word != known {
				odd = append(odd, fmt.Sprintf("%q instead of %q", word, known))
			}
		}
	}
	t.check("words", "in the case of the RFC", cmpOr(strings.Join(odd, ", "), strings.Join(t.words, " ")), len(odd) == 0)
}

// cmpOr returns the first text that is not empty.
func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func capabilitiesWithMessage(t *trial) {
	for _, message := range []string{"", "CA", "Device%20Management%20CA"} {
		a := t.fetch("operation=GetCACaps&message=" + message)
		t.check("message="+message, t.caps.String(), a.String(), t.caps.status == http.StatusOK && a.status == http.StatusOK && bytes.Equal(a.body, t.caps.body))
	}
}

func standardHolds(t *trial) {
	if !t.words.Standard() {
		t.notApplicable("SCEPStandard is not offered")
	}
	r := t.request()
	r.Envelope.Cipher, r.Message.Digest = craft.AES128CBC, crypto.SHA256
	t.enrols("AES-128-CBC, SHA-256, POST", r)
}

func offersHold(t *trial) {
	offered := false
	for _, word := range t.words {
		if offer, known := offers[word]; known {
			offered = true
			offer(t, word)
		}
	}
	if !offered {
		t.notApplicable("GetCACaps offers nothing that could be tried: %q", t.words)
	}
}

// offers are what to try for each word.
var offers = map[string]func(*trial, string){
	"AES":     offersCipher(craft.AES128CBC),
	"DES3":    offersCipher(craft.TripleDESCBC),
	"SHA-1":   offersDigest(crypto.SHA1),
	"SHA-256": offersDigest(crypto.SHA256),
	"SHA-384": offersDigest(crypto.SHA384),
	"SHA-512": offersDigest(crypto.SHA512),
	"POSTPKIOperation": func(t *trial, word string) {
		r := t.request()
		a := t.exchange(t.ctx, request{method: http.MethodPost, query: "operation=PKIOperation", contentType: typeMessage, body: t.encode(r)})
		t.expect(word, t.settle(r, t.read(r, a)), t.accepted())
	},
	"Renewal": func(t *trial, word string) {
		if t.probe(); t.base.is(client.Pending) && !t.certifies() {
			return // a certificate is needed to try it
		}
		t.enrols(word+": RenewalReq without a challenge", t.renewal(t.holder()))
	},
	"GetNextCACert": func(t *trial, word string) {
		a := t.fetch("operation=GetNextCACert")
		t.expect(word, a, status(http.StatusOK))
	},
}

func offersCipher(c craft.Cipher) func(*trial, string) {
	return func(t *trial, word string) {
		r := t.request()
		r.Envelope.Cipher = c
		t.enrols(word, r)
	}
}

func offersDigest(h crypto.Hash) func(*trial, string) {
	return func(t *trial, word string) {
		r := t.request()
		r.Message.Digest = h
		t.enrols(word, r)
	}
}

func singleCertificate(t *trial) {
	if media, _, _ := mime.ParseMediaType(t.caCert.contentType); media == typeCARA {
		t.notApplicable("GetCACert answers a bundle, see case 6")
	}
	ok := t.caCert.status == http.StatusOK && t.caCert.contentType == typeCACert
	t.check("status and type", fmt.Sprintf("HTTP 200, %q, without parameters", typeCACert), t.caCert.String(), ok)
	c, err := x509.ParseCertificate(t.caCert.body)
	if err != nil {
		t.check("body", "one certificate in DER", err.Error(), false)
		return
	}
	t.check("body", "one certificate in DER", c.Subject.String(), true)
	t.check("issuer", "self-signed; an intermediate takes a bundle", c.Issuer.String(), bytes.Equal(c.RawIssuer, c.RawSubject))
}

func certificateBundle(t *trial) {
	if media, _, _ := mime.ParseMediaType(t.caCert.contentType); media != typeCARA {
		t.notApplicable("GetCACert does not answer a bundle, see case 5")
	}
	ok := t.caCert.status == http.StatusOK && t.caCert.contentType == typeCARA
	t.check("status and type", fmt.Sprintf("HTTP 200, %q, without parameters", typeCARA), t.caCert.String(), ok)
	if t.ca == nil {
		t.check("body", "a SignedData without content and signers", t.caErr.Error(), false)
		return
	}
	var names []string
	for _, c := range t.ca.All {
		names = append(names, c.Subject.String())
	}
	t.check("body", "a SignedData without content and signers", fmt.Sprintf("%d certificates", len(names)), true)
	t.check("order", "first the certificate that signs and decrypts", strings.Join(names, "; "), t.ca.All[0].Equal(t.ca.Encryption))
}

func certificatesWithMessage(t *trial) {
	for _, message := range []string{"", "0", "My%20CA", "My+CA"} {
		a := t.fetch("operation=GetCACert&message=" + message)
		t.check("message="+message, t.caCert.String(), a.String(),
			t.caCert.status == http.StatusOK && a.status == http.StatusOK && a.contentType == t.caCert.contentType && bytes.Equal(a.body, t.caCert.body))
	}
}

func keyUsage(t *trial) {
	const expected = "digitalSignature and keyEncipherment in one certificate"
	if t.ca == nil {
		t.check("key usage", expected, t.caErr.Error(), false)
		return
	}
	c := t.ca.Encryption
	const both = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	t.check("key usage", expected, fmt.Sprintf("%s in %s", usageText(c.KeyUsage), c.Subject), c.KeyUsage&both == both)
}

// usageText names the key usages that a CA or RA has.
func usageText(usage x509.KeyUsage) string {
	var names []string
	for _, known := range []struct {
		usage x509.KeyUsage
		name  string
	}{
		{x509.KeyUsageDigitalSignature, "digitalSignature"}, {x509.KeyUsageKeyEncipherment, "keyEncipherment"},
		{x509.KeyUsageDataEncipherment, "dataEncipherment"}, {x509.KeyUsageCertSign, "keyCertSign"}, {x509.KeyUsageCRLSign, "cRLSign"},
	} {
		if usage&known.usage != 0 {
			names = append(names, known.name)
		}
	}
	return cmpOr(strings.Join(names, ", "), "none of them")
}

func paths(t *trial) {
	base, err := url.Parse(t.o.URL)
	t.must("the URL", err)
	stem := strings.TrimSuffix(strings.TrimSuffix(base.Path, "/"), "/pkiclient.exe")
	tried := []string{stem, stem + "/", stem + "/pkiclient.exe"}
	if stem == "/scep" { // the shape of those who have one endpoint
		tried = append(tried, "/cgi-bin/pkiclient.exe")
	}
	if stem == "" || stem == "/cgi-bin" { // where only the program has a name
		tried = tried[2:]
	}
	for _, path := range tried {
		there := *base
		there.Path = path
		r := t.request()
		a := t.exchange(t.ctx, request{method: http.MethodPost, url: there.String(), query: "operation=PKIOperation", contentType: typeMessage, body: t.encode(r)})
		t.expect(path, t.settle(r, t.read(r, a)), t.accepted())
	}
}

func nextCA(t *trial) {
	t.needServer()
	if prepare := t.o.Operator.PrepareNextCA; prepare != nil && !t.words.Has("GetNextCACert") {
		t.must("preparing a next CA", prepare(t.ctx))
		if cancel := t.o.Operator.CancelNextCA; cancel != nil {
			defer func() {
				if err := cancel(t.ctx); err != nil {
					t.check("cancelling the next CA", "that it works", err.Error(), false)
				}
			}()
		}
	}
	caps := t.fetch("operation=GetCACaps")
	words := client.ParseCapabilities(caps.body)
	if !words.Has("GetNextCACert") && t.o.Operator.PrepareNextCA == nil {
		t.notApplicable("GetNextCACert is not offered: there is no next CA, see case 11")
	}
	t.check("GetCACaps", "GetNextCACert among the words", strings.Join(words, " "), words.Has("GetNextCACert"))
	next, err := t.client.NextCACertificates(t.ctx, t.ca)
	const expected = "a certs-only bundle, signed by the CA or RA of today"
	if err != nil {
		t.check("GetNextCACert", expected, err.Error(), false)
		return
	}
	by := "the RA"
	if next.SignedBy.Equal(t.ca.Issuer) {
		by = "the CA"
	}
	t.check("GetNextCACert", expected, fmt.Sprintf("%d certificates, signed by %s", len(next.Certificates), by), true)
	fresh := slices.ContainsFunc(next.Certificates, func(c *x509.Certificate) bool {
		return !slices.ContainsFunc(t.ca.All, c.Equal)
	})
	t.check("certificates", "one that GetCACert does not have today", fmt.Sprintf("%v", fresh), fresh)
}

func noNextCA(t *trial) {
	if t.words.Has("GetNextCACert") {
		t.notApplicable("GetNextCACert is offered, see case 10")
	}
	t.check("GetCACaps", "no GetNextCACert among the words", strings.Join(t.words, " "), true)
	t.expect("GetNextCACert", t.fetch("operation=GetNextCACert"), clientError)
}

// marshal encodes what cannot fail.
func marshal(value any) []byte {
	der, err := asn1.Marshal(value)
	if err != nil {
		panic(err)
	}
	return der
}
