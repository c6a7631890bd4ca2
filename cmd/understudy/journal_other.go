//go:build !linux

package main

// toJournal says whether standard output ends in systemd's journal, which only
// Linux has.
func (a *app) toJournal() bool { return false }
