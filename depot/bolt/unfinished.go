package bolt

import (
	"context"
	"errors"
	"time"

	"understudy.example/understudy/depot"
)

// errUnfinished is the answer of steps that this store cannot keep yet.
var errUnfinished = errors.New("this store keeps no requests, revocations or device lists yet")

// AddRequest is not there yet.
func (d *Depot) AddRequest(context.Context, depot.Request, uint64, string) error {
	return errUnfinished
}

// Request finds nothing yet.
func (d *Depot) Request(context.Context, string) (depot.Request, error) {
	return depot.Request{}, depot.ErrNotFound
}

// RequestOfTransaction finds nothing yet.
func (d *Depot) RequestOfTransaction(context.Context, string, string) (depot.Request, error) {
	return depot.Request{}, depot.ErrNotFound
}

// Requests lists nothing yet.
func (d *Depot) Requests(context.Context, depot.RequestQuery) (depot.Page[depot.Request], error) {
	return depot.Page[depot.Request]{}, nil
}

// Decide is not there yet.
func (d *Depot) Decide(context.Context, depot.Decision) (depot.Request, error) {
	return depot.Request{}, errUnfinished
}

// Revoke is not there yet.
func (d *Depot) Revoke(context.Context, depot.Revocation) (depot.Identity, error) {
	return depot.Identity{}, errUnfinished
}

// Revoked lists nothing yet.
func (d *Depot) Revoked(context.Context, depot.RevokedQuery) (depot.Page[depot.RevokedCertificate], error) {
	return depot.Page[depot.RevokedCertificate]{}, nil
}

// TakeCRLNumber is not there yet.
func (d *Depot) TakeCRLNumber(context.Context, [32]byte, uint64) (uint64, error) {
	return 0, errUnfinished
}

// LastCRLNumber knows none yet.
func (d *Depot) LastCRLNumber(context.Context, [32]byte) (uint64, error) { return 0, nil }

// MarkUsed is not there yet.
func (d *Depot) MarkUsed(context.Context, string, time.Time) error { return errUnfinished }

// UnusedSince finds nothing yet.
func (d *Depot) UnusedSince(context.Context, time.Time, int) ([]depot.Identity, error) {
	return nil, nil
}

// SetDeviceList is not there yet.
func (d *Depot) SetDeviceList(context.Context, depot.DeviceList) error { return errUnfinished }

// RemoveDeviceList is not there yet.
func (d *Depot) RemoveDeviceList(context.Context, string, string, time.Time) error {
	return depot.ErrNotFound
}

// DeviceList finds nothing yet.
func (d *Depot) DeviceList(context.Context, string) (depot.DeviceList, error) {
	return depot.DeviceList{}, depot.ErrNotFound
}
