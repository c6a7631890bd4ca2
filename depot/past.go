package depot

import "time"

// AsOf returns the identity as it was at a time, and whether it was issued by
// then. What came later is undone as far as the record knows: revocation,
// renewal, first use, and that it is void. A hold that was lifted since, and
// that it was held back before it was delivered, the record has forgotten.
func (i Identity) AsOf(at time.Time) (Identity, bool) {
	if i.IssuedAt.After(at) {
		return i, false
	}
	if i.RevokedAt.After(at) {
		if i.Void && i.RevokedBy == UndeliveredBy { // one step made it both
			i.Void, i.HeldBack = false, true
		}
		i.RevokedAt, i.RevocationReason, i.RevokedBy = time.Time{}, "", ""
	}
	if i.SupersededAt.After(at) {
		i.SupersededAt, i.SupersededBy = time.Time{}, ""
	}
	if i.UsedAt.After(at) {
		i.UsedAt = time.Time{}
	}
	return i, true
}

// Show returns the identity as the query shows it, and whether the query asks
// for it, its place in the list and Match aside.
func (q IdentityQuery) Show(i Identity) (Identity, bool) {
	if !q.AsOf.IsZero() {
		was, issued := i.AsOf(q.AsOf)
		if !issued {
			return was, false
		}
		i = was
	}
	return i, q.Selects(i)
}
