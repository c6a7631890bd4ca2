//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package bolt

// emptyUnborn does nothing where a file cannot be locked as bbolt locks it.
func emptyUnborn(string, int64) error { return nil }
