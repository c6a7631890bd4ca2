//go:build unix

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"understudy": main, "into": into, "receiver": receiver})
}

// TestScripts runs the program as a person would. Besides testscript's own
// commands, scripts have:
//
//	exec into NAME understudy … &NAME&   run it with its output in NAME.out and NAME.err
//	waitfor FILE PATTERN                 until the file matches
//	exits CODE PROGRAM ARGUMENTS…        run it and compare the exit code
//	fields FILE                          set a variable for each field of a JSON object, in capitals, and NAME_ADDR for a URL's host and port
//	pick VARIABLE FILE PATTERN           set a variable to the first group of a pattern that the file matches
//	fetch URL                            print what the server answers
//	mode PERMISSIONS FILE…               compare permissions
//	fill FILE TEXT                       write a file of one line, with mode 0600
//	edit FILE OLD NEW                    replace a text in a file
//	half FILE                            cut a file in the middle
//	signal NAME PID                      send TERM or KILL
//	hold ADDR                            begin a request and never end it
//	cmdline PID                          print the arguments of a process
//	later VARIABLE TIME DURATION         set a variable to a time plus a duration, as -720h
//	exec into NAME receiver &NAME&       run a receiver of webhooks, see receiver
//	nosecret SECRETFILE FILE…            the secret is in none of the files
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		// Under the race detector every process sleeps for a second before it
		// ends, unless it is told otherwise, and scripts run hundreds.
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", "atexit_sleep_ms=50")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"waitfor":  waitfor,
			"exits":    exits,
			"fields":   fields,
			"pick":     pick,
			"fetch":    fetch,
			"mode":     mode,
			"fill":     fill,
			"cmdline":  cmdline,
			"edit":     edit,
			"half":     half,
			"nosecret": nosecret,
			"signal":   sendSignal,
			"hold":     hold,
			"later":    later,
		},
	})
}

// into runs understudy with its output in files, so that a script can read it
// while the program runs.
func into() {
	name, program := os.Args[1], os.Args[2]
	stdout, err := os.Create(name + ".out")
	if err == nil {
		var stderr *os.File
		if stderr, err = os.Create(name + ".err"); err == nil && program == "understudy" {
			os.Args, os.Stdout, os.Stderr = os.Args[2:], stdout, stderr
			main()
		}
	}
	if err == nil && program == "receiver" {
		os.Args, os.Stdout = os.Args[2:], stdout
		receiver()
	}
	fmt.Fprintln(os.Stderr, "usage: into NAME understudy ARGUMENTS:", err)
	os.Exit(125)
}

// receiver answers webhooks: with the status that the path is, and with 204
// where it is none. It prints its URL as a line of JSON, and then a line for
// each delivery.
func receiver() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("{\"url\":\"http://%s\"}\n", listener.Addr())
	log.Fatal(http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var event struct{ Type string }
		err := json.NewDecoder(r.Body).Decode(&event)
		status, isStatus := strconv.Atoi(r.URL.Path[1:])
		if isStatus != nil {
			status = http.StatusNoContent
		}
		fmt.Println(r.Method, r.URL.Path, event.Type, err)
		w.WriteHeader(status)
	})))
}

func need(ts *testscript.TestScript, neg, ok bool, usage string) {
	if neg || !ok {
		ts.Fatalf("usage: %s", usage)
	}
}

func waitfor(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 2, "waitfor FILE PATTERN")
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	var text []byte
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		text, err = os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && pattern.Match(text) {
			return
		}
	}
	log, _ := os.ReadFile(ts.MkAbs(strings.TrimSuffix(args[0], ".out") + ".err"))
	ts.Fatalf("%s never matched %s:\n%s\n%s", args[0], args[1], text, log)
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) >= 2, "exits CODE PROGRAM ARGUMENTS…")
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func fields(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "fields FILE")
	var object map[string]any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &object))
	for name, value := range object {
		text := fmt.Sprint(value)
		ts.Setenv(strings.ToUpper(name), text)
		if u, err := url.Parse(text); err == nil && u.Host != "" {
			ts.Setenv(strings.ToUpper(name)+"_ADDR", u.Host)
		}
	}
}

func pick(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 3, "pick VARIABLE FILE PATTERN")
	pattern, err := regexp.Compile("(?m)" + args[2])
	ts.Check(err)
	found := pattern.FindStringSubmatch(ts.ReadFile(args[1]))
	if len(found) < 2 {
		ts.Fatalf("%s does not match %s", args[1], args[2])
	}
	ts.Setenv(args[0], found[1])
}

func fetch(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "fetch URL")
	response, err := http.Get(args[0])
	ts.Check(err)
	defer response.Body.Close()
	fmt.Fprintln(ts.Stdout(), response.Status)
	_, err = io.Copy(ts.Stdout(), response.Body)
	ts.Check(err)
}

func mode(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) >= 2, "mode PERMISSIONS FILE…")
	for _, file := range args[1:] {
		info, err := os.Stat(ts.MkAbs(file))
		ts.Check(err)
		if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
			ts.Fatalf("%s has mode %s, want %s", file, got, args[0])
		}
	}
}

func fill(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 2, "fill FILE TEXT")
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(args[1]+"\n"), 0o600))
}

func edit(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 3, "edit FILE OLD NEW")
	text := ts.ReadFile(args[0])
	if !strings.Contains(text, args[1]) {
		ts.Fatalf("%s does not hold %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.ReplaceAll(text, args[1], args[2])), 0o600))
}

func half(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "half FILE")
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), info.Size()/2))
}

func later(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 3, "later VARIABLE TIME DURATION")
	at, err := time.Parse(time.RFC3339, args[1])
	ts.Check(err)
	by, err := time.ParseDuration(args[2])
	ts.Check(err)
	ts.Setenv(args[0], at.Add(by).UTC().Format(time.RFC3339))
}

func cmdline(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "cmdline PID")
	text, err := os.ReadFile("/proc/" + args[0] + "/cmdline")
	if errors.Is(err, fs.ErrNotExist) { // not Linux
		text, err = exec.Command("ps", "-ww", "-o", "args=", "-p", args[0]).Output()
	}
	ts.Check(err)
	fmt.Fprintln(ts.Stdout(), strings.ReplaceAll(string(text), "\x00", " "))
}

func nosecret(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) >= 2, "nosecret SECRETFILE FILE…")
	secret := strings.TrimSpace(ts.ReadFile(args[0]))
	if secret == "" {
		ts.Fatalf("%s is empty", args[0])
	}
	for _, file := range args[1:] {
		if strings.Contains(ts.ReadFile(file), secret) {
			ts.Fatalf("%s holds the secret of %s", file, args[0])
		}
	}
}

func sendSignal(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 2, "signal NAME PID")
	number, ok := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL}[args[0]]
	pid, err := strconv.Atoi(args[1])
	need(ts, neg, ok && err == nil && pid > 1, "signal TERM|KILL PID")
	ts.Check(syscall.Kill(pid, number))
}

func hold(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "hold ADDR")
	conn, err := net.Dial("tcp", args[0])
	ts.Check(err)
	ts.Defer(func() { conn.Close() })
	fmt.Fprintf(conn, "POST /scep/default?operation=PKIOperation HTTP/1.1\r\nHost: %s\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n", args[0])
	// The server says 100 Continue when a handler reads the body.
	_, err = io.ReadFull(conn, make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n")))
	ts.Check(err)
}
