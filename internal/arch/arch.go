// Package arch holds the rules about the shape of the code, as tests: who may
// import whom, where each outside library lives, how long a function may be.
//
// It must not know what any package does. The tables are in tables_test.go;
// a new package, arrow or library begins with a line there.
package arch
