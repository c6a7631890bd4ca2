package depot

import (
	"context"
	"errors"
	"time"
)

// ErrSuperseded: a newer certificate of the device has taken the place of this
// one. Nothing was changed.
var ErrSuperseded = errors.New("certificate is superseded")

// Standing is the place of an identity among those of its device (of one
// configuration and device key). It follows from what is stored and from no
// clock; what the clock makes of it is the business of package redistribution.
type Standing string

// The standings. An identity has exactly one of them; they are looked at in
// this order.
const (
	// StandingNone: held back (Identity.HeldBack). It is not its device's yet,
	// is in no list of windows and supersedes nothing.
	StandingNone Standing = ""
	// StandingRevoked: revoked, on hold, or void.
	StandingRevoked Standing = "revoked"
	// StandingSuperseded: an identity of the same device that was committed
	// later is neither revoked nor held back.
	StandingSuperseded Standing = "superseded"
	// StandingAcknowledged: the device's current one, and an acknowledgement
	// of it is in force: the latest one, if that was not undone.
	StandingAcknowledged Standing = "acknowledged"
	// StandingCurrent: the device's current one, which nobody acknowledged.
	StandingCurrent Standing = "current"
)

// A WindowItem is an identity as redistribution sees it.
type WindowItem struct {
	Identity Identity // without DER; Depot.Identity has that
	Standing Standing
	// SupersededBy is the certificate serial of the first identity of the same
	// device that was committed after this one and is neither revoked nor held
	// back, and SupersededAt its IssuedAt. Of a revoked one too.
	SupersededBy string
	SupersededAt time.Time
	// Acknowledgements are the last ones, oldest first, undone ones too, at
	// most MaxAcknowledgements; Attempts is how many there ever were.
	Acknowledgements []Acknowledgement
	Attempts         int
	// Announced are the marks of what Announce announced, sorted.
	Announced []string
}

// A Place is where an identity stands among those of its device, and which one
// took its place: see WindowItem.
type Place struct {
	Standing     Standing
	SupersededBy string
	SupersededAt time.Time
}

// Place returns the item's.
func (i WindowItem) Place() Place { return Place{i.Standing, i.SupersededBy, i.SupersededAt} }

// MaxAcknowledgements is how many acknowledgements of one identity are kept.
const MaxAcknowledgements = 20

// Acknowledgement says that somebody pushes the profile of an identity again.
type Acknowledgement struct {
	CertificateSerial string
	At                time.Time // whole seconds
	StallsAt          time.Time // when it counts no more; whole seconds; zero: never
	By                string    // name of the token
	CommandID         string    // the MDM's own id of the push
	RequestedBy       string
	RequestedAt       time.Time
	IdempotencyKey    string
	UndoneAt          time.Time
	UndoneBy          string
}

// InForce returns the acknowledgement that is in force, if there is one.
func (i WindowItem) InForce() (Acknowledgement, bool) {
	if n := len(i.Acknowledgements); n > 0 && i.Acknowledgements[n-1].UndoneAt.IsZero() {
		return i.Acknowledgements[n-1], true
	}
	return Acknowledgement{}, false
}

// Repeats says whether an acknowledgement says again what was said: it has the
// idempotency key of one that is kept; or one is in force that has not stalled
// at a.At, and a names no other command.
func (i WindowItem) Repeats(a Acknowledgement) bool {
	for _, have := range i.Acknowledgements {
		if a.IdempotencyKey != "" && a.IdempotencyKey == have.IdempotencyKey {
			return true
		}
	}
	last, ok := i.InForce()
	if !ok || !last.StallsAt.IsZero() && !a.At.Before(last.StallsAt) {
		return false
	}
	return a.CommandID == "" || a.CommandID == last.CommandID
}

// An Announcement is something that time or another step made of an identity
// and that becomes an event, once.
type Announcement struct {
	CertificateSerial string
	Type              EventType // one of the redistribution events, or EventCertificateSuperseded
	At                time.Time
	// Mark tells announcements of one identity apart: what has a mark that is
	// there already is passed over. At most 200 bytes.
	Mark string
	// SupersededBy is the certificate serial of the successor, for events that
	// name one.
	SupersededBy string
}

// Stall selects acknowledged identities by whether the acknowledgement counts.
type Stall string

// The selections.
const (
	StallAny     Stall = ""
	StallPassed  Stall = "passed"  // StallsAt is set and at or before WindowRange.At
	StallWaiting Stall = "waiting" // the others
)

// A WindowRange is identities of one configuration and standing whose notAfter
// lies in (After, Until]; a zero bound is none. Fractions of a second are cut
// off, in bounds and in notAfter (X.509 has whole seconds).
type WindowRange struct {
	ConfigurationID string
	Standing        Standing
	// Lifetime is notAfter − notBefore; 0: any. Of StandingCurrent only.
	Lifetime     time.Duration
	After, Until time.Time
	// Stall and At are for StandingAcknowledged. With a Stall, After must be
	// At and Until zero (ErrInvalid).
	Stall Stall
	At    time.Time
}

// WindowQuery selects items: those in any of the ranges, which must not
// overlap, ordered by notAfter, ties by certificate serial (bytes).
type WindowQuery struct {
	Ranges      []WindowRange
	DeviceKey   string // zero: any
	ProfileUUID string // zero: any; compared without regard to case
	Limit       int    // see PageLimit
	Cursor      string
}

// WindowPastQuery selects items as they were at a time.
type WindowPastQuery struct {
	ConfigurationIDs []string // empty: all
	AsOf             time.Time
	NotAfterFrom     time.Time // zero: none
	DeviceKey        string
	ProfileUUID      string
	// Match is asked last, nil: everything. It must not call the depot.
	Match  func(WindowItem) bool
	Limit  int
	Cursor string
}

// WatermarkKey names a line in the order of notAfter up to which everything of
// a configuration and lifetime was looked at for some purpose.
type WatermarkKey struct {
	ConfigurationID string
	Purpose         string        // "due:days_before:30", "missed", "stalled"
	Lifetime        time.Duration // 0 where it does not matter
}

// A Watermark is where such a line is.
type Watermark struct {
	WatermarkKey
	At time.Time // of notAfter; of StallsAt for the purpose "stalled"
}

// A Recheck is an identity whose announcements may lack something: its
// standing changed, or it came to stand below a watermark. Number changes when it is noted
// again.
type Recheck struct {
	CertificateSerial string
	Number            uint64
}

// Settlement ends a piece of the announcer's work in one step.
type Settlement struct {
	Announcements []Announcement // at most 256
	Rechecked     []Recheck      // that are done, unless they were noted again
	Watermarks    []Watermark    // that are now there
}

// Windows is the part of a Depot that redistribution works with. What it
// returns costs what it returns, however much is stored, but for the *Past
// methods, which walk.
type Windows interface {
	// WindowItem finds one. ErrNotFound; also for one that is held back.
	WindowItem(ctx context.Context, certificateSerial string) (WindowItem, error)
	// WindowItems lists a page. Ranges of any lifetime cost a little for each
	// lifetime that there is, those with a Stall for each acknowledged one,
	// and a DeviceKey for each of the device's. With a ProfileUUID it looks at
	// no more than MaxLook identities: a page can be short, or empty, and go
	// on. ErrCursor, ErrInvalid.
	WindowItems(ctx context.Context, q WindowQuery) (Page[WindowItem], error)
	// WindowCounts counts each range, all at one moment.
	WindowCounts(ctx context.Context, ranges []WindowRange) ([]int, error)
	// WindowLifetimes returns the distinct lifetimes of the configuration's
	// identities of StandingCurrent, rising.
	WindowLifetimes(ctx context.Context, configurationID string) ([]time.Duration, error)
	// WindowItemsPast lists a page of items as they were: without what was
	// issued, acknowledged, undone, superseded or revoked after AsOf (a hold
	// that was lifted since is forgotten), ordered as WindowItems. It looks at
	// no more than MaxLook identities: a page can be short, or empty, and go
	// on.
	WindowItemsPast(ctx context.Context, q WindowPastQuery) (Page[WindowItem], error)
	// WindowItemPast finds one as it was then, in the way of WindowItemsPast.
	// ErrNotFound; also for one that was not issued or not delivered yet.
	WindowItemPast(ctx context.Context, certificateSerial string, asOf time.Time) (WindowItem, error)
	// LatestChange returns the latest time at which, as stored, an identity
	// was issued, revoked, acknowledged or its acknowledgement undone, and a
	// delivery ended: for a time at or after it the past is the present. Zero:
	// nothing yet. Lifting a hold counts too.
	LatestChange(ctx context.Context) (time.Time, error)
	// Places returns the places of these identities, in this order, as of a
	// time (zero: as it is). The zero Place is also that of what is not there.
	Places(ctx context.Context, certificateSerials []string, asOf time.Time) ([]Place, error)

	// Acknowledge stores an acknowledgement, with the event
	// EventRedistributionAcknowledged, unless it repeats one
	// (WindowItem.Repeats): then it changes nothing and made is false.
	// Looked at in this order: ErrInvalid (no time, fractions of a second),
	// ErrNotFound (also held back), ErrRevoked, ErrSuperseded, ErrInvalid
	// (StallsAt is not before notAfter: that would be never), repetition.
	// Whether the window is open is the caller's to know.
	Acknowledge(ctx context.Context, a Acknowledgement) (item WindowItem, made bool, err error)
	// Unacknowledge undoes the acknowledgement in force, with the event
	// EventRedistributionUndone. Without one it changes nothing and made is
	// false. ErrNotFound, ErrRevoked, ErrSuperseded, ErrInvalid (no time).
	Unacknowledge(ctx context.Context, certificateSerial, by string, at time.Time) (item WindowItem, made bool, err error)

	// Settle makes the announcements that were not made before events, in
	// order, each once and each a step of its own, and notes the rest. It
	// returns how many events it made. ErrNotFound (of an identity),
	// ErrInvalid; nothing was changed then. A watermark at the zero time is
	// forgotten. What is current between the old and the new place of a
	// watermark, Purpose "stalled" aside, and has no mark that equals Purpose
	// is noted as a Recheck: it may have come while the caller looked there.
	// So a mark is best called like its purpose.
	Settle(ctx context.Context, s Settlement) (int, error)
	// Rechecks returns up to limit of them (see PageLimit), oldest first.
	Rechecks(ctx context.Context, limit int) ([]Recheck, error)
	// Watermark returns the zero time for one that was never set.
	Watermark(ctx context.Context, key WatermarkKey) (time.Time, error)
	// StallsUntil returns up to limit certificate serials of
	// StandingAcknowledged of the configuration whose StallsAt lies in
	// (after, until], soonest first.
	StallsUntil(ctx context.Context, configurationID string, after, until time.Time, limit int) ([]string, error)
}
