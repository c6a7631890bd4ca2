package readme

import (
	"encoding/json"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// integration is the document that TestIntegration runs.
const integration = "docs/mdm-integration.md"

// TestIntegration is an MDM vendor's first afternoon: every command of the
// document, one after another, and its receiver.
func TestIntegration(t *testing.T) {
	t.Parallel()
	need(t, "curl", "python3")
	dir := t.TempDir()
	address, secret := serve(t, dir, integrationShown)
	port := freePort(t)
	there := strings.NewReplacer("127.0.0.1:8080", address, "127.0.0.1:8081", adminAddress(t, dir),
		"127.0.0.1:9000", "127.0.0.1:"+port, `"127.0.0.1", 9000`, `"127.0.0.1", `+port)
	wants := printed()
	for _, b := range blocks(t) {
		switch {
		case b.File != integration || b.First() == block(t, integrationShown).First():
		case b.Language == "python":
			put(t, filepath.Join(dir, "receiver.py"), there.Replace(b.Text))
		case b.Language == "sh":
			out, err := shell(t, dir, there.Replace(b.Text), "UNDERSTUDY_OUTPUT=", "UNDERSTUDY_CHALLENGE="+secret).CombinedOutput()
			if err != nil || len(wants) == 0 {
				t.Fatalf("%s: %v; %d blocks should come\n%s", b.Where(), err, len(wants), out)
			}
			for _, pattern := range wants[0] {
				if !regexp.MustCompile(pattern).Match(out) {
					t.Errorf("%s: nothing of %s in\n%s", b.Where(), pattern, out)
				}
			}
			wants = wants[1:]
		}
	}
	if len(wants) > 0 {
		t.Errorf("%s: %d blocks of commands are missing", integration, len(wants))
	}
}

// printed is what each block of commands prints, in order.
func printed() [][]string {
	return [][]string{
		{`Wrote my-mdm.token`, `"name": "default"`, `"status":"success"`},
		{`"items": \[\]`, `"state": "valid"`, `"state": "due"`, `"kind": "percent_remaining"`},
		{`(?m)^moved +335d ahead`},
		{`"state": "due"`, `(?m)^304$`},
		{`(?s)"state": "acknowledged".*"state": "acknowledged".*"state": "due".*"status": "acknowledged"`, `(?s)"counts": {.*"acknowledged": 1`},
		{`"state": "superseded"`, `"superseded_by": "[0-9a-f]+"`, `(?m)^409$`, `(?s) valid .* superseded `},
		{`(?m)^test_\S+ webhook.test None$`, `(?m)^ev_\S+ redistribution.due serial:C02XL0GTJGH6$`, `(?m)^ev_\S+ redistribution.missed serial:C02XL0GTJGH6$`},
	}
}

// adminAddress is where the server that runs in dir has its admin API.
func adminAddress(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "understudy-data", "server.json"))
	if err != nil {
		t.Fatal(err)
	}
	var server struct {
		AdminURL string `json:"admin_url"`
	}
	if err := json.Unmarshal(text, &server); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(server.AdminURL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// freePort is a port that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
