package server

import (
	"context"
	"encoding/hex"
	"errors"
	"net/http"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/depot"
)

// rolloverJSON is how far the change to the authority's next generation is.
type rolloverJSON struct {
	State       string            `json:"state"` // none, prepared
	PreparedAt  *string           `json:"prepared_at"`
	ActivatedAt *string           `json:"activated_at"` // the last one
	Next        *certificatesJSON `json:"next"`
	Generations []generationJSON  `json:"generations"`
}

// certificatesJSON is the certificates of one generation.
type certificatesJSON struct {
	Root   certificateJSON `json:"root"`
	Issuer certificateJSON `json:"issuer"`
	RA     certificateJSON `json:"ra"`
}

// generationJSON is an issuer that is in force or was.
type generationJSON struct {
	Issuer    certificateJSON `json:"issuer"`
	IssuerSKI string          `json:"issuer_ski"` // as it stands in the URL of its CRL
	Current   bool            `json:"current"`
	Since     *string         `json:"since"`
	Until     *string         `json:"until"`
}

// showRollover is GET /authority/rollover.
func (s *Server) showRollover(w http.ResponseWriter, r *http.Request) error {
	if _, err := readParameters(r); err != nil {
		return err
	}
	return s.writeRollover(w)
}

// prepareRollover is POST /authority/rollover/prepare.
func (s *Server) prepareRollover(w http.ResponseWriter, r *http.Request) error {
	if err := readNothing(w, r); err != nil {
		return err
	}
	s.rollover.Lock()
	defer s.rollover.Unlock()
	if _, err := s.authority.PrepareRollover(); err != nil {
		return rolloverProblem(err)
	}
	s.log.Info("rollover prepared", "issuer", hex.EncodeToString(s.authority.Rollover().Next.Issuer.SubjectKeyId))
	return s.writeRollover(w)
}

// activateRollover is POST /authority/rollover/activate. The ledger hears of
// the new generation before it issues, and once more when it is in force: a
// crash in between leaves an entry too many, never a certificate whose issuer
// is unknown.
func (s *Server) activateRollover(w http.ResponseWriter, r *http.Request) error {
	if err := readNothing(w, r); err != nil {
		return err
	}
	s.rollover.Lock() // what is recorded must be what is activated
	defer s.rollover.Unlock()
	ctx := context.WithoutCancel(r.Context())
	next := s.authority.Rollover()
	if next.State != ca.RolloverPrepared {
		return rolloverProblem(ca.ErrNoRollover)
	}
	if err := s.recordGeneration(ctx, next.Next); err != nil {
		return err
	}
	if _, err := s.authority.ActivateRollover(); err != nil {
		return rolloverProblem(err)
	}
	now := s.authority.InForce()
	s.log.Info("rollover activated", "issuer", hex.EncodeToString(now.Issuer.SubjectKeyId))
	if err := s.recordGeneration(ctx, now); err != nil {
		return err
	}
	return s.writeRollover(w)
}

// recordGeneration puts a generation on record.
func (s *Server) recordGeneration(ctx context.Context, c ca.Certificates) error {
	return s.depot.RecordAuthority(ctx, depot.AuthorityGeneration{
		At: s.clock.Now(), Root: c.Root.Raw, Issuer: c.Issuer.Raw, RA: c.RA.Raw,
	})
}

// cancelRollover is POST /authority/rollover/cancel.
func (s *Server) cancelRollover(w http.ResponseWriter, r *http.Request) error {
	if err := readNothing(w, r); err != nil {
		return err
	}
	s.rollover.Lock()
	defer s.rollover.Unlock()
	if err := s.authority.CancelRollover(); err != nil {
		return rolloverProblem(err)
	}
	s.log.Info("rollover cancelled")
	return s.writeRollover(w)
}

func (s *Server) writeRollover(w http.ResponseWriter) error {
	return writeJSON(w, http.StatusOK, rolloverToJSON(s.authority))
}

// rolloverProblem translates what the authority objects to.
func rolloverProblem(err error) error {
	switch {
	case errors.Is(err, ca.ErrRolloverPrepared):
		return newProblem(http.StatusConflict, "rollover-prepared", "a rollover is prepared already: activate it or cancel it")
	case errors.Is(err, ca.ErrNoRollover):
		return newProblem(http.StatusConflict, "no-rollover", "no rollover is prepared")
	}
	return err
}

// rolloverToJSON renders the state.
func rolloverToJSON(a *ca.Authority) rolloverJSON {
	r := a.Rollover()
	out := rolloverJSON{State: string(r.State), PreparedAt: timeOrNull(r.PreparedAt), ActivatedAt: timeOrNull(r.ActivatedAt)}
	if r.State == ca.RolloverPrepared {
		out.Next = &certificatesJSON{certificateToJSON(r.Next.Root), certificateToJSON(r.Next.Issuer), certificateToJSON(r.Next.RA)}
	}
	for _, g := range a.Generations() {
		out.Generations = append(out.Generations, generationJSON{
			Issuer:    certificateToJSON(g.Issuer),
			IssuerSKI: hex.EncodeToString(g.Issuer.SubjectKeyId),
			Current:   g.Current,
			Since:     timeOrNull(g.Since),
			Until:     timeOrNull(g.Until),
		})
	}
	return out
}
