package bolt

import (
	"fmt"

	"understudy.example/understudy/depot"
)

// Acknowledgement returns what a record of type redistribution.acknowledged
// says.
func (e Entry) Acknowledgement() (a depot.Acknowledgement, err error) {
	err = decodeJSON(e.payload.Acknowledgement, acknowledgementFields(&a))
	return a, e.wrap(err)
}

func (e Entry) undoing() (u undoing, err error) {
	err = decodeJSON(e.payload.Undoing, undoingFields(&u))
	return u, e.wrap(err)
}

// Announcement returns what a record says of what was announced: one of type
// redistribution.due, stalled, missed or fulfilled, or certificate.superseded.
func (e Entry) Announcement() (a depot.Announcement, err error) {
	err = decodeJSON(e.payload.Announcement, announcementFields(&a))
	a.Type = depot.EventType(e.Type)
	return a, e.wrap(err)
}

// replayWindow stores what was acknowledged, undone or announced. Of how far
// the announcer had come the ledger does not tell: everything that changed is
// to be looked at again, and what was announced is not announced again.
func (b *batch) replayWindow(e Entry) error {
	switch depot.EventType(e.Type) {
	case depot.EventRedistributionAcknowledged:
		return b.replayAcknowledgement(e)
	case depot.EventRedistributionUndone:
		u, err := e.undoing()
		if err != nil {
			return err
		}
		before, serial, err := b.acknowledgeable(u.certificateSerial)
		if err == nil && (u.at.IsZero() || before.Standing != depot.StandingAcknowledged) {
			err = fmt.Errorf("%w: no acknowledgement of certificate %s is in force", depot.ErrInvalid, u.certificateSerial)
		}
		if err == nil {
			_, err = b.undo(before, serial, u)
		}
		return err
	}
	a, err := e.Announcement()
	if err == nil {
		err = a.Validate()
	}
	if err != nil {
		return err
	}
	made, err := b.announce(a)
	if err == nil && !made {
		err = fmt.Errorf("%w: %q of certificate %s was announced before", depot.ErrInvalid, a.Mark, a.CertificateSerial)
	}
	return err
}

func (b *batch) replayAcknowledgement(e Entry) error {
	a, err := e.Acknowledgement()
	if err == nil {
		err = a.Validate()
	}
	if err != nil {
		return err
	}
	before, serial, err := b.acknowledgeable(a.CertificateSerial)
	if err == nil {
		err = a.ValidateFor(before.Identity)
	}
	if err == nil && (!a.UndoneAt.IsZero() || before.Repeats(a)) {
		err = fmt.Errorf("%w: certificate %s was acknowledged so before", depot.ErrInvalid, a.CertificateSerial)
	}
	if err == nil {
		_, err = b.acknowledge(before, serial, a)
	}
	return err
}
