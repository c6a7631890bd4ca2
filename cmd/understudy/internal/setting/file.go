package setting

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// file is a settings file: a flat YAML mapping. Values are kept as they are
// written, so that what YAML would take for a number or a date reaches the
// flag unchanged.
type file struct {
	path     string
	entries  map[string]entry
	problems []error // found while reading
}

type entry struct {
	value string
	line  int
}

func readFile(path string) (*file, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read settings file: %w", err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("settings file %s: %w", path, err)
	}
	f := &file{path: path, entries: map[string]entry{}}
	if len(document.Content) == 0 { // empty, or only comments
		return f, nil
	}
	root := document.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("settings file %s: must be lines of \"name: value\"", path)
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		f.read(root.Content[i], root.Content[i+1])
	}
	return f, nil
}

func (f *file) read(key, value *yaml.Node) {
	if earlier, ok := f.entries[key.Value]; ok {
		f.problem(key.Line, "%s is given twice, first in line %d", key.Value, earlier.line)
		return
	}
	text, err := textOf(value)
	if err != nil {
		f.problem(key.Line, "%s: %w", key.Value, err)
		return
	}
	f.entries[key.Value] = entry{value: text, line: key.Line}
}

func (f *file) problem(line int, format string, args ...any) {
	f.problems = append(f.problems, fmt.Errorf("%s:%d: %w", f.path, line, fmt.Errorf(format, args...)))
}

// textOf returns a scalar as written and a list as its comma-separated items.
func textOf(node *yaml.Node) (string, error) {
	switch node.Kind {
	case yaml.ScalarNode:
		if node.Tag == "!!null" {
			return "", nil
		}
		return node.Value, nil
	case yaml.SequenceNode:
		items := make([]string, len(node.Content))
		for i, item := range node.Content {
			if item.Kind != yaml.ScalarNode || strings.Contains(item.Value, ",") {
				return "", errors.New("must be a list of plain values")
			}
			items[i] = item.Value
		}
		return strings.Join(items, ","), nil
	default:
		return "", errors.New("must be a value or a list of values")
	}
}

// check returns everything that is wrong with the file, in the order of its
// lines.
func (f *file) check(app *kong.Application) error {
	settings := map[string]*kong.Flag{}
	for _, flag := range flagsOf(app) {
		if inFile(flag) {
			settings[flag.Name] = flag
		}
	}
	names := make([]string, 0, len(f.entries))
	for name := range f.entries {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return f.entries[a].line - f.entries[b].line })
	for _, name := range names {
		e := f.entries[name]
		flag, ok := settings[name]
		if !ok {
			f.problem(e.line, "%s is no setting", name)
			continue
		}
		if e.value == "" { // counts as unset, as in the environment
			continue
		}
		if err := try(flag, e.value); err != nil {
			f.problem(e.line, "%s: %w", name, err)
		}
	}
	return errors.Join(f.problems...)
}
