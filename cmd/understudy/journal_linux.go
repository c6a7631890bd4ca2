package main

import (
	"fmt"
	"os"
	"syscall"
)

// toJournal says whether standard output ends in systemd's journal, which
// keeps what it gets and shows it to a whole group: systemd then names its
// device and inode in JOURNAL_STREAM (systemd.exec(5)).
func (a *app) toJournal() bool {
	file, ok := a.stdout.(*os.File)
	if !ok || a.journal == "" {
		return false
	}
	info, err := file.Stat()
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && a.journal == fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
}
