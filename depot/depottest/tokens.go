package depottest

import (
	"fmt"
	"time"

	"understudy.example/understudy/depot"
)

// Token returns a complete token that lives, different for each n, whose names
// sort against their numbers.
func Token(n int) depot.Token {
	var t depot.Token
	Fill(&t, 40_000+n)
	t.ID, t.Name, t.SHA256 = fmt.Sprintf("tk_%d", n), fmt.Sprintf("name %d", 900-n), hashOf("token", n)
	t.RemovedAt, t.RemovedBy = time.Time{}, ""
	return t
}

func (s *suite) addToken(t depot.Token) {
	s.Helper()
	s.wantError("AddToken", s.d.AddToken(s.ctx, t), nil)
}

// tokensAre asserts which tokens live, in which order.
func (s *suite) tokensAre(want ...depot.Token) {
	s.Helper()
	var all []depot.Token
	for _, t := range want {
		t = storedToken(t)
		all = append(all, t)
		got, err := s.d.TokenBySHA256(s.ctx, t.SHA256)
		s.wantError("TokenBySHA256", err, nil)
		s.equal("TokenBySHA256", got, t)
	}
	got, err := s.d.Tokens(s.ctx)
	s.wantError("Tokens", err, nil)
	s.equal("Tokens", got, all)
}

func (s *suite) noToken(n int) {
	s.Helper()
	_, err := s.d.TokenBySHA256(s.ctx, hashOf("token", n))
	s.wantError("TokenBySHA256", err, depot.ErrNotFound)
}

func (s *suite) tokens() {
	s.tokensAre()
	s.noToken(0)
	first := Token(0)
	s.addToken(first)
	first.Scopes[0] = "x" // the caller's
	second := Token(1)
	second.Scopes, second.ExpiresAt, second.CreatedBy = nil, time.Time{}, ""
	s.addToken(second)
	s.addToken(Token(2))
	s.tokensAre(Token(2), second, Token(0))
	at := Epoch.Add(time.Hour).Local()
	removed, err := s.d.RemoveToken(s.ctx, "tk_1", "operator", at)
	s.wantError("RemoveToken", err, nil)
	second.RemovedAt, second.RemovedBy = at, "operator"
	s.equal("RemoveToken", removed, storedToken(second))
	for range 2 {
		s.tokensAre(Token(2), Token(0))
		s.noToken(1)
		s.d = s.reopen()
	}
	again := Token(3) // a name is free again
	again.Name = second.Name
	s.addToken(again)
	s.tokensAre(Token(2), again, Token(0))
	var events []depot.Event
	for _, t := range []depot.Token{Token(0), second, Token(2)} {
		events = append(events, depot.Event{Type: depot.EventTokenAdded, At: utc(t.CreatedAt), By: t.CreatedBy, SubjectID: t.ID})
	}
	events = append(events, depot.Event{Type: depot.EventTokenRemoved, At: utc(at), By: "operator", SubjectID: "tk_1"},
		depot.Event{Type: depot.EventTokenAdded, At: utc(again.CreatedAt), By: again.CreatedBy, SubjectID: again.ID})
	s.equal("events", s.lastEvents(5), events)
}

func (s *suite) tokensRefused() {
	s.addToken(Token(1))
	s.addToken(Token(2))
	_, err := s.d.RemoveToken(s.ctx, "tk_2", "", Epoch)
	s.wantError("RemoveToken", err, nil)
	for name, test := range map[string]struct {
		spoil func(*depot.Token)
		want  error
	}{
		"no id":               {func(t *depot.Token) { t.ID = "" }, depot.ErrInvalid},
		"no name":             {func(t *depot.Token) { t.Name = "" }, depot.ErrInvalid},
		"no hash":             {func(t *depot.Token) { t.SHA256 = [32]byte{} }, depot.ErrInvalid},
		"no time":             {func(t *depot.Token) { t.CreatedAt = time.Time{} }, depot.ErrInvalid},
		"ends as it begins":   {func(t *depot.Token) { t.ExpiresAt = t.CreatedAt }, depot.ErrInvalid},
		"removed":             {func(t *depot.Token) { t.RemovedAt = Epoch }, depot.ErrInvalid},
		"id taken":            {func(t *depot.Token) { t.ID = "tk_1" }, depot.ErrExists},
		"id of a removed":     {func(t *depot.Token) { t.ID = "tk_2" }, depot.ErrExists},
		"hash taken":          {func(t *depot.Token) { t.SHA256 = hashOf("token", 1) }, depot.ErrExists},
		"hash of a removed":   {func(t *depot.Token) { t.SHA256 = hashOf("token", 2) }, depot.ErrExists},
		"name taken":          {func(t *depot.Token) { t.Name = Token(1).Name }, depot.ErrExists},
		"invalid and taken":   {func(t *depot.Token) { t.Name, t.SHA256 = Token(1).Name, [32]byte{} }, depot.ErrInvalid},
		"a zero byte, an end": {func(t *depot.Token) { t.ID = "tk\x00" }, depot.ErrInvalid},
	} {
		t := Token(9)
		test.spoil(&t)
		s.wantError(name, s.d.AddToken(s.ctx, t), test.want)
	}
	_, err = s.d.RemoveToken(s.ctx, "tk_1", "", time.Time{})
	s.wantError("no time", err, depot.ErrInvalid)
	for _, id := range []string{"tk_2", "tk_9", ""} {
		_, err = s.d.RemoveToken(s.ctx, id, "", Epoch)
		s.wantError("remove "+id, err, depot.ErrNotFound)
	}
	s.tokensAre(Token(1))
	s.equal("events", len(s.happened(0)), 3)
}

// tokenRace: of those who take one name, or remove one token, one does.
func (s *suite) tokenRace() {
	for round := range 3 {
		name := fmt.Sprint("name of round ", round)
		n := s.compete(depot.ErrExists, func(r int) error {
			t := Token(round*racers + r)
			t.Name = name
			return s.d.AddToken(s.ctx, t)
		})
		s.equal("tokens of a name", n, 1)
		all, err := s.d.Tokens(s.ctx)
		s.wantError("Tokens", err, nil)
		n = s.compete(depot.ErrNotFound, func(int) error {
			_, err := s.d.RemoveToken(s.ctx, all[0].ID, "", Epoch)
			return err
		})
		s.equal("removals", n, 1)
	}
	s.tokensAre()
}
