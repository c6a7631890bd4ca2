package depottest

import (
	"time"

	"understudy.example/understudy/depot"
)

func deviceList(n int) depot.DeviceList {
	var l depot.DeviceList
	Fill(&l, 30_000+n)
	l.ConfigurationID = configuration(n).ID
	return l
}

// list asserts which list a configuration has.
func (s *suite) list(want depot.DeviceList) {
	s.Helper()
	got, err := s.d.DeviceList(s.ctx, want.ConfigurationID)
	s.wantError("DeviceList", err, nil)
	want = want.Clone()
	if want.ChangedAt = utc(want.ChangedAt); len(want.Devices) == 0 {
		want.Devices = nil
	}
	s.equal("DeviceList", got, want)
}

func (s *suite) open(configurationID string) {
	s.Helper()
	_, err := s.d.DeviceList(s.ctx, configurationID)
	s.wantError("DeviceList", err, depot.ErrNotFound)
}

func (s *suite) setList(l depot.DeviceList) {
	s.Helper()
	s.wantError("SetDeviceList", s.d.SetDeviceList(s.ctx, l), nil)
}

func (s *suite) deviceLists() {
	for n := range 3 {
		s.add(configuration(n))
	}
	first := deviceList(0)
	first.Devices = append(first.Devices, depot.ListedDevice{UDID: "only"}, depot.ListedDevice{UPN: "a@b.example"}, depot.ListedDevice{})
	s.open("rac0")
	s.setList(first)
	s.setList(deviceList(1))
	kept := first.Clone()
	first.Devices[0].UDID = "x"
	got, err := s.d.DeviceList(s.ctx, "rac0")
	s.wantError("DeviceList", err, nil)
	got.Devices[0].UDID = "x"
	for range 2 {
		s.list(kept)
		s.list(deviceList(1))
		s.open("rac2")
		s.d = s.reopen()
	}
	event := func(n int, cause depot.EventType, at time.Time) depot.Event {
		return depot.Event{Type: cause, At: utc(at), ConfigurationID: configuration(n).ID, ConfigurationName: configuration(n).Name}
	}
	s.equal("events", s.lastEvents(2), []depot.Event{
		event(0, depot.EventDevicesListed, kept.ChangedAt), event(1, depot.EventDevicesListed, deviceList(1).ChangedAt)})

	empty := deviceList(0) // nobody may enrol, which is not the same as no list
	empty.Devices = []depot.ListedDevice{}
	empty.ChangedBy = "another"
	s.setList(empty)
	s.d = s.reopen()
	s.list(empty)

	at := Epoch.Add(time.Hour).Local()
	for range 2 {
		s.wantError("RemoveDeviceList", s.d.RemoveDeviceList(s.ctx, "rac0", "operator", at), nil)
		s.equal("event", s.lastEvents(1), []depot.Event{event(0, depot.EventDevicesUnlisted, at)})
		s.open("rac0")
		s.list(deviceList(1))
		s.wantError("removed already", s.d.RemoveDeviceList(s.ctx, "rac0", "operator", at), depot.ErrNotFound)
		s.d = s.reopen()
		s.open("rac0")
		s.setList(kept)
		s.list(kept)
	}
	s.wantError("never had one", s.d.RemoveDeviceList(s.ctx, "rac2", "operator", at), depot.ErrNotFound)
	s.wantError("no such configuration", s.d.RemoveDeviceList(s.ctx, "rac9", "operator", at), depot.ErrNotFound)
}

func (s *suite) deviceListRefused() {
	s.wantError("no configuration", s.d.SetDeviceList(s.ctx, deviceList(1)), depot.ErrNotFound)
	s.wantError("no id", s.d.SetDeviceList(s.ctx, depot.DeviceList{}), depot.ErrNotFound)
	s.open("")
	c := configuration(1)
	s.add(c)
	s.setList(deviceList(1))
	c.Revision, c.RemovedAt = 2, Epoch
	s.set(c, depot.EventConfigurationRemoved)
	s.wantError("removed configuration", s.d.SetDeviceList(s.ctx, deviceList(1)), depot.ErrNotFound)
	s.equal("events", len(s.happened(0)), 3)
}
