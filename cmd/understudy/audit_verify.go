package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"understudy.example/understudy/cmd/understudy/internal/output"
	"understudy.example/understudy/depot/bolt"
	"understudy.example/understudy/server"
)

type auditVerifyCmd struct {
	clientFlags `embed:""`
	storeFlag   `embed:""`
}

// Help shows what to type.
func (auditVerifyCmd) Help() string {
	return `
Follows the ledger from its first record to its last and compares it with the database. The first record
that is not what was written is named with its place, and the exit code is 5. The running server is asked;
--data works on the files, for which no server may run.

    understudy audit verify
    understudy audit verify --data lab -o json`
}

// ledgerReport is what people see of a verification.
type ledgerReport struct {
	Holds       bool       `json:"holds"`
	Store       *string    `json:"store"`
	Records     uint64     `json:"records"`
	Bytes       int64      `json:"bytes"`
	Head        string     `json:"head"`
	LastAt      *time.Time `json:"last_at"`
	NotCompared *string    `json:"not_compared"`
	Break       *struct {
		Record     uint64     `json:"record"`
		ByteOffset int64      `json:"byte_offset"`
		LastGoodAt *time.Time `json:"last_good_at"`
		Detail     string     `json:"detail"`
	} `json:"break"`
}

// Run verifies and prints what was found.
func (c *auditVerifyCmd) Run(a *app) error {
	answer, err := c.report(a)
	if err != nil {
		return offline(err)
	}
	var report ledgerReport
	if err := json.Unmarshal(answer, &report); err != nil {
		return fmt.Errorf("read the report: %w", err)
	}
	if a.json {
		err = output.JSON(a.stdout, answer)
	} else {
		err = report.print(a)
	}
	if err == nil && !report.Holds {
		return &quietError{code: exitFindings}
	}
	return err
}

// report asks the server, unless --data was given or none runs.
func (c *auditVerifyCmd) report(a *app) (json.RawMessage, error) {
	ctx, stop := interruptible()
	defer stop()
	if c.Server != "" || !a.given["data"] && !a.given["store"] {
		answer, err := c.ask(ctx)
		if err == nil || c.Server != "" || !noServer(err) {
			return answer, err
		}
	}
	_, where, err := c.files(c.Data)
	if err != nil {
		return nil, err
	}
	report, err := bolt.VerifyStore(ctx, where)
	if err != nil {
		return nil, err
	}
	return json.Marshal(server.LedgerReportJSON(report))
}

// ask waits for as long as the ledger takes.
func (c *auditVerifyCmd) ask(ctx context.Context) (json.RawMessage, error) {
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	body, err := client.Stream(ctx, "/api/v1/audit/verify", nil)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

func (r ledgerReport) print(a *app) error {
	verdict := "holds"
	if !r.Holds {
		verdict = "does not hold"
	}
	facts := []string{"ledger", verdict}
	if r.Store != nil {
		facts = append(facts, "store", *r.Store)
	}
	facts = append(facts, "good records", fmt.Sprint(r.Records), "good bytes", fmt.Sprint(r.Bytes), "head", r.Head)
	if r.LastAt != nil {
		facts = append(facts, "last good record of", output.Time(*r.LastAt))
	}
	if b := r.Break; b != nil {
		facts = append(facts, "broken at record", fmt.Sprint(b.Record), "broken at byte", fmt.Sprint(b.ByteOffset), "because", b.Detail)
	}
	if r.NotCompared != nil {
		facts = append(facts, "not compared", *r.NotCompared)
	}
	return output.Facts(a.stdout, facts...)
}
