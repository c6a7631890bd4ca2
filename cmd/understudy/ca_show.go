package main

import (
	"net/http"

	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/output"
)

type caShowCmd struct {
	clientFlags `embed:""`
}

// Help shows what to type.
func (caShowCmd) Help() string {
	return `
Apple's profiles want the root's SHA-1 as CAFingerprint, most other clients its SHA-256.

    understudy ca show
    understudy ca show -o json | jq -r .root.sha256`
}

// Run shows the authority.
func (c *caShowCmd) Run(a *app) error {
	answer, err := c.call(http.MethodGet, "/api/v1/authority", nil, nil)
	if err != nil {
		return err
	}
	return show(a, answer, func(authority api.Authority) error {
		facts := []string{"shape", authority.Shape, "id", authority.ID}
		add := func(name string, c api.AuthorityCertificate) {
			facts = append(facts, name, c.Subject, "  SHA-256", c.SHA256, "  SHA-1", c.SHA1,
				"  not after", output.Time(c.NotAfter))
		}
		add("root", authority.Root)
		if authority.Issuer.SHA256 != authority.Root.SHA256 {
			add("issuer", authority.Issuer)
		}
		if authority.RA.SHA256 != authority.Issuer.SHA256 {
			add("RA", authority.RA)
		}
		return output.Facts(a.stdout, facts...)
	})
}
