package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"understudy.example/understudy/challenge"
	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
)

// The paths under which programs ask for a challenge. The first is Okta's.
const (
	challengePrefix    = "/api/v1/certificateAuthorities/"
	challengeBetween   = "/registrationAuthorities/"
	challengeSuffix    = "/challenge"
	micromdmSuffix     = "/v1/challenge" // behind micromdm's base URL
	stepSuffix         = "/webhook"      // what step-ca is told to ask
	challengeRealm     = `Basic realm="Understudy challenge", charset="UTF-8"`
	textNotYours       = "user name or password is wrong"
	textElsewhere      = "user name and password are another configuration's"
	maxChallengeFields = 64 << 10 // of a webhook
)

// A hook is the form in which a challenge is asked for and given.
type hook int

// The hooks.
const (
	hookPage     hook = iota // GET: the page of NDES; POST: Jamf's webhook, plain text
	hookMicromdm             // POST: {"string": …}
	hookStep                 // POST: step-ca's SCEPCHALLENGE webhook, which judges a challenge
)

// challengeEndpoint returns the configuration whose challenges a path gives
// out.
func (s *Server) challengeEndpoint(path string) (*configuration.Live, hook, bool) {
	path = strings.TrimSuffix(path, "/")
	if rest, ok := strings.CutPrefix(path, challengePrefix); ok {
		authority, rest, _ := strings.Cut(rest, challengeBetween)
		id, ok := strings.CutSuffix(rest, challengeSuffix)
		if !ok || !slices.Contains(s.authority.IDs(), authority) {
			return nil, 0, false
		}
		live, ok := s.configurations.ByID(id)
		return live, hookPage, ok && live.Record.Mode == depot.ModeDynamic
	}
	rest, ok := strings.CutPrefix(path, scepPath+"/")
	if !ok {
		return nil, 0, false
	}
	form := hookPage
	name, ok := strings.CutSuffix(rest, micromdmSuffix)
	if ok {
		form = hookMicromdm
	} else if name, ok = strings.CutSuffix(rest, stepSuffix); ok {
		form = hookStep
	} else if name, ok = strings.CutSuffix(rest, challengeSuffix); !ok {
		return nil, 0, false
	}
	live, ok := s.configurations.ByName(name)
	return live, form, ok && live.Record.Mode == depot.ModeDynamic
}

// serveChallenge gives out a challenge to whoever knows user and password.
func (s *Server) serveChallenge(w http.ResponseWriter, r *http.Request, live *configuration.Live, form hook) response {
	allowed := []string{http.MethodGet, http.MethodPost}
	if form != hookPage {
		allowed = allowed[1:]
	}
	if !slices.Contains(allowed, r.Method) {
		refused := fixedText(http.StatusMethodNotAllowed, "method not allowed")
		refused.allow = strings.Join(allowed, ", ")
		return refused
	}
	client, _ := s.proxies.client(r)
	if ok, wait := s.limiter.allow(client, live.Record); !ok {
		refused := fixedText(http.StatusTooManyRequests, textTooManyTries)
		refused.retryAfter = wait
		return refused
	}
	user, password, _ := r.BasicAuth()
	if !live.MayAsk(user, challenge.NewSecret(password)) {
		refused, reason := s.notYours(r.Method, live, user, challenge.NewSecret(password))
		s.log.Warn("challenge refused", "configuration", live.Record.Name, "reason", reason, "remote", addressText(client),
			"user_agent", printable(r.UserAgent(), maxUserAgent))
		return refused
	}
	if r.Method == http.MethodPost {
		body, refused := readWebhook(w, r)
		if refused != nil {
			return *refused
		}
		if form == hookStep {
			return s.judgeForStep(r.Context(), live, body, addressText(client))
		}
	}
	return s.giveChallenge(r.Context(), live, r.Method, form, user)
}

// notYours is the answer to somebody who may not have a challenge here, and why
// for the log. Real NDES tells whoever it knows and does not serve so on a page,
// not by a status; a webhook would take that page for the challenge.
func (s *Server) notYours(method string, live *configuration.Live, user string, password challenge.Secret) (refused response, reason string) {
	elsewhere := s.mayAskElsewhere(user, password)
	switch {
	case elsewhere && method == http.MethodGet:
		return deniedPage(live.Record.Policy.Page), textElsewhere
	case elsewhere:
		refused = fixedText(http.StatusForbidden, textElsewhere)
		refused.hangUp = true
		return refused, textElsewhere
	}
	// Always with the header: clients that try NTLM first fall back to Basic
	// only when they see it.
	refused = fixedText(http.StatusUnauthorized, textNotYours)
	refused.authenticate, refused.hangUp = challengeRealm, true
	return refused, textNotYours
}

// mayAskElsewhere says whether user and password are those of another
// configuration.
func (s *Server) mayAskElsewhere(user string, password challenge.Secret) bool {
	return slices.ContainsFunc(s.configurations.List(), func(l *configuration.Live) bool { return l.MayAsk(user, password) })
}

// readWebhook reads a body. Of Jamf's nothing is taken: it says which device it
// asks for in ways that differ from version to version.
func readWebhook(w http.ResponseWriter, r *http.Request) ([]byte, *response) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxChallengeFields))
	refused := response{}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		refused = fixedText(http.StatusRequestEntityTooLarge, "body too large")
	case err != nil:
		refused = fixedText(http.StatusBadRequest, "body incomplete")
	case kind == "application/json" && !json.Valid(body):
		refused = fixedText(http.StatusBadRequest, "body is not JSON")
	default:
		return body, nil
	}
	refused.hangUp = true
	return nil, &refused
}

// giveChallenge makes a challenge and shows it in the form that was asked for.
func (s *Server) giveChallenge(ctx context.Context, live *configuration.Live, method string, form hook, user string) response {
	text, made, err := live.NewChallenge(ctx, s.clock.Now(), 0, depot.DeviceNames{}, "page: "+user)
	policy := live.Record.Policy
	page := method == http.MethodGet
	switch {
	case errors.Is(err, challenge.ErrCacheFull):
		s.log.Warn("challenge refused", "configuration", live.Record.Name, "reason", "too many outstanding", "most", policy.MaxOutstanding)
		if page {
			return fullPage(policy.Page, policy.MaxOutstanding, policy.ChallengeTTL)
		}
		full := fixedText(http.StatusServiceUnavailable, "too many outstanding challenges")
		full.retryAfter = policy.ChallengeTTL
		return full
	case err != nil:
		s.log.Error("make a challenge", "configuration", live.Record.Name, "error", err)
		if errors.Is(err, depot.ErrUnavailable) {
			return busy(false)
		}
		return fixedText(http.StatusInternalServerError, textInternalError)
	}
	s.log.Info("challenge issued", "configuration", live.Record.Name, "challenge", made.ID, "by", made.CreatedBy, "expires_at", timeText(made.ExpiresAt))
	switch {
	case page:
		return challengePage(policy.Page, s.authority.Issuer().Raw, text.Reveal(), policy.ChallengeTTL)
	case form == hookMicromdm:
		body, err := json.Marshal(map[string]string{"string": text.Reveal()})
		if err != nil {
			return fixedText(http.StatusInternalServerError, textInternalError)
		}
		return response{status: http.StatusOK, contentType: "application/json; charset=utf-8", body: body}
	}
	return response{status: http.StatusOK, contentType: fixedTextType, body: []byte(text.Reveal())}
}

// ChallengeURL is where challenges of a dynamic configuration are given out, in
// the form of Okta's; empty for another one.
func (s *Server) ChallengeURL(c depot.Configuration) string {
	if c.Mode != depot.ModeDynamic {
		return ""
	}
	return s.baseURL + challengePrefix + s.authority.ID() + challengeBetween + c.ID + challengeSuffix
}
