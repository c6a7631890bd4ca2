// Package clients holds the tests in which SCEP clients that others wrote get
// certificates from the built server: strongSwan's pki, certmonger, the two
// generations of scepclient, and a client made of Python's standard library
// and the openssl command. A certificate counts only when openssl accepts it.
//
// The tests are compiled in by the build tag "clients" and never skip: without
// the tag they do not exist, and with it a missing tool is a failure that
// names the packages to install.
//
//	go test -tags clients ./test/clients
package clients
