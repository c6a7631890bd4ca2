package main

import (
	"encoding/json"
	"fmt"
	"net/http"

	"understudy.example/understudy/cmd/understudy/internal/api"
)

type caExportCmd struct {
	clientFlags `embed:""`
	exportFlags `embed:""`
	What        string `arg:"" optional:"" enum:"chain,root,issuer,ra" default:"chain" help:"chain (issuer and root), root, issuer or ra (default: ${default})."`
}

// Help shows what to type.
func (caExportCmd) Help() string {
	return `
Examples:

    understudy ca export > chain.pem
    understudy ca export root --format der --out root.cer`
}

// Run writes the certificates.
func (c *caExportCmd) Run(a *app) error {
	answer, err := c.call(http.MethodGet, "/api/v1/authority", nil, nil)
	if err != nil {
		return err
	}
	var authority api.Authority
	if err := json.Unmarshal(answer, &authority); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	text := authority.Root.PEM
	switch c.What {
	case "issuer":
		text = authority.Issuer.PEM
	case "ra":
		text = authority.RA.PEM
	case "chain":
		if authority.Issuer.SHA256 != authority.Root.SHA256 {
			text = authority.Issuer.PEM + text
		}
	}
	return c.write(a, []byte(text))
}
