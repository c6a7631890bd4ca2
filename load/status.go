package load

import (
	"bytes"

	"understudy.example/understudy/scep/client"
)

// A Kind is a kind of failure: the closed set below.
type Kind string

// What can become of a message besides SUCCESS.
const (
	KindConnect    Kind = "connect"    // no connection
	KindTimeout    Kind = "timeout"    // no answer in time
	KindNetwork    Kind = "network"    // the connection broke
	KindHTTP       Kind = "http"       // a status other than 200: the detail
	KindUnreadable Kind = "unreadable" // a 200 that is no CertRep
	KindFailure    Kind = "failure"    // pkiStatus FAILURE: the detail is the failInfo
	KindPending    Kind = "pending"    // pkiStatus PENDING
	KindWrong      Kind = "wrong"      // a SUCCESS that is none: the sample's complete check
	KindUnsent     Kind = "unsent"     // the run was stopped before
)

// failure is why a message has no certificate; zero when it has one.
type failure struct {
	kind    Kind
	detail  string // of few values, or empty
	example string // what was seen once
}

// The attributes pkiStatus and failInfo of a CertRep up to their value: OBJECT
// IDENTIFIER, SET, PrintableString of one character (RFC 8894 §3.2.1).
var (
	pkiStatusPrefix = []byte("\x06\x0a\x60\x86\x48\x01\x86\xf8\x45\x01\x09\x03\x31\x03\x13\x01")
	failInfoPrefix  = []byte("\x06\x0a\x60\x86\x48\x01\x86\xf8\x45\x01\x09\x04\x31\x03\x13\x01")
)

// readStatus reads the pkiStatus without parsing the reply: microseconds
// instead of a hundred. The attributes are at the end of a message, behind the
// content, so the last occurrence is theirs. Whether they are signed, and all
// else, the sample tells.
func readStatus(reply []byte) failure {
	switch client.Status(valueAfter(reply, pkiStatusPrefix)) {
	case client.Success:
		return failure{}
	case client.Pending:
		return failure{kind: KindPending}
	case client.Failure:
		value := valueAfter(reply, failInfoPrefix)
		if name := client.FailInfo(value).Name(); name != "" {
			return failure{kind: KindFailure, detail: name}
		}
		return failure{kind: KindFailure, detail: "no failInfo"}
	}
	return failure{kind: KindUnreadable, detail: "no pkiStatus"}
}

func valueAfter(reply, prefix []byte) string {
	at := bytes.LastIndex(reply, prefix)
	if at < 0 || at+len(prefix) >= len(reply) {
		return ""
	}
	return string(reply[at+len(prefix) : at+len(prefix)+1])
}
