// Package shown reads the blocks of commands and code that the project's
// documents show, so that tests can run them as they stand. It knows Markdown
// fences and nothing else.
package shown

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A Block is what stands between two fences of a document.
type Block struct {
	File     string // relative to the root
	Line     int    // of the first line of the text
	Language string // "sh", "go", …
	Text     string
}

// First is the first line that is neither empty nor a comment.
func (b Block) First() string {
	for line := range strings.Lines(b.Text) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "#") {
			return line
		}
	}
	return ""
}

// Where names the block for people.
func (b Block) Where() string { return fmt.Sprintf("%s:%d", b.File, b.Line) }

// Blocks returns the blocks of every Markdown document below root that git
// would know of: hidden folders are left out.
func Blocks(root string) ([]Block, error) {
	var all []Block
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".md":
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		blocks, err := parse(name, string(text))
		all = append(all, blocks...)
		return err
	})
	return all, err
}

func parse(name, text string) ([]Block, error) {
	var blocks []Block
	var open *Block
	number := 0
	for line := range strings.Lines(text) {
		number++
		language, fence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case fence && open == nil:
			open = &Block{File: name, Line: number + 1, Language: language}
		case fence:
			blocks = append(blocks, *open)
			open = nil
		case open != nil:
			open.Text += line
		}
	}
	if open != nil {
		return nil, fmt.Errorf("%s:%d: the block has no end", name, open.Line)
	}
	return blocks, nil
}
