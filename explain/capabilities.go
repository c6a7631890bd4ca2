package explain

import (
	"bytes"
	"slices"
)

// capabilities are the words of GetCACaps (RFC 8894 §3.5.2) and one more.
var capabilities = map[string]string{
	"AES":              "AES-128-CBC may encrypt messages",
	"DES3":             "Triple DES may encrypt messages",
	"GetNextCACert":    "the server answers with its next CA certificate",
	"POSTPKIOperation": "messages may come by POST",
	"Renewal":          "the server understands RenewalReq",
	"SHA-1":            "SHA-1 may be the digest",
	"SHA-256":          "SHA-256 may be the digest",
	"SHA-384":          "SHA-384 may be the digest; the RFC does not know the word",
	"SHA-512":          "SHA-512 may be the digest",
	"SCEPStandard":     "AES, SHA-256 and POSTPKIOperation in one word",
}

// caps explains an answer to GetCACaps.
func (x *explainer) caps(text []byte, all []string) {
	const where = "GetCACaps"
	x.is(Capabilities, "answer to GetCACaps: what a SCEP server can do")
	for _, word := range all {
		meaning, known := capabilities[word]
		if !known {
			meaning = "unknown; clients must ignore it (RFC 8894 §3.5.2)"
		}
		x.add(word, "").note("%s", meaning)
	}
	has := func(word string) bool { return slices.Contains(all, word) }
	if !has("SHA-1") && !has("SHA-256") && !has("SHA-512") {
		x.find(Objection, "Apple", "error 22006", where, "none of SHA-1, SHA-256 and SHA-512 is offered")
	}
	if !has("SHA-384") && (has("AES") || has("SCEPStandard")) {
		x.find(Objection, "strongSwan 5.9.8", "it tests the wrong bit", where,
			`SHA-384 is missing; with --cipher aes it then says "AES_CBC encryption algorithm not supported by CA"`)
	}
	if has("SCEPStandard") && !has("POSTPKIOperation") {
		x.find(Remark, "Apple", "it does not look at SCEPStandard", where, "POSTPKIOperation is missing, so messages come by GET")
	}
	if !has("AES") {
		x.find(Objection, "OpenSSL 3 clients", "RFC 8894 §2.9", where, "AES is missing: clients fall back to Triple DES or DES")
	}
	if bytes.Contains(text, []byte("\n\n")) || bytes.Contains(text, []byte("\r\n\r\n")) {
		x.find(Objection, "strongSwan", "read in its source", where, "there is an empty line, which it takes for every capability")
	}
	if has("Renewal") {
		x.find(Remark, "understudy", "Okta's behaviour", where, "Okta does not offer Renewal; its stand-in does so only when told to")
	}
}
