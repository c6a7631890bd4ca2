package redistribution

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"understudy.example/understudy/depot"
)

// A Step is one thing that happened to an item.
type Step struct {
	At           time.Time
	Type         depot.EventType
	By           string // who did it, of acknowledgements and revocations
	CommandID    string // of acknowledgements
	Reason       string // of revocations
	SupersededBy string // certificate serial of the successor
}

// History returns what happened to an item up to its time, oldest first: as
// the depot keeps it of each item, and so without acknowledgements beyond the
// last depot.MaxAcknowledgements and without successors that were revoked
// since.
func History(item Item) []Step {
	h := history{item: item}
	id := item.Identity
	h.add(Step{At: id.IssuedAt, Type: depot.EventCertificateIssued})
	for _, a := range item.Acknowledgements {
		h.add(Step{At: a.At, Type: depot.EventRedistributionAcknowledged, By: a.By, CommandID: a.CommandID})
		if !a.UndoneAt.IsZero() {
			h.add(Step{At: a.UndoneAt, Type: depot.EventRedistributionUndone, By: a.UndoneBy, CommandID: a.CommandID})
		}
	}
	for _, kind := range []string{markDue, markStalled, markMissed, markSuperseded, markFulfilled} { // in this order when at once
		for _, mark := range item.Announced {
			if rest, ok := strings.CutPrefix(mark, kind); ok {
				h.announced(kind, rest)
			}
		}
	}
	for _, a := range Missing(item.WindowItem, item.Policy, item.At) {
		h.add(Step{At: a.At, Type: a.Type, SupersededBy: a.SupersededBy})
	}
	if !id.RevokedAt.IsZero() {
		h.add(Step{At: id.RevokedAt, Type: depot.EventCertificateRevoked, By: id.RevokedBy, Reason: id.RevocationReason})
	}
	slices.SortStableFunc(h.steps, func(a, b Step) int { return a.At.Compare(b.At) })
	return h.steps
}

type history struct {
	item  Item
	steps []Step
}

func (h *history) add(s Step) {
	if !s.At.After(h.item.At) {
		h.steps = append(h.steps, s)
	}
}

// announced adds what a mark says, by its kind and what follows that.
func (h *history) announced(kind, rest string) {
	switch kind {
	case markDue:
		h.due(rest)
	case markStalled:
		h.stalled(rest)
	case markMissed:
		h.add(Step{At: h.item.Closes, Type: depot.EventRedistributionMissed})
	case markSuperseded:
		h.succeeded(depot.EventCertificateSuperseded, rest)
	case markFulfilled:
		h.succeeded(depot.EventRedistributionFulfilled, rest)
	}
}

// due: by a policy that need not be today's.
func (h *history) due(policy string) {
	p, err := parsePolicy(policy)
	if err != nil {
		return // of a version to come
	}
	at, _ := p.Window(h.item.Identity.NotBefore, h.item.Identity.NotAfter)
	if issued := h.item.Identity.IssuedAt; issued.After(at) {
		at = issued
	}
	h.add(Step{At: at, Type: depot.EventRedistributionDue})
}

func (h *history) stalled(attempt string) {
	acks := h.item.Acknowledgements
	n, err := strconv.Atoi(attempt)
	i := n - 1 - (h.item.Attempts - len(acks))
	if err == nil && i >= 0 && i < len(acks) {
		h.add(Step{At: acks[i].StallsAt, Type: depot.EventRedistributionStalled})
	}
}

func (h *history) succeeded(t depot.EventType, by string) {
	if by == h.item.SupersededBy {
		h.add(Step{At: h.item.SupersededAt, Type: t, SupersededBy: by})
	}
}
