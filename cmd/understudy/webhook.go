package main

import (
	"fmt"
	"net/url"
	"strings"

	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/output"
)

// webhookCmd groups the verbs on webhooks.
type webhookCmd struct {
	Add          webhookAddCmd          `cmd:"" help:"Tell a URL of events from now on."`
	List         webhookListCmd         `cmd:"" help:"List webhooks."`
	Show         webhookShowCmd         `cmd:"" help:"Show one webhook."`
	Rm           webhookRmCmd           `cmd:"" help:"Remove a webhook with what it still had to get."`
	Test         webhookTestCmd         `cmd:"" help:"Send a trial event now and say what the receiver answered."`
	RotateSecret webhookRotateSecretCmd `cmd:"" name:"rotate-secret" help:"Give a webhook a new signing secret; the old one signs no more."`
	Enable       webhookEnableCmd       `cmd:"" help:"Let a webhook work again that was disabled."`
	Deliveries   webhookDeliveriesCmd   `cmd:"" help:"List events that a webhook did not get at once."`
	Redeliver    webhookRedeliverCmd    `cmd:"" help:"Try again what was given up."`
}

// webhookID names a webhook.
type webhookID struct {
	clientFlags `embed:""`
	ID          string `arg:"" name:"webhook" help:"Id of the webhook (wh_…); see \"webhook list\"."`
}

func (w webhookID) path(more ...string) string {
	return "/api/v1/webhooks/" + url.PathEscape(w.ID) + strings.Join(more, "")
}

// printWebhook shows one webhook, with its secret when the answer has one.
func (a *app) printWebhook(w api.Webhook) error {
	configuration := "all"
	if w.Configuration != nil {
		configuration = w.Configuration.Name
	}
	err := output.Facts(a.stdout,
		"id", w.ID,
		"URL", w.URL,
		"secret", w.Secret,
		"events", eventTypes(w),
		"configuration", configuration,
		"created at", output.Time(w.CreatedAt),
		"created by", w.CreatedBy,
		"disabled at", optionalTime(w.DisabledAt),
		"disabled because", w.DisabledWhy,
		"events up to", w.Through,
		"waiting", fmt.Sprint(w.Waiting),
		"given up", fmt.Sprint(w.Dead),
	)
	if err == nil && w.Secret != "" {
		a.note("The secret is shown only now. \"understudy webhook rotate-secret %s\" makes a new one.", w.ID)
	}
	return err
}

// eventTypes are the events that a webhook is told of.
func eventTypes(w api.Webhook) string {
	if len(w.Types) == 0 {
		return "all"
	}
	return strings.Join(w.Types, ", ")
}
