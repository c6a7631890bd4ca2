package main

type requestDenyCmd struct {
	decisionFlags `embed:""`
}

// Help shows what to type.
func (requestDenyCmd) Help() string {
	return `
The device is refused when it asks the next time, and may begin anew.

    understudy request deny rq_0123456789abcdefg --note "not one of ours"`
}

// Run denies.
func (c *requestDenyCmd) Run(a *app) error { return c.decide(a, "deny") }
