// Package bolt keeps a depot in a bbolt file with a ledger beside it.
package bolt

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
)

// Options are what Open needs besides the directory.
type Options struct {
	Clock  clock.Clock
	Log    *slog.Logger
	Random io.Reader
	// MustExist refuses a store that is not there instead of making one.
	MustExist bool
}

// Depot is a depot.Depot.
type Depot struct{}

var errStub = errors.New("not written yet")

// Open opens the store in a directory.
func Open(dir string, o Options) (*Depot, error) { return &Depot{}, nil }

func (d *Depot) Commit(ctx context.Context, i depot.Issuance) (depot.Identity, error) {
	return depot.Identity{}, errStub
}
func (d *Depot) Transaction(ctx context.Context, configurationID, transactionID string) (depot.Transaction, error) {
	return depot.Transaction{}, errStub
}
func (d *Depot) TransactionOfMessage(ctx context.Context, sha256 [32]byte) (depot.Transaction, error) {
	return depot.Transaction{}, errStub
}
func (d *Depot) Identity(ctx context.Context, certificateSerial string) (depot.Identity, error) {
	return depot.Identity{}, errStub
}
func (d *Depot) IdentityBySHA256(ctx context.Context, sha256 [32]byte) (depot.Identity, error) {
	return depot.Identity{}, errStub
}
func (d *Depot) Identities(ctx context.Context, q depot.IdentityQuery) (depot.Page[depot.Identity], error) {
	return depot.Page[depot.Identity]{}, errStub
}
func (d *Depot) Device(ctx context.Context, configurationID, key string) (depot.Device, error) {
	return depot.Device{}, errStub
}
func (d *Depot) Devices(ctx context.Context, q depot.DeviceQuery) (depot.Page[depot.Device], error) {
	return depot.Page[depot.Device]{}, errStub
}
func (d *Depot) Events(ctx context.Context, q depot.EventQuery) (depot.Page[depot.Event], error) {
	return depot.Page[depot.Event]{}, errStub
}
func (d *Depot) AddConfiguration(ctx context.Context, c depot.Configuration) error { return errStub }
func (d *Depot) SetConfiguration(ctx context.Context, c depot.Configuration, cause depot.EventType) error {
	return errStub
}
func (d *Depot) Configuration(ctx context.Context, id string) (depot.Configuration, error) {
	return depot.Configuration{}, errStub
}
func (d *Depot) Configurations(ctx context.Context) ([]depot.Configuration, error) {
	return nil, errStub
}
func (d *Depot) RecordAuthority(ctx context.Context, a depot.AuthorityGeneration) error {
	return errStub
}
func (d *Depot) Check(ctx context.Context) ([]string, error) { return nil, errStub }
func (d *Depot) Ready(ctx context.Context) error             { return errStub }
func (d *Depot) Close() error                                { return nil }

var _ depot.Depot = (*Depot)(nil)
