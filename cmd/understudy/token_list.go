package main

import (
	"net/http"
	"strings"

	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/output"
)

type tokenListCmd struct {
	clientFlags `embed:""`
}

// Help shows what to type.
func (tokenListCmd) Help() string {
	return `
Tokens that ended are listed until they are removed.

    understudy token list`
}

// Run lists all tokens; there are too few for pages.
func (c *tokenListCmd) Run(a *app) error {
	answer, err := c.call(http.MethodGet, "/api/v1/tokens", nil, nil)
	if err != nil {
		return err
	}
	return show(a, answer, func(list api.List[api.Token]) error {
		table := output.NewTable("NAME", "ID", "SCOPES", "CREATED AT", "CREATED BY", "EXPIRES AT")
		for _, t := range list.Items {
			table.Row(t.Name, t.ID, strings.Join(t.Scopes, " "), output.Time(t.CreatedAt), t.CreatedBy, optionalTime(t.ExpiresAt))
		}
		return table.Write(a.stdout)
	})
}
