//go:build !linux

package load

import (
	"errors"
	"time"
)

var errNotLinux = errors.New("a process can be measured on Linux only: leave out the process id")

func readTimes(int) (processTimes, error) { return processTimes{}, errNotLinux }

func readMemory(int) (peak, anonymous int64, err error) { return 0, 0, errNotLinux }

func ownCPU() time.Duration { return 0 }
