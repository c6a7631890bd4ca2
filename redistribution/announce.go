package redistribution

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"understudy.example/understudy/depot"
)

// Marks of announcements; what follows a colon tells those of one kind apart.
const (
	markDue        = "due:"     // and the policy
	markStalled    = "stalled:" // and the number of the attempt
	markMissed     = "missed"
	markSuperseded = "superseded:" // and the successor's certificate serial
	markFulfilled  = "fulfilled:"  // the same
)

// Missing returns what became of an item by now and was not announced, in the
// order in which it happened. It looks at nothing but its arguments, and what
// it returns stays missing until the item has its marks: however late, in
// whatever order and however often it is asked, each thing is announced once.
func Missing(item depot.WindowItem, p Policy, now time.Time) []depot.Announcement {
	if item.Standing == depot.StandingNone || item.Identity.Void {
		return nil
	}
	h := happenings{item: item, policy: p, now: now}
	h.opens, h.closes = p.Window(item.Identity.NotBefore, item.Identity.NotAfter)
	h.due()
	h.stalls()
	h.missed()
	h.succeeded()
	slices.SortStableFunc(h.list, func(a, b depot.Announcement) int { return a.At.Compare(b.At) })
	return h.list
}

// happenings collects what was not announced of one item.
type happenings struct {
	item          depot.WindowItem
	policy        Policy
	now           time.Time
	opens, closes time.Time
	list          []depot.Announcement
}

func (h *happenings) add(t depot.EventType, at time.Time, mark, successor string) {
	if !h.announced(mark) {
		h.list = append(h.list, depot.Announcement{
			CertificateSerial: h.item.Identity.CertificateSerial, Type: t, At: at, Mark: mark, SupersededBy: successor,
		})
	}
}

func (h *happenings) announced(mark string) bool { return slices.Contains(h.item.Announced, mark) }

// stood says whether the item was its device's current one, not revoked, at a
// time: nothing that ended this came at or before it.
func (h *happenings) stood(at time.Time) bool {
	revoked := h.item.Identity.RevokedAt
	if !revoked.IsZero() && !at.Before(revoked) {
		return false
	}
	return h.item.SupersededBy == "" || at.Before(h.item.SupersededAt)
}

// settled says whether nobody needs to be asked to push the item any more.
func (h *happenings) settled() bool {
	return h.item.Standing != depot.StandingCurrent || !h.now.Before(h.closes)
}

// due: the window opened. What was announced by another policy, or as missed,
// is not announced by this one when it is settled: that would be news of the
// policy, not of the device.
func (h *happenings) due() {
	if h.now.Before(h.opens) || !h.opens.Before(h.closes) || !h.stood(h.opens) {
		return
	}
	if h.item.Standing != depot.StandingCurrent && h.acknowledged(h.opens) {
		return // by an earlier policy: there is nothing left to ask for
	}
	told := h.announced(markMissed) || slices.ContainsFunc(h.item.Announced, func(mark string) bool {
		return strings.HasPrefix(mark, markDue)
	})
	if told && h.settled() {
		return
	}
	at := h.opens
	if issued := h.item.Identity.IssuedAt; issued.After(at) {
		at = issued
	}
	h.add(depot.EventRedistributionDue, at, markDue+h.policy.String(), "")
}

// acknowledged says whether an acknowledgement was in force before a time and
// still was at it.
func (h *happenings) acknowledged(at time.Time) bool {
	return slices.ContainsFunc(h.item.Acknowledgements, func(a depot.Acknowledgement) bool {
		return a.At.Before(at) && (a.UndoneAt.IsZero() || a.UndoneAt.After(at))
	})
}

// stalls: acknowledgements that nothing came of, and that neither another one
// nor taking them back ended before.
func (h *happenings) stalls() {
	acks := h.item.Acknowledgements
	first := h.item.Attempts - len(acks) + 1
	for i, a := range acks {
		at := a.StallsAt
		replaced := i+1 < len(acks) && acks[i+1].At.Before(at)
		undone := !a.UndoneAt.IsZero() && !a.UndoneAt.After(at)
		if at.IsZero() || at.After(h.now) || !at.Before(h.closes) || replaced || undone || !h.stood(at) {
			continue
		}
		h.add(depot.EventRedistributionStalled, at, stalledMark(first+i), "")
	}
}

func stalledMark(attempt int) string { return fmt.Sprintf("%s%d", markStalled, attempt) }

// missed: the window closed, and the device had nothing newer.
func (h *happenings) missed() {
	if !h.now.Before(h.closes) && h.stood(h.closes) {
		h.add(depot.EventRedistributionMissed, h.closes, markMissed, "")
	}
}

// succeeded: the device has a newer one. It did as it was asked to when that
// came within the window or while an acknowledgement was in force.
func (h *happenings) succeeded() {
	by, at := h.item.SupersededBy, h.item.SupersededAt
	revoked := h.item.Identity.RevokedAt
	if by == "" || !revoked.IsZero() && !revoked.After(at) {
		return
	}
	h.add(depot.EventCertificateSuperseded, at, markSuperseded+by, by)
	_, acknowledged := h.item.InForce()
	if acknowledged || !at.Before(h.opens) && at.Before(h.closes) {
		h.add(depot.EventRedistributionFulfilled, at, markFulfilled+by, by)
	}
}
