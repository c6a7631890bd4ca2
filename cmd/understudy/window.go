package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/output"
)

// windowCmd groups the verbs on the redistribution window.
type windowCmd struct {
	List   windowListCmd   `cmd:"" help:"List what is to be pushed again, soonest to expire first."`
	Show   windowShowCmd   `cmd:"" help:"Show one item and its history."`
	Ack    windowAckCmd    `cmd:"" help:"Say that profiles are being pushed again."`
	Unack  windowUnackCmd  `cmd:"" help:"Take an acknowledgement back: the push failed."`
	Wait   windowWaitCmd   `cmd:"" help:"Wait until a device has enrolled again."`
	Counts windowCountsCmd `cmd:"" help:"Count certificates by state."`
}

// windowStates are the states of an item, in the order of a certificate's life.
func windowStates() []string {
	return []string{"valid", "due", "acknowledged", "stalled", "superseded", "expired", "revoked"}
}

// windowRule says when windows open, if not as the configurations have it.
type windowRule struct {
	Days    *int `from:"flag" xor:"policy" placeholder:"N" help:"As if windows opened N days before expiry, whatever the configurations say."`
	Percent *int `from:"flag" xor:"policy" placeholder:"N" help:"As if windows opened when N percent of the lifetime are left."`
	Strict  bool `from:"flag" help:"With --days: a certificate that lives no longer than that is in its window from the first day."`
}

// windowQuery says which items, and by which rule and clock.
type windowQuery struct {
	Configuration string `from:"flag" placeholder:"NAME" help:"Of this configuration."`
	windowRule    `embed:""`
	AsOf          time.Time `from:"flag" placeholder:"TIME" help:"As it was or will be at this time, as 2027-10-23T00:00:00Z (default: now)."`
}

// path is the list of one configuration, or of all.
func (q windowQuery) path() string {
	if q.Configuration != "" {
		return configurationPath(q.Configuration, "/redistribution")
	}
	return "/api/v1/redistribution"
}

// values is the query for the server.
func (r windowRule) values() (map[string][]string, error) {
	values := map[string][]string{}
	switch {
	case r.Days != nil:
		values["days"] = []string{fmt.Sprint(*r.Days)}
	case r.Percent != nil:
		values["percent"] = []string{fmt.Sprint(*r.Percent)}
	}
	if r.Strict {
		if r.Days == nil {
			return nil, usagef("--strict goes with --days")
		}
		values["strict"] = []string{"true"}
	}
	return values, nil
}

// values is the query for the server.
func (q windowQuery) values() (map[string][]string, error) {
	values, err := q.windowRule.values()
	if err != nil {
		return nil, err
	}
	if !q.AsOf.IsZero() {
		values["as_of"] = []string{output.Time(q.AsOf)}
	}
	return values, nil
}

// windowTarget names one item: by itself, or by its device.
type windowTarget struct {
	clientFlags   `embed:""`
	ID            string `arg:"" optional:"" name:"id" help:"Id of the item (rd_…), or certificate serial."`
	Device        string `from:"flag" placeholder:"KEY" help:"The item of this device that is not superseded, instead of an id; see \"device list\"."`
	Configuration string `from:"flag" placeholder:"NAME" help:"The configuration, if several know the device."`
}

// item returns the id of the item that is meant.
func (w windowTarget) item() (string, error) {
	switch {
	case (w.ID == "") == (w.Device == ""):
		return "", usagef("give an id, or --device")
	case w.ID != "":
		return itemID(w.ID)
	}
	return w.clientFlags.itemOf(w.Device, w.Configuration)
}

// itemOf finds what a device holds now.
func (f clientFlags) itemOf(device, configuration string) (string, error) {
	q := windowQuery{Configuration: configuration}
	answer, err := f.call(http.MethodGet, q.path(), map[string][]string{
		"device": {device}, "state": {"valid,due,acknowledged,stalled,expired"}, "limit": {"2"},
	}, nil)
	if err != nil {
		return "", err
	}
	var found api.WindowList
	if err := json.Unmarshal(answer, &found); err != nil {
		return "", fmt.Errorf("read the server's answer: %w", err)
	}
	switch len(found.Items) {
	case 0:
		return "", &exitError{code: exitNotFound, err: fmt.Errorf("%s holds no certificate that waits for a successor", device)}
	case 1:
		return found.Items[0].ID, nil
	}
	return "", usagef("%s holds certificates of configurations %s and %s: name one with --configuration",
		device, found.Items[0].Configuration.Name, found.Items[1].Configuration.Name)
}

var certificateSerial = regexp.MustCompile(`^[0-9A-Fa-f]{1,2}(:?[0-9A-Fa-f]{2})*$`)

// itemID takes an id or a certificate serial in any form.
func itemID(text string) (string, error) {
	if strings.HasPrefix(text, "rd_") {
		return text, nil
	}
	if !certificateSerial.MatchString(text) {
		return "", usagef("%q is neither the id of an item (rd_…) nor a certificate serial; a device goes with --device", text)
	}
	serial := strings.TrimLeft(strings.ToLower(strings.ReplaceAll(text, ":", "")), "0")
	return "rd_" + strings.Repeat("0", len(serial)%2) + serial, nil
}

func itemPath(id string, more ...string) string {
	return "/api/v1/redistribution/" + url.PathEscape(id) + strings.Join(more, "")
}

// printWindowItem shows one item.
func (a *app) printWindowItem(i api.WindowItem) error {
	ack := api.Acknowledgement{}
	if i.LastAck != nil {
		ack = *i.LastAck
	}
	err := output.Facts(a.stdout,
		"id", i.ID,
		"state", i.State,
		"configuration", i.Configuration.Name,
		"device", i.Device.Key,
		"profile UUID", i.Device.ProfileUUID,
		"UPN", i.Device.UPN,
		"subject", i.Certificate.Subject,
		"not before", output.Time(i.Certificate.NotBefore),
		"window opens", output.Time(i.Window.OpensAt),
		"window closes", output.Time(i.Window.ClosesAt),
		"attempts", count(i.Attempts),
		"acknowledged at", output.Time(ack.At),
		"acknowledged by", ack.By,
		"command", ack.CommandID,
		"requested by", ack.RequestedBy,
		"requested at", optionalTime(ack.RequestedAt),
		"stalls at", optionalTime(ack.StallsAt),
		"superseded by", i.SupersededBy,
		"revoked because", i.RevocationReason,
	)
	if err != nil || len(i.History) == 0 {
		return err
	}
	fmt.Fprintln(a.stdout)
	table := output.NewTable("AT", "EVENT", "BY", "MORE")
	for _, step := range i.History {
		table.Row(output.Time(step.At), step.Type, step.By, more(api.Event{CommandID: step.CommandID, Reason: step.Reason, SupersededBy: step.SupersededBy}))
	}
	return table.Write(a.stdout)
}

// count leaves out nothing but zero.
func count(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}
