package explain_test

import (
	"encoding/pem"
	"testing"
)

func unpem(tb testing.TB, text []byte) []byte {
	tb.Helper()
	block, _ := pem.Decode(text)
	if block == nil {
		tb.Fatal("no PEM")
	}
	return block.Bytes
}
