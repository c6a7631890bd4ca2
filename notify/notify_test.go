package notify_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/notify"
)

// began is when everything here begins.
var began = time.Date(2026, time.May, 4, 12, 0, 0, 0, time.UTC)

// Every type of event of package depot can be asked for.
func TestTypesAreWhole(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "../depot/records.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "EventType" {
			return true
		}
		text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		found++
		if !slices.Contains(notify.Types(), depot.EventType(text)) {
			t.Errorf("%s is not in Types", text)
		}
		return true
	})
	if found != len(notify.Types()) || found < 30 {
		t.Errorf("%d types of event, %d in Types", found, len(notify.Types()))
	}
}

func TestOktaEventType(t *testing.T) {
	with := map[depot.EventType]string{
		depot.EventCertificateIssued: "pki.cert.issue", depot.EventCertificateRevoked: "pki.cert.lifecycle.revoke",
		depot.EventCertificateReleased: "pki.cert.lifecycle.activate", depot.EventCertificateUsed: "pki.cert.bind",
	}
	for _, e := range append(notify.Types(), "unheard.of") {
		if got := notify.OktaEventType(e); got != with[e] {
			t.Errorf("%s is %q, want %q", e, got, with[e])
		}
	}
}

func TestEventID(t *testing.T) {
	if got := notify.EventID(0xabc); got != "ev_0000000000000abc" {
		t.Errorf("EventID = %s", got)
	}
	if !strings.HasPrefix(notify.EventID(1<<63), "ev_8000000000000000") {
		t.Error("EventID loses the highest bit")
	}
}
