package server

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"slices"
	"strings"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/configuration"
	"understudy.example/understudy/scep"
)

// getCACaps answers GetCACaps (RFC 8894 section 3.5.1). The type has no
// parameters and the text no empty line: strongSwan takes one for "everything".
func (s *Server) getCACaps(live *configuration.Live) response {
	text := scep.Capabilities(live.Record.Policy.Renewal, s.authority.Rollover().State == ca.RolloverPrepared)
	if live.Record.Policy.SHA1 == configuration.SHA1Refuse {
		// What is offered must work.
		text = strings.Replace(text, "SHA-1\n", "", 1)
	}
	return response{status: http.StatusOK, contentType: "text/plain", body: []byte(text)}
}

// certificateAnswer is an answer to GetCACert, encoded, and the chain that it
// was made of.
type certificateAnswer struct {
	chain    []*x509.Certificate
	response response
}

// getCACert answers GetCACert (RFC 8894 section 4.2). It is encoded once for
// each generation of the authority: the chain tells when the RA was replaced.
func (s *Server) getCACert(live *configuration.Live) (response, error) {
	cache := &s.answers[0]
	if live.NoRoot {
		cache = &s.answers[1]
	}
	chain := s.authority.Chain(live.NoRoot)
	if made := cache.Load(); made != nil && slices.EqualFunc(made.chain, chain, (*x509.Certificate).Equal) {
		return made.response, nil
	}
	made := &certificateAnswer{chain: chain}
	if len(chain) == 1 {
		made.response = response{status: http.StatusOK, contentType: "application/x-x509-ca-cert", body: chain[0].Raw}
	} else {
		bundle, err := scep.Bundle(chain)
		if err != nil {
			return response{}, err
		}
		made.response = response{status: http.StatusOK, contentType: "application/x-x509-ca-ra-cert", body: bundle}
	}
	cache.Store(made)
	return made.response, nil
}

// file returns the answer to GET of one of the authority's certificates.
func (s *Server) file(path string) (response, bool) {
	issuer, root := s.authority.Issuer(), s.authority.Root()
	switch path {
	case "/ca.cer":
		return derFile(issuer), true
	case "/ca.pem":
		return pemFile(issuer), true
	case "/root.cer":
		return derFile(root), true
	case "/root.pem":
		return pemFile(root), true
	case "/chain.pem":
		if issuer.Equal(root) {
			return pemFile(root), true
		}
		return pemFile(issuer, root), true
	}
	return response{}, false
}

// serveFile lets only reading methods through.
func serveFile(method string, file response) response {
	if method != http.MethodGet && method != http.MethodHead {
		return onlyReading()
	}
	return file
}

// onlyReading is the answer to other methods than GET and HEAD.
func onlyReading() response {
	refused := fixedText(http.StatusMethodNotAllowed, "method not allowed")
	refused.allow = "GET, HEAD"
	return refused
}

// derFile is one certificate in DER (RFC 2585 section 4.1).
func derFile(c *x509.Certificate) response {
	return response{status: http.StatusOK, contentType: "application/pkix-cert", body: c.Raw}
}

// pemFile is certificates in PEM (RFC 8555 section 9.1).
func pemFile(certificates ...*x509.Certificate) response {
	return response{status: http.StatusOK, contentType: "application/pem-certificate-chain", body: encodePEM(certificates...)}
}

// encodePEM returns certificates as PEM.
func encodePEM(certificates ...*x509.Certificate) []byte {
	var text bytes.Buffer
	for _, c := range certificates {
		text.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return text.Bytes()
}
