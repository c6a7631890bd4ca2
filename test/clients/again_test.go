//go:build clients

package clients

import (
	"path/filepath"
	"testing"
)

// TestCertmongerResubmits enrols again with the same key: the same
// transactionID with another CSR, which is a new enrolment and needs the
// challenge again, and has it.
func TestCertmongerResubmits(t *testing.T) {
	t.Parallel()
	it, dir := newTarget(t, "chain"), t.TempDir()
	m := startCertmonger(t, it, dir)
	if status := m.request(t, it, "C02XL0GTJAGN"); status != "MONITORING" {
		t.Fatalf("first enrolment: status %s", status)
	}
	first := certificateSerial(t, m.path("cert.pem"))
	if _, err := m.getcert(t, "resubmit", "-s", "-i", "req1"); err != nil {
		t.Fatal(err)
	}
	m.until(t, "another certificate", func() bool {
		return m.rest(t) == "MONITORING" && certificateSerial(t, m.path("cert.pem")) != first
	})
	checkCertificate(t, it, m.path("cert.pem"), []string{"CN=C02XL0GTJAGN"})
	checkDevices(t, it, map[device]int{{"C02XL0GTJAGN", ""}: 2})
}

// TestScepclientRenews starts scepclient a second time in its directory, which
// makes it send a RenewalReq. Okta's authority does not renew, so it fails; the
// first certificate stays as it is.
func TestScepclientRenews(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{"2.1.0": "/usr/bin/scepclient", "2.3.0": scepclient23} {
		t.Run(name, func(t *testing.T) {
			it, dir, enrol := newTarget(t, "chain"), t.TempDir(), scepclient(path)
			if _, err := enrol(t, it, dir, "C02XL0GTJREN"); err != nil {
				t.Fatal(err)
			}
			first := certificateSerial(t, filepath.Join(dir, "cert.pem"))
			if _, err := enrol(t, it, dir, "C02XL0GTJREN"); err == nil {
				t.Error("a RenewalReq succeeded")
			}
			if again := certificateSerial(t, filepath.Join(dir, "cert.pem")); again != first {
				t.Error("the refused renewal replaced the certificate")
			}
			checkDevices(t, it, map[device]int{{"C02XL0GTJREN", ""}: 1})
			checkAlive(t, it)
		})
	}
}
