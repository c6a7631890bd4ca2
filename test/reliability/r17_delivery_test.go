package reliability

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509/pkix"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/scep/client"
	"understudy.example/understudy/test/internal/program"
)

// TestR17_KillDuringDelivery kills the server while Microsoft Intune is told of
// a certificate: before the notification left, and after it was taken. The next
// process ends what the dead one began; the device that repeats its request
// gets that one certificate, or a refusal when Intune refuses now.
func TestR17_KillDuringDelivery(t *testing.T) {
	for _, tt := range []struct {
		name string
		// The fault in which the server is killed.
		fault string
		// The fault that the next process meets.
		then string
		told int // successful notifications in the end
		void bool
	}{
		{"before the notification", `{"service":"token","skip":2,"times":1,"delay_seconds":60}`, "", 1, false},
		{"after the notification", `{"service":"success","times":1,"late":true,"delay_seconds":60}`, "", 2, false},
		{"refused by then", `{"service":"success","times":1,"delay_seconds":60}`, `{"service":"success","code":"ChallengeExpired"}`, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data, microsoft := filepath.Join(t.TempDir(), "data"), understudy.StartMicrosoft(t)
			if strings.Contains(tt.fault, `"token"`) { // one for Graph, one to ask, and one to tell
				microsoft.Lab(t, "PUT", "/entra", `{"expires_in_seconds":1}`, nil)
			}
			server := understudy.Start(t, program.Options{Data: data})
			configuration := microsoft.Configure(t, server, "intune")
			d := newRepeater(t, configuration.SCEPURL, microsoft.Challenge(t, "CN=C02KILLED"))
			microsoft.Fail(t, tt.fault)
			lost := make(chan error, 1)
			go func() {
				_, err := d.ask(t.Context(), configuration.SCEPURL)
				lost <- err
			}()
			microsoft.AwaitFaults(t)
			if strings.Contains(tt.fault, "late") {
				for len(microsoft.Calls(t, "success")) == 0 {
					time.Sleep(time.Millisecond)
				}
			}
			server.Kill()
			if err := <-lost; err == nil {
				t.Fatal("the device was answered by a dead server")
			}
			if tt.then != "" {
				microsoft.Fail(t, tt.then)
			}
			server = understudy.Start(t, program.Options{Data: data})
			address := configurationURL(t, server, "intune")
			reply, err := d.ask(t.Context(), address)
			if err != nil {
				t.Fatal(err)
			}
			again, err := d.ask(t.Context(), address)
			if err != nil {
				t.Fatal(err)
			}
			checkDelivery(t, server, tt.void, reply, again)
			told := 0
			for _, call := range microsoft.Calls(t, "success") {
				if call.Code == "Success" {
					told++
				}
			}
			if asked := len(microsoft.Calls(t, "validate")); asked != 1 || told != tt.told {
				t.Errorf("Intune was asked %d times and told %d times; want once and %d", asked, told, tt.told)
			}
			if err := server.Stop(); err != nil {
				t.Errorf("stop: %v", err)
			}
			if r := understudy.Run(t, nil, "audit", "verify", "--data", data); r.Code != 0 {
				t.Errorf("audit verify: %s%s", r.Stdout, r.Stderr)
			}
		})
	}
}

// checkDelivery asserts that there is one certificate, and that the device has
// it unless it is void.
func checkDelivery(t *testing.T, server *program.Server, void bool, replies ...*client.Reply) {
	t.Helper()
	var list struct {
		Items []struct {
			CertificateSerial string `json:"certificate_serial"`
			State             string `json:"state"`
		}
	}
	r := server.Verb(t, "cert", "list", "-o", "json")
	if err := json.Unmarshal([]byte(r.Stdout), &list); err != nil || len(list.Items) != 1 {
		t.Fatalf("certificates: %v\n%s%s", err, r.Stdout, r.Stderr)
	}
	if isVoid := list.Items[0].State == "void"; isVoid != void {
		t.Errorf("the certificate is %s", list.Items[0].State)
	}
	for _, reply := range replies {
		switch {
		case void && (reply.Status != client.Failure || reply.Certificate != nil):
			t.Errorf("status %s for a certificate that is void", reply.Status)
		case !void && reply.Status != client.Success:
			t.Errorf("status %s %s", reply.Status, reply.FailInfoText)
		case !void && (!bytes.Equal(reply.Certificate.Raw, replies[0].Certificate.Raw) ||
			strings.TrimLeft(reply.Certificate.SerialNumber.Text(16), "0") != strings.TrimLeft(list.Items[0].CertificateSerial, "0")):
			t.Error("the device got another certificate than the one that is stored")
		}
	}
}

// configurationURL is the SCEP URL of a configuration at a server's address
// of now.
func configurationURL(t *testing.T, server *program.Server, name string) string {
	t.Helper()
	var c program.Configuration
	r := server.Verb(t, "config", "show", name, "-o", "json")
	if err := json.Unmarshal([]byte(r.Stdout), &c); err != nil || c.SCEPURL == "" {
		t.Fatalf("config show %s: %v\n%s%s", name, err, r.Stdout, r.Stderr)
	}
	return c.SCEPURL
}

// A repeater is a device that sends one message again and again.
type repeater struct{ request *client.Request }

func newRepeater(t *testing.T, address, challenge string) repeater {
	t.Helper()
	scep, err := client.New(address)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := scep.CACertificates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	capabilities, err := scep.Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	digest, err := capabilities.Digest()
	if err != nil {
		t.Fatal(err)
	}
	r, err := client.BuildRequest(nil, client.Enrolment{
		Key: makeKeys(t)[0], Challenge: client.Password(challenge), TransactionID: rand.Text(), Subject: pkix.Name{CommonName: "C02KILLED"},
		Cipher: capabilities.Cipher(), Digest: digest,
	}, ca, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return repeater{r}
}

func (d repeater) ask(ctx context.Context, address string) (*client.Reply, error) {
	scep, err := client.New(address)
	if err != nil {
		return nil, err
	}
	raw, err := scep.Send(ctx, d.request.Raw, client.POST)
	if err != nil {
		return nil, err
	}
	return d.request.ReadReply(raw, time.Now())
}
