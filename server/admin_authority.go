package server

import (
	"crypto/sha1" //nolint:gosec // a fingerprint that Windows and MDMs ask for
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/device"
)

// authorityJSON is the authority in the API.
type authorityJSON struct {
	Shape  string          `json:"shape"`
	ID     string          `json:"id"`
	Root   certificateJSON `json:"root"`
	Issuer certificateJSON `json:"issuer"`
	RA     certificateJSON `json:"ra"`
}

// certificateJSON is one of its certificates.
type certificateJSON struct {
	Subject   string `json:"subject"`
	SHA256    string `json:"sha256"`
	SHA1      string `json:"sha1"`
	NotBefore string `json:"not_before"`
	NotAfter  string `json:"not_after"`
	PEM       string `json:"pem"`
}

// showAuthority is GET /authority.
func (s *Server) showAuthority(w http.ResponseWriter, _ *http.Request) error {
	now := s.authority.InForce()
	return writeJSON(w, http.StatusOK, authorityJSON{
		Shape:  string(s.authority.Shape()),
		ID:     s.authority.ID(),
		Root:   certificateToJSON(now.Root),
		Issuer: certificateToJSON(now.Issuer),
		RA:     certificateToJSON(now.RA),
	})
}

// certificateToJSON renders a certificate.
func certificateToJSON(c *x509.Certificate) certificateJSON {
	fingerprint, thumbprint := sha256.Sum256(c.Raw), sha1.Sum(c.Raw) //nolint:gosec // see above
	return certificateJSON{
		Subject:   device.FormatName(c.RawSubject),
		SHA256:    hex.EncodeToString(fingerprint[:]),
		SHA1:      hex.EncodeToString(thumbprint[:]),
		NotBefore: timeText(c.NotBefore),
		NotAfter:  timeText(c.NotAfter),
		PEM:       string(encodePEM(c)),
	}
}

// eventJSON is an event in the API.
type eventJSON struct {
	ID                string             `json:"id"`
	Type              string             `json:"type"`
	At                string             `json:"at"`
	Configuration     *configurationName `json:"configuration"`
	CertificateSerial *string            `json:"certificate_serial"`
	DeviceKey         *string            `json:"device_key"`
	TransactionID     *string            `json:"transaction_id"`
	RequestID         *string            `json:"request_id"`
}

// eventPrefix begins the ids of events; the sequence follows in hex, at full
// width, so that ids sort as events happened.
const eventPrefix = "ev_"

// listEvents is GET /events: oldest first, after an event. The next cursor is
// what to give as after.
func (s *Server) listEvents(w http.ResponseWriter, r *http.Request) error {
	p, err := readParameters(r, "after", "limit")
	if err != nil {
		return err
	}
	var q depot.EventQuery
	if after := p.text("after"); after != "" {
		digits, isEvent := strings.CutPrefix(after, eventPrefix)
		if q.After, err = strconv.ParseUint(digits, 16, 64); err != nil || !isEvent {
			return badParameter("after", "must be the id of an event")
		}
	}
	if q.Limit, err = p.limit(); err != nil {
		return err
	}
	page, err := s.depot.Events(r.Context(), q)
	if err != nil {
		return err
	}
	items := make([]eventJSON, 0, len(page.Items))
	for _, e := range page.Items {
		items = append(items, eventToJSON(e))
	}
	next := ""
	if page.NextCursor != "" && len(items) > 0 {
		next = items[len(items)-1].ID
	}
	return writeJSON(w, http.StatusOK, newList(items, next))
}

// eventToJSON renders an event.
func eventToJSON(e depot.Event) eventJSON {
	item := eventJSON{
		ID:                eventID(e.Sequence),
		Type:              string(e.Type),
		At:                timeText(e.At),
		CertificateSerial: orNull(e.CertificateSerial),
		DeviceKey:         orNull(e.DeviceKey),
		TransactionID:     orNull(e.TransactionID),
		RequestID:         orNull(e.RequestID),
	}
	if e.ConfigurationID != "" {
		item.Configuration = &configurationName{e.ConfigurationID, e.ConfigurationName}
	}
	return item
}

// eventID is the id of the event with this sequence.
func eventID(sequence uint64) string {
	digits := strconv.FormatUint(sequence, 16)
	return eventPrefix + strings.Repeat("0", 16-len(digits)) + digits
}
