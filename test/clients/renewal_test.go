//go:build clients

package clients

import (
	"path/filepath"
	"testing"
)

// TestStrongSwanRenews renews with the old certificate and a new key, and
// without a password, where the configuration offers it.
func TestStrongSwanRenews(t *testing.T) {
	t.Parallel()
	for _, shape := range shapes {
		t.Run(shape, func(t *testing.T) {
			it, dir := newTarget(t, shape), t.TempDir()
			configure(t, it, "--renewal")
			first, err := strongSwan("aes", "sha256")(t, it, dir, "C02XL0GTJRNW")
			if err != nil {
				t.Fatal(err)
			}
			second, err := renewWithStrongSwan(t, it, dir, "C02XL0GTJRNW")
			if err != nil {
				t.Fatal(err)
			}
			checkCertificate(t, it, second, []string{"CN=C02XL0GTJRNW"})
			checkDevices(t, it, map[device]int{{"C02XL0GTJRNW", ""}: 2})
			checkState(t, it, first, "superseded")
			checkState(t, it, second, "valid")

			if _, err := renewWithStrongSwan(t, it, dir, "C02XL0GTJRNW"); err == nil {
				t.Error("a superseded certificate renewed itself a second time")
			}
			if _, err := renewWithStrongSwan(t, it, dir, "C02XL0GTOTHER"); err == nil {
				t.Error("a renewal took another device's name")
			}
		})
	}
}

// renewWithStrongSwan renews cert.pem of key.pem in dir into renewed.pem.
func renewWithStrongSwan(t *testing.T, it target, dir, cn string) (string, error) {
	t.Helper()
	key, err := pki(t, it, dir, "--gen", "--type", "rsa", "--size", "2048", "--outform", "pem")
	if err != nil {
		return "", err
	}
	write(t, filepath.Join(dir, "key2.pem"), []byte(key))
	arguments := []string{"--scep", "--url", it.url, "--in", "key2.pem", "--dn", "CN=" + cn,
		"--cert", "cert.pem", "--key", "key.pem", "--cipher", "aes", "--digest", "sha256",
		"--interval", "1", "--maxpolltime", "5", "--outform", "pem"}
	if it.shape == "single" {
		arguments = append(arguments, "--cacert-enc", "ca.crt", "--cacert-sig", "ca.crt")
	} else {
		arguments = append(arguments, "--cacert-enc", "ra.crt", "--cacert-sig", it.issuer, "--cacert", it.root)
	}
	certificate, err := pki(t, it, dir, arguments...)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "renewed.pem")
	write(t, path, []byte(certificate))
	return path, nil
}

// TestScepclientRenewsWhereOffered starts scepclient a second time: RenewalReq
// with the same key, the same CSR and the same transactionID, signed by the
// certificate that it has.
func TestScepclientRenewsWhereOffered(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{"2.1.0": "/usr/bin/scepclient", "2.3.0": scepclient23} {
		t.Run(name, func(t *testing.T) {
			it, dir, enrol := newTarget(t, "chain"), t.TempDir(), scepclient(path)
			configure(t, it, "--renewal")
			if _, err := enrol(t, it, dir, "C02XL0GTJREN"); err != nil {
				t.Fatal(err)
			}
			first := certificateSerial(t, filepath.Join(dir, "cert.pem"))
			if _, err := enrol(t, it, dir, "C02XL0GTJREN"); err != nil {
				t.Fatalf("renew: %v", err)
			}
			if certificateSerial(t, filepath.Join(dir, "cert.pem")) == first {
				t.Error("the renewal brought the old certificate again")
			}
			checkDevices(t, it, map[device]int{{"C02XL0GTJREN", ""}: 2})
		})
	}
}

// TestCertmongerResubmitsWhereRenewalIsOffered: whichever message it sends, it
// gets another certificate.
func TestCertmongerResubmitsWhereRenewalIsOffered(t *testing.T) {
	t.Parallel()
	it, dir := newTarget(t, "chain"), t.TempDir()
	configure(t, it, "--renewal")
	m := startCertmonger(t, it, dir)
	if status := m.request(t, it, "C02XL0GTJCMR"); status != "MONITORING" {
		t.Fatalf("first enrolment: status %s", status)
	}
	for _, verb := range []string{"resubmit", "rekey"} {
		before := certificateSerial(t, m.path("cert.pem"))
		if out, err := m.getcert(t, verb, "-s", "-i", "req1"); err != nil {
			t.Fatalf("getcert %s: %v\n%s", verb, err, out)
		}
		m.until(t, "another certificate after "+verb, func() bool {
			return m.rest(t) == "MONITORING" && certificateSerial(t, m.path("cert.pem")) != before
		})
		checkCertificate(t, it, m.path("cert.pem"), []string{"CN=C02XL0GTJCMR"})
	}
	checkDevices(t, it, map[device]int{{"C02XL0GTJCMR", ""}: 3})
}
