package depottest

import (
	"fmt"
	"slices"
	"time"

	"understudy.example/understudy/depot"
)

// Challenge returns a complete challenge of the configuration "rac1" with
// every field filled that is not the depot's to give, different for each n. It
// is good for an hour.
func Challenge(n int) depot.Challenge {
	var c depot.Challenge
	Fill(&c, 40_000+n)
	c.ID, c.Sequence, c.ConfigurationID = fmt.Sprintf("ch_%d", n), 0, "rac1"
	c.SHA256 = hashOf("challenge", n)
	c.CreatedAt = Epoch.Add(time.Duration(n) * time.Minute).Local()
	c.ExpiresAt = c.CreatedAt.Add(time.Hour)
	c.SpentAt, c.CertificateSerial, c.WithdrawnAt, c.WithdrawnBy = time.Time{}, "", time.Time{}, ""
	return c
}

// plenty is more challenges than any test has.
const plenty = 1000

// give stores a challenge that must be taken, and returns it as it is stored.
func (s *suite) give(c depot.Challenge) depot.Challenge {
	s.Helper()
	if err := s.d.AddChallenge(s.ctx, c, plenty); err != nil {
		s.Fatalf("AddChallenge(%s): %v", c.ID, err)
	}
	got, err := s.d.Challenge(s.ctx, c.ID)
	if err != nil {
		s.Fatalf("Challenge(%s): %v", c.ID, err)
	}
	return got
}

// challenge asserts what is stored of a challenge.
func (s *suite) challenge(want depot.Challenge) {
	s.Helper()
	got, err := s.d.Challenge(s.ctx, want.ID)
	s.wantError("Challenge "+want.ID, err, nil)
	s.equal("Challenge "+want.ID, got, want)
	got, err = s.d.ChallengeBySHA256(s.ctx, want.SHA256)
	s.wantError("ChallengeBySHA256 "+want.ID, err, nil)
	s.equal("ChallengeBySHA256 "+want.ID, got, want)
	page, err := s.d.Challenges(s.ctx, depot.ChallengeQuery{ConfigurationID: want.ConfigurationID})
	s.wantError("Challenges", err, nil)
	if !slices.Contains(page.Items, want) {
		s.Errorf("challenge %s is not in the list as it is: %+v", want.ID, page.Items)
	}
}

// challengeIDs lists the ids of all pages.
func (s *suite) challengeIDs(q depot.ChallengeQuery) []string {
	s.Helper()
	var all []string
	for range maxPages {
		page, err := s.d.Challenges(s.ctx, q)
		if err != nil {
			s.Fatalf("Challenges(%+v): %v", q, err)
		}
		for _, c := range page.Items {
			all = append(all, c.ID)
		}
		if q.Cursor = page.NextCursor; q.Cursor == "" {
			return all
		}
	}
	s.Fatalf("Challenges(%+v) does not end", q)
	return nil
}

// spending is Issuance(n) that spends a challenge.
func spending(n int, id string) depot.Issuance {
	i := Issuance(n)
	i.Challenge.ID = id
	return i
}

// spent is a challenge as an issuance leaves it.
func spent(c depot.Challenge, i depot.Identity) depot.Challenge {
	c.SpentAt, c.CertificateSerial = utc(i.IssuedAt), i.CertificateSerial
	return c
}

func challengeEvent(what depot.EventType, at time.Time, c depot.Challenge) depot.Event {
	return depot.Event{Type: what, At: utc(at), ConfigurationID: c.ConfigurationID, ConfigurationName: "name 1", ChallengeID: c.ID}
}

func (s *suite) challengeFind() {
	s.add(configuration(1))
	c := Challenge(1)
	c.Sequence = 77
	got := s.give(c)
	want := storedChallenge(c)
	if want.Sequence = got.Sequence; got.Sequence == 0 || got.Sequence == 77 {
		s.Errorf("sequence %d", got.Sequence)
	}
	bare := s.give(depot.Challenge{ID: "ch_bare", ConfigurationID: "rac1", SHA256: hashOf("bare", 1), CreatedAt: Epoch, ExpiresAt: Epoch.Add(time.Nanosecond * 1000)})
	if bare.Sequence <= got.Sequence {
		s.Errorf("sequence %d after %d", bare.Sequence, got.Sequence)
	}
	for range 2 {
		s.challenge(want)
		s.challenge(bare)
		s.equal("events", s.lastEvents(2), []depot.Event{challengeEvent(depot.EventChallengeIssued, c.CreatedAt, c),
			challengeEvent(depot.EventChallengeIssued, Epoch, bare)})
		s.d = s.reopen()
	}
	for _, id := range []string{"", "ch", "ch_", "ch_11", "CH_1", "ch_1\x00"} {
		_, err := s.d.Challenge(s.ctx, id)
		s.wantError(fmt.Sprintf("Challenge(%q)", id), err, depot.ErrNotFound)
		s.wantError(fmt.Sprintf("WithdrawChallenge(%q)", id), s.d.WithdrawChallenge(s.ctx, id, "by", Epoch), depot.ErrNotFound)
	}
	for _, sha256 := range [][32]byte{{}, hashOf("challenge", 2)} {
		_, err := s.d.ChallengeBySHA256(s.ctx, sha256)
		s.wantError("ChallengeBySHA256", err, depot.ErrNotFound)
	}
}

func (s *suite) challengeRefused() {
	s.add(configuration(1))
	s.add(configuration(2))
	s.add(configuration(3))
	gone := configuration(3)
	gone.Revision, gone.RemovedAt = 2, Epoch
	s.set(gone, depot.EventConfigurationRemoved)
	given := s.give(Challenge(1))
	s.commit(spending(1, "ch_unknown"))
	for name, test := range map[string]struct {
		spoil func(*depot.Challenge)
		want  error
	}{
		"no id":                 {func(c *depot.Challenge) { c.ID = "" }, depot.ErrInvalid},
		"zero byte in id":       {func(c *depot.Challenge) { c.ID = "ch\x00" }, depot.ErrInvalid},
		"no configuration":      {func(c *depot.Challenge) { c.ConfigurationID = "" }, depot.ErrInvalid},
		"no hash":               {func(c *depot.Challenge) { c.SHA256 = [32]byte{} }, depot.ErrInvalid},
		"no beginning":          {func(c *depot.Challenge) { c.CreatedAt = time.Time{} }, depot.ErrInvalid},
		"no end":                {func(c *depot.Challenge) { c.ExpiresAt = time.Time{} }, depot.ErrInvalid},
		"no time at all":        {func(c *depot.Challenge) { c.ExpiresAt = c.CreatedAt }, depot.ErrInvalid},
		"spent":                 {func(c *depot.Challenge) { c.SpentAt = Epoch }, depot.ErrInvalid},
		"with certificate":      {func(c *depot.Challenge) { c.CertificateSerial = serial(1) }, depot.ErrInvalid},
		"withdrawn":             {func(c *depot.Challenge) { c.WithdrawnAt = Epoch }, depot.ErrInvalid},
		"withdrawn by somebody": {func(c *depot.Challenge) { c.WithdrawnBy = "x" }, depot.ErrInvalid},
		"invalid and unknown":   {func(c *depot.Challenge) { c.ID, c.ConfigurationID = "", "rac9" }, depot.ErrInvalid},
		"unknown configuration": {func(c *depot.Challenge) { c.ConfigurationID = "rac9" }, depot.ErrNotFound},
		"removed configuration": {func(c *depot.Challenge) { c.ConfigurationID = "rac3" }, depot.ErrNotFound},
		"unknown and taken":     {func(c *depot.Challenge) { c.ID, c.ConfigurationID = "ch_1", "rac9" }, depot.ErrNotFound},
		"id taken":              {func(c *depot.Challenge) { c.ID = "ch_1" }, depot.ErrExists},
		"id taken elsewhere":    {func(c *depot.Challenge) { c.ID, c.ConfigurationID = "ch_1", "rac2" }, depot.ErrExists},
		"hash taken":            {func(c *depot.Challenge) { c.SHA256 = hashOf("challenge", 1) }, depot.ErrExists},
		"hash taken elsewhere":  {func(c *depot.Challenge) { c.SHA256, c.ConfigurationID = hashOf("challenge", 1), "rac2" }, depot.ErrExists},
		"id spent":              {func(c *depot.Challenge) { c.ID = "ch_unknown" }, depot.ErrExists},
	} {
		c := Challenge(2)
		test.spoil(&c)
		s.wantError(name, s.d.AddChallenge(s.ctx, c, plenty), test.want)
		if test.want != depot.ErrNotFound { // all else comes before the number
			s.wantError(name+", too many", s.d.AddChallenge(s.ctx, c, 1), test.want)
		}
	}
	s.equal("challenges", s.challengeIDs(depot.ChallengeQuery{}), []string{"ch_1"})
	s.challenge(given)
	s.equal("events", len(s.happened(0)), 6)
}

// challengeCap: what counts is what could still be spent.
func (s *suite) challengeCap() {
	s.add(configuration(1))
	s.add(configuration(2))
	add := func(what string, n, most int, at time.Time, want error) {
		s.Helper()
		c := Challenge(n)
		c.CreatedAt, c.ExpiresAt = at, at.Add(time.Hour)
		s.wantError(what, s.d.AddChallenge(s.ctx, c, most), want)
	}
	end := Epoch.Add(time.Hour)
	add("none allowed", 0, 0, Epoch, depot.ErrTooMany)
	add("less than none", 0, -1, Epoch, depot.ErrTooMany)
	s.add(configuration(0))
	for n, id := range []string{"rac0", "rac2"} { // on both sides of "rac1"
		c := Challenge(20 + n)
		c.ConfigurationID = id
		s.give(c)
	}
	for n := range 3 {
		add("below", n, 3, Epoch, nil)
	}
	add("at", 3, 3, Epoch, depot.ErrTooMany)
	add("above", 3, 2, Epoch, depot.ErrTooMany)
	other := Challenge(4)
	other.ConfigurationID = "rac2"
	s.wantError("another configuration", s.d.AddChallenge(s.ctx, other, 2), nil)
	s.equal("nothing was stored", s.challengeIDs(depot.ChallengeQuery{}), []string{"ch_4", "ch_2", "ch_1", "ch_0", "ch_21", "ch_20"})

	s.commit(spending(1, "ch_0"))
	s.commit(spending(2, "ch_4"))
	add("after one is spent", 5, 3, Epoch, nil)
	add("and again", 6, 3, Epoch, depot.ErrTooMany)
	s.wantError("Withdraw", s.d.WithdrawChallenge(s.ctx, "ch_1", "by", Epoch), nil)
	add("after one is withdrawn", 6, 3, Epoch, nil)
	add("and again", 7, 3, Epoch, depot.ErrTooMany)
	s.d = s.reopen()
	add("a moment before they expire", 7, 3, end.Add(-time.Microsecond), depot.ErrTooMany)
	add("when they expire", 7, 1, end, nil)
	add("and again", 8, 1, end, depot.ErrTooMany)
	add("in the past again", 8, 4, Epoch, depot.ErrTooMany)
	add("in the past again", 8, 5, Epoch, nil)
}

// challengeSpend: spending marks, once and in the step of the certificate.
func (s *suite) challengeSpend() {
	s.add(configuration(1))
	first, second, never := s.give(Challenge(1)), s.give(Challenge(2)), s.give(Challenge(3))
	s.commit(Issuance(9))
	refused := spending(1, "ch_1")
	refused.Identity.SHA256 = Issuance(9).Identity.SHA256
	_, err := s.d.Commit(s.ctx, refused)
	s.wantError("Commit of a taken certificate", err, depot.ErrExists)
	s.challenge(first)

	late := spending(100, "ch_1") // after it expired, which is not the depot's business
	first = spent(first, s.commit(late))
	_, err = s.d.Commit(s.ctx, spending(101, "ch_1"))
	s.wantError("spent twice", err, depot.ErrChallengeSpent)
	s.wantError("withdrawn when spent", s.d.WithdrawChallenge(s.ctx, "ch_1", "by", Epoch), depot.ErrChallengeSpent)

	asked := Request(2)
	asked.Challenge.ID = "ch_2"
	s.ask(asked, 0, "")
	s.challenge(second) // waiting spends nothing
	d := Approval(asked, 2)
	s.decide(d)
	second = spent(second, d.Issuance.Identity)
	asked = Request(3)
	asked.Challenge.ID = "ch_2"
	s.ask(asked, 0, "")
	_, err = s.d.Decide(s.ctx, Approval(asked, 3))
	s.wantError("approved with a spent challenge", err, depot.ErrChallengeSpent)
	for range 2 {
		s.challenge(first)
		s.challenge(second)
		s.challenge(never)
		s.d = s.reopen()
	}
	s.wantError("id of a spent one", s.d.AddChallenge(s.ctx, Challenge(1), plenty), depot.ErrExists)
	n, err := s.d.ForgetChallenges(s.ctx, Epoch.Add(1000*time.Hour), plenty)
	s.equal("forgotten", n, 1)
	s.wantError("ForgetChallenges", err, nil)
	s.challenge(first)
	s.challenge(second)
}

func (s *suite) challengeWithdraw() {
	s.add(configuration(1))
	given, other := s.give(Challenge(1)), s.give(Challenge(2))
	s.wantError("no time", s.d.WithdrawChallenge(s.ctx, "ch_1", "by", time.Time{}), depot.ErrInvalid)
	s.wantError("no time, no challenge", s.d.WithdrawChallenge(s.ctx, "ch_9", "by", time.Time{}), depot.ErrInvalid)
	s.challenge(given)
	at := Epoch.Add(3 * time.Minute).Local()
	s.wantError("Withdraw", s.d.WithdrawChallenge(s.ctx, "ch_1", "operator", at), nil)
	given.WithdrawnAt, given.WithdrawnBy = utc(at), "operator"
	s.equal("event", s.lastEvents(1), []depot.Event{challengeEvent(depot.EventChallengeWithdrawn, at, given)})
	s.wantError("withdrawn twice", s.d.WithdrawChallenge(s.ctx, "ch_1", "x", Epoch), depot.ErrChallengeSpent)
	_, err := s.d.Commit(s.ctx, spending(1, "ch_1"))
	s.wantError("spent when withdrawn", err, depot.ErrChallengeSpent)
	late := other.ExpiresAt.Add(time.Hour)
	s.wantError("withdrawn when expired", s.d.WithdrawChallenge(s.ctx, "ch_2", "", late), nil)
	other.WithdrawnAt = late
	s.d = s.reopen()
	s.challenge(given)
	s.challenge(other)
	s.wantError("id of a withdrawn one", s.d.AddChallenge(s.ctx, Challenge(1), plenty), depot.ErrExists)
	s.equal("events", len(s.happened(0)), 1+2+2)
	s.equal("certificates", len(s.serials(depot.IdentityQuery{})), 0)
}

// challengeForget: what expired and was never spent goes, and nothing else.
func (s *suite) challengeForget() {
	s.add(configuration(1))
	for n := range 8 {
		c := Challenge(n)
		c.ExpiresAt = Epoch.Add(24*time.Hour - time.Duration(n)*time.Hour) // the last one first
		s.give(c)
	}
	s.commit(spending(1, "ch_7"))
	s.wantError("Withdraw", s.d.WithdrawChallenge(s.ctx, "ch_6", "", Epoch), nil)
	forget := func(what string, before time.Time, limit, want int, left ...string) {
		s.Helper()
		n, err := s.d.ForgetChallenges(s.ctx, before, limit)
		s.wantError(what, err, nil)
		s.equal(what, n, want)
		s.equal(what+": left", s.challengeIDs(depot.ChallengeQuery{}), left)
	}
	of := func(n int) time.Time { return Epoch.Add(24*time.Hour - time.Duration(n)*time.Hour) }
	forget("none expired", of(6), plenty, 0, "ch_7", "ch_6", "ch_5", "ch_4", "ch_3", "ch_2", "ch_1", "ch_0")
	forget("no time", time.Time{}, plenty, 0, "ch_7", "ch_6", "ch_5", "ch_4", "ch_3", "ch_2", "ch_1", "ch_0")
	forget("a moment later", of(6).Add(time.Microsecond), plenty, 1, "ch_7", "ch_5", "ch_4", "ch_3", "ch_2", "ch_1", "ch_0")
	forget("limit", Epoch.Add(48*time.Hour), 2, 2, "ch_7", "ch_3", "ch_2", "ch_1", "ch_0")
	forget("no limit, nothing", Epoch.Add(48*time.Hour), 0, 0, "ch_7", "ch_3", "ch_2", "ch_1", "ch_0")
	forget("less", Epoch.Add(48*time.Hour), -1, 0, "ch_7", "ch_3", "ch_2", "ch_1", "ch_0")
	s.equal("events", len(s.happened(0)), 1+8+1+1)
	s.d = s.reopen()
	forget("all", Epoch.Add(48*time.Hour), 5, 4, "ch_7")
	for n := range 7 {
		_, err := s.d.Challenge(s.ctx, fmt.Sprintf("ch_%d", n))
		s.wantError("a forgotten one", err, depot.ErrNotFound)
		_, err = s.d.ChallengeBySHA256(s.ctx, hashOf("challenge", n))
		s.wantError("the hash of a forgotten one", err, depot.ErrNotFound)
	}
	_, err := s.d.Commit(s.ctx, spending(2, "ch_6"))
	s.wantError("withdrawn and forgotten", err, depot.ErrChallengeSpent)
	s.wantError("the id of it", s.d.AddChallenge(s.ctx, Challenge(6), plenty), depot.ErrExists)
	again := Challenge(60)
	again.SHA256 = hashOf("challenge", 6)
	s.give(again)
	s.give(Challenge(5))          // as if it had never been
	s.commit(spending(3, "ch_4")) // taken for forgotten
	_, err = s.d.Commit(s.ctx, spending(4, "ch_4"))
	s.wantError("forgotten and spent", err, depot.ErrChallengeSpent)
}

func (s *suite) challengeList() {
	s.add(configuration(1))
	s.add(configuration(2))
	var one []string
	for n := range 12 {
		c := Challenge(n)
		if n%3 == 2 {
			c.ConfigurationID = "rac2"
		} else {
			one = append([]string{c.ID}, one...)
		}
		s.give(c)
	}
	s.commit(spending(1, "ch_4"))
	s.wantError("Withdraw", s.d.WithdrawChallenge(s.ctx, "ch_6", "", Epoch), nil)
	// ch_n expires n minutes after ch_0, and not before that.
	at := Epoch.Add(time.Hour + 3*time.Minute)
	for _, limit := range []int{0, 1, 3, 5} {
		what := fmt.Sprintf("by %d: ", limit)
		s.equal(what+"all", s.challengeIDs(depot.ChallengeQuery{Limit: limit}),
			[]string{"ch_11", "ch_10", "ch_9", "ch_8", "ch_7", "ch_6", "ch_5", "ch_4", "ch_3", "ch_2", "ch_1", "ch_0"})
		s.equal(what+"of one", s.challengeIDs(depot.ChallengeQuery{Limit: limit, ConfigurationID: "rac1"}), one)
		s.equal(what+"outstanding", s.challengeIDs(depot.ChallengeQuery{Limit: limit, OutstandingAt: at}),
			[]string{"ch_11", "ch_10", "ch_9", "ch_8", "ch_7", "ch_5"})
		s.equal(what+"outstanding of one", s.challengeIDs(depot.ChallengeQuery{Limit: limit, OutstandingAt: at, ConfigurationID: "rac1"}),
			[]string{"ch_10", "ch_9", "ch_7"})
	}
	s.equal("of none", s.challengeIDs(depot.ChallengeQuery{ConfigurationID: "rac"}), []string(nil))
	page, err := s.d.Challenges(s.ctx, depot.ChallengeQuery{Limit: 12})
	s.wantError("Challenges", err, nil)
	s.equal("no other page", page.NextCursor, "")
	s.ask(Request(21), 0, "")
	s.ask(Request(22), 0, "")
	requests, err := s.d.Requests(s.ctx, depot.RequestQuery{Limit: 1})
	s.wantError("Requests", err, nil)
	for _, cursor := range []string{"x", requests.NextCursor} {
		_, err = s.d.Challenges(s.ctx, depot.ChallengeQuery{Cursor: cursor})
		s.wantError("cursor "+cursor, err, depot.ErrCursor)
	}
}

// challengeUseRace: of those who spend or withdraw one challenge at once, one
// does.
func (s *suite) challengeUseRace() {
	s.add(configuration(1))
	for round := range 5 {
		s.give(Challenge(round))
		id := fmt.Sprintf("ch_%d", round)
		n := s.compete(depot.ErrChallengeSpent, func(r int) error {
			if round > 2 && r%4 == 0 {
				return s.d.WithdrawChallenge(s.ctx, id, "racer", Epoch)
			}
			_, err := s.d.Commit(s.ctx, spending(round*racers+r, id))
			return err
		})
		if n != 1 {
			s.Errorf("%d of %d racers were taken, want 1", n, racers)
		}
		c, err := s.d.Challenge(s.ctx, id)
		s.wantError("Challenge", err, nil)
		if c.SpentAt.IsZero() == c.WithdrawnAt.IsZero() || c.SpentAt.IsZero() != (c.CertificateSerial == "") {
			s.Errorf("challenge %+v", c)
		}
		if _, err := s.d.Identity(s.ctx, c.CertificateSerial); c.CertificateSerial != "" {
			s.wantError("its certificate", err, nil)
		}
	}
}

// challengeAddRace: of those who ask for the last place at once, one gets it.
func (s *suite) challengeAddRace() {
	s.add(configuration(1))
	const most = 3
	for n := range most - 1 {
		s.give(Challenge(n))
	}
	n := s.compete(depot.ErrTooMany, func(r int) error {
		c := Challenge(100 + r)
		c.CreatedAt = Epoch.Local()
		return s.d.AddChallenge(s.ctx, c, most)
	})
	s.equal("taken for the last place", n, 1)
	n = s.compete(depot.ErrExists, func(r int) error {
		c := Challenge(200 + r)
		c.SHA256 = hashOf("challenge", 200)
		return s.d.AddChallenge(s.ctx, c, plenty)
	})
	s.equal("taken for one hash", n, 1)
	s.equal("challenges", len(s.challengeIDs(depot.ChallengeQuery{})), most+1)
}
