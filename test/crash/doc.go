// Package crash holds the test behind the promise that a certificate which
// left the server is never lost: the built server is killed, as kill -9 does
// it, while devices enrol, and started again on the same data.
//
// A plain `go test` runs a few rounds. More of them:
//
//	UNDERSTUDY_CRASH_ROUNDS=50 go test -count=1 -v ./test/crash
package crash
