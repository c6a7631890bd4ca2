package ca

import (
	"math/big"
	"testing"
)

// The quick look before a root is taken must let every square pass.
func TestCanBeSquare(t *testing.T) {
	passed := 0
	for i := range int64(64) {
		if square := big.NewInt(i * i); !canBeSquare(square) {
			t.Errorf("%s is a square", square)
		}
		if canBeSquare(big.NewInt(i)) {
			passed++
		}
	}
	if passed != 12 {
		t.Errorf("%d of 64 remainders pass, want the 12 of squares", passed)
	}
}
