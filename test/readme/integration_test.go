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

	"understudy.example/understudy/test/internal/shown"
)

// integration is the document that TestIntegration runs.
const integration = "docs/mdm-integration.md"

// TestIntegration is an MDM vendor's first afternoon: every command of the
// document, one after another, and its receiver.
func TestIntegration(t *testing.T) {
	need(t, "curl", "python3")
	dir := t.TempDir()
	address, secret := serve(t, dir, integrationShown)
	port := freePort(t)
	there := strings.NewReplacer("127.0.0.1:8080", address, "127.0.0.1:8081", adminAddress(t, dir),
		"127.0.0.1:9000", "127.0.0.1:"+port, `"127.0.0.1", 9000`, `"127.0.0.1", `+port)
	wants := map[string][]string{
		"token add my-mdm":           {`Wrote my-mdm.token`, `"name":"default"`, `"status":"success"`},
		"state=valid":                {`"items":\[\]`, `"state":"valid"`, `"state":"due"`, `"kind":"percent_remaining"`},
		"lab clock advance 335d\n":   {`now +20\d\d`},
		"If-None-Match":              {`"state":"due"`, `(?m)^304$`},
		"redistribution:ack":         {`(?s)"state":"acknowledged".*"state":"acknowledged".*"status":"acknowledged"`, `"counts":{.*"acknowledged":1`},
		"wait=60s":                   {`"state":"superseded"`, `"superseded_by":"[0-9a-f]+"`, `(?m)^409$`, `(?s) valid .* superseded `},
		"webhook add http://127.0.0": {`(?m)^ev_\S+ redistribution.due serial:C02XL0GTJGH6$`, `(?m)^ev_\S+ redistribution.missed serial:C02XL0GTJGH6$`},
	}
	ran := 0
	for _, b := range blocks(t) {
		switch {
		case b.File != integration || b.First() == block(t, integrationShown).First():
		case b.Language == "python":
			put(t, filepath.Join(dir, "receiver.py"), there.Replace(b.Text))
		case b.Language == "sh":
			out, err := shell(t, dir, there.Replace(b.Text), "UNDERSTUDY_OUTPUT=", "UNDERSTUDY_CHALLENGE="+secret).CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %v\n%s", b.Where(), err, out)
			}
			ran += said(t, b, string(out), wants)
		}
	}
	if ran != len(wants) {
		t.Errorf("%s: %d of %d blocks ran", integration, ran, len(wants))
	}
}

// said compares what a block of commands printed with what it should. It
// returns how many of the expectations were its own.
func said(t *testing.T, b shown.Block, out string, wants map[string][]string) int {
	t.Helper()
	for part, patterns := range wants {
		if !strings.Contains(b.Text+"\n", part) {
			continue
		}
		for _, pattern := range patterns {
			if !regexp.MustCompile(pattern).MatchString(out) {
				t.Errorf("%s: nothing of %s in\n%s", b.Where(), pattern, out)
			}
		}
		return 1
	}
	t.Errorf("%s: nobody looks at what this prints", b.Where())
	return 0
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
