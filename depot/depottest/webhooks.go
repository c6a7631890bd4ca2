package depottest

import (
	"fmt"
	"time"

	"understudy.example/understudy/depot"
)

// Webhook returns a complete webhook that works, different for each n.
func Webhook(n int) depot.Webhook {
	var w depot.Webhook
	Fill(&w, 50_000+n)
	w.ID, w.Revision = fmt.Sprintf("wh_%d", n), 1
	w.DisabledAt, w.DisabledWhy, w.RemovedAt = time.Time{}, "", time.Time{}
	return w
}

func notification(webhookID string, event uint64, dead bool) depot.Notification {
	var n depot.Notification
	Fill(&n, 60_000+int(event))
	n.WebhookID, n.Event, n.Dead = webhookID, event, dead
	if dead {
		n.NextAt = time.Time{}
	}
	return n
}

func (s *suite) addWebhook(w depot.Webhook) {
	s.Helper()
	s.wantError("AddWebhook", s.d.AddWebhook(s.ctx, w), nil)
}

// webhooksAre asserts which webhooks live.
func (s *suite) webhooksAre(want ...depot.Webhook) {
	s.Helper()
	var all []depot.Webhook
	for _, w := range want {
		w = storedWebhook(w)
		all = append(all, w)
		got, err := s.d.Webhook(s.ctx, w.ID)
		s.wantError("Webhook", err, nil)
		s.equal("Webhook", got, w)
	}
	got, err := s.d.Webhooks(s.ctx)
	s.wantError("Webhooks", err, nil)
	s.equal("Webhooks", got, all)
}

// gone asserts that nothing is left of a webhook.
func (s *suite) gone(id string) {
	s.Helper()
	_, err := s.d.Webhook(s.ctx, id)
	s.wantError("Webhook", err, depot.ErrNotFound)
	_, err = s.d.NotifiedThrough(s.ctx, id)
	s.wantError("NotifiedThrough", err, depot.ErrNotFound)
	_, _, err = s.d.NotificationCounts(s.ctx, id)
	s.wantError("NotificationCounts", err, depot.ErrNotFound)
	s.wantError("SaveProgress", s.d.SaveProgress(s.ctx, depot.Progress{WebhookID: id}), depot.ErrNotFound)
	s.wantError("SaveProgress", s.d.SaveProgress(s.ctx, depot.Progress{WebhookID: id, Forget: []uint64{1}}), depot.ErrNotFound)
	s.equal("waiting", s.notifications(id, false), []uint64(nil))
	s.equal("given up", s.notifications(id, true), []uint64(nil))
}

func (s *suite) webhooks() {
	s.webhooksAre()
	s.gone("wh_1")
	given := Webhook(2)
	s.addWebhook(given)
	given.Types[0] = "x" // the caller's
	s.addWebhook(Webhook(1))
	every := Webhook(10)
	every.Types, every.ConfigurationID = nil, ""
	s.addWebhook(every)
	changed := Webhook(1)
	changed.Revision, changed.URL, changed.ChangedBy = 2, "https://elsewhere.example/", "operator"
	s.wantError("SetWebhook", s.d.SetWebhook(s.ctx, changed, depot.EventWebhookChanged), nil)
	changed.Revision, changed.DisabledAt, changed.DisabledWhy = 3, Epoch.Add(time.Hour).Local(), "gone"
	s.wantError("SetWebhook", s.d.SetWebhook(s.ctx, changed, depot.EventWebhookDisabled), nil)
	for range 2 {
		s.webhooksAre(changed, every, Webhook(2))
		s.d = s.reopen()
	}
	s.wantError("SaveProgress", s.d.SaveProgress(s.ctx, depot.Progress{WebhookID: "wh_2",
		Store: []depot.Notification{notification("wh_2", 1, false), notification("wh_2", 2, true)}}), nil)
	removed := Webhook(2)
	removed.Revision, removed.RemovedAt = 2, Epoch.Add(2*time.Hour).Local()
	s.wantError("SetWebhook", s.d.SetWebhook(s.ctx, removed, depot.EventWebhookRemoved), nil)
	for range 2 {
		s.webhooksAre(changed, every)
		s.gone("wh_2")
		s.d = s.reopen()
	}
	s.wantError("an id comes once", s.d.AddWebhook(s.ctx, Webhook(2)), depot.ErrExists)
	first := Webhook(2)
	s.equal("events", s.lastEvents(6), []depot.Event{
		{Type: depot.EventWebhookAdded, At: utc(first.CreatedAt), By: first.CreatedBy, SubjectID: "wh_2"},
		{Type: depot.EventWebhookAdded, At: utc(changed.CreatedAt), By: changed.CreatedBy, SubjectID: "wh_1"},
		{Type: depot.EventWebhookAdded, At: utc(every.CreatedAt), By: every.CreatedBy, SubjectID: "wh_10"},
		{Type: depot.EventWebhookChanged, At: utc(changed.ChangedAt), By: "operator", SubjectID: "wh_1"},
		{Type: depot.EventWebhookDisabled, At: utc(changed.DisabledAt), By: "operator", SubjectID: "wh_1", Reason: "gone"},
		{Type: depot.EventWebhookRemoved, At: utc(removed.RemovedAt), By: removed.ChangedBy, SubjectID: "wh_2"},
	})
}

func (s *suite) webhooksRefused() {
	s.addWebhook(Webhook(1))
	for name, spoil := range map[string]func(*depot.Webhook){
		"no id":         func(w *depot.Webhook) { w.ID = "" },
		"a zero byte":   func(w *depot.Webhook) { w.ID = "wh_\x00" },
		"no URL":        func(w *depot.Webhook) { w.URL = "" },
		"no time":       func(w *depot.Webhook) { w.CreatedAt = time.Time{} },
		"removed":       func(w *depot.Webhook) { w.RemovedAt = Epoch },
		"revision zero": func(w *depot.Webhook) { w.Revision = 0 },
		"revision two":  func(w *depot.Webhook) { w.Revision = 2 },
	} {
		w := Webhook(3)
		spoil(&w)
		s.wantError(name, s.d.AddWebhook(s.ctx, w), depot.ErrInvalid)
	}
	s.wantError("taken", s.d.AddWebhook(s.ctx, Webhook(1)), depot.ErrExists)
	for name, test := range map[string]struct {
		cause depot.EventType
		spoil func(*depot.Webhook)
		want  error
	}{
		"another":             {depot.EventWebhookChanged, func(w *depot.Webhook) { w.ID = "wh_3" }, depot.ErrNotFound},
		"same revision":       {depot.EventWebhookChanged, func(w *depot.Webhook) { w.Revision = 1 }, depot.ErrTransactionConflict},
		"later revision":      {depot.EventWebhookChanged, func(w *depot.Webhook) { w.Revision = 3 }, depot.ErrTransactionConflict},
		"no cause":            {"", func(*depot.Webhook) {}, depot.ErrInvalid},
		"added":               {depot.EventWebhookAdded, func(*depot.Webhook) {}, depot.ErrInvalid},
		"no time of change":   {depot.EventWebhookChanged, func(w *depot.Webhook) { w.ChangedAt = time.Time{} }, depot.ErrInvalid},
		"no time of the end":  {depot.EventWebhookDisabled, func(*depot.Webhook) {}, depot.ErrInvalid},
		"not removed":         {depot.EventWebhookRemoved, func(*depot.Webhook) {}, depot.ErrInvalid},
		"removed, as changed": {depot.EventWebhookChanged, func(w *depot.Webhook) { w.RemovedAt = Epoch }, depot.ErrInvalid},
		"no URL":              {depot.EventWebhookChanged, func(w *depot.Webhook) { w.URL = "" }, depot.ErrInvalid},
	} {
		w := Webhook(1)
		w.Revision = 2
		test.spoil(&w)
		s.wantError(name, s.d.SetWebhook(s.ctx, w, test.cause), test.want)
	}
	s.webhooksAre(Webhook(1))
	s.equal("events", len(s.happened(0)), 1)
	s.gone("wh_3")
	s.gone("")

	end := Webhook(1)
	end.Revision, end.RemovedAt = 2, Epoch
	s.wantError("remove", s.d.SetWebhook(s.ctx, end, depot.EventWebhookRemoved), nil)
	end.Revision = 3
	s.wantError("remove again", s.d.SetWebhook(s.ctx, end, depot.EventWebhookRemoved), depot.ErrNotFound)
	end.RemovedAt = time.Time{}
	s.wantError("change what is removed", s.d.SetWebhook(s.ctx, end, depot.EventWebhookChanged), depot.ErrNotFound)
	s.webhooksAre()
}

// notifications lists the events of all pages.
func (s *suite) notifications(webhookID string, dead bool) (events []uint64) {
	s.Helper()
	q := depot.NotificationQuery{WebhookID: webhookID, Dead: dead, Limit: 2}
	for range maxPages {
		page, err := s.d.Notifications(s.ctx, q)
		s.wantError("Notifications", err, nil)
		for _, n := range page.Items {
			events = append(events, n.Event)
		}
		if q.Cursor = page.NextCursor; q.Cursor == "" {
			return events
		}
	}
	s.Fatalf("Notifications(%+v) does not end", q)
	return nil
}

func (s *suite) through(webhookID string, want uint64) {
	s.Helper()
	got, err := s.d.NotifiedThrough(s.ctx, webhookID)
	s.wantError("NotifiedThrough", err, nil)
	s.equal("NotifiedThrough", got, want)
}

func (s *suite) save(p depot.Progress) {
	s.Helper()
	s.wantError("SaveProgress", s.d.SaveProgress(s.ctx, p), nil)
}

func (s *suite) progress() {
	s.commit(Issuance(0))
	s.addWebhook(Webhook(1))
	s.addWebhook(Webhook(2))
	added := s.lastEvents(2)
	all := s.happened(0)
	begin, last := all[1].Sequence, all[2].Sequence
	s.equal("events", added[0].SubjectID, "wh_1")
	s.through("wh_1", begin)
	s.through("wh_2", last)
	for n := range 5 {
		s.commit(Issuance(n + 1))
	}
	events := s.happened(0)
	at := func(n int) uint64 { return events[n].Sequence }
	s.save(depot.Progress{WebhookID: "wh_1", Through: at(4)})
	s.through("wh_1", at(4))
	s.save(depot.Progress{WebhookID: "wh_1", Through: at(3)}) // lower: as stored
	for range 2 {
		s.through("wh_1", at(4))
		s.through("wh_2", last)
		s.d = s.reopen()
	}
	p := depot.Progress{WebhookID: "wh_1", Through: at(7)}
	for n := 3; n < 8; n++ {
		p.Store = append(p.Store, notification("wh_1", at(n), n == 5))
	}
	s.save(p)
	kept := notification("wh_1", at(3), false)
	p.Store[0].LastError = "the caller's"
	s.save(depot.Progress{WebhookID: "wh_2", Store: []depot.Notification{notification("wh_2", at(4), false)}})
	for range 2 {
		s.through("wh_1", at(7))
		s.equal("waiting", s.notifications("wh_1", false), []uint64{at(3), at(4), at(6), at(7)})
		s.equal("given up", s.notifications("wh_1", true), []uint64{at(5)})
		s.counts("wh_1", 4, 1)
		s.counts("wh_2", 1, 0)
		page, err := s.d.Notifications(s.ctx, depot.NotificationQuery{WebhookID: "wh_1"})
		s.wantError("Notifications", err, nil)
		kept.NextAt, kept.LastAt = utc(kept.NextAt), utc(kept.LastAt)
		s.equal("Notification", page.Items[0], kept)
		s.d = s.reopen()
	}
	s.save(depot.Progress{WebhookID: "wh_1", Through: at(1), Forget: []uint64{at(4), at(5), at(1)},
		Store: []depot.Notification{notification("wh_1", at(3), true), notification("wh_1", at(6), false)}})
	s.through("wh_1", at(7))
	s.equal("waiting", s.notifications("wh_1", false), []uint64{at(6), at(7)})
	s.equal("given up", s.notifications("wh_1", true), []uint64{at(3)})
	s.counts("wh_1", 2, 1)
	s.save(depot.Progress{WebhookID: "wh_1", Store: []depot.Notification{notification("wh_1", at(3), false)}}) // tried again
	s.equal("waiting", s.notifications("wh_1", false), []uint64{at(3), at(6), at(7)})
	s.counts("wh_1", 3, 0)
	s.equal("of another", s.notifications("wh_2", false), []uint64{at(4)})
	s.equal("events", len(s.happened(0)), len(events))
}

func (s *suite) counts(webhookID string, wantWaiting, wantDead int) {
	s.Helper()
	waiting, dead, err := s.d.NotificationCounts(s.ctx, webhookID)
	s.wantError("NotificationCounts", err, nil)
	s.equal("NotificationCounts", [2]int{waiting, dead}, [2]int{wantWaiting, wantDead})
}

func (s *suite) progressRefused() {
	s.addWebhook(Webhook(1))
	s.addWebhook(Webhook(2))
	s.commit(Issuance(1))
	events := s.happened(0)
	begin, last := events[0].Sequence, events[2].Sequence
	one := notification("wh_1", last, false)
	for name, p := range map[string]depot.Progress{
		"ahead":                {Through: last + 1},
		"ahead with others":    {Through: last + 1, Forget: []uint64{last}},
		"ahead in the store":   {Store: []depot.Notification{notification("wh_1", last+1, false)}},
		"another's":            {Store: []depot.Notification{notification("wh_2", last, false)}},
		"of no event":          {Store: []depot.Notification{notification("wh_1", 0, false)}},
		"twice":                {Store: []depot.Notification{one, one}},
		"stored and forgotten": {Store: []depot.Notification{one}, Forget: []uint64{last}},
	} {
		p.WebhookID = "wh_1"
		s.wantError(name, s.d.SaveProgress(s.ctx, p), depot.ErrInvalid)
	}
	s.through("wh_1", begin)
	s.counts("wh_1", 0, 0)
	s.save(depot.Progress{WebhookID: "wh_1", Store: []depot.Notification{one, notification("wh_1", begin, false)}})
	page, err := s.d.Notifications(s.ctx, depot.NotificationQuery{WebhookID: "wh_1", Limit: 1})
	s.wantError("Notifications", err, nil)
	for _, q := range []depot.NotificationQuery{{WebhookID: "wh_1", Dead: true}, {WebhookID: "wh_2"}} {
		if page.NextCursor != "" {
			s.save(depot.Progress{WebhookID: "wh_2", Store: []depot.Notification{notification("wh_2", last, false)}})
		}
		q.Cursor = page.NextCursor
		_, err := s.d.Notifications(s.ctx, q)
		s.wantError(fmt.Sprintf("Notifications(%+v)", q), err, depot.ErrCursor)
	}
	for _, c := range []string{"x", flip(page.NextCursor), page.NextCursor + "A"} {
		_, err := s.d.Notifications(s.ctx, depot.NotificationQuery{WebhookID: "wh_1", Cursor: c})
		s.wantError("Notifications", err, depot.ErrCursor)
	}
}

// progressRace: progress of many at once, and of one from many sides.
func (s *suite) progressRace() {
	s.addWebhook(Webhook(1))
	for n := range racers {
		s.commit(Issuance(n))
	}
	events := s.happened(0)
	s.compete(nil, func(r int) error {
		p := depot.Progress{WebhookID: "wh_1", Through: events[r+1].Sequence}
		if r%2 == 0 {
			p.Store = []depot.Notification{notification("wh_1", events[r+1].Sequence, false)}
		}
		return s.d.SaveProgress(s.ctx, p)
	})
	for range 2 {
		s.through("wh_1", events[racers].Sequence)
		s.counts("wh_1", racers/2, 0)
		s.d = s.reopen()
	}
}
