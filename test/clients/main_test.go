//go:build clients

package clients

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"understudy.example/understudy/test/internal/program"
)

const (
	install = "apt-get install strongswan-pki libstrongswan-extra-plugins libstrongswan-standard-plugins certmonger scep dbus python3 openssl"
	// The client that Debian does not have. It is pinned: a client that
	// changes under the test would make its failures puzzling.
	newScepclient = "github.com/micromdm/scep/v2/cmd/scepclient@v2.3.0"
)

// understudy is the binary under test; scepclient23 is the newer scepclient.
var (
	understudy   program.Binary
	scepclient23 string
)

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if missing := missingTools(); len(missing) > 0 {
		fmt.Printf("FAIL: these tests need %s; on Debian 12:\n\t%s\n", strings.Join(missing, ", "), install)
		return 1
	}
	bin, err := os.MkdirTemp("", "understudy-clients-")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(bin)
	get := exec.Command("go", "install", newScepclient)
	get.Dir = bin // outside of the module, whose dependencies do not matter to it
	get.Env = append(os.Environ(), "GOBIN="+bin, "GOFLAGS=")
	if out, err := get.CombinedOutput(); err != nil {
		fmt.Printf("FAIL: go install %s: %v\n%s", newScepclient, err, out)
		return 1
	}
	scepclient23 = filepath.Join(bin, "scepclient")
	return program.Main(m, &understudy)
}

func missingTools() []string {
	var missing []string
	for _, tool := range []string{"pki", "getcert", "/usr/lib/certmonger/certmonger-session", "/usr/bin/scepclient", "dbus-run-session", "python3", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing = append(missing, tool)
		}
	}
	// Without it pki can fetch no URL, and says so only in passing.
	if found, _ := filepath.Glob("/usr/lib/ipsec/plugins/libstrongswan-curl.so"); len(found) == 0 {
		missing = append(missing, "strongSwan's curl plugin")
	}
	return missing
}
