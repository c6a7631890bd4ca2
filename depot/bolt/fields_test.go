package bolt

import (
	"testing"

	"understudy.example/understudy/depot"
)

// Records are read with one pass over the list, so its tags must rise; and a
// name that is there twice would lose a field in the ledger.
func TestFieldLists(t *testing.T) {
	var identity depot.Identity
	var request depot.Request
	for record, fields := range map[string][]field{
		"identity":        append(identityFields(&identity), certificateField(&identity)),
		"transaction":     transactionFields(new(depot.Transaction)),
		"device":          deviceFields(new(depot.Device)),
		"configuration":   configurationFields(new(depot.Configuration)),
		"authority":       authorityFields(new(depot.AuthorityGeneration)),
		"event":           eventFields(new(depot.Event)),
		"request":         requestFields(&request),
		"decision":        decisionFields(new(depot.Decision)),
		"revocation":      revocationFields(new(depot.Revocation)),
		"revoked":         revokedFields(new(depot.RevokedCertificate)),
		"use":             useFields(new(use)),
		"CRL number":      crlNumberFields(new(crlNumber)),
		"device list":     deviceListFields(new(deviceList)),
		"challenge":       challengeFields(new(depot.Challenge)),
		"withdrawal":      withdrawalFields(new(withdrawal)),
		"held back":       heldBackFields(new(heldBack)),
		"delivery":        deliveryFields(new(delivery)),
		"Intune":          intuneFields(new(depot.IntuneSettings)),
		"history":         historyFields(new(history)),
		"acknowledgement": acknowledgementFields(new(depot.Acknowledgement)),
		"undoing":         undoingFields(new(undoing)),
		"announcement":    announcementFields(new(depot.Announcement)),
		"listed device":   listedDeviceFields(new(depot.ListedDevice)),
		"token":           tokenFields(new(depot.Token)),
		"webhook":         webhookFields(new(depot.Webhook)),
		"notification":    notificationFields(new(depot.Notification)),
		"reached":         reachedFields(new(reached)),
		"noted":           notedFields(new(noted)),
		"lab clock":       labClockFields(new(depot.LabClock)),
		"rejections":      rejectionsFields(new(depot.Rejections)),
		"seeding":         seedingFields(new(depot.Seeding)),
	} {
		names, last := map[string]bool{}, uint64(0)
		for _, f := range fields {
			if f.tag <= last || f.tag >= tagSequence {
				t.Errorf("%s: tag %d of %s after %d", record, f.tag, f.name, last)
			}
			if names[f.name] {
				t.Errorf("%s: name %s is used twice", record, f.name)
			}
			names[f.name], last = true, f.tag
		}
	}
}
