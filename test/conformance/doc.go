// Package conformance runs the conformance list of the understudy binary, as a
// user does: against our own server in each of its modes, where no case may
// fail, and against a server that we did not write, whose failures are known.
// The tests carry the build tag clients, because they fetch that server:
//
//	go test -tags clients ./test/conformance/...
//
// The package knows the command line and the admin API as documented, and must
// not import any other package of the project.
package conformance
