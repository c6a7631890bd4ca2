package main

import "net/http"

// decisionFlags are what is said about a decision.
type decisionFlags struct {
	clientFlags `embed:""`
	ID          string `arg:"" name:"request" help:"Id of the request; see \"request list\"."`
	Note        string `from:"flag" placeholder:"TEXT" help:"Keep TEXT with the decision."`
}

// decide sends a decision and shows what it led to.
func (f decisionFlags) decide(a *app, verb string) error {
	fields := map[string]any{}
	if f.Note != "" {
		fields["note"] = f.Note
	}
	answer, err := f.call(http.MethodPost, requestPath(f.ID, "/", verb), nil, fields)
	if err != nil {
		return err
	}
	return show(a, answer, a.printRequest)
}

type requestApproveCmd struct {
	decisionFlags `embed:""`
}

// Help shows what to type.
func (requestApproveCmd) Help() string {
	return `
The device gets its certificate when it asks the next time.

    understudy request approve rq_0123456789abcdefg
    understudy request approve rq_0123456789abcdefg --note "called Jane"`
}

// Run approves.
func (c *requestApproveCmd) Run(a *app) error { return c.decide(a, "approve") }
