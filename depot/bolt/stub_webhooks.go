package bolt

import (
	"context"

	"understudy.example/understudy/depot"
)

func (*Depot) AddWebhook(_ context.Context, _ depot.Webhook) (err error) {
	err = errNotBuilt
	return
}

func (*Depot) SetWebhook(_ context.Context, _ depot.Webhook, _ depot.EventType) (err error) {
	err = errNotBuilt
	return
}

func (*Depot) Webhook(_ context.Context, _ string) (r0 depot.Webhook, err error) {
	err = errNotBuilt
	return
}

func (*Depot) Webhooks(_ context.Context) (r0 []depot.Webhook, err error) {
	err = errNotBuilt
	return
}

func (*Depot) NotifiedThrough(_ context.Context, _ string) (r0 uint64, err error) {
	err = errNotBuilt
	return
}

func (*Depot) SaveProgress(_ context.Context, _ depot.Progress) (err error) {
	err = errNotBuilt
	return
}

func (*Depot) Notifications(_ context.Context, _ depot.NotificationQuery) (r0 depot.Page[depot.Notification], err error) {
	err = errNotBuilt
	return
}

func (*Depot) NotificationCounts(_ context.Context, _ string) (r0 int, r1 int, err error) {
	err = errNotBuilt
	return
}
