package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"understudy.example/understudy/challenge"
	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
)

// configurationJSON is a configuration in the API. It holds no secret.
type configurationJSON struct {
	ID            string      `json:"id"`
	Name          string      `json:"name"`
	Mode          string      `json:"mode"`
	Purpose       string      `json:"purpose"`
	SCEPURL       string      `json:"scep_url"`
	SCEPAliasURL  string      `json:"scep_alias_url"`
	CreatedAt     string      `json:"created_at"`
	ChangedAt     string      `json:"changed_at"`
	SecretResetAt *string     `json:"secret_reset_at"`
	Revision      uint64      `json:"revision"`
	ChallengeURL  *string     `json:"challenge_url"` // of mode dynamic
	Username      *string     `json:"username"`      // of its challenge page
	Policy        policyJSON  `json:"policy"`
	Intune        *intuneJSON `json:"intune"` // of mode intune
	// Unavailable is why nobody can judge its challenges.
	Unavailable *string `json:"unavailable"`
}

// intuneJSON says whom a configuration of mode intune asks.
type intuneJSON struct {
	Cloud                 *string  `json:"cloud"`
	Tenant                string   `json:"tenant"`
	ClientID              string   `json:"client_id"`
	ClientSecretFile      *string  `json:"client_secret_file"`
	ClientCertificateFile *string  `json:"client_certificate_file"`
	CAFile                *string  `json:"ca_file"`
	Authority             *string  `json:"authority"`
	GraphURL              *string  `json:"graph_url"`
	IntuneResource        *string  `json:"intune_resource"`
	IntuneHosts           []string `json:"intune_hosts"`
}

type policyJSON struct {
	ValiditySeconds    int64  `json:"validity_seconds"`
	KeySizes           []int  `json:"key_sizes"`
	KeyUsage           string `json:"key_usage"`
	RetryPeriodSeconds int64  `json:"retry_period_seconds"`
	Chain              string `json:"chain"`
	Strict             bool   `json:"strict"`
	SHA1               string `json:"sha1"`
	DES                string `json:"des"`
	KeyChecks          string `json:"key_checks"`

	Approval                 string  `json:"approval"`
	ApprovalTTLSeconds       int64   `json:"approval_ttl_seconds"`
	Renewal                  bool    `json:"renewal"`
	RenewalWindowSeconds     int64   `json:"renewal_window_seconds"`
	Queries                  string  `json:"queries"`
	NextCASigner             string  `json:"next_ca_signer"`
	RevokeUnusedAfterSeconds int64   `json:"revoke_unused_after_seconds"`
	DevicesFile              *string `json:"devices_file"`

	Window            configuration.WindowSettings `json:"window"`
	AckTimeoutSeconds int64                        `json:"ack_timeout_seconds"`

	ChallengeTTLSeconds int64  `json:"challenge_ttl_seconds"`
	MaxOutstanding      int64  `json:"max_outstanding"`
	Page                string `json:"page"`
}

// newConfiguration is the answer to adding one: the only place, with
// secretJSON, that tells a secret key, and it does so once.
type newConfiguration struct {
	configurationJSON
	SecretKey *string `json:"secret_key"` // of mode static
	Password  *string `json:"password"`   // of the challenge page
}

// secretJSON is the answer to a reset.
type secretJSON struct {
	ID        string  `json:"id"`
	Name      string  `json:"name"`
	SecretKey *string `json:"secret_key"`
	Username  *string `json:"username"`
	Password  *string `json:"password"`
}

// secretField is how a caller gives a secret key of its own.
const secretField = "secret_key"

// listConfigurations is GET /configurations. There are few of them: they are
// one page.
func (s *Server) listConfigurations(w http.ResponseWriter, r *http.Request) error {
	if _, err := readParameters(r); err != nil {
		return err
	}
	var items []configurationJSON
	for _, live := range s.configurations.List() {
		items = append(items, s.configurationToJSON(live))
	}
	return writeJSON(w, http.StatusOK, newList(items, ""))
}

// showConfiguration is GET /configurations/{configuration}.
func (s *Server) showConfiguration(w http.ResponseWriter, r *http.Request) error {
	live, err := s.configurations.Find(r.PathValue("configuration"))
	if err != nil {
		return settingsProblem(err)
	}
	return writeJSON(w, http.StatusOK, s.configurationToJSON(live))
}

// addConfiguration is POST /configurations: settings over the defaults.
func (s *Server) addConfiguration(w http.ResponseWriter, r *http.Request) error {
	fields, err := readObject(w, r)
	if err != nil {
		return err
	}
	secret, err := takeSecret(fields)
	if err != nil {
		return err
	}
	if err := s.checkDevicesFile(r, fields); err != nil {
		return err
	}
	object, err := json.Marshal(fields)
	if err != nil {
		return fmt.Errorf("encode settings: %w", err)
	}
	settings, err := configuration.Defaults().Merge(object)
	if err != nil {
		return settingsProblem(err)
	}
	live, key, err := s.configurations.Add(r.Context(), settings, secret)
	if err != nil {
		return settingsProblem(err)
	}
	if err := s.followDevicesFile(r.Context(), "", live); err != nil {
		// Without its list it would be open, and nobody knows its secret yet.
		return errors.Join(err, s.configurations.Remove(context.WithoutCancel(r.Context()), live.Record.ID))
	}
	w.Header().Set("Location", apiPrefix+"/configurations/"+live.Record.ID)
	secretKey, password := tell(live.Record, key)
	return writeJSON(w, http.StatusCreated, newConfiguration{s.configurationToJSON(live), secretKey, password})
}

// changeConfiguration is PATCH /configurations/{configuration}.
func (s *Server) changeConfiguration(w http.ResponseWriter, r *http.Request) error {
	fields, err := readObject(w, r)
	if err != nil {
		return err
	}
	object, err := json.Marshal(fields)
	if err != nil {
		return fmt.Errorf("encode settings: %w", err)
	}
	old, err := s.configurations.Find(r.PathValue("configuration"))
	if err != nil {
		return settingsProblem(err)
	}
	if err := s.checkDevicesFile(r, fields); err != nil {
		return err
	}
	live, err := s.configurations.Change(r.Context(), old.Record.ID, object)
	if err != nil {
		return settingsProblem(err)
	}
	if _, given := fields[devicesFile]; given {
		if err := s.followDevicesFile(r.Context(), old.Record.Policy.DevicesFile, live); err != nil {
			return err
		}
	}
	return writeJSON(w, http.StatusOK, s.configurationToJSON(live))
}

// resetSecret is POST /configurations/{configuration}/reset-secret.
func (s *Server) resetSecret(w http.ResponseWriter, r *http.Request) error {
	fields, err := readObject(w, r)
	if err != nil {
		return err
	}
	secret, err := takeSecret(fields)
	if err != nil {
		return err
	}
	if err := noOthers(fields, invalidSettings); err != nil {
		return err
	}
	live, key, err := s.configurations.ResetSecret(r.Context(), r.PathValue("configuration"), secret)
	if err != nil {
		return settingsProblem(err)
	}
	c := live.Record
	secretKey, password := tell(c, key)
	return writeJSON(w, http.StatusOK, secretJSON{c.ID, c.Name, secretKey, orNull(c.ChallengeUser), password})
}

// tell is the secret of a configuration, as what it is: a secret key, or the
// password of the challenge page.
func tell(c depot.Configuration, key challenge.Secret) (secretKey, password *string) {
	if c.Mode == depot.ModeDynamic {
		return nil, orNull(key.Reveal())
	}
	return orNull(key.Reveal()), nil
}

// removeConfiguration is DELETE /configurations/{configuration}.
func (s *Server) removeConfiguration(w http.ResponseWriter, r *http.Request) error {
	live, err := s.configurations.Find(r.PathValue("configuration"))
	if err == nil {
		err = s.configurations.Remove(r.Context(), live.Record.ID)
	}
	if err != nil {
		return settingsProblem(err)
	}
	s.metrics.forget(live.Record.ID)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// checkConfiguration is POST /configurations/{configuration}/check.
func (s *Server) checkConfiguration(w http.ResponseWriter, r *http.Request) error {
	if err := readNothing(w, r); err != nil {
		return err
	}
	live, err := s.configurations.Find(r.PathValue("configuration"))
	if err != nil {
		return settingsProblem(err)
	}
	return writeJSON(w, http.StatusOK, newList(live.Check(r.Context()), ""))
}

// configurationToJSON renders one.
func (s *Server) configurationToJSON(live *configuration.Live) configurationJSON {
	c := live.Record
	settings := configuration.SettingsOf(c)
	unavailable := ""
	if err := live.Unavailable(); err != nil {
		unavailable = err.Error()
	}
	return configurationJSON{
		ID:            c.ID,
		Name:          c.Name,
		Mode:          string(c.Mode),
		Purpose:       string(c.Purpose),
		SCEPURL:       s.SCEPURL(c),
		SCEPAliasURL:  s.SCEPAliasURL(c),
		CreatedAt:     timeText(c.CreatedAt),
		ChangedAt:     timeText(c.ChangedAt),
		SecretResetAt: timeOrNull(c.SecretResetAt),
		Revision:      c.Revision,
		Policy: policyJSON{
			ValiditySeconds:    settings.ValiditySeconds,
			KeySizes:           settings.KeySizes,
			KeyUsage:           settings.KeyUsage,
			RetryPeriodSeconds: settings.RetryPeriodSeconds,
			Chain:              settings.Chain,
			Strict:             settings.Strict,
			SHA1:               settings.SHA1,
			DES:                settings.DES,
			KeyChecks:          settings.KeyChecks,

			Approval:                 settings.Approval,
			ApprovalTTLSeconds:       settings.ApprovalTTLSeconds,
			Renewal:                  settings.Renewal,
			RenewalWindowSeconds:     settings.RenewalWindowSeconds,
			Queries:                  settings.Queries,
			NextCASigner:             settings.NextCASigner,
			RevokeUnusedAfterSeconds: settings.RevokeUnusedAfterSeconds,
			DevicesFile:              orNull(settings.DevicesFile),

			Window:            settings.Window,
			AckTimeoutSeconds: settings.AckTimeoutSeconds,

			ChallengeTTLSeconds: settings.ChallengeTTLSeconds,
			MaxOutstanding:      settings.MaxOutstanding,
			Page:                settings.Page,
		},
		ChallengeURL: orNull(s.ChallengeURL(c)),
		Username:     orNull(c.ChallengeUser),
		Intune:       intuneToJSON(c.Mode, settings),
		Unavailable:  orNull(unavailable),
	}
}

// intuneToJSON renders whom a configuration of mode intune asks; nil for
// another one.
func intuneToJSON(mode depot.Mode, s configuration.Settings) *intuneJSON {
	if mode != depot.ModeIntune {
		return nil
	}
	return &intuneJSON{
		Cloud: orNull(s.Cloud), Tenant: s.Tenant, ClientID: s.ClientID,
		ClientSecretFile: orNull(s.ClientSecretFile), ClientCertificateFile: orNull(s.ClientCertificateFile), CAFile: orNull(s.CAFile),
		Authority: orNull(s.Authority), GraphURL: orNull(s.GraphURL), IntuneResource: orNull(s.IntuneResource),
		IntuneHosts: append([]string{}, s.IntuneHosts...),
	}
}

// takeSecret takes the secret key out of a body; nil when there is none.
func takeSecret(fields map[string]json.RawMessage) (*challenge.Secret, error) {
	raw, given := fields[secretField]
	if !given {
		return nil, nil
	}
	delete(fields, secretField)
	var text *string
	if err := json.Unmarshal(raw, &text); err != nil || text == nil {
		return nil, invalidSettings(fieldError{secretField, "must be a string"})
	}
	secret := challenge.NewSecret(*text)
	return &secret, nil
}

// invalidSettings is the problem of a body whose fields are wrong.
func invalidSettings(wrong ...fieldError) *problem {
	p := newProblem(http.StatusUnprocessableEntity, "invalid-settings", "the settings are not valid")
	p.Errors = wrong
	return p
}

// settingsProblem translates what the configurations object to.
func settingsProblem(err error) error {
	var invalid *configuration.InvalidError
	switch {
	case errors.As(err, &invalid):
		var wrong []fieldError
		for _, p := range invalid.Problems {
			wrong = append(wrong, fieldError{printable(p.Field, 64), p.Detail})
		}
		return invalidSettings(wrong...)
	case errors.Is(err, depot.ErrNotFound):
		return notFound("there is no such configuration")
	}
	return err
}

// configurationFilter resolves the parameter configuration, an id or a name,
// to an id. The certificates of a removed configuration stay listed under its
// id.
func (s *Server) configurationFilter(ctx context.Context, p parameters) (string, error) {
	text := p.text("configuration")
	if text == "" {
		return "", nil
	}
	return s.configurationID(ctx, text)
}

// configurationID resolves an id or a name; of a removed one the id only.
func (s *Server) configurationID(ctx context.Context, text string) (string, error) {
	if live, err := s.configurations.Find(text); err == nil {
		return live.Record.ID, nil
	}
	removed, err := s.depot.Configuration(ctx, text)
	if err != nil {
		return "", settingsProblem(err)
	}
	return removed.ID, nil
}

// nameOf names a configuration for a record that only has its id.
func (s *Server) nameOf(ctx context.Context, id string) configurationName {
	if live, found := s.configurations.ByID(id); found {
		return configurationName{id, live.Record.Name}
	}
	removed, err := s.depot.Configuration(ctx, id)
	if err != nil {
		return configurationName{ID: id}
	}
	return configurationName{id, removed.Name}
}
