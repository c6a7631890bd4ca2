package readme

import (
	"strings"
	"testing"

	"understudy.example/understudy/test/internal/program"
	"understudy.example/understudy/test/internal/shown"
)

// TestDecode runs the commands of docs/decode.md in the repository, and looks
// for the text that each of them is said to print.
func TestDecode(t *testing.T) {
	t.Parallel()
	root, err := program.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	out, ran := "", 0
	for _, b := range blocks(t) {
		if b.File != "docs/decode.md" {
			continue
		}
		switch b.Language {
		case "sh":
			out, ran = run(t, root, b), ran+1
		case "text":
			if !strings.Contains(out, b.Text) {
				t.Errorf("%s: the command above does not print\n%s\nbut\n%s", b.Where(), b.Text, out)
			}
		}
	}
	if ran == 0 {
		t.Error("docs/decode.md shows no command")
	}
}

func run(t *testing.T, root string, b shown.Block) string {
	t.Helper()
	out, err := shell(t, root, b.Text).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", b.Where(), err, out)
	}
	return string(out)
}
