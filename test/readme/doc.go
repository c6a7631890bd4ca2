// Package readme runs the commands that the documents show, as they stand, and
// fails on a block of commands that nobody runs. It knows the documents and
// the command line, and nothing of the code behind it.
package readme
