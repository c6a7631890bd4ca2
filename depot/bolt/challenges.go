package bolt

import (
	"context"
	"errors"
	"time"

	"understudy.example/understudy/depot"
)

var errNotYet = errors.New("this store does not keep challenges and deliveries yet")

func (d *Depot) AddChallenge(ctx context.Context, c depot.Challenge, most int) error { return errNotYet }
func (d *Depot) Challenge(ctx context.Context, id string) (depot.Challenge, error) {
	return depot.Challenge{}, errNotYet
}
func (d *Depot) ChallengeBySHA256(ctx context.Context, sha256 [32]byte) (depot.Challenge, error) {
	return depot.Challenge{}, errNotYet
}
func (d *Depot) Challenges(ctx context.Context, q depot.ChallengeQuery) (depot.Page[depot.Challenge], error) {
	return depot.Page[depot.Challenge]{}, errNotYet
}
func (d *Depot) WithdrawChallenge(ctx context.Context, id, by string, at time.Time) error {
	return errNotYet
}
func (d *Depot) ForgetChallenges(ctx context.Context, expiredBefore time.Time, limit int) (int, error) {
	return 0, errNotYet
}
func (d *Depot) Undelivered(ctx context.Context) ([]depot.Undelivered, error) { return nil, errNotYet }
func (d *Depot) Deliver(ctx context.Context, certificateSerial string, at time.Time) (depot.Identity, error) {
	return depot.Identity{}, errNotYet
}
func (d *Depot) Void(ctx context.Context, certificateSerial, why string, at time.Time) (depot.Identity, error) {
	return depot.Identity{}, errNotYet
}
