package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"path/filepath"

	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/devicelist"
)

// deviceListJSON is the list of the devices that may enrol.
type deviceListJSON struct {
	Items      []listedDeviceJSON `json:"items"`
	NextCursor *string            `json:"next_cursor"` // it is one page
	ChangedAt  string             `json:"changed_at"`
	ChangedBy  *string            `json:"changed_by"`
	File       *string            `json:"file"` // that it is read from
}

// listedDeviceJSON is one device on it: whoever has one of the values.
type listedDeviceJSON struct {
	DeviceSerial *string `json:"device_serial"`
	UDID         *string `json:"udid"`
	UPN          *string `json:"upn"`
}

// noList is the problem of a configuration without a list.
func noList() *problem {
	return notFound("the configuration has no list of devices: every device may enrol that has a good challenge")
}

// showDeviceList is GET /configurations/{configuration}/devices.
func (s *Server) showDeviceList(w http.ResponseWriter, r *http.Request) error {
	if _, err := readParameters(r); err != nil {
		return err
	}
	live, err := s.configurations.Find(r.PathValue("configuration"))
	if err != nil {
		return settingsProblem(err)
	}
	list, err := s.enroll.Devices().DeviceList(r.Context(), live.Record.ID)
	if errors.Is(err, depot.ErrNotFound) {
		return noList()
	}
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, deviceListToJSON(list, live.Record.Policy.DevicesFile))
}

// setDeviceList is PUT /configurations/{configuration}/devices: the list in
// JSON, or as a file has it in CSV.
func (s *Server) setDeviceList(w http.ResponseWriter, r *http.Request) error {
	live, err := s.listedByHand(r)
	if err != nil {
		return err
	}
	devices, err := readDevices(w, r)
	if err != nil {
		return err
	}
	list := depot.DeviceList{ConfigurationID: live.Record.ID, Devices: devices, ChangedAt: s.clock.Now(), ChangedBy: by(r.Context())}
	err = s.enroll.Devices().SetDeviceList(r.Context(), list)
	switch {
	case errors.Is(err, depot.ErrNotFound):
		return settingsProblem(err)
	case errors.Is(err, depot.ErrInvalid):
		return newProblem(http.StatusRequestEntityTooLarge, "too-large", "the list takes more than 1 MiB in the store")
	case err != nil:
		return err
	}
	return writeJSON(w, http.StatusOK, deviceListToJSON(list, ""))
}

// removeDeviceList is DELETE /configurations/{configuration}/devices.
func (s *Server) removeDeviceList(w http.ResponseWriter, r *http.Request) error {
	live, err := s.listedByHand(r)
	if err != nil {
		return err
	}
	err = s.enroll.Devices().RemoveDeviceList(r.Context(), live.Record.ID, by(r.Context()), s.clock.Now())
	if errors.Is(err, depot.ErrNotFound) {
		return noList()
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// listedByHand finds a configuration whose list is not read from a file, which
// would soon overwrite what is put here.
func (s *Server) listedByHand(r *http.Request) (*configuration.Live, error) {
	live, err := s.configurations.Find(r.PathValue("configuration"))
	if err != nil {
		return nil, settingsProblem(err)
	}
	if live.Record.Policy.DevicesFile != "" {
		return nil, newProblem(http.StatusConflict, "devices-from-file",
			"the list is read from a file: change the file, or take it out of the settings (devices_file) first")
	}
	return live, nil
}

// readDevices reads the body of a list.
func readDevices(w http.ResponseWriter, r *http.Request) ([]depot.ListedDevice, error) {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind != "text/csv" && kind != "text/plain" {
		fields, err := readObject(w, r)
		if err != nil {
			return nil, err
		}
		return parseDevices(fields)
	}
	text, err := readBody(w, r)
	if err != nil {
		return nil, err
	}
	devices, err := devicelist.Parse(text)
	if err != nil {
		return nil, invalidRequest(fieldError{"body", err.Error()})
	}
	return devices, nil
}

// parseDevices reads {"items":[{"device_serial":…,"udid":…,"upn":…}]}. An
// empty list is possible here: nobody may enrol.
func parseDevices(fields map[string]json.RawMessage) ([]depot.ListedDevice, error) {
	raw, given := fields["items"]
	delete(fields, "items")
	if err := noOthers(fields, invalidRequest); err != nil {
		return nil, err
	}
	var items []map[string]json.RawMessage
	if !given || json.Unmarshal(raw, &items) != nil || items == nil {
		return nil, invalidRequest(fieldError{"items", "must be a list of devices"})
	}
	devices := make([]depot.ListedDevice, 0, len(items))
	for i, item := range items {
		d, err := parseDevice(item)
		if err != nil {
			return nil, invalidRequest(fieldError{fmt.Sprintf("items[%d]", i), err.Error()})
		}
		devices = append(devices, d)
	}
	return devices, nil
}

func parseDevice(item map[string]json.RawMessage) (d depot.ListedDevice, err error) {
	targets := map[string]*string{"device_serial": &d.DeviceSerial, "udid": &d.UDID, "upn": &d.UPN}
	for name, raw := range item {
		target, known := targets[name]
		if !known {
			return d, fmt.Errorf("%.64q is not a known field", name)
		}
		if json.Unmarshal(raw, target) != nil { // null is absent
			return d, fmt.Errorf("%s must be a string", name)
		}
	}
	if d == (depot.ListedDevice{}) {
		return d, errors.New("names no device")
	}
	return d, devicelist.Check(d)
}

// devicesFile is the name of the setting that a list is read from.
const devicesFile = "devices_file"

// noFilesFromAfar refuses settings that name files on the server's machine,
// from somebody who is not there: the server reads them with rights of its own.
func noFilesFromAfar(r *http.Request, fields map[string]json.RawMessage) error {
	for _, name := range []string{devicesFile, "client_secret_file", "client_certificate_file", "ca_file"} {
		var path string
		if raw, given := fields[name]; !given || json.Unmarshal(raw, &path) != nil || path == "" || fromThisMachine(r) {
			continue
		}
		return newProblem(http.StatusForbidden, "files-stay-here",
			"files are read for clients on the server's own machine only; a list of devices can be put to …/devices")
	}
	return nil
}

// checkDevicesFile looks at the file that a body wants a list to be read from,
// if it does, before anything is changed. Only who is on this machine may name
// one: the server reads it with rights of its own.
func (s *Server) checkDevicesFile(r *http.Request, fields map[string]json.RawMessage) error {
	if err := noFilesFromAfar(r, fields); err != nil {
		return err
	}
	var path string
	if raw, given := fields[devicesFile]; !given || json.Unmarshal(raw, &path) != nil || path == "" {
		return nil // the settings object to what is no string
	}
	if s.deviceFiles == nil {
		return invalidSettings(fieldError{devicesFile, "cannot be used: this server reads no lists from files"})
	}
	if !filepath.IsAbs(path) {
		return nil // and to that
	}
	if _, err := devicelist.Read(path); err != nil {
		return invalidSettings(fieldError{devicesFile, printable(err.Error(), maxLogText)})
	}
	return nil
}

// followDevicesFile makes the stored list that of a configuration's file. A
// list goes with the file that it came from.
func (s *Server) followDevicesFile(ctx context.Context, was string, live *configuration.Live) error {
	switch record := live.Record; {
	case record.Policy.DevicesFile != "":
		return s.deviceFiles.Take(ctx, record)
	case was != "":
		err := s.enroll.Devices().RemoveDeviceList(ctx, record.ID, by(ctx), s.clock.Now())
		if errors.Is(err, depot.ErrNotFound) {
			return nil
		}
		return err
	}
	return nil
}

// deviceListToJSON renders a list.
func deviceListToJSON(l depot.DeviceList, file string) deviceListJSON {
	items := make([]listedDeviceJSON, 0, len(l.Devices))
	for _, d := range l.Devices {
		items = append(items, listedDeviceJSON{orNull(d.DeviceSerial), orNull(d.UDID), orNull(d.UPN)})
	}
	return deviceListJSON{Items: items, ChangedAt: timeText(l.ChangedAt), ChangedBy: orNull(l.ChangedBy), File: orNull(file)}
}
