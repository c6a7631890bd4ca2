package depottest

import (
	"fmt"
	"strings"
	"time"

	"pgregory.net/rapid"
	"understudy.example/understudy/depot"
)

// nameOne gives an issuance names of which there are few, and which begin like
// one another.
func (m *machine) nameOne(t *rapid.T, i *depot.Issuance) {
	key := i.Identity.Device.Key
	i.Identity.Device = depot.DeviceNames{Key: key}
	for kind, name := range map[depot.NameKind]*string{depot.NameDeviceSerial: &i.Identity.Device.DeviceSerial, depot.NameUPN: &i.Identity.Device.UPN} {
		*name = m.drawName(t, string(kind))
	}
}

func (m *machine) drawName(t *rapid.T, what string) string {
	end := rapid.SampledFrom([]string{"", "a", "A", "ab", "abc", "b"}).Draw(t, what)
	if end == "" {
		return ""
	}
	return m.name("name", 0) + end
}

// narrow gives a query more to select by.
func (m *machine) narrow(t *rapid.T, q *depot.IdentityQuery) {
	at := func(what string) time.Time { return m.issuedAt(small(t, what, 600)) }
	if small(t, "by name", 3) == 0 {
		q.NameKind = rapid.SampledFrom([]depot.NameKind{depot.NameDeviceSerial, depot.NameUPN}).Draw(t, "kind")
		q.Name, q.NamePrefix = m.drawName(t, "name"), small(t, "beginning", 2) == 1
		if q.Name == "" {
			q.Name, q.NamePrefix = m.name("name", 0), true
		}
		if small(t, "any configuration", 2) == 0 && q.DeviceKey == "" && q.TransactionID == "" {
			q.ConfigurationID = ""
		}
	}
	if small(t, "issued from", 4) == 0 {
		q.IssuedFrom = at("issued from")
	}
	if small(t, "issued to", 4) == 0 {
		q.IssuedTo = at("issued to")
	}
	if small(t, "as of", 4) == 0 {
		q.AsOf = at("as of")
	}
	if small(t, "match", 4) == 0 {
		digit := fmt.Sprint(small(t, "digit", 10))
		q.Match = func(i depot.Identity, _ depot.Standing) bool { return strings.HasSuffix(i.CertificateSerial, digit) }
	}
	if small(t, "standing", 4) == 0 {
		one := rapid.SampledFrom([]depot.Standing{depot.StandingNone, depot.StandingRevoked, depot.StandingSuperseded,
			depot.StandingAcknowledged, depot.StandingCurrent}).Draw(t, "which standing")
		q.WithStanding, q.Match = true, func(_ depot.Identity, s depot.Standing) bool { return s == one }
	}
}

// issuedAt is when Issuance(n) of this run was issued.
func (m *machine) issuedAt(n int) time.Time {
	return Epoch.Add(time.Duration(m.run*1000+n) * time.Minute)
}

// token adds, finds and removes tokens of few ids, names and hashes.
func (m *machine) token(t *rapid.T) {
	one := Token(small(t, "content", 3))
	one.ID, one.Name = m.name("tk", small(t, "id", 6)), m.name("name", small(t, "name", 3))
	one.SHA256 = hashOf("token of run", m.run*10+small(t, "hash", 6))
	if small(t, "remove", 3) == 0 {
		at := Epoch.Add(time.Duration(small(t, "at", 4)) * time.Hour)
		got, err := m.d.RemoveToken(m.ctx, one.ID, "by", at)
		expected, modelErr := m.model.RemoveToken(m.ctx, one.ID, "by", at)
		m.sameError(t, "RemoveToken", err, modelErr)
		m.same(t, "RemoveToken", got, expected)
	} else {
		m.sameError(t, "AddToken", m.d.AddToken(m.ctx, one), m.model.AddToken(m.ctx, one))
	}
	got, err := m.d.TokenBySHA256(m.ctx, one.SHA256)
	expected, modelErr := m.model.TokenBySHA256(m.ctx, one.SHA256)
	m.sameError(t, "TokenBySHA256", err, modelErr)
	m.same(t, "TokenBySHA256", got, expected)
	all, err := m.d.Tokens(m.ctx)
	m.sameError(t, "Tokens", err, nil)
	theirs, err := m.model.Tokens(m.ctx)
	m.sameError(t, "Tokens", err, nil)
	var ours []depot.Token
	for _, t := range all {
		if m.ofRun(t.ID) {
			ours = append(ours, t)
		}
	}
	m.same(t, "Tokens", ours, theirs)
}

// ofRun says whether an id was given in this run.
func (m *machine) ofRun(id string) bool {
	var what string
	var run, n int
	_, err := fmt.Sscanf(id, "%s %d.%d", &what, &run, &n)
	return err == nil && run == m.run
}

// webhook adds, changes and removes webhooks of few ids.
func (m *machine) webhook(t *rapid.T) {
	w := Webhook(small(t, "content", 3))
	w.ID = m.name("wh", small(t, "id", 3))
	before, err := m.model.Webhook(m.ctx, w.ID)
	if err != nil || small(t, "add", 4) == 0 {
		m.sameError(t, "AddWebhook", m.d.AddWebhook(m.ctx, w), m.model.AddWebhook(m.ctx, w))
	} else {
		cause := rapid.SampledFrom([]depot.EventType{depot.EventWebhookChanged, depot.EventWebhookDisabled, depot.EventWebhookRemoved}).Draw(t, "cause")
		w.Revision = before.Revision + 1 - uint64(small(t, "old revision", 4)/3)
		w.DisabledAt = Epoch
		if cause == depot.EventWebhookRemoved {
			w.RemovedAt = Epoch
		}
		m.sameError(t, "SetWebhook", m.d.SetWebhook(m.ctx, w, cause), m.model.SetWebhook(m.ctx, w, cause))
	}
	got, err := m.d.Webhook(m.ctx, w.ID)
	expected, modelErr := m.model.Webhook(m.ctx, w.ID)
	m.sameError(t, "Webhook", err, modelErr)
	m.same(t, "Webhook", got, expected)
	m.sameProgress(t, w.ID)
}

// since returns the sequences of the events of this run from the one that
// added a webhook on, those of the depot and those of the model.
func (m *machine) since(t *rapid.T, webhookID string) (ours, theirs []uint64) {
	of := func(d depot.Depot) (all []uint64) {
		q := depot.EventQuery{After: m.began}
		if d == m.model {
			q.After = 0
		}
		for range maxPages {
			page, err := d.Events(m.ctx, q)
			m.sameError(t, "Events", err, nil)
			for _, e := range page.Items {
				if len(all) > 0 || e.Type == depot.EventWebhookAdded && e.SubjectID == webhookID {
					all = append(all, e.Sequence)
				}
			}
			if page.NextCursor == "" {
				break
			}
			q.After = page.Items[len(page.Items)-1].Sequence
		}
		return all
	}
	return of(m.d), of(m.model)
}

// progress tells of deliveries, by where events stand among those of the run:
// the depot has others before.
func (m *machine) progress(t *rapid.T) {
	id := m.name("wh", small(t, "id", 3))
	if _, err := m.model.Webhook(m.ctx, id); err != nil {
		return
	}
	ours, theirs := m.since(t, id)
	m.same(t, "events since", len(ours), len(theirs))
	var p, q depot.Progress
	p.WebhookID, q.WebhookID = id, id
	n := small(t, "through", len(ours))
	p.Through, q.Through = ours[n], theirs[n]
	for range small(t, "stored", 3) {
		n, dead := small(t, "event", len(ours)), small(t, "dead", 2) == 1
		one := notification(id, 1, dead)
		one.Attempts = small(t, "attempts", 9)
		one.Event = ours[n]
		p.Store = append(p.Store, one)
		one.Event = theirs[n]
		q.Store = append(q.Store, one)
	}
	for range small(t, "forgotten", 3) {
		n := small(t, "event", len(ours))
		p.Forget, q.Forget = append(p.Forget, ours[n]), append(q.Forget, theirs[n])
	}
	m.sameError(t, "SaveProgress", m.d.SaveProgress(m.ctx, p), m.model.SaveProgress(m.ctx, q))
	m.sameProgress(t, id)
}

// sameProgress compares how far a webhook got and what it still has to get.
func (m *machine) sameProgress(t *rapid.T, id string) {
	got, err := m.d.NotifiedThrough(m.ctx, id)
	expected, modelErr := m.model.NotifiedThrough(m.ctx, id)
	if !m.sameError(t, "NotifiedThrough", err, modelErr) {
		return
	}
	ours, theirs := m.since(t, id)
	place := map[uint64]int{}
	for n := range ours {
		place[ours[n]] = n
	}
	if theirs[place[got]] != expected {
		t.Fatalf("NotifiedThrough is event %d of the run, the model has another", place[got])
	}
	waiting, dead, err := m.d.NotificationCounts(m.ctx, id)
	m.sameError(t, "NotificationCounts", err, nil)
	theirWaiting, theirDead, err := m.model.NotificationCounts(m.ctx, id)
	m.sameError(t, "NotificationCounts", err, nil)
	m.same(t, "NotificationCounts", [2]int{waiting, dead}, [2]int{theirWaiting, theirDead})
	for _, gaveUp := range []bool{false, true} {
		q := depot.NotificationQuery{WebhookID: id, Dead: gaveUp}
		a, err := m.d.Notifications(m.ctx, q)
		m.sameError(t, "Notifications", err, nil)
		b, err := m.model.Notifications(m.ctx, q)
		m.sameError(t, "Notifications", err, nil)
		for n := range a.Items {
			a.Items[n].Event = theirs[place[a.Items[n].Event]]
		}
		m.same(t, "Notifications", a.Items, b.Items)
	}
}
