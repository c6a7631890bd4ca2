package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/output"
)

type tokenAddCmd struct {
	clientFlags `embed:""`
	Name        string    `arg:"" help:"Who uses it, as jamf. Events and records name it."`
	Scope       []string  `from:"flag" required:"" placeholder:"SCOPE" help:"read; ack, which is read and acknowledging; admin, which is everything."`
	TTL         *duration `from:"flag" name:"ttl" placeholder:"30d" help:"How long it is good (default: until it is removed)."`
	Out         string    `from:"flag" placeholder:"FILE" help:"Write the token to FILE, with mode 0600, instead of showing it. FILE must not be there yet."`
}

// Help shows what to type.
func (tokenAddCmd) Help() string {
	return `
The token is shown only this once; a hash of it is kept.

    understudy token add jamf --scope ack --out jamf.token
    understudy window list --token-file jamf.token
    understudy token add dashboard --scope read --ttl 30d -o json | jq -r .token`
}

// Run makes a token.
func (c *tokenAddCmd) Run(a *app) error {
	fields := map[string]any{"name": c.Name, "scopes": c.Scope}
	if c.TTL != nil {
		seconds, err := c.TTL.seconds()
		if err != nil {
			return err
		}
		fields["ttl_seconds"] = seconds
	}
	var file *os.File
	if c.Out != "" {
		var err error // before there is a token that nobody has
		if file, err = os.OpenFile(c.Out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			return &exitError{code: exitRefused, err: fmt.Errorf("keep token: %w", err)}
		}
		defer file.Close()
	}
	answer, err := c.call(http.MethodPost, "/api/v1/tokens", nil, fields)
	if err == nil && file != nil {
		answer, err = keepToken(file, answer)
	}
	if err != nil {
		if file != nil {
			err = errors.Join(err, os.Remove(c.Out))
		}
		return err
	}
	return show(a, answer, func(t api.Token) error {
		if t.Token != "" {
			a.note("The token is shown only now.")
		} else {
			a.note("Wrote %s.", c.Out)
		}
		return output.Facts(a.stdout, "token", t.Token, "id", t.ID, "name", t.Name, "scopes", strings.Join(t.Scopes, " "),
			"created at", output.Time(t.CreatedAt), "expires at", optionalTime(t.ExpiresAt))
	})
}

// keepToken moves the token from the answer to the file.
func keepToken(file *os.File, answer json.RawMessage) (json.RawMessage, error) {
	var fields map[string]any
	if err := json.Unmarshal(answer, &fields); err != nil {
		return nil, fmt.Errorf("read the server's answer: %w", err)
	}
	text, _ := fields["token"].(string)
	if text == "" {
		return nil, errors.New("the server's answer holds no token")
	}
	fields["token"] = nil
	if _, err := file.WriteString(text + "\n"); err != nil {
		return nil, fmt.Errorf("keep token: %w", err)
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return nil, fmt.Errorf("keep token: %w", err)
	}
	return json.Marshal(fields)
}
