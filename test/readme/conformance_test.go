package readme

import (
	"encoding/xml"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"understudy.example/understudy/test/internal/program"
)

// The blocks of docs/conformance.md.
const (
	conformanceShown = "UNDERSTUDY_CHALLENGE=… understudy conformance"
	operatorShown    = "understudy config add approving"
	junitShown       = "understudy conformance --url http://127.0.0.1:8080/scep --challenge-file challenge.txt --only"
	listShown        = "understudy conformance --list"
)

// TestConformanceCommands runs what docs/conformance.md shows against our
// server, each block with the challenge in a file and in the environment.
func TestConformanceCommands(t *testing.T) {
	t.Parallel()
	const secret = "0123456789abcdefABCDEF"
	server := understudy.Start(t, program.Options{Env: []string{"UNDERSTUDY_STATIC_SECRET=" + secret}})
	at, err := url.Parse(server.SCEPURL)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "challenge.txt"), []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for begin, want := range map[string]string{
		conformanceShown: "71  pass", operatorShown: "66  pass", junitShown: "", listShown: "71",
	} {
		shown := block(t, begin)
		script := strings.ReplaceAll(shown.Text, "127.0.0.1:8080", at.Host)
		script = strings.Replace(script, "=…", "="+secret, 1)
		if strings.HasPrefix(script, "UNDERSTUDY_") {
			script = "exec env " + script
		}
		out, err := shell(t, dir, script, "UNDERSTUDY_OUTPUT=", "UNDERSTUDY_SERVER="+server.AdminURL, "UNDERSTUDY_TOKEN_FILE="+server.AdminTokenFile).CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v\n%s", shown.Where(), err, out)
		}
	}
	var suite struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
	}
	text, err := os.ReadFile(filepath.Join(dir, "conformance.xml"))
	if err == nil {
		err = xml.Unmarshal(text, &suite)
	}
	if err != nil || suite.Tests != 39 || suite.Failures != 0 {
		t.Errorf("conformance.xml: %+v, %v", suite, err)
	}
}
