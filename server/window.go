package server

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"understudy.example/understudy/inspect"
	"understudy.example/understudy/redistribution"
)

// itemJSON is an item of the redistribution window in the API.
type itemJSON struct {
	ID               string              `json:"id"`
	Configuration    configurationName   `json:"configuration"`
	Certificate      itemCertificateJSON `json:"certificate"`
	Device           itemDeviceJSON      `json:"device"`
	Window           windowJSON          `json:"window"`
	SecondsLeft      int64               `json:"seconds_left"`
	State            string              `json:"state"`
	Attempts         int                 `json:"attempts"`
	LastAck          *ackJSON            `json:"last_ack"` // that is in force
	SupersededBy     *string             `json:"superseded_by"`
	RevocationReason *string             `json:"revocation_reason"`
}

// itemCertificateJSON is the certificate of an item. Serial is the same as
// CertificateSerial, for readers who expect that name.
type itemCertificateJSON struct {
	Serial            string `json:"serial"`
	CertificateSerial string `json:"certificate_serial"`
	SHA256            string `json:"sha256"`
	Subject           string `json:"subject"`
	NotBefore         string `json:"not_before"`
	NotAfter          string `json:"not_after"`
}

// itemDeviceJSON is the device of an item. Serial is the same as DeviceSerial,
// for readers who expect that name.
type itemDeviceJSON struct {
	Key          string  `json:"key"`
	Serial       *string `json:"serial"`
	DeviceSerial *string `json:"device_serial"`
	UDID         *string `json:"udid"`
	ProfileUUID  *string `json:"profile_uuid"`
	UPN          *string `json:"upn"`
}

// windowJSON is when somebody should push.
type windowJSON struct {
	OpensAt  string `json:"opens_at"`
	ClosesAt string `json:"closes_at"`
}

// ackJSON is an acknowledgement.
type ackJSON struct {
	At          string  `json:"at"`
	By          string  `json:"by"`
	CommandID   *string `json:"command_id"`
	RequestedBy *string `json:"requested_by"`
	RequestedAt *string `json:"requested_at"`
	StallsAt    *string `json:"stalls_at"`
}

// wholeItemJSON is one item with what happened to it.
type wholeItemJSON struct {
	itemJSON
	History []stepJSON `json:"history"`
}

// stepJSON is something that happened to an item.
type stepJSON struct {
	At           string  `json:"at"`
	Type         string  `json:"type"` // as of events
	By           *string `json:"by"`
	CommandID    *string `json:"command_id"`
	Reason       *string `json:"reason"`
	SupersededBy *string `json:"superseded_by"`
}

// windowListJSON is a page of items.
type windowListJSON struct {
	AsOf       string            `json:"as_of"`
	Policy     *windowPolicyJSON `json:"policy"` // null when several configurations differ
	Items      []itemJSON        `json:"items"`
	NextCursor *string           `json:"next_cursor"`
	Counts     map[string]int    `json:"counts"` // by state; null on later pages
}

// windowPolicyJSON says when windows open.
type windowPolicyJSON struct {
	Kind   string `json:"kind"`
	Value  int    `json:"value"`
	Strict bool   `json:"strict"`
}

// writeWindow answers with a page, or says that nothing has changed since the
// caller last asked: nothing but the time.
func (s *Server) writeWindow(w http.ResponseWriter, r *http.Request, page redistribution.Page) error {
	out := windowListJSON{AsOf: timeText(page.AsOf), Items: make([]itemJSON, 0, len(page.Items)), NextCursor: orNull(page.NextCursor)}
	if p := page.Policy; p != nil {
		out.Policy = &windowPolicyJSON{string(p.Kind), p.Value, p.Strict}
	}
	if page.Counts != nil {
		out.Counts = countsToJSON(page.Counts)
	}
	for _, item := range page.Items {
		out.Items = append(out.Items, itemToJSON(item))
	}
	tag, err := windowTag(out)
	if err != nil {
		return err
	}
	w.Header().Set("ETag", tag)
	w.Header().Set("Cache-Control", "private, no-cache")
	w.Header().Set("Vary", "Authorization")
	if hasTag(r, tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	return writeJSON(w, http.StatusOK, out)
}

// windowTag is the entity tag of a page. What the passing of time alone
// changes is not in it: it is a weak one (RFC 9110 section 8.8.1).
func windowTag(page windowListJSON) (string, error) {
	page.AsOf = ""
	page.Items = append([]itemJSON(nil), page.Items...)
	for i := range page.Items {
		page.Items[i].SecondsLeft = 0
	}
	if page.NextCursor != nil { // it holds the time of the list
		page.NextCursor = orNull("more")
	}
	body, err := json.Marshal(page)
	if err != nil {
		return "", fmt.Errorf("make entity tag: %w", err)
	}
	sum := sha256.Sum256(body)
	return `W/"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`, nil
}

// hasTag says whether the caller has the answer with this entity tag already.
func hasTag(r *http.Request, tag string) bool {
	plain := strings.TrimPrefix(tag, "W/")
	for line := range strings.SplitSeq(strings.Join(r.Header.Values("If-None-Match"), ","), ",") {
		given := strings.TrimPrefix(strings.TrimSpace(line), "W/")
		if given == plain || given == "*" {
			return true
		}
	}
	return false
}

// countsToJSON renders how many items are in which state.
func countsToJSON(counts map[redistribution.State]int) map[string]int {
	out := make(map[string]int, len(counts))
	for _, state := range redistribution.States() {
		out[string(state)] = counts[state]
	}
	return out
}

// itemToJSON renders an item.
func itemToJSON(item redistribution.Item) itemJSON {
	i := &item.Identity
	out := itemJSON{
		ID:            windowPrefix + i.CertificateSerial,
		Configuration: configurationName{i.ConfigurationID, i.ConfigurationName},
		Certificate: itemCertificateJSON{
			Serial: i.CertificateSerial, CertificateSerial: i.CertificateSerial, SHA256: hex.EncodeToString(i.SHA256[:]),
			Subject: i.Subject, NotBefore: timeText(i.NotBefore), NotAfter: timeText(i.NotAfter),
		},
		Device: itemDeviceJSON{
			Key: i.Device.Key, Serial: orNull(i.Device.DeviceSerial), DeviceSerial: orNull(i.Device.DeviceSerial),
			UDID: orNull(i.Device.UDID), ProfileUUID: orNull(i.Device.ProfileUUID), UPN: orNull(i.Device.UPN),
		},
		Window:           windowJSON{timeText(item.Opens), timeText(item.Closes)},
		SecondsLeft:      item.SecondsLeft,
		State:            string(item.State),
		Attempts:         item.Attempts,
		SupersededBy:     orNull(item.SupersededBy),
		RevocationReason: orNull(inspect.Reason(*i)),
	}
	if a, ok := item.InForce(); ok {
		out.LastAck = &ackJSON{
			At: timeText(a.At), By: a.By, CommandID: orNull(a.CommandID), RequestedBy: orNull(a.RequestedBy),
			RequestedAt: timeOrNull(a.RequestedAt), StallsAt: timeOrNull(a.StallsAt),
		}
	}
	return out
}

// historyToJSON renders what happened to an item.
func historyToJSON(item redistribution.Item) []stepJSON {
	out := []stepJSON{}
	for _, step := range redistribution.History(item) {
		out = append(out, stepJSON{
			At: timeText(step.At), Type: string(step.Type), By: orNull(step.By), CommandID: orNull(step.CommandID),
			Reason: orNull(step.Reason), SupersededBy: orNull(step.SupersededBy),
		})
	}
	return out
}
