//go:build clients

package clients

import (
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"understudy.example/understudy/test/internal/program"
	"understudy.example/understudy/test/internal/shown"
)

// TestReadme runs the commands with which the README enrols a client that we
// did not write. Only the address is another one.
func TestReadme(t *testing.T) {
	t.Parallel()
	it, dir, script := newTarget(t, "chain"), t.TempDir(), readmeBlock(t)
	address, err := url.Parse(it.url)
	if err != nil {
		t.Fatal(err)
	}
	const shownAddress = "127.0.0.1:8080"
	if !strings.Contains(script, shownAddress) {
		t.Fatalf("the README's commands do not use %s:\n%s", shownAddress, script)
	}
	script = `PATH="$GOBIN:$PATH"` + "\n" + strings.ReplaceAll(script, shownAddress, address.Host)
	env := []string{"GOBIN=" + filepath.Join(dir, "bin"), "UNDERSTUDY_CHALLENGE=" + it.challenge}
	if out, err := command(t, dir, env, "sh", "-e", "-c", script); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	checkChain(t, it, filepath.Join(dir, "cert.pem"))
}

func readmeBlock(t *testing.T) string {
	t.Helper()
	root, err := program.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := shown.Blocks(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blocks {
		if strings.HasPrefix(b.First(), "go install "+newScepclient) {
			return b.Text
		}
	}
	t.Fatalf("no document shows go install %s", newScepclient)
	return ""
}
