package main

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"understudy.example/understudy/cmd/understudy/internal/setting"
)

// TestHelp holds every verb to examples that parse, and every flag and
// argument to a sentence.
func TestHelp(t *testing.T) {
	t.Parallel()
	a := &app{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard, settings: setting.New(nil)}
	parser, _, err := newParser(a, &cli{})
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range parser.Model.Leaves(false) {
		name := strings.TrimPrefix(verb.FullPath(), "understudy ")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var help bytes.Buffer
			args := append(strings.Fields(name), "--help")
			if code := Run(args, strings.NewReader(""), &help, io.Discard, nil); code != exitOK {
				t.Errorf("--help exits with %d", code)
			}
			if !strings.HasPrefix(help.String(), "Usage: understudy "+name) {
				t.Errorf("--help begins with %.60q", help.String())
			}
			for _, flag := range verb.Flags {
				sentence(t, "--"+flag.Name, flag.Help)
			}
			for _, argument := range verb.Positional {
				sentence(t, argument.Name, argument.Help)
			}
			examples := exampleLine.FindAllStringSubmatch(verb.Detail, -1)
			if len(examples) == 0 {
				t.Error("has no example")
			}
			for _, example := range examples {
				parses(t, example[1])
			}
		})
	}
}

var exampleLine = regexp.MustCompile(`(?m)^    understudy ([^|>\n]+)`)

func parses(t *testing.T, example string) {
	t.Helper()
	a := &app{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard, settings: setting.New(nil)}
	parser, _, err := newParser(a, &cli{})
	if err != nil {
		t.Fatal(err)
	}
	quoted := regexp.MustCompile(`"[^"]*"|\S+`).FindAllString(example, -1)
	for i := range quoted {
		quoted[i] = strings.Trim(quoted[i], `"`)
	}
	ctx, err := kong.Trace(parser, quoted)
	if err == nil {
		err = ctx.Error
	}
	if err != nil {
		t.Errorf("example %q: %v", example, err)
	}
}

func sentence(t *testing.T, name, help string) {
	t.Helper()
	if !strings.HasSuffix(help, ".") {
		t.Errorf("the help of %s is no sentence: %q", name, help)
	}
	if strings.Contains(help, "..") {
		t.Errorf("the help of %s has two full stops: %q", name, help)
	}
}
