package depottest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"understudy.example/understudy/depot"
)

// SetLabClock stores how a lab moved the time.
func (m *Memory) SetLabClock(ctx context.Context, c depot.LabClock, now time.Time) error {
	if err := c.Validate(now); err != nil {
		return err
	}
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	c.FrozenAt, c.ChangedAt = utc(c.FrozenAt), utc(c.ChangedAt)
	m.sequence++
	m.clock = c
	m.happened(c.Event(now))
	return nil
}

// LabClock returns the last one.
func (m *Memory) LabClock(ctx context.Context) (depot.LabClock, error) {
	if err := m.lock(ctx); err != nil {
		return depot.LabClock{}, err
	}
	defer m.mu.Unlock()
	return m.clock, nil
}

// RecordRejections makes an event of them.
func (m *Memory) RecordRejections(ctx context.Context, r depot.Rejections) error {
	if err := r.Validate(); err != nil {
		return err
	}
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	m.sequence++
	m.happened(r.Event())
	return nil
}

// RecordSeeding puts a seeding on record.
func (m *Memory) RecordSeeding(ctx context.Context, s depot.Seeding) error {
	if err := s.Validate(); err != nil {
		return err
	}
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	s.At = utc(s.At)
	m.sequence++
	m.seedings = append(m.seedings, s)
	m.happened(s.Event())
	return nil
}

// Seedings returns them all.
func (m *Memory) Seedings(ctx context.Context) ([]depot.Seeding, error) {
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	return slices.Clone(m.seedings), nil
}

// lastEvent is the Sequence of the last event, 0 if there is none.
func (m *Memory) lastEvent() uint64 {
	if len(m.events) == 0 {
		return 0
	}
	return m.events[len(m.events)-1].Sequence
}

// wake lets those look again who wait for an event.
func (m *Memory) wake() {
	close(m.woken)
	m.woken = make(chan struct{})
}

// Await returns when there is a later event.
func (m *Memory) Await(ctx context.Context, after uint64) error {
	for {
		if err := m.lock(ctx); err != nil {
			return err
		}
		last, woken := m.lastEvent(), m.woken
		m.mu.Unlock()
		if last > after {
			return nil
		}
		select {
		case <-woken:
		case <-ctx.Done():
			return fmt.Errorf("wait for events: %w", ctx.Err())
		}
	}
}

// LastEvent returns the Sequence of the last event.
func (m *Memory) LastEvent(ctx context.Context) (uint64, error) {
	if err := m.lock(ctx); err != nil {
		return 0, err
	}
	defer m.mu.Unlock()
	return m.lastEvent(), nil
}
