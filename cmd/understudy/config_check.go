package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/output"
)

type configCheckCmd struct {
	clientFlags `embed:""`
	FailOn      string `from:"flag" enum:"low,medium,high" default:"high" help:"Exit with 5 from this severity on: low, medium or high (default: ${default})."`
	Name        string `arg:"" optional:"" default:"default" help:"Name or id of the configuration (default: ${default})."`
}

// Help shows what to type.
func (configCheckCmd) Help() string {
	return `
Examples:

    understudy config check
    understudy config check lab-macs --fail-on medium`
}

// Run prints what the server remarks on.
func (c *configCheckCmd) Run(a *app) error {
	answer, err := c.call(http.MethodPost, configurationPath(c.Name, "/check"), nil, nil)
	if err != nil {
		return err
	}
	worst := exitOK
	var list api.List[api.Remark]
	if err := json.Unmarshal(answer, &list); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	table := output.NewTable("SEVERITY", "FIELD", "DETAIL")
	for _, item := range list.Items {
		table.Row(item.Severity, item.Field, item.Detail)
		if rank(item.Severity) >= rank(c.FailOn) {
			worst = exitFindings
		}
	}
	switch {
	case a.json:
		err = output.JSON(a.stdout, answer)
	case len(list.Items) == 0:
		a.note("Nothing to remark.")
	default:
		err = table.Write(a.stdout)
	}
	if err != nil || worst == exitOK {
		return err
	}
	return &quietError{code: worst}
}

// rank orders severities; a word that this version does not know is the
// gravest.
func rank(severity string) int {
	known := []string{"info", "low", "medium", "high"}
	if i := slices.Index(known, severity); i >= 0 {
		return i
	}
	return len(known)
}
