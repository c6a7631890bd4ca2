package setting_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"understudy.example/understudy/cmd/understudy/internal/setting"
)

// grammar is a small program with settings of every sort.
type grammar struct {
	Config string `help:""`
	Serve  struct {
		LeadTime string   `default:"30d"`
		Ports    []int    `default:"1,2"`
		Mode     string   `enum:"a,b" default:"a"`
		Password string   `from:"env" secret:""`
		Names    []string `unset:"all of them"`
	} `cmd:""`
	Add struct {
		LeadTime string
		Once     string `from:"flag"`
	} `cmd:""`
}

// run parses args as the program would, with an optional settings file.
func run(t *testing.T, environ []string, file string, args ...string) (*kong.Context, *setting.Resolver, error) {
	t.Helper()
	r := setting.New(environ)
	parser, err := kong.New(&grammar{}, kong.Name("program"), kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	if file != "" {
		path := filepath.Join(t.TempDir(), "file.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := r.Load(path, parser.Model); err != nil {
			return nil, r, err
		}
	}
	traced, err := kong.Trace(parser, args)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.CheckEnvironment(traced); err != nil {
		return nil, r, err
	}
	if err := kong.Resolvers(r).Apply(parser); err != nil {
		t.Fatal(err)
	}
	ctx, err := parser.Parse(args)
	return ctx, r, err
}

func find(t *testing.T, list []setting.Effective, name string) setting.Effective {
	t.Helper()
	for _, e := range list {
		if e.Name == name {
			return e
		}
	}
	t.Fatalf("%s is not listed", name)
	return setting.Effective{}
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	const file = "lead-time: from-file\n"
	env := []string{"UNDERSTUDY_LEAD_TIME=from-env"}
	for _, test := range []struct {
		name          string
		environ       []string
		file          string
		args          []string
		value, source string
	}{
		{"default", nil, "", nil, "30d", "default"},
		{"file", nil, file, nil, "from-file", "file"},
		{"environment", env, file, nil, "from-env", "environment UNDERSTUDY_LEAD_TIME"},
		{"flag", env, file, []string{"--lead-time", "from-flag"}, "from-flag", "flag"},
		{"empty variable", []string{"UNDERSTUDY_LEAD_TIME="}, file, nil, "from-file", "file"},
		{"empty key", nil, "lead-time:\n", nil, "30d", "default"},
		{"another program's variable", []string{"LEAD_TIME=x"}, "", nil, "30d", "default"},
	} {
		ctx, r, err := run(t, test.environ, test.file, append([]string{"serve"}, test.args...)...)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		got := find(t, r.List(ctx), "lead-time")
		if got.Value != test.value || !strings.HasPrefix(got.Source, test.source) {
			t.Errorf("%s: listed %+v", test.name, got)
		}
		if holds := ctx.Model.Target.Interface().(grammar).Serve.LeadTime; holds != test.value {
			t.Errorf("%s: %q holds and %q is listed", test.name, holds, test.value)
		}
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	ctx, r, err := run(t, []string{"UNDERSTUDY_PASSWORD=hush", "UNDERSTUDY_NAMES=x,y"}, "ports: [8080, 0x10]\nlead-time: 2026-01-01\n", "serve")
	if err != nil {
		t.Fatal(err)
	}
	serve := ctx.Model.Target.Interface().(grammar).Serve
	if !reflect.DeepEqual(serve.Ports, []int{8080, 16}) || !reflect.DeepEqual(serve.Names, []string{"x", "y"}) || serve.LeadTime != "2026-01-01" || serve.Password != "hush" {
		t.Errorf("got %+v", serve)
	}
	if e := find(t, r.List(ctx), "password"); !e.Secret || !e.Set || e.Value != "" {
		t.Errorf("the secret is listed as %+v", e)
	}
	ctx, r, err = run(t, nil, "", "serve", "--ports", "5,6")
	if err != nil {
		t.Fatal(err)
	}
	if e := find(t, r.List(ctx), "ports"); e.Value != "5,6" || e.Source != "flag" {
		t.Errorf("ports are listed as %+v", e)
	}
	if e := find(t, r.List(ctx), "names"); e.Set || e.Value != "all of them" {
		t.Errorf("names are listed as %+v", e)
	}
	if e := find(t, r.List(ctx), "password"); e.Set {
		t.Errorf("a secret that is not set is listed as %+v", e)
	}
}

// TestMistakes: everything that is wrong is said at once, and no value of a
// secret with it.
func TestMistakes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		environ []string
		file    string
		want    []string
	}{
		{"file", nil, "leed: 1\nports: x\nmode: c\nonce: x\npassword: hush\nconfig: x\nhelp: x\nlead-time: {a: b}\nmode: a\n", []string{
			":1: leed is no setting", ":2: ports: ", ":3: mode: must be one of a, b", ":4: once is no setting",
			":5: password is no setting", ":6: config is no setting", ":7: help is no setting", ":8: lead-time: must be a value", ":9: mode is given twice, first in line 3",
		}},
		{"environment", []string{"UNDERSTUDY_PORTS=x", "UNDERSTUDY_MODE=c"}, "", []string{"UNDERSTUDY_PORTS: ", "UNDERSTUDY_MODE: must be one of a, b"}},
		{"no mapping", nil, "just text\n", []string{"must be lines of"}},
		{"nested list", nil, "ports: [[1]]\n", []string{"must be a list of plain values"}},
		{"comma in a list", nil, "names: ['a,b']\n", []string{"must be a list of plain values"}},
	} {
		_, _, err := run(t, test.environ, test.file, "serve")
		if err == nil {
			t.Errorf("%s: want an error", test.name)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q is missing in\n%v", test.name, want, err)
			}
		}
		if strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: a secret is in the error:\n%v", test.name, err)
		}
	}
}

// TestFlagOnly: what describes one call comes from the command line alone.
func TestFlagOnly(t *testing.T) {
	t.Parallel()
	ctx, r, err := run(t, []string{"UNDERSTUDY_ONCE=x", "UNDERSTUDY_LEED=y", "UNDERSTUDY_LEAD_TIME=z"}, "", "add")
	if err != nil {
		t.Fatal(err)
	}
	if got := ctx.Model.Target.Interface().(grammar).Add.Once; got != "" {
		t.Errorf("the environment set it to %q", got)
	}
	if got, want := r.UnknownVariables(ctx.Model), []string{"UNDERSTUDY_LEED", "UNDERSTUDY_ONCE"}; !reflect.DeepEqual(got, want) {
		t.Errorf("unknown variables %v, want %v", got, want)
	}
	if got := r.UnknownVariables(ctx.Model, "UNDERSTUDY_LEED"); len(got) != 1 {
		t.Errorf("unknown variables %v, want one", got)
	}
}
