package secrets

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"understudy.example/understudy/scep/client"
	"understudy.example/understudy/test/internal/program"
)

// understudy is the binary under test.
var understudy program.Binary

func TestMain(m *testing.M) {
	os.Exit(program.Main(m, &understudy))
}

// What the test types in, and must not find again.
const (
	firstSecret  = "FirstSecretKeyOfTheLab0001"
	secondSecret = "SecondSecretKeyOfTheLab0002"
	wrongSecret  = "WrongChallengeOfADevice0003"
	wrongToken   = "wrong-admin-token-0004-0004-0004"
)

// A needle is something that must stay where it belongs.
type needle struct {
	name  string
	bytes []byte
}

// A haystack is something that the server showed or wrote.
type haystack struct {
	name    string
	content []byte
}

// TestNothingLeaks lets a server do everything that involves a secret, good
// and bad, and then greps what it said and what it left behind.
func TestNothingLeaks(t *testing.T) {
	secretFile := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secretFile, []byte(firstSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	server := understudy.Start(t, program.Options{Arguments: []string{"--static-secret-file", secretFile, "--webhook-allow", "127.0.0.1"}})
	hay := []haystack{{"the ready line", []byte(server.Stdout)}}

	use(t, server)
	made, told := outbound(t, server)
	hay = append(hay, told...)
	hay = append(hay, errorPages(t, server)...)
	hay = append(hay, process(t, server)...)
	hay = append(hay, verbs(t, server)...)
	hay = append(hay, adminAnswers(t, server)...)

	needles := append(needles(t, server), made...)
	if err := server.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	hay = append(hay, haystack{"the log", []byte(server.Log())})
	hay = append(hay, files(t, server.Data)...)
	grep(t, needles, hay)
}

// use enrols with good and bad challenges, and resets the secret key.
func use(t *testing.T, server *program.Server) {
	t.Helper()
	enrol(t, server, firstSecret, client.Success)
	enrol(t, server, wrongSecret, client.Failure)
	body := fmt.Sprintf(`{"secret_key":%q}`, secondSecret)
	if status, answer := server.Admin(t, http.MethodPost, "/api/v1/configurations/default/reset-secret", body); status != http.StatusOK {
		t.Fatalf("reset the secret key: status %d: %s", status, answer)
	}
	enrol(t, server, firstSecret, client.Failure)
	enrol(t, server, secondSecret, client.Success)
	wait(t, server)
	if status, answer := server.Admin(t, http.MethodPost, "/api/v1/authority/rollover/prepare", ""); status != http.StatusOK {
		t.Fatalf("prepare a rollover: status %d: %s", status, answer)
	}
}

// wait has a request wait for an operator, who approves it: it is kept with
// everything but its challenge.
func wait(t *testing.T, server *program.Server) {
	t.Helper()
	if status, answer := server.Admin(t, http.MethodPatch, "/api/v1/configurations/default", `{"approval":"manual"}`); status != http.StatusOK {
		t.Fatalf("ask for approval: status %d: %s", status, answer)
	}
	enrol(t, server, wrongSecret, client.Failure)
	enrol(t, server, secondSecret, client.Pending)
	enrol(t, server, secondSecret, client.Pending)
	var list struct{ Items []struct{ ID string } }
	if _, answer := server.Admin(t, http.MethodGet, "/api/v1/requests", ""); json.Unmarshal(answer, &list) != nil || len(list.Items) != 2 {
		t.Fatalf("requests: %s", answer)
	}
	if status, answer := server.Admin(t, http.MethodPost, "/api/v1/requests/"+list.Items[0].ID+"/approve", ""); status != http.StatusOK {
		t.Fatalf("approve: status %d: %s", status, answer)
	}
}

func enrol(t *testing.T, server *program.Server, challenge string, want client.Status) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	scep, err := client.New(server.SCEPURL)
	if err != nil {
		t.Fatal(err)
	}
	result, err := scep.Enrol(t.Context(), client.Enrolment{
		Key: key, Challenge: client.Password(challenge), Subject: pkix.Name{CommonName: "C02SECRETS01"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if result.Status != want {
		t.Fatalf("an enrolment: status %s, want %s", result.Status, want)
	}
}

// errorPages asks for what does not exist or is wrong, with secrets in every
// place of a request where somebody could put them by mistake.
func errorPages(t *testing.T, server *program.Server) []haystack {
	t.Helper()
	public, err := url.Parse(server.SCEPURL)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := url.Parse(server.AdminURL)
	if err != nil {
		t.Fatal(err)
	}
	scep, api := public.Scheme+"://"+public.Host, admin.Scheme+"://"+admin.Host
	var pages []haystack
	for _, address := range []string{
		server.SCEPURL + "?operation=" + firstSecret,
		server.SCEPURL + "?operation=PKIOperation&message=" + firstSecret,
		scep + "/scep/" + strings.ToLower(firstSecret),
		scep + "/" + firstSecret,
		api + "/api/v1/configurations/" + firstSecret,
		api + "/api/v1/certificates?device=" + firstSecret,
		api + "/metrics?" + firstSecret,
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+wrongToken)
		pages = append(pages, fetch(t, request))
	}
	for _, body := range []string{wrongSecret, `{"secret_key":"` + wrongSecret + `"`, `{"` + wrongSecret + `":1}`} {
		_, answer := server.Admin(t, http.MethodPost, "/api/v1/configurations", body)
		// A problem document may name an unknown field: that is what was typed
		// as a name, not as a secret.
		if !strings.Contains(body, `":1`) {
			pages = append(pages, haystack{"the answer to " + body[:1] + "…", answer})
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.SCEPURL+"?operation=PKIOperation", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, fetch(t, request))
	}
	return pages
}

func fetch(t *testing.T, request *http.Request) haystack {
	t.Helper()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprintf("%s\n%v\n%s", response.Status, response.Header, body)
	return haystack{request.Method + " " + request.URL.Path, []byte(all)}
}

// process is what others on the machine can read about the process.
func process(t *testing.T, server *program.Server) []haystack {
	t.Helper()
	var hay []haystack
	for _, name := range []string{"cmdline", "comm", "status"} {
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", server.PID(), name))
		if err == nil { // there is no /proc on some systems
			hay = append(hay, haystack{"/proc/PID/" + name, content})
		}
	}
	return hay
}

func verbs(t *testing.T, server *program.Server) []haystack {
	t.Helper()
	var hay []haystack
	for _, line := range []string{
		"config list", "config list -o json", "config show default", "config show default -o json", "config check default",
		"cert list -o json", "device list -o json", "request list", "request list -o json", "crl -o json", "window list -o json --state valid,revoked",
		"inventory -o json", "events -o json --limit 500", "webhook list -o json", "token list -o json", "cert export --format jsonl", "cert export --format csv", "ca rollover status -o json", "ca show -o json", "settings", "settings -o json", "version",
	} {
		result := server.Verb(t, strings.Fields(line)...)
		if result.Code == 2 {
			t.Errorf("understudy %s: %s", line, result.Stderr)
		}
		hay = append(hay, haystack{"understudy " + line, []byte(result.Stdout + result.Stderr)})
	}
	return hay
}

func adminAnswers(t *testing.T, server *program.Server) []haystack {
	t.Helper()
	var hay []haystack
	for _, path := range []string{
		"/metrics", "/version", "/livez", "/readyz", "/openapi.yaml", "/api/v1/configurations", "/api/v1/configurations/default",
		"/api/v1/certificates", "/api/v1/devices", "/api/v1/authority", "/api/v1/events",
		"/api/v1/events?expand=data&limit=500", "/api/v1/redistribution", "/api/v1/inventory", "/api/v1/tokens", "/api/v1/webhooks",
		"/api/v1/certificates/export?format=zip", "/api/v1/certificates/export?format=pem", "/api/v1/backup?keys=false",
		"/api/v1/requests", "/api/v1/authority/rollover", "/api/v1/crls/current",
	} {
		status, body := server.Admin(t, http.MethodGet, path, "")
		if status != http.StatusOK {
			t.Errorf("GET %s: status %d: %s", path, status, body)
		}
		hay = append(hay, haystack{"GET " + path, body})
	}
	return hay
}

// files are all that the server keeps, except the files whose content is a
// secret by purpose: the admin token, the key of webhooks and the keys.
func files(t *testing.T, data string) []haystack {
	t.Helper()
	var hay []haystack
	err := filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		private := d.Name() == "admin.token" || d.Name() == "webhooks.key" || bytes.Contains(content, []byte("PRIVATE KEY"))
		if !private {
			hay = append(hay, haystack{path, content})
			return nil
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode().Perm())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(hay) < 3 {
		t.Errorf("only %d files in the data directory: the test looks in the wrong place", len(hay))
	}
	return hay
}

// needles are the secrets: those that the test typed in, and those that the
// server made.
func needles(t *testing.T, server *program.Server) []needle {
	t.Helper()
	token, err := os.ReadFile(server.AdminTokenFile)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(server.Data, "webhooks.key"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := hex.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil {
		t.Fatal(err)
	}
	all := []needle{
		{"the key of webhooks", key},
		{"the first secret key", []byte(firstSecret)},
		{"the second secret key", []byte(secondSecret)},
		{"a wrong challenge", []byte(wrongSecret)},
		{"a wrong admin token", []byte(wrongToken)},
		{"the admin token", bytes.TrimSpace(token)},
	}
	keys := 0
	err = filepath.WalkDir(server.Data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
			if strings.HasSuffix(block.Type, "PRIVATE KEY") {
				all = append(all, needle{"the private key in " + d.Name(), private(t, block.Bytes)})
				keys++
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if keys < 3 {
		t.Errorf("%d private keys in the data directory, want those of root, issuer and RA", keys)
	}
	return all
}

// private is the part of a key that gives it away in any encoding: a prime
// factor, or the scalar.
func private(t *testing.T, der []byte) []byte {
	t.Helper()
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		t.Fatal(err)
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		return key.Primes[0].Bytes()
	case *ecdsa.PrivateKey:
		scalar, err := key.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return scalar
	}
	t.Fatalf("a private key of type %T", key)
	return nil
}

// grep looks for every needle in every haystack: as it is, in hex, and in
// base64 wherever it may begin.
func grep(t *testing.T, needles []needle, hay []haystack) {
	t.Helper()
	for _, n := range needles {
		if len(n.bytes) < 16 {
			t.Fatalf("%s has only %d bytes", n.name, len(n.bytes))
		}
		for form, want := range forms(n.bytes) {
			for _, h := range hay {
				if bytes.Contains(bytes.ToLower(h.content), bytes.ToLower(want)) {
					t.Errorf("%s, %s, is in %s", n.name, form, h.name)
				}
			}
		}
	}
}

func forms(secret []byte) map[string][]byte {
	all := map[string][]byte{"as it is": secret, "in hex": []byte(hex.EncodeToString(secret))}
	for shift := range 3 {
		// The characters at both ends depend on the neighbours.
		encoded := base64.StdEncoding.EncodeToString(append(make([]byte, shift), secret...))
		all[fmt.Sprintf("in base64 (%d)", shift)] = []byte(encoded[4 : len(encoded)-4])
	}
	return all
}

// TestGrepFinds plants a secret in encoded text, since a grep that finds nothing
// proves nothing by itself.
func TestGrepFinds(t *testing.T) {
	for shift := range 5 {
		text := base64.StdEncoding.EncodeToString([]byte("{\"x\":\"" + strings.Repeat("a", shift) + firstSecret + "\"}"))
		found := false
		for _, form := range forms([]byte(firstSecret)) {
			found = found || strings.Contains(text, string(form))
		}
		if !found {
			t.Errorf("a secret in base64 after %d bytes is not found", shift)
		}
	}
}
