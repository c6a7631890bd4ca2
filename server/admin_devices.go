package server

import (
	"context"
	"errors"
	"net/http"

	"understudy.example/understudy/depot"
)

// deviceJSON is a device in the API.
type deviceJSON struct {
	Configuration     configurationName `json:"configuration"`
	Key               string            `json:"key"`
	DeviceSerial      *string           `json:"device_serial"`
	ProfileUUID       *string           `json:"profile_uuid"`
	UDID              *string           `json:"udid"`
	UPN               *string           `json:"upn"`
	DeviceID          *string           `json:"device_id"`
	ComputerName      *string           `json:"computer_name"`
	FirstSeen         string            `json:"first_seen"`
	LastSeen          string            `json:"last_seen"`
	LatestCertificate *string           `json:"latest_certificate_serial"`
}

// countedDevice is a device in a list.
type countedDevice struct {
	deviceJSON
	Certificates int `json:"certificates"`
}

// wholeDevice is one device with a page of its certificates, newest first.
type wholeDevice struct {
	deviceJSON
	Certificates []identityJSON `json:"certificates"`
	NextCursor   *string        `json:"next_cursor"`
}

// listDevices is GET /devices.
func (s *Server) listDevices(w http.ResponseWriter, r *http.Request) error {
	p, err := readParameters(r, "configuration", "limit", "cursor")
	if err != nil {
		return err
	}
	q := depot.DeviceQuery{Cursor: p.text("cursor")}
	if q.ConfigurationID, err = s.configurationFilter(r.Context(), p); err != nil {
		return err
	}
	if q.Limit, err = p.limit(); err != nil {
		return err
	}
	page, err := s.depot.Devices(r.Context(), q)
	if err != nil {
		return err
	}
	items := make([]countedDevice, 0, len(page.Items))
	for _, d := range page.Items {
		items = append(items, countedDevice{s.deviceToJSON(r.Context(), d), d.Certificates})
	}
	return writeJSON(w, http.StatusOK, newList(items, page.NextCursor))
}

// showDevice is GET /devices/{device}.
func (s *Server) showDevice(w http.ResponseWriter, r *http.Request) error {
	p, err := readParameters(r, "configuration", "as_of", "limit", "cursor")
	if err != nil {
		return err
	}
	configurationID, err := s.configurationFilter(r.Context(), p)
	if err != nil {
		return err
	}
	d, err := s.findDevice(r.Context(), configurationID, r.PathValue("device"))
	if err != nil {
		return err
	}
	wanted, err := s.at(p)
	if err != nil {
		return err
	}
	wanted.query.ConfigurationID, wanted.query.DeviceKey, wanted.query.Cursor = d.ConfigurationID, d.Names.Key, p.text("cursor")
	if wanted.query.Limit, err = p.limit(); err != nil {
		return err
	}
	certificates, next, err := s.identityPage(r.Context(), wanted)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, wholeDevice{s.deviceToJSON(r.Context(), d), certificatesToJSON(certificates), orNull(next)})
}

// findDevice finds a device by its key. Without a configuration the key must
// be known to one only.
func (s *Server) findDevice(ctx context.Context, configurationID, key string) (depot.Device, error) {
	ids := []string{configurationID}
	if configurationID == "" {
		all, err := s.depot.Configurations(ctx)
		if err != nil {
			return depot.Device{}, err
		}
		ids = ids[:0]
		for _, c := range all {
			ids = append(ids, c.ID)
		}
	}
	var found []depot.Device
	for _, id := range ids {
		d, err := s.depot.Device(ctx, id, key)
		if err != nil && !errors.Is(err, depot.ErrNotFound) {
			return depot.Device{}, err
		}
		if err == nil {
			found = append(found, d)
		}
	}
	switch len(found) {
	case 0:
		return depot.Device{}, notFound("there is no such device")
	case 1:
		return found[0], nil
	}
	return depot.Device{}, badParameter("configuration", "is needed: several configurations know this device")
}

// deviceToJSON renders a device.
func (s *Server) deviceToJSON(ctx context.Context, d depot.Device) deviceJSON {
	return deviceJSON{
		Configuration:     s.nameOf(ctx, d.ConfigurationID),
		Key:               d.Names.Key,
		DeviceSerial:      orNull(d.Names.DeviceSerial),
		ProfileUUID:       orNull(d.Names.ProfileUUID),
		UDID:              orNull(d.Names.UDID),
		UPN:               orNull(d.Names.UPN),
		DeviceID:          orNull(d.Names.DeviceID),
		ComputerName:      orNull(d.Names.ComputerName),
		FirstSeen:         timeText(d.FirstSeen),
		LastSeen:          timeText(d.LastSeen),
		LatestCertificate: orNull(d.LatestSerial),
	}
}
