package devicelist_test

import (
	"reflect"
	"strings"
	"testing"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/devicelist"
)

func TestParse(t *testing.T) {
	const uuid = "8C4F3B1E-6A0D-4E52-9B7C-0F1E2D3C4B5A"
	tests := []struct {
		name, text string
		want       []depot.ListedDevice
	}{
		{"one to a line", "C02XL0GTJGH5\n" + uuid + "\njane@lab.example\n00008103-000A1B2C3D4E5F60\n", []depot.ListedDevice{
			{DeviceSerial: "C02XL0GTJGH5"}, {UDID: uuid}, {UPN: "jane@lab.example"}, {UDID: "00008103-000A1B2C3D4E5F60"},
		}},
		{"comments, empty lines, Windows", "\xef\xbb\xbf# lab\r\n\r\n  C02XL0GTJGH5 \r\n#C02XL0GTJGH6\r\n", []depot.ListedDevice{{DeviceSerial: "C02XL0GTJGH5"}}},
		{"twice", "A1\nA1\n", []depot.ListedDevice{{DeviceSerial: "A1"}}},
		{"without a header", "C02XL0GTJGH5," + uuid + ",jane@lab.example\n,,joe@lab.example\n", []depot.ListedDevice{
			{DeviceSerial: "C02XL0GTJGH5", UDID: uuid, UPN: "jane@lab.example"}, {UPN: "joe@lab.example"},
		}},
		{"with a header", "device_serial,udid,upn\nC02XL0GTJGH5,,jane@lab.example\n", []depot.ListedDevice{
			{DeviceSerial: "C02XL0GTJGH5", UPN: "jane@lab.example"},
		}},
		{"export of an MDM", "Computer Name,Serial Number,UDID,OS\n\"Jane's Mac, old\",C02XL0GTJGH5," + uuid + ",15.1\nNo serial,,,\n", []depot.ListedDevice{
			{DeviceSerial: "C02XL0GTJGH5", UDID: uuid},
		}},
		{"only a header's column counts", "UPN\nC02XL0GTJGH5\n", []depot.ListedDevice{{UPN: "C02XL0GTJGH5"}}},
	}
	for _, tt := range tests {
		got, err := devicelist.Parse([]byte(tt.text))
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, %v; want %+v", tt.name, got, err, tt.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "names no device"},
		{"comments only", "# nobody\n\n", "names no device"},
		{"header only", "serial,udid\n", "names no device"},
		{"two serials in a line", "# lab\nA1,B2\n", `line 2: "A1" and "B2" cannot both be of one device`},
		{"long", strings.Repeat("A", 257), "line 1"},
		{"control character", "A1\x00\n", "line 1"},
		{"not text", "\xff\xfe", "not UTF-8"},
		{"open quote", "\"A1\nB2\n", "not CSV"},
		{"large", strings.Repeat("A\n", devicelist.MaxSize), "larger than"},
	} {
		if got, err := devicelist.Parse([]byte(tt.text)); err == nil || got != nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, %v; want an error with %q", tt.name, got, err, tt.want)
		}
	}
}
