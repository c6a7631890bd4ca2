package conformance

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// A Case is one line of the list. Numbers and titles do not change; reports
// refer to them.
type Case struct {
	Number  int
	Group   string // what it is about: "GetCACaps" …
	Section string // of RFC 8894, such as "3.5.1, 3.5.2"; empty where the RFC is silent
	Title   string // what must hold, in one line
	run     func(*trial)
	late    int // run it behind those with a smaller number here
}

// Cases returns the whole list in the order of its numbers, from 1 without a
// gap.
func Cases() []Case {
	all := slices.Concat(
		group("GetCACaps", capabilityCases), group("GetCACert", certificateCases), group("GetNextCACert", nextCACases),
		group("Transport", transportCases), group("PKCSReq", enrolmentCases), group("Renewal", renewalCases),
		group("CertPoll", pendingCases), group("GetCert and GetCRL", queryCases), group("Hostile", hostileCases),
	)
	slices.SortFunc(all, func(a, b Case) int { return a.Number - b.Number })
	return all
}

func group(name string, cases func() []Case) []Case {
	list := cases()
	for i := range list {
		list[i].Group = name
	}
	return list
}

func contains(list []int, n int) bool { return slices.Contains(list, n) }

// try runs one case. Whatever goes wrong in it is its failure.
func (s *session) try(ctx context.Context, c Case) (r Result) {
	ctx, cancel := context.WithTimeout(ctx, caseLimit)
	defer cancel()
	t := &trial{session: s, ctx: ctx, Result: Result{
		Number: c.Number, Group: c.Group, Section: c.Section, Title: c.Title, Checks: []Check{},
	}}
	begin := time.Now()
	defer func() {
		r = t.Result
		r.DurationMS = time.Since(begin).Milliseconds()
	}()
	defer t.end()
	if t.down.Load() {
		t.notApplicable("the server is down since case %d", t.downSince)
	}
	defer func() {
		if t.await(t.ctx) == errDown && t.downSince == 0 { //nolint:errorlint // it is returned as it is
			t.downSince = t.Number
			t.check("afterwards", "that the server answers", "it is down and does not come back", false)
		}
	}()
	c.run(t)
	return r
}

// A trial is one case while it runs. Its methods panic with ended to leave the
// case early; end catches that.
type trial struct {
	*session
	Result
	ctx context.Context
}

type ended struct{}

// end gives the verdict, also after a panic.
func (t *trial) end() {
	if p := recover(); p != nil {
		if _, early := p.(ended); !early {
			t.check("the case itself", "an answer that can be judged", fmt.Sprintf("a panic of type %T in the test program", p), false)
		}
	}
	if t.Reason != nil && contains(t.o.Require, t.Number) {
		t.check("required", "that the case applies", "it does not: "+*t.Reason, false)
		t.Reason = nil
	}
	t.Verdict = Pass
	switch {
	case slices.ContainsFunc(t.Checks, func(c Check) bool { return !c.OK }):
		t.Verdict, t.Reason = Fail, nil
	case t.Reason != nil:
		t.Verdict = NotApplicable
	case len(t.Checks) == 0:
		t.check("the case itself", "something to judge", "nothing was checked", false)
		t.Verdict = Fail
	}
}

// check notes what was expected and what was seen.
func (t *trial) check(name, expected, seen string, ok bool) {
	t.Checks = append(t.Checks, Check{Name: name, Expected: clean(expected), Seen: clean(seen), OK: ok})
}

// notApplicable ends the case: it does not apply to this server. What failed
// before stays a failure.
func (t *trial) notApplicable(format string, args ...any) {
	reason := clean(fmt.Sprintf(format, args...))
	t.Reason = &reason
	panic(ended{})
}

// giveUp ends the case because something around it went wrong.
func (t *trial) giveUp(name string, err error) {
	t.check(name, "that it works", err.Error(), false)
	panic(ended{})
}

// must ends the case when err is one.
func (t *trial) must(name string, err error) {
	if err != nil {
		t.giveUp(name, err)
	}
}

// expect judges an answer.
func (t *trial) expect(name string, a answer, want expectation) bool {
	ok := want.holds(a)
	t.check(name, want.text, a.String(), ok)
	return ok
}
