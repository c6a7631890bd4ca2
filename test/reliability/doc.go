// Package reliability holds the tests behind the promises R1 to R20 of
// docs/reliability.md. Each is found by its number:
//
//	go test ./test/reliability -run R1_
//
// A plain `go test` runs the short forms of what needs nothing but Go. What
// needs root, /dev/fuse or a mount has the build tag reliability. The long
// forms are asked for by UNDERSTUDY_RELIABILITY=long.
package reliability
