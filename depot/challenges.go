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

// ChallengeQuery selects challenges, the latest first. Zero fields do not
// select.
type ChallengeQuery struct {
	ConfigurationID string
	OutstandingAt   time.Time // only those that could be spent then
	Limit           int       // see PageLimit
	Cursor          string
}

// Challenges is the part of a Depot that keeps one-time challenges. Commit and
// Decide spend them, in the step that stores the certificate: a challenge that
// this depot gave out is then spent for ever, and one that it never gave out
// is taken for one that it forgot.
type Challenges interface {
	// AddChallenge stores a challenge that was not given out yet. ErrTooMany
	// when the configuration has most (or more) outstanding ones at CreatedAt;
	// ErrExists when id or hash is taken. ErrNotFound: no such configuration,
	// or a removed one.
	AddChallenge(ctx context.Context, c Challenge, most int) error
	// Challenge finds by id. ErrNotFound.
	Challenge(ctx context.Context, id string) (Challenge, error)
	// ChallengeBySHA256 finds by the hash of the text, in whatever
	// configuration and state. ErrNotFound.
	ChallengeBySHA256(ctx context.Context, sha256 [32]byte) (Challenge, error)
	// Challenges lists a page, the latest first. ErrCursor.
	Challenges(ctx context.Context, q ChallengeQuery) (Page[Challenge], error)
	// WithdrawChallenge makes an outstanding challenge worthless. ErrNotFound;
	// ErrChallengeSpent when it is spent or withdrawn already.
	WithdrawChallenge(ctx context.Context, id, by string, at time.Time) error
	// ForgetChallenges removes challenges that expired before the time and
	// were never spent, up to limit, and returns how many there were.
	ForgetChallenges(ctx context.Context, expiredBefore time.Time, limit int) (int, error)
}
