package reliability

import (
	"fmt"
	"os"
	"testing"

	"understudy.example/understudy/test/internal/program"
)

// understudy is the binary under test.
var understudy program.Binary

// children are what this binary does when it is started again by a test.
var children = map[string]func() error{}

// childVariable names one of children.
const childVariable = "UNDERSTUDY_RELIABILITY_CHILD"

func TestMain(m *testing.M) {
	if child, ok := children[os.Getenv(childVariable)]; ok {
		if err := child(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	startAsDisk()
	os.Exit(program.Main(m, &understudy))
}

// startAsDisk is set when there is a file system to test on.
var startAsDisk = func() {}

// long says whether the long forms are wanted.
func long() bool { return os.Getenv("UNDERSTUDY_RELIABILITY") == "long" }

// pick returns how often a test repeats itself.
func pick(short, inLong int) int {
	if long() {
		return inLong
	}
	return short
}
