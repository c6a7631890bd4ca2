package depot

import (
	"context"
	"errors"
	"time"
)

// ErrTooMany: the configuration has as many outstanding challenges as it may
// have. Nothing was changed.
var ErrTooMany = errors.New("too many outstanding challenges")

// Challenge is a one-time challenge that was given out. Its text is not kept.
type Challenge struct {
	ID              string // ch_ + 17 [a-z0-9]
	Sequence        uint64 // of the step that stored it; given by the depot
	ConfigurationID string
	SHA256          [32]byte // of the text
	CreatedAt       time.Time
	ExpiresAt       time.Time
	CreatedBy       string // who had it made: a user of the challenge page, an admin token
	// Bound holds the values that the device must have; the empty ones are
	// free. Key, DeviceID and ComputerName are not looked at.
	Bound DeviceNames

	// What became of it, given by the depot: the certificate that it was spent
	// on, or that it was withdrawn.
	SpentAt           time.Time
	CertificateSerial string
	WithdrawnAt       time.Time
	WithdrawnBy       string
}

// Outstanding says whether the challenge could still be spent at a time.
func (c Challenge) Outstanding(now time.Time) bool {
	return c.SpentAt.IsZero() && c.WithdrawnAt.IsZero() && now.Before(c.ExpiresAt)
}

// Withdraw returns the challenge as withdrawing it leaves it. It is for depots.
// ErrInvalid, ErrChallengeSpent.
func (c Challenge) Withdraw(by string, at time.Time) (Challenge, error) {
	switch {
	case at.IsZero():
		return c, invalid("withdrawal of challenge %s without its time", c.ID)
	case !c.SpentAt.IsZero() || !c.WithdrawnAt.IsZero():
		return c, ErrChallengeSpent
	}
	c.WithdrawnAt, c.WithdrawnBy = at, by
	return c, nil
}

// Event returns the event that becoming what it is, is for a challenge that is
// not spent, given its configuration. Its sequence is the depot's to give.
func (c Challenge) Event(of Configuration) Event {
	e := Event{Type: EventChallengeIssued, At: c.CreatedAt, ConfigurationID: c.ConfigurationID, ConfigurationName: of.Name, ChallengeID: c.ID}
	if !c.WithdrawnAt.IsZero() {
		e.Type, e.At = EventChallengeWithdrawn, c.WithdrawnAt
	}
	return e
}

// ChallengeQuery selects challenges, the latest first. Zero fields do not
// select.
type ChallengeQuery struct {
	ConfigurationID string
	OutstandingAt   time.Time // only those that could be spent then
	Limit           int       // see PageLimit
	Cursor          string
}

// Selects says whether the query asks for this challenge.
func (q ChallengeQuery) Selects(c Challenge) bool {
	return (q.ConfigurationID == "" || q.ConfigurationID == c.ConfigurationID) &&
		(q.OutstandingAt.IsZero() || c.Outstanding(q.OutstandingAt))
}

// Challenges is the part of a Depot that keeps one-time challenges. Commit and
// Decide spend them, in the step that stores the certificate: a challenge that
// this depot gave out is then spent for ever, and one that it never gave out
// is taken for one that it forgot.
type Challenges interface {
	// AddChallenge stores a challenge that was not given out yet. In this
	// order: ErrInvalid (it cannot be found, never was good, or is spent
	// already); ErrNotFound: no such configuration, or a removed one; ErrExists
	// when id or hash is taken, or something with that id was spent;
	// ErrTooMany when the configuration has most (or more) outstanding ones at
	// CreatedAt.
	AddChallenge(ctx context.Context, c Challenge, most int) error
	// Challenge finds by id. ErrNotFound.
	Challenge(ctx context.Context, id string) (Challenge, error)
	// ChallengeBySHA256 finds by the hash of the text, in whatever
	// configuration and state. ErrNotFound.
	ChallengeBySHA256(ctx context.Context, sha256 [32]byte) (Challenge, error)
	// Challenges lists a page, the latest first, looking at no more than
	// MaxLook. ErrCursor.
	Challenges(ctx context.Context, q ChallengeQuery) (Page[Challenge], error)
	// WithdrawChallenge makes a challenge worthless for ever. ErrInvalid for
	// the zero time; ErrNotFound; ErrChallengeSpent when it is spent or
	// withdrawn already.
	WithdrawChallenge(ctx context.Context, id, by string, at time.Time) error
	// ForgetChallenges removes challenges that expired before the time and
	// were never spent, up to limit, those that expired first before others,
	// and returns how many it removed. It is no event. A challenge that was
	// withdrawn stays worthless.
	ForgetChallenges(ctx context.Context, expiredBefore time.Time, limit int) (int, error)
}
