package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"understudy.example/understudy/inspect"
)

// maxExports is how many exports are written at once.
const maxExports = 4

// exportCertificates is GET /certificates/export: everything that a list would
// show, on one page without end. It is read and written page by page. One that
// fails on the way ends with a broken connection, so that nobody takes half of
// it for the whole.
func (s *Server) exportCertificates(w http.ResponseWriter, r *http.Request) error {
	p, err := readParameters(r, selectionParameters("format")...)
	if err != nil {
		return err
	}
	format, err := exportFormat(p)
	if err != nil {
		return err
	}
	wanted, err := s.selection(r.Context(), p)
	if err != nil {
		return err
	}
	wanted.query.Limit = maxLimit
	select {
	case s.exports <- struct{}{}:
		defer func() { <-s.exports }()
	default:
		w.Header().Set("Retry-After", retrySeconds(retryLater))
		return newProblem(http.StatusServiceUnavailable, "busy", fmt.Sprintf("%d exports are being written already", maxExports))
	}
	name := fmt.Sprintf("certificates-%s.%s", wanted.at.UTC().Format("20060102T150405Z"), format)
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", name))
	w.Header().Set("Content-Type", format.ContentType())
	if r.Method == http.MethodHead {
		return nil
	}
	return s.export(w, r, format, wanted)
}

// exportFormat reads the format of an export.
func exportFormat(p parameters) (inspect.Format, error) {
	format := inspect.Format(p.text("format"))
	if format == "" {
		return inspect.FormatCSV, nil
	}
	if !slices.Contains(inspect.Formats(), format) {
		return "", badParameter("format", "must be csv, jsonl, pem or zip")
	}
	return format, nil
}

// export writes one.
func (s *Server) export(w http.ResponseWriter, r *http.Request, format inspect.Format, wanted selection) error {
	out, began := &patientWriter{w: w}, time.Now()
	count, err := s.writeExport(out, r, format, wanted)
	switch {
	case err == nil:
		s.log.Info("export", "format", string(format), "certificates", count, "bytes", out.written,
			"duration_ms", time.Since(began).Milliseconds(), "by", by(r.Context()))
		return nil
	case out.written == 0:
		w.Header().Del("Content-Disposition")
		return err
	}
	s.log.Error("export not finished", "format", string(format), "bytes", out.written, "error", err, "by", by(r.Context()))
	panic(http.ErrAbortHandler)
}

// writeExport writes what is wanted, and returns how many certificates that
// were.
func (s *Server) writeExport(out *patientWriter, r *http.Request, format inspect.Format, wanted selection) (count int, err error) {
	exporter, err := inspect.NewExporter(format, out, inspect.ExportOptions{TempDir: s.tempDir})
	if err != nil {
		return 0, err
	}
	defer exporter.Abort() // nothing, after Close
	for {
		extend(out.w, chunkTimeout)
		page, next, err := s.identityPage(r.Context(), wanted)
		if err != nil {
			return count, err
		}
		for i := range page {
			text, err := json.Marshal(identityToJSON(&page[i].identity, page[i].state))
			if err != nil {
				return count, fmt.Errorf("export: %w", err)
			}
			if err := exporter.Write(inspect.Row{Identity: page[i].identity, State: page[i].state, JSON: text}); err != nil {
				return count, err
			}
			count++
		}
		if next == "" {
			return count, exporter.Close()
		}
		wanted.query.Cursor = next
		if err := s.stillGood(out.w, r); err != nil {
			return count, err
		}
	}
}
