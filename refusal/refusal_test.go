package refusal_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"understudy.example/understudy/refusal"
)

// The set in the API's documentation; whoever changes it changes a contract.
var contract = []refusal.Reason{
	"bad_message", "unsupported_algorithm", "unsupported_operation", "not_decryptable", "replayed", "transaction_conflict",
	"challenge_missing", "challenge_wrong", "challenge_used", "challenge_expired", "challenge_foreign", "challenge_refused",
	"key_rejected", "subject_rejected", "device_not_listed", "renewal_not_offered", "signer_not_trusted", "denied",
	"approval_expired", "not_found", "rate_limited", "busy",
}

func TestReasons(t *testing.T) {
	if got := refusal.Reasons(); !slices.Equal(got, contract) {
		t.Errorf("Reasons:\n got %q\nwant %q", got, contract)
	}
	label := regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	seen := map[refusal.Reason]bool{}
	for _, r := range refusal.Reasons() {
		if !label.MatchString(string(r)) || seen[r] {
			t.Errorf("%q is no label or stands there twice", r)
		}
		seen[r] = true
	}
	refusal.Reasons()[0] = "changed"
	if refusal.Reasons()[0] != contract[0] {
		t.Error("a caller can change the set")
	}
}

// Every constant of type Reason is in Reasons.
func TestReasonsIsWhole(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "refusal.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	constants := 0
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "Reason" {
			return true
		}
		for _, v := range spec.Values {
			constants++
			text, err := strconv.Unquote(v.(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(refusal.Reasons(), refusal.Reason(text)) {
				t.Errorf("%q is not in Reasons", text)
			}
		}
		return true
	})
	if constants != len(contract) {
		t.Errorf("found %d constants, want %d", constants, len(contract))
	}
}

func TestError(t *testing.T) {
	plain := refusal.New(refusal.KeyRejected, "key has %d bits", 1024)
	if got := plain.Error(); got != "key_rejected: key has 1024 bits" {
		t.Errorf("New: %q", got)
	}
	told := refusal.WithText(refusal.RenewalNotOffered, "redistribute the profile", "message type %s", "17")
	if got := told.Error(); got != "renewal_not_offered: message type 17" {
		t.Errorf("WithText: %q", got)
	}
	if got := (&refusal.Error{Reason: refusal.Busy}).Error(); got != "busy" {
		t.Errorf("without a detail: %q", got)
	}
	if e, _ := refusal.Of(plain); e.Text != "" {
		t.Errorf("New tells the client %q", e.Text)
	}
	if e, _ := refusal.Of(told); e.Text != "redistribute the profile" {
		t.Errorf("WithText tells the client %q", e.Text)
	}
}

func TestOf(t *testing.T) {
	r := refusal.New(refusal.Denied, "by anna")
	for name, err := range map[string]error{
		"itself": r, "wrapped": fmt.Errorf("enrol: %w", fmt.Errorf("check: %w", r)), "joined": errors.Join(io.EOF, r),
	} {
		if e, ok := refusal.Of(err); !ok || e.Reason != refusal.Denied || e.Detail != "by anna" {
			t.Errorf("%s: Of = %+v, %v", name, e, ok)
		}
	}
	for name, err := range map[string]error{"nil": nil, "internal": io.ErrUnexpectedEOF, "only the text": errors.New(r.Error())} {
		if e, ok := refusal.Of(err); ok || e != nil {
			t.Errorf("%s: Of = %+v, %v; want an internal error", name, e, ok)
		}
	}
}
