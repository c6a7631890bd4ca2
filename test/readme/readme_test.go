package readme

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"understudy.example/understudy/test/internal/program"
	"understudy.example/understudy/test/internal/shown"
)

// understudy is the binary under test.
var understudy program.Binary

func TestMain(m *testing.M) {
	os.Exit(program.Main(m, &understudy))
}

// whoRuns says who runs a block of commands, by the beginning of its first
// line.
var whoRuns = map[string]string{
	serveShown:       "TestFirstScreen",
	enrolShown:       "TestFirstScreen",
	jsonShown:        "TestOneLineOfJSON",
	moduleShown:      "TestImport",
	operatingShown:   "TestOperating",
	conformanceShown: "TestConformanceCommands",
	operatorShown:    "TestConformanceCommands",
	junitShown:       "TestConformanceCommands",
	listShown:        "TestConformanceCommands",
	"go test ./...":  ".ci/run, which reads it out of README.md",
	decodeShown:      "TestDecode",
	staticShown:      "TestModes",
	dynamicShown:     "TestModes",
	microsoftShown:   "TestModes",
	intuneShown:      "TestModes",
	integrationShown: "TestIntegration",
	tokenShown:       "TestIntegration",
	loopShown:        "TestIntegration",
	advanceShown:     "TestIntegration",
	webhookShown:     "TestIntegration",
	labShown:         "TestLabClock",
	labClockShown:    "TestLabClock",
	"go install github.com/micromdm/scep/v2/cmd/scepclient@": "test/clients, which has the client",
}

const (
	serveShown  = "go run ./cmd/understudy serve"
	enrolShown  = "export UNDERSTUDY_CHALLENGE="
	jsonShown   = "UNDERSTUDY_STATIC_SECRET="
	moduleShown = "go mod edit -require"

	operatingShown = "understudy config set default --approval manual"
	decodeShown    = "understudy decode "

	staticShown    = "understudy config add okta-static"
	dynamicShown   = "understudy config add jamf --mode dynamic"
	microsoftShown = "understudy fake-microsoft"
	intuneShown    = "understudy config add intune"

	integrationShown = "understudy serve --webhook-allow"
	tokenShown       = "understudy token add my-mdm"
	loopShown        = "api=http://127.0.0.1:8081/api/v1"
	advanceShown     = "understudy lab clock advance 335d"
	webhookShown     = "understudy webhook add"

	labShown      = "understudy serve --lab"
	labClockShown = "understudy lab clock show"
)

// TestEveryBlockIsRun fails on a block of commands that no test runs.
func TestEveryBlockIsRun(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, block := range blocks(t) {
		if block.Language == "" {
			t.Errorf("%s: the block does not say its language: sh, go, text …", block.Where())
		}
		if block.Language != "sh" {
			continue
		}
		by := ""
		for begin := range whoRuns {
			if strings.HasPrefix(block.First(), begin) {
				by, seen[begin] = whoRuns[begin], true
			}
		}
		if by == "" {
			t.Errorf("%s: no test runs this:\n%s", block.Where(), block.Text)
		}
	}
	for begin, by := range whoRuns {
		if !seen[begin] {
			t.Errorf("%s runs %q, which no document shows any more", by, begin)
		}
	}
}

// TestFirstScreen is the reader's first minute: serve, enrol, look.
func TestFirstScreen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	address, secret := serve(t, dir, serveShown)

	enrol := block(t, enrolShown)
	if !strings.Contains(enrol.Text, "127.0.0.1:8080") {
		t.Fatalf("%s does not use the address that serve listens on", enrol.Where())
	}
	script := strings.ReplaceAll(enrol.Text, "127.0.0.1:8080", address)
	script = strings.Replace(script, "=…", "="+secret, 1)
	out, err := shell(t, dir, script, "UNDERSTUDY_OUTPUT=").CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", enrol.Where(), err, out)
	}
	subject := regexp.MustCompile(`CN=(\S+)`).FindStringSubmatch(enrol.Text)[1]
	if n := strings.Count(string(out), subject); n < 2 {
		t.Errorf("%s: the device and its certificate are not both listed:\n%s", enrol.Where(), out)
	}
	for _, name := range []string{"key.pem", "cert.pem", "chain.pem"} {
		if _, err := os.Stat(filepath.Join(dir, "mac1", name)); err != nil {
			t.Errorf("after the enrolment: %v", err)
		}
	}
}

// TestOperating is an operator's day: approve, revoke, roll over.
func TestOperating(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	address, secret := serve(t, dir, serveShown)
	day := block(t, operatingShown)
	script := strings.ReplaceAll(day.Text, "127.0.0.1:8080", address)
	out, err := shell(t, dir, script, "UNDERSTUDY_CHALLENGE="+secret).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", day.Where(), err, out)
	}
	for _, want := range []string{
		`"status":"pending"`, `note +called the owner`, `"status":"success"`, `revoked because +keyCompromise`,
		`revoked +1\n`, `rollover +prepared`, `last one at`,
	} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("%s: nothing of %s in\n%s", day.Where(), want, out)
		}
	}
}

// TestModes enrols in each of Okta's modes, the last one by a fake Microsoft
// cloud.
func TestModes(t *testing.T) {
	t.Parallel()
	need(t, "curl")
	dir := t.TempDir()
	address, _ := serve(t, dir, serveShown)
	if err := os.WriteFile(filepath.Join(dir, "client-secret.txt"), []byte("a-lab-secret-of-no-worth\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	microsoft := microsoft(t, dir)
	for begin, wants := range map[string][]string{
		staticShown:  {`secret key +\S+`, `"status":"success"`},
		dynamicShown: {`challenge URL +\S+`, `"status":"success"`, `"status":"failure"`, `exit code 4`},
		intuneShown: {`asks +tenant contoso`, `token for Intune: granted`, `"status":"success"`, `"fail_info_text":"SubjectNameMismatch"`,
			`exit code 4`, `(?s)"code":"Success".*"code":"Success".*"code":"SubjectNameMismatch"`},
	} {
		shown := block(t, begin)
		script := strings.NewReplacer("127.0.0.1:8080", address, "127.0.0.1:8443", microsoft).Replace(shown.Text)
		out, err := shell(t, dir, script, "UNDERSTUDY_OUTPUT=").CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", shown.Where(), err, out)
		}
		for _, want := range wants {
			if !regexp.MustCompile(want).Match(out) {
				t.Errorf("%s: nothing of %s in\n%s", shown.Where(), want, out)
			}
		}
	}
}

// need skips a test of a machine that has not what is shown. CI has it.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatal(err)
			}
			t.Skipf("%s is not installed; CI has it", name)
		}
	}
}

// microsoft runs the fake cloud as it is shown, at a free port.
func microsoft(t *testing.T, dir string) (address string) {
	t.Helper()
	command := shell(t, dir, strings.Replace(block(t, microsoftShown).Text, ":8443", ":0", 1))
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		command.Process.Signal(syscall.SIGTERM)
		if err := command.Wait(); err != nil {
			t.Errorf("fake-microsoft ended with: %v", err)
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	found := regexp.MustCompile(`https://([^/]+)/`).FindStringSubmatch(line)
	if found == nil {
		t.Fatalf("fake-microsoft printed %q, %v", line, err)
	}
	go io.Copy(io.Discard, stdout)
	return found[1]
}

// serve runs a command that is shown, on other ports, and reads what it tells
// its reader.
func serve(t *testing.T, dir, begin string) (address, secret string) {
	t.Helper()
	command := shell(t, dir, block(t, begin).Text, "UNDERSTUDY_LISTEN=127.0.0.1:0", "UNDERSTUDY_ADMIN_LISTEN=127.0.0.1:0")
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	log := &strings.Builder{}
	command.Stderr = log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		command.Process.Signal(syscall.SIGTERM)
		if err := command.Wait(); err != nil {
			t.Errorf("serve ended with: %v\n%s", err, log)
		}
	})
	url := regexp.MustCompile(`SCEP URL\s+http://([^/\s]+)/`)
	key := regexp.MustCompile(`Secret key\s+([A-Za-z0-9]{16,})\s`)
	lines, text := bufio.NewReader(stdout), ""
	for !url.MatchString(text) || !key.MatchString(text) {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("serve printed no SCEP URL and secret key: %v\n%s\n%s", err, text, log)
		}
		text += line
	}
	go io.Copy(io.Discard, lines)
	return url.FindStringSubmatch(text)[1], key.FindStringSubmatch(text)[1]
}

// TestOneLineOfJSON runs the command that the README gives for CI.
func TestOneLineOfJSON(t *testing.T) {
	t.Parallel()
	shown := block(t, jsonShown)
	command := shell(t, t.TempDir(), "exec env "+shown.Text)
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	line, readErr := bufio.NewReader(stdout).ReadString('\n')
	command.Process.Signal(syscall.SIGTERM)
	rest, _ := io.ReadAll(stdout)
	if err := command.Wait(); err != nil || readErr != nil {
		t.Fatalf("%s: %v, %v", shown.Where(), err, readErr)
	}
	var ready map[string]any
	if err := json.Unmarshal([]byte(line), &ready); err != nil || ready["scep_url"] == "" {
		t.Errorf("%s: printed %q: %v", shown.Where(), line, err)
	}
	if len(rest) > 0 {
		t.Errorf("%s: more than one line: %q", shown.Where(), rest)
	}
}

// shell prepares a script as its reader would type it. understudy is on the
// PATH, and `go run ./cmd/understudy` runs the binary that was built already.
func shell(t *testing.T, dir, script string, env ...string) *exec.Cmd {
	t.Helper()
	bin := t.TempDir()
	realGo, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	stub := `#!/bin/sh
if [ "$1 $2" = "run ./cmd/understudy" ]; then
	shift 2
	exec "` + string(understudy) + `" "$@"
fi
exec "` + realGo + `" "$@"
`
	if err := os.WriteFile(filepath.Join(bin, "go"), []byte(stub), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(string(understudy), filepath.Join(bin, "understudy")); err != nil {
		t.Fatal(err)
	}
	if strings.Count(strings.TrimSpace(script), "\n") == 0 && !strings.HasPrefix(script, "exec ") {
		script = "exec " + script // so that signals reach it
	}
	command := exec.Command("sh", "-e", "-c", script)
	command.Dir = dir
	command.Env = append(os.Environ(), append(env, "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))...)
	return command
}

func blocks(t *testing.T) []shown.Block {
	t.Helper()
	root, err := program.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	all, err := shown.Blocks(root)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// block is the one block whose first line begins so.
func block(t *testing.T, begin string) shown.Block {
	t.Helper()
	var found []shown.Block
	for _, b := range blocks(t) {
		if b.Language == "sh" && strings.HasPrefix(b.First(), begin) {
			found = append(found, b)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d blocks begin with %q, want 1", len(found), begin)
	}
	return found[0]
}
