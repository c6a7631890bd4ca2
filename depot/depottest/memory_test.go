package depottest_test

import (
	"testing"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/depot/depottest"
)

func TestMemory(t *testing.T) {
	depottest.Run(t, func(t *testing.T) (depot.Depot, func() depot.Depot) {
		m := depottest.NewMemory()
		return m, func() depot.Depot { return m }
	})
}
