package server

import (
	"context"
	"encoding/hex"
	"io"
	"net/http"
	"net/netip"
	"time"

	"understudy.example/understudy/depot"
)

// Upkeep is what a server can do for its data besides serving from it. A
// function that is nil is not there.
type Upkeep struct {
	// Backup writes a backup of the state of one moment, with the private keys
	// or without. It may fail after it has written something.
	Backup func(ctx context.Context, w io.Writer, keys bool) error
	// VerifyLedger follows the ledger to its end. A ledger that does not hold
	// is no error.
	VerifyLedger func(ctx context.Context) (depot.LedgerReport, error)
}

// chunkTimeout bounds how long a client may take for each part of a backup,
// and how long a ledger is followed. The listener's own timeout is too short
// for a big store.
const chunkTimeout = 10 * time.Minute

// downloadBackup is GET /backup. A backup ends with its manifest, and one that
// fails on the way ends with a broken connection, so nobody takes half a one
// for a whole one.
func (s *Server) downloadBackup(w http.ResponseWriter, r *http.Request) error {
	p, err := readParameters(r, "keys")
	if err != nil {
		return err
	}
	keys := true
	switch p.text("keys") {
	case "", "true":
	case "false":
		keys = false
	default:
		return badParameter("keys", "must be true or false")
	}
	if keys && !fromThisMachine(r) {
		return newProblem(http.StatusForbidden, "keys-stay-here",
			"private keys are given to clients on the server's own machine only: back up there, or without keys")
	}
	if s.upkeep.Backup == nil {
		return notFound("this server cannot back up its store")
	}
	w.Header().Set("Content-Type", "application/x-tar")
	if r.Method == http.MethodHead {
		return nil
	}
	if !s.backingUp.CompareAndSwap(false, true) {
		return newProblem(http.StatusConflict, "busy", "another backup is being made; it takes as much room again as the store")
	}
	defer s.backingUp.Store(false)
	extend(w, chunkTimeout) // it is made before its first byte is sent
	out := &patientWriter{w: w}
	began := time.Now()
	if err := s.upkeep.Backup(r.Context(), out, keys); err != nil {
		if out.written == 0 {
			return err
		}
		s.log.Error("backup not finished", "bytes", out.written, "error", err)
		panic(http.ErrAbortHandler)
	}
	s.log.Info("backup", "bytes", out.written, "keys", keys, "duration_ms", time.Since(began).Milliseconds())
	return nil
}

// fromThisMachine says whether the client is on this machine. The admin listener
// may be reachable from elsewhere, over plain HTTP, and the admin token must
// not be worth as much as the authority's keys there. A proxy on this machine,
// trusted or not, speaks for clients that are not.
func fromThisMachine(r *http.Request) bool {
	for _, header := range []string{"X-Forwarded-For", "Forwarded", "Via"} {
		if r.Header.Get(header) != "" {
			return false
		}
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && peer.Addr().Unmap().IsLoopback()
}

// patientWriter gives each part of a long answer its own time.
type patientWriter struct {
	w       http.ResponseWriter
	written int64
}

func (p *patientWriter) Write(b []byte) (int, error) {
	extend(p.w, chunkTimeout)
	n, err := p.w.Write(b)
	p.written += int64(n)
	return n, err
}

// ledgerJSON is what verifying the ledger found.
type ledgerJSON struct {
	Holds       bool             `json:"holds"`
	Store       *string          `json:"store"`
	Records     uint64           `json:"records"`
	Bytes       int64            `json:"bytes"`
	Head        string           `json:"head"`
	LastAt      *string          `json:"last_at"`
	Break       *ledgerBreakJSON `json:"break"`
	NotCompared *string          `json:"not_compared"`
}

// ledgerBreakJSON is the place where a ledger does not hold.
type ledgerBreakJSON struct {
	Record     uint64  `json:"record"`
	ByteOffset int64   `json:"byte_offset"`
	LastGoodAt *string `json:"last_good_at"`
	Detail     string  `json:"detail"`
}

// LedgerReportJSON is how a report looks in JSON, here and on the command line.
func LedgerReportJSON(r depot.LedgerReport) any {
	out := ledgerJSON{
		Holds:       r.Holds(),
		Store:       orNull(r.Store),
		Records:     r.Records,
		Bytes:       r.Bytes,
		Head:        hex.EncodeToString(r.Head[:]),
		LastAt:      timeOrNull(r.LastAt),
		NotCompared: orNull(r.NotCompared),
	}
	if b := r.Break; b != nil {
		out.Break = &ledgerBreakJSON{b.Record, b.Offset, timeOrNull(b.LastGoodAt), b.Detail}
	}
	return out
}

// verifyLedger is GET /audit/verify. A ledger that does not hold is a good
// answer.
func (s *Server) verifyLedger(w http.ResponseWriter, r *http.Request) error {
	if _, err := readParameters(r); err != nil {
		return err
	}
	if s.upkeep.VerifyLedger == nil {
		return notFound("this server keeps no ledger")
	}
	extend(w, chunkTimeout)
	report, err := s.upkeep.VerifyLedger(r.Context())
	if err != nil {
		return err
	}
	if !report.Holds() {
		s.log.Error("ledger does not hold", "record", report.Break.Record, "byte_offset", report.Break.Offset, "detail", report.Break.Detail)
	}
	return writeJSON(w, http.StatusOK, LedgerReportJSON(report))
}
