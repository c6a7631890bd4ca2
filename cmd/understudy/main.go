// Command understudy is a lab stand-in for Okta's Device Access certificate
// authority: it serves SCEP, and talks to a server that runs.
//
// The package parses, wires and prints; it decides nothing. There is one file
// for each verb. Only this package reads the environment.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/alecthomas/kong"

	"understudy.example/understudy/cmd/understudy/internal/setting"
)

func main() {
	os.Exit(Run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ()))
}

// app is what every verb gets: where to read and write, and the settings.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	settings       *setting.Resolver
	output         string          // --output
	json           bool            // --output json
	given          map[string]bool // names of the flags on the command line
	journal        string          // JOURNAL_STREAM
}

// Run runs the verb that args name and returns the exit code. environ has the
// form of os.Environ.
func Run(args []string, stdin io.Reader, stdout, stderr io.Writer, environ []string) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, settings: setting.New(environ)}
	a.journal = setting.Lookup(environ, "JOURNAL_STREAM")
	grammar := &cli{}
	parser, helped, err := newParser(a, grammar)
	if err != nil { // a mistake in the grammar, which every test would meet
		fmt.Fprintln(stderr, "understudy:", err)
		return exitFailed
	}
	if len(args) == 0 {
		parser.Stdout = stderr
		_, _ = parser.Parse([]string{"--help"})
		return exitUsage
	}
	for i, text := range args {
		if !utf8.ValidString(text) { // the parser would make another name of it
			return a.fail(usagef("argument %d is not UTF-8: %q", i+1, text))
		}
	}
	ctx, err := parser.Parse(args)
	if *helped {
		return exitOK
	}
	if err != nil {
		fmt.Fprintf(stderr, "understudy: %v\nRun \"%s --help\".\n", err, commandOf(err))
		return exitUsage
	}
	a.output, a.json = grammar.Output, grammar.Output == outputJSON
	if a.output == outputJUnit && ctx.Command() != "conformance" {
		return a.fail(usagef("--output junit is for conformance"))
	}
	if err := noEmptyArguments(ctx); err != nil {
		return a.fail(err)
	}
	a.given = setting.OnCommandLine(ctx)
	if err := ctx.Run(a); err != nil {
		return a.fail(err)
	}
	return exitOK
}

// noEmptyArguments refuses an argument that is there and empty, as from a
// variable of a script that was never set: where arguments are optional it
// would mean all there is.
func noEmptyArguments(ctx *kong.Context) error {
	for _, p := range ctx.Path {
		if p.Positional == nil {
			continue
		}
		texts, ok := p.Positional.Target.Interface().([]string)
		if !ok {
			texts = []string{fmt.Sprint(p.Positional.Target.Interface())}
		}
		if slices.Contains(texts, "") {
			return usagef("%s is empty", p.Positional.Summary())
		}
	}
	return nil
}

// The values of --output, besides text.
const (
	outputJSON  = "json"
	outputJUnit = "junit"
)

// newParser returns the parser of the grammar, and whether it printed help
// instead of parsing.
func newParser(a *app, grammar *cli) (*kong.Kong, *bool, error) {
	helped := false
	parser, err := kong.New(grammar,
		kong.Name("understudy"),
		kong.Description("A lab stand-in for Okta's Device Access certificate authority."),
		kong.Writers(a.stdout, a.stderr),
		kong.Exit(func(int) { helped = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Bind(a),
		kong.TypeMapper(reflect.TypeFor[time.Time](), kong.MapperFunc(timeOf)),
	)
	if err != nil {
		return nil, nil, fmt.Errorf("build command line: %w", err)
	}
	return parser, &helped, nil
}

// commandOf returns the command whose help would have prevented a usage error.
func commandOf(err error) string {
	var parse *kong.ParseError
	if errors.As(err, &parse) {
		if node := parse.Context.Selected(); node != nil {
			return node.FullPath()
		}
	}
	return "understudy"
}

// timeOf reads the value of a flag that is a time.
func timeOf(ctx *kong.DecodeContext, target reflect.Value) error {
	var text string
	if err := ctx.Scan.PopValueInto("time", &text); err != nil {
		return err
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return fmt.Errorf("%q is not a time: write 2026-12-01T00:00:00Z", text)
	}
	target.Set(reflect.ValueOf(t))
	return nil
}

// fail prints err and returns its exit code.
func (a *app) fail(err error) int {
	var quiet *quietError
	if !errors.As(err, &quiet) {
		fmt.Fprintln(a.stderr, "understudy:", err)
	}
	return exitCode(err)
}

// note prints a line for people. Data goes to stdout, notes do not.
func (a *app) note(format string, args ...any) {
	fmt.Fprintf(a.stderr, format+"\n", args...)
}
