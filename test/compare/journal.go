package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// journal remembers the cells of this run and of those before it, one JSON
// object to a line.
type journal struct {
	file  *os.File
	cells []cell
}

func openJournal(path string) (*journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	j := &journal{file: f}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var c cell
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return nil, errors.Join(fmt.Errorf("read %s: %w; -fresh forgets it", path, err), f.Close())
		}
		j.cells = append(j.cells, c)
	}
	return j, nil
}

func (j *journal) close() { _ = j.file.Close() }

// has says whether the task was done. One that failed is not done again.
func (j *journal) has(w task) bool {
	for _, c := range j.cells {
		if c.Server == w.server.name && c.Concurrency == w.concurrency && c.Stored == w.stored && c.Round == w.round {
			return true
		}
	}
	return false
}

func (j *journal) add(c cell) error {
	line, err := json.Marshal(c)
	if err != nil {
		return err
	}
	j.cells = append(j.cells, c)
	_, err = j.file.Write(append(line, '\n'))
	return err
}
