package depottest

import (
	"context"

	"understudy.example/understudy/depot"
)

func (*Memory) AddWebhook(_ context.Context, _ depot.Webhook) (err error) {
	err = errNotBuilt
	return
}

func (*Memory) SetWebhook(_ context.Context, _ depot.Webhook, _ depot.EventType) (err error) {
	err = errNotBuilt
	return
}

func (*Memory) Webhook(_ context.Context, _ string) (r0 depot.Webhook, err error) {
	err = errNotBuilt
	return
}

func (*Memory) Webhooks(_ context.Context) (r0 []depot.Webhook, err error) {
	err = errNotBuilt
	return
}

func (*Memory) NotifiedThrough(_ context.Context, _ string) (r0 uint64, err error) {
	err = errNotBuilt
	return
}

func (*Memory) SaveProgress(_ context.Context, _ depot.Progress) (err error) {
	err = errNotBuilt
	return
}

func (*Memory) Notifications(_ context.Context, _ depot.NotificationQuery) (r0 depot.Page[depot.Notification], err error) {
	err = errNotBuilt
	return
}

func (*Memory) NotificationCounts(_ context.Context, _ string) (r0 int, r1 int, err error) {
	err = errNotBuilt
	return
}
