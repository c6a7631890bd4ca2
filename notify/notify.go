// Package notify tells others what happened: it takes the events of a depot to
// webhooks, signed, at least once each, and it sums up what happens too often
// to be an event each time.
//
// The depot's log of events is the outbox. A webhook has a place in it, and
// what could not be delivered at the first attempt waits beside it; so nothing
// is lost whenever the process ends. The package must not know what an event
// looks like on the wire (see Options.Render) nor how the API is spoken, and
// it sends nothing to a place that the operator did not allow (see Targets).
package notify

import (
	"fmt"

	"understudy.example/understudy/depot"
)

// Types returns every type of event that a webhook may ask for: all that a
// depot knows, in a fixed order.
func Types() []depot.EventType {
	return []depot.EventType{
		depot.EventCertificateIssued, depot.EventCertificateSuperseded, depot.EventCertificateRevoked, depot.EventCertificateReleased,
		depot.EventCertificateUsed, depot.EventCertificateDelivered, depot.EventCertificateVoid,
		depot.EventRedistributionDue, depot.EventRedistributionAcknowledged, depot.EventRedistributionUndone,
		depot.EventRedistributionStalled, depot.EventRedistributionFulfilled, depot.EventRedistributionMissed,
		depot.EventChallengeIssued, depot.EventChallengeWithdrawn, depot.EventChallengeRejected,
		depot.EventRequestPending, depot.EventRequestApproved, depot.EventRequestDenied,
		depot.EventConfigurationAdded, depot.EventConfigurationChanged, depot.EventConfigurationRemoved, depot.EventSecretReset,
		depot.EventDevicesListed, depot.EventDevicesUnlisted,
		depot.EventTokenAdded, depot.EventTokenRemoved,
		depot.EventWebhookAdded, depot.EventWebhookChanged, depot.EventWebhookDisabled, depot.EventWebhookRemoved,
		depot.EventClockMoved, depot.EventSeeded,
	}
}

// OktaEventType returns the event type by which Okta's system log would call
// such an event, and "" where it has none that is known. The names are those
// that tools which read that log list (Elastic's integration, the detection
// wiki); that they mean the same is likely, not documented.
func OktaEventType(t depot.EventType) string {
	switch t {
	case depot.EventCertificateIssued:
		return "pki.cert.issue"
	case depot.EventCertificateRevoked:
		return "pki.cert.lifecycle.revoke"
	case depot.EventCertificateReleased:
		return "pki.cert.lifecycle.activate"
	case depot.EventCertificateUsed:
		return "pki.cert.bind"
	}
	return ""
}

// EventID returns the id of an event as the API writes it: ids sort as events
// happened.
func EventID(sequence uint64) string { return fmt.Sprintf("ev_%016x", sequence) }
