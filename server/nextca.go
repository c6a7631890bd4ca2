package server

import (
	"crypto/x509"
	"net/http"
	"slices"
	"sync"
	"time"

	"understudy.example/understudy/configuration"
	"understudy.example/understudy/scep"
)

// nextCAAge is how long an answer to GetNextCACert is given again. It is
// signed, and a signature is dear when everybody can ask for it.
const nextCAAge = time.Hour

// nextCAAnswer is an answer to GetNextCACert and what it was made of.
type nextCAAnswer struct {
	made     time.Time
	chain    []*x509.Certificate
	signer   *x509.Certificate
	response response
}

// nextCAAnswers keeps the latest answer of each kind.
type nextCAAnswers struct {
	mu     sync.Mutex // held while one is made, so that it is made once
	byKind map[nextCAKind]nextCAAnswer
}

// nextCAKind is what answers differ by.
type nextCAKind struct{ ra, noRoot bool }

// getNextCACert answers GetNextCACert (RFC 8894 section 4.7): 404 while no
// rollover is prepared.
func (s *Server) getNextCACert(live *configuration.Live) (response, error) {
	kind := nextCAKind{ra: live.Record.Policy.NextCASigner == configuration.NextCASignerRA, noRoot: live.NoRoot}
	chain := s.authority.NextChain(kind.noRoot)
	if len(chain) == 0 {
		return fixedText(http.StatusNotFound, "there is no next CA certificate"), nil
	}
	signer, key := s.authority.NextCASigner(kind.ra)
	now := s.clock.Now()
	s.nextCA.mu.Lock()
	defer s.nextCA.mu.Unlock()
	if last, found := s.nextCA.byKind[kind]; found && last.serves(chain, signer, now) {
		return last.response, nil
	}
	body, err := scep.NextCA(signer, key, now, chain)
	if err != nil {
		return response{}, err
	}
	made := nextCAAnswer{made: now, chain: chain, signer: signer,
		response: response{status: http.StatusOK, contentType: "application/x-x509-next-ca-cert", body: body}}
	if s.nextCA.byKind == nil {
		s.nextCA.byKind = make(map[nextCAKind]nextCAAnswer)
	}
	s.nextCA.byKind[kind] = made
	return made.response, nil
}

// serves says whether the answer is still the right one.
func (a nextCAAnswer) serves(chain []*x509.Certificate, signer *x509.Certificate, now time.Time) bool {
	age := now.Sub(a.made)
	return age >= 0 && age < nextCAAge && a.signer.Equal(signer) && slices.EqualFunc(a.chain, chain, (*x509.Certificate).Equal)
}
