// Package setting decides where each setting takes its value from: the
// command line, the environment, the settings file or its default, in this
// order.
//
// It replaces kong's own readers, which let the file beat the environment and
// ignore keys that are no setting. It must not know what any setting means.
//
// One setting has three spellings: the flag --rate-limit, the variable
// UNDERSTUDY_RATE_LIMIT and the key rate-limit of the file. A flag with the
// tag `from:"flag"` describes one call and is no setting; with `from:"env"` it
// may stand in the environment but not in the file. The tag `secret:""` hides
// the value from [Resolver.List].
package setting

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Prefix starts the name of every variable.
const Prefix = "UNDERSTUDY_"

// Resolver looks settings up in the environment and in a settings file. It is
// a kong.Resolver for the flags that the command line leaves open.
type Resolver struct {
	env  map[string]string
	file *file
}

// New returns a Resolver over the variables in environ, each "NAME=value". A
// variable that is set but empty counts as unset.
func New(environ []string) *Resolver {
	r := &Resolver{env: map[string]string{}}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, Prefix) && value != "" {
			r.env[name] = value
		}
	}
	return r
}

// Lookup returns the value of a variable that is not ours.
func Lookup(environ []string, name string) string {
	for _, entry := range environ {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}

// OnCommandLine returns the names of the flags that stand on the command line.
func OnCommandLine(ctx *kong.Context) map[string]bool {
	given := map[string]bool{}
	for _, p := range ctx.Path {
		if p.Flag != nil && !p.Resolved {
			given[p.Flag.Name] = true
		}
	}
	return given
}

// Env returns the value of the setting's variable, if it is set.
func (r *Resolver) Env(name string) (string, bool) {
	value, ok := r.env[Variable(name)]
	return value, ok
}

// Load reads the settings file at path. The error lists everything that is
// wrong with it: what is no setting of app, what is given twice and what
// cannot be a value of its setting.
func (r *Resolver) Load(path string, app *kong.Application) error {
	f, err := readFile(path)
	if err != nil {
		return err
	}
	if err := f.check(app); err != nil {
		return err
	}
	r.file = f
	return nil
}

// CheckEnvironment returns everything that is wrong with the variables that
// the selected command reads.
func (r *Resolver) CheckEnvironment(ctx *kong.Context) error {
	var problems []error
	for _, flag := range ctx.Flags() {
		value, ok := r.Env(flag.Name)
		if !ok || !inEnvironment(flag) || onCommandLine(ctx, flag) {
			continue
		}
		if err := try(flag, value); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", Variable(flag.Name), err))
		}
	}
	return errors.Join(problems...)
}

// Validate finds nothing: Load and CheckEnvironment did.
func (r *Resolver) Validate(*kong.Application) error { return nil }

// Resolve returns the value for a flag that is not on the command line, or nil
// when it keeps its default.
func (r *Resolver) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if value, _, ok := r.lookup(flag); ok {
		return value, nil
	}
	return nil, nil
}

// lookup returns a flag's value from the environment or the file, and which.
func (r *Resolver) lookup(flag *kong.Flag) (value, source string, ok bool) {
	if value, ok := r.Env(flag.Name); ok && inEnvironment(flag) {
		return value, "environment " + Variable(flag.Name), true
	}
	if r.file != nil && inFile(flag) {
		if entry, ok := r.file.entries[flag.Name]; ok && entry.value != "" {
			return entry.value, fmt.Sprintf("file %s:%d", r.file.path, entry.line), true
		}
	}
	return "", "", false
}

// Effective is a setting as it holds. Set tells whether there is a value at
// all; without one, Value is the tag `unset:"…"`, which says what happens then.
// A secret's Value is empty.
type Effective struct {
	Name   string
	Value  string
	Source string // "flag", "environment NAME", "file PATH:LINE", "default"
	Secret bool
	Set    bool
}

// List returns all settings of the application in the order of their
// declaration, each name once. Flags of the selected command that stand on the
// command line count with the value given there.
func (r *Resolver) List(ctx *kong.Context) []Effective {
	var list []Effective
	seen := map[string]bool{}
	add := func(flag *kong.Flag) {
		if seen[flag.Name] || !inEnvironment(flag) {
			return
		}
		seen[flag.Name] = true
		e := Effective{Name: flag.Name, Value: flag.Default, Source: "default"}
		if onCommandLine(ctx, flag) {
			e.Value, e.Source = format(flag.Target), "flag"
		} else if value, source, ok := r.lookup(flag); ok {
			e.Value, e.Source = value, source
		}
		e.Set = e.Value != ""
		if !e.Set {
			e.Value = flag.Tag.Get("unset")
		}
		if flag.Tag.Has("secret") {
			e.Secret, e.Value = true, ""
		}
		list = append(list, e)
	}
	for _, flag := range ctx.Flags() { // first, because they may be on the command line
		add(flag)
	}
	for _, flag := range flagsOf(ctx.Model) {
		add(flag)
	}
	return list
}

// UnknownVariables returns the variables with our prefix that are no setting,
// sorted. They are not errors: a container platform may put variables of its
// own under the same prefix.
func (r *Resolver) UnknownVariables(app *kong.Application, also ...string) []string {
	known := slices.Clone(also)
	for _, flag := range flagsOf(app) {
		if inEnvironment(flag) {
			known = append(known, Variable(flag.Name))
		}
	}
	var unknown []string
	for name := range r.env {
		if !slices.Contains(known, name) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}

// Variable returns the name of a setting's variable.
func Variable(name string) string {
	return Prefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

func inEnvironment(flag *kong.Flag) bool {
	return flag.Name != "help" && flag.Tag.Get("from") != "flag"
}

func inFile(flag *kong.Flag) bool {
	return flag.Name != "config" && inEnvironment(flag) && flag.Tag.Get("from") != "env"
}

func onCommandLine(ctx *kong.Context, flag *kong.Flag) bool {
	return slices.ContainsFunc(ctx.Path, func(p *kong.Path) bool { return p.Flag == flag && !p.Resolved })
}

func flagsOf(app *kong.Application) []*kong.Flag {
	var flags []*kong.Flag
	// The visitor returns no error, so Visit has none either.
	_ = kong.Visit(app, func(v kong.Visitable, next kong.Next) error {
		if flag, ok := v.(*kong.Flag); ok {
			flags = append(flags, flag)
		}
		return next(nil)
	})
	return flags
}

// try says why value cannot be one of the flag's. It changes nothing.
func try(flag *kong.Flag, value string) error {
	scan := kong.Scan().PushTyped(value, kong.FlagValueToken)
	scratch := reflect.New(flag.Target.Type()).Elem()
	if err := flag.Mapper.Decode(&kong.DecodeContext{Value: flag.Value, Scan: scan}, scratch); err != nil {
		return err
	}
	if flag.Enum != "" && !slices.Contains(flag.EnumSlice(), value) {
		return fmt.Errorf("must be one of %s, not %q", strings.Join(flag.EnumSlice(), ", "), value)
	}
	return nil
}

func format(v reflect.Value) string {
	if v.Kind() != reflect.Slice {
		return fmt.Sprint(v.Interface())
	}
	parts := make([]string, v.Len())
	for i := range parts {
		parts[i] = fmt.Sprint(v.Index(i).Interface())
	}
	return strings.Join(parts, ",")
}
