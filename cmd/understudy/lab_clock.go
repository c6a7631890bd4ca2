package main

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/output"
)

const labClockPath = "/lab/clock"

// labClockCmd groups what can be done to a lab's clock.
type labClockCmd struct {
	Show     labClockShowCmd     `cmd:"" help:"Show what time it is, and by how much it was moved."`
	Set      labClockSetCmd      `cmd:"" help:"Set the time."`
	Advance  labClockAdvanceCmd  `cmd:"" help:"Move the time forwards, or backwards."`
	Freeze   labClockFreezeCmd   `cmd:"" help:"Stop the time."`
	Unfreeze labClockUnfreezeCmd `cmd:"" help:"Let the time go on from where it stands."`
	Reset    labClockResetCmd    `cmd:"" help:"Give it the machine's time again."`
}

type labClockShowCmd struct {
	clientFlags `embed:""`
}

// Help shows what to type.
func (labClockShowCmd) Help() string {
	return `
Examples:

    understudy lab clock show
    understudy lab clock show -o json | jq .offset_seconds`
}

// Run shows the clock.
func (c *labClockShowCmd) Run(a *app) error {
	answer, err := c.call(http.MethodGet, labClockPath, nil, nil)
	if err != nil {
		return err
	}
	return show(a, answer, a.printLabClock)
}

type labClockSetCmd struct {
	clientFlags `embed:""`
	At          time.Time `arg:"" name:"time" help:"The time that it is to be, as 2027-01-01T00:00:00Z."`
}

// Help shows what to type.
func (labClockSetCmd) Help() string {
	return `
Everything that is due by then is done before the command returns: windows open, certificates that
nobody used are revoked, CRLs and the RA are renewed. A clock that stands still goes on standing still.

    understudy lab clock set 2027-01-01T00:00:00Z`
}

// Run sets the clock.
func (c *labClockSetCmd) Run(a *app) error {
	return c.move(a, http.MethodPut, "", map[string]any{"at": output.Time(c.At)})
}

type labClockAdvanceCmd struct {
	clientFlags `embed:""`
	By          signedDuration `arg:"" name:"by" help:"By how much, as 335d, 12h or 90m; -24h moves it back."`
}

// Help shows what to type.
func (labClockAdvanceCmd) Help() string {
	return `
What happened stays happened when the time is moved back: certificates from the future stay issued.

    understudy lab clock advance 335d
    understudy lab clock advance -- -24h`
}

// Run moves the clock.
func (c *labClockAdvanceCmd) Run(a *app) error {
	return c.move(a, http.MethodPost, "/advance", map[string]any{"by": time.Duration(c.By).String()})
}

type labClockFreezeCmd struct {
	clientFlags `embed:""`
}

// Help shows what to type.
func (labClockFreezeCmd) Help() string {
	return `
Certificates that are issued meanwhile begin and end at the same second.

    understudy lab clock freeze`
}

// Run stops the clock.
func (c *labClockFreezeCmd) Run(a *app) error { return c.move(a, http.MethodPost, "/freeze", nil) }

type labClockUnfreezeCmd struct {
	clientFlags `embed:""`
}

// Help shows what to type.
func (labClockUnfreezeCmd) Help() string {
	return `
The clock stays as far from the machine's as it then is; "reset" ends that.

    understudy lab clock unfreeze`
}

// Run lets the clock go on.
func (c *labClockUnfreezeCmd) Run(a *app) error { return c.move(a, http.MethodPost, "/unfreeze", nil) }

type labClockResetCmd struct {
	clientFlags `embed:""`
}

// Help shows what to type.
func (labClockResetCmd) Help() string {
	return `
Afterwards the server starts without --lab again. Certificates that were issued under a moved clock say so.

    understudy lab clock reset`
}

// Run resets the clock.
func (c *labClockResetCmd) Run(a *app) error { return c.move(a, http.MethodPost, "/reset", nil) }

// move moves the clock and shows what it says then.
func (f clientFlags) move(a *app, method, path string, in any) error {
	answer, err := f.call(method, labClockPath+path, nil, in)
	if err != nil {
		return err
	}
	return show(a, answer, a.printLabClock)
}

// printLabClock shows a clock to people.
func (a *app) printLabClock(c api.LabClock) error {
	moved := "no"
	if c.OffsetSeconds != 0 {
		moved = clockOffset(c.OffsetSeconds)
	}
	frozen := ""
	if c.Frozen {
		frozen = "yes, it stands still"
	}
	by := ""
	if c.ChangedBy != nil {
		by = fmt.Sprintf("%s, by %s", optionalTime(c.ChangedAt), *c.ChangedBy)
	}
	return output.Facts(a.stdout, "lab time", output.Time(c.Now), "moved", moved, "frozen", frozen, "last change", by)
}

// clockOffset says how far a clock is from the machine's; nothing when it is
// not.
func clockOffset(seconds int64) string {
	switch ahead := time.Duration(seconds) * time.Second; {
	case ahead > 0:
		return output.Duration(ahead) + " ahead of the machine's clock"
	case ahead < 0:
		return output.Duration(-ahead) + " behind the machine's clock"
	}
	return ""
}

// signedDuration is a duration that may be negative.
type signedDuration time.Duration

// UnmarshalText reads what duration reads, after a minus or not.
func (d *signedDuration) UnmarshalText(text []byte) error {
	rest, negative := strings.CutPrefix(string(text), "-")
	value, err := output.ParseDuration(rest)
	if negative {
		value = -value
	}
	*d = signedDuration(value)
	return err
}
