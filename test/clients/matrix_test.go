//go:build clients

package clients

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// shapes are the two shapes of an authority.
var shapes = []string{"chain", "single"}

// joiners are what may stand between the device serial and the profile UUID in
// a subject written by Iru, which does not document it.
var joiners = []string{" ", "-", "_", ":", ".", "", " - "}

// A device is what a subject names.
type device struct{ serial, profile string }

// TestClients enrols with every client, under both shapes of the authority,
// with subjects as Iru writes them, and looks for the devices afterwards.
func TestClients(t *testing.T) {
	t.Parallel()
	for _, shape := range shapes {
		t.Run(shape, func(t *testing.T) {
			it := newTarget(t, shape)
			want := map[device]int{}
			for i, c := range allClients() {
				d := device{fmt.Sprintf("C02XL0GTJ%03d", i), fmt.Sprintf("6F1C3A52-9D4E-4B7A-8C21-%012X", i)}
				joiner := joiners[i%len(joiners)]
				t.Run(c.name, func(t *testing.T) {
					cn := d.serial + joiner + d.profile
					certificate, err := c.enrol(t, it, t.TempDir(), cn)
					if err != nil {
						t.Fatal(err)
					}
					checkCertificate(t, it, certificate, append(c.extra, "CN="+cn))
					checkStored(t, it, certificate)
				})
				want[d]++
			}
			checkDevices(t, it, want)
		})
	}
}

// TestJoiners sends one device's subject in every form. All of them are the
// same device, with one certificate more each.
func TestJoiners(t *testing.T) {
	t.Parallel()
	it := newTarget(t, "chain")
	d := device{"F4KXQ2M7HW", "0B8D7C11-2E5F-4A90-B3D6-1A2B3C4D5E6F"}
	for _, joiner := range joiners {
		cn := d.serial + joiner + d.profile
		a := handmade(t, it, t.TempDir(), []string{"CN=" + cn})
		if a.Status != "SUCCESS" || len(a.Complaints) > 0 {
			t.Errorf("subject %q: %+v", cn, a)
		}
	}
	checkDevices(t, it, map[device]int{d: len(joiners)})
}

// TestOverTLS enrols over HTTPS, with a TLS server certificate from the
// server's own TLS root.
func TestOverTLS(t *testing.T) {
	t.Parallel()
	it := newTarget(t, "chain", "--tls-self")
	if !strings.HasPrefix(it.url, "https://") {
		t.Fatalf("SCEP URL with --tls-self: %s", it.url)
	}
	for _, c := range allClients() {
		t.Run(c.name, func(t *testing.T) {
			certificate, err := c.enrol(t, it, t.TempDir(), "C02XL0GTJTLS")
			if err != nil {
				t.Fatal(err)
			}
			checkCertificate(t, it, certificate, append(c.extra, "CN=C02XL0GTJTLS"))
		})
	}
	t.Run("untrusted", func(t *testing.T) {
		it.tlsCA = ""
		a := handmade(t, it, t.TempDir(), []string{"CN=C02XL0GTJTLS"})
		if a.Status != "ERROR" || !strings.Contains(a.Error, "CERTIFICATE_VERIFY_FAILED") {
			t.Errorf("a client that does not trust the TLS root: %+v", a)
		}
	})
}

// TestWrongChallenge shows that every client sees the refusal as what it is.
func TestWrongChallenge(t *testing.T) {
	t.Parallel()
	for _, shape := range shapes {
		t.Run(shape, func(t *testing.T) {
			it := newTarget(t, shape).withChallenge("thisIsNotTheSecretKey00")
			for _, c := range allClients() {
				t.Run(c.name, func(t *testing.T) {
					_, err := c.enrol(t, it, t.TempDir(), "C02XL0GTJBAD")
					if err == nil {
						t.Fatal("enrolled with a wrong challenge")
					}
					if !strings.Contains(err.Error(), refusalSeen[c.name]) {
						t.Errorf("the client's words do not hold %q:\n%v", refusalSeen[c.name], err)
					}
				})
			}
			checkDevices(t, it, map[device]int{})
			checkAlive(t, it)
		})
	}
}

// refusalSeen is how each client says that the server understood and refused,
// which is more than that something went wrong.
var refusalSeen = map[string]string{
	"strongswan-aes":    "badRequest",
	"strongswan-3des":   "badRequest",
	"strongswan-sha512": "badRequest",
	"certmonger":        "status CA_REJECTED",
	"scepclient-2.1.0":  "badRequest",
	"scepclient-2.3.0":  "badRequest",
	"handmade":          "Status:FAILURE FailInfo:2",
	"handmade-get":      "Status:FAILURE FailInfo:2",
}

// checkStored looks a certificate up by its certificate serial, and compares
// what the server exports with what the client got.
func checkStored(t *testing.T, it target, path string) {
	t.Helper()
	status, pem := it.server.Admin(t, "GET", "/api/v1/certificates/"+certificateSerial(t, path)+".pem", "")
	if status != 200 {
		t.Errorf("the certificate in the admin API: status %d: %s", status, pem)
		return
	}
	stored := filepath.Join(t.TempDir(), "stored.pem")
	write(t, stored, pem)
	if openssl(t, "x509", "-in", stored) != openssl(t, "x509", "-in", path) {
		t.Error("the server stores another certificate than the client got")
	}
}

// checkDevices compares the devices with the number of certificates each.
func checkDevices(t *testing.T, it target, want map[device]int) {
	t.Helper()
	result := it.server.Verb(t, "device", "list", "-o", "json")
	if result.Code != 0 {
		t.Fatalf("understudy device list: exit code %d: %s", result.Code, result.Stderr)
	}
	var list struct {
		Items []struct {
			Key          string `json:"key"`
			DeviceSerial string `json:"device_serial"`
			ProfileUUID  string `json:"profile_uuid"`
			Certificates int    `json:"certificates"`
		} `json:"items"`
	}
	if err := json.Unmarshal([]byte(result.Stdout), &list); err != nil {
		t.Fatalf("read the list of devices: %v\n%s", err, result.Stdout)
	}
	for _, item := range list.Items {
		d := device{item.DeviceSerial, strings.ToUpper(item.ProfileUUID)}
		if want[d] != item.Certificates {
			t.Errorf("device %s (%v): %d certificates, want %d", item.Key, d, item.Certificates, want[d])
		}
		key := "serial:" + d.serial
		if d.profile != "" {
			key += "+profile:" + strings.ToLower(d.profile)
		}
		if item.Key != key {
			t.Errorf("device key %q, want %q", item.Key, key)
		}
	}
	if len(list.Items) != len(want) {
		t.Errorf("%d devices, want %d:\n%s", len(list.Items), len(want), result.Stdout)
	}
}

// checkAlive enrols once more, with the right challenge.
func checkAlive(t *testing.T, it target) {
	t.Helper()
	if a := handmade(t, it.withChallenge(it.server.SecretKey), t.TempDir(), []string{"CN=C02XL0GTJOK1"}); a.Status != "SUCCESS" {
		t.Errorf("an enrolment afterwards: %+v", a)
	}
}
