// Package bench compares what an enrolment costs with what its cryptography
// must cost. Both are measured in one process and in turns, as CPU time,
// because on a shared machine neither wall time nor figures from two runs can
// be compared.
//
//	go test -run '^$' -bench . -benchtime 20x ./test/bench
package bench
