package scep_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep"
)

func noPanic(tb testing.TB, err error) {
	tb.Helper()
	var p *scep.PanicError
	if errors.As(err, &p) {
		tb.Fatalf("a parser panicked with a %s\n%s", p.Type, p.Stack)
	}
}

// nested returns n SEQUENCEs within each other.
func nested(n int) []byte {
	var b []byte
	for range n {
		b = sequence(b)
	}
	return b
}

// many returns n elements: a SEQUENCE and n-1 NULLs in it.
func many(n int) []byte { return sequence(bytes.Repeat([]byte{5, 0}, n-1)) }

func hexBytes(s string) []byte {
	var b []byte
	for f := range strings.FieldsSeq(s) {
		var c byte
		if _, err := fmt.Sscanf(f, "%02x", &c); err != nil {
			panic(err)
		}
		b = append(b, c)
	}
	return b
}

func TestGuard(t *testing.T) {
	for _, test := range []struct {
		name  string
		ber   []byte
		fault string // part of it; "" means well formed
	}{
		{"nothing", nil, "is empty"},
		{"one byte", hexBytes("30"), "truncated"},
		{"NULL", hexBytes("05 00"), ""},
		{"empty SEQUENCE", hexBytes("30 00"), ""},
		{"empty indefinite SEQUENCE", hexBytes("30 80 00 00"), ""},
		{"depth 24", nested(24), ""},
		{"depth 25", nested(25), "deeply"},
		{"indefinite, depth 24", slices.Concat(bytes.Repeat([]byte{0x30, 0x80}, 24), make([]byte, 48)), ""},
		{"indefinite, depth 25", slices.Concat(bytes.Repeat([]byte{0x30, 0x80}, 25), make([]byte, 50)), "deeply"},
		{"4096 elements", many(4096), ""},
		{"4097 elements", many(4097), "too many"},
		{"4097 indefinite elements", sequence(bytes.Repeat(hexBytes("30 80 00 00"), 4096)), "too many"},
		{"string of 4096 pieces", element(0x24, bytes.Repeat(hexBytes("04 00"), 4096)), "too many"},
		{"tag 30", hexBytes("9e 00"), ""},
		{"tag 31", hexBytes("9f 1f 00"), "tag number"},
		{"four length octets", hexBytes("04 84 00 00 00 01 aa"), ""},
		{"five length octets", hexBytes("04 85 00 00 00 00 01 aa"), "four octets"},
		{"length without its octets", hexBytes("30 82 01"), "truncated"},
		{"the same within an element", hexBytes("30 03 30 82 01"), "truncated"},
		{"length beyond the end", hexBytes("04 05 aa"), "ends after"},
		{"length beyond int32", hexBytes("04 84 ff ff ff ff aa"), "ends after"},
		{"child beyond its parent", hexBytes("30 05 30 02 04 01 aa"), "ends after"},
		{"child beyond a definite grandparent", hexBytes("30 06 30 80 04 02 00 00 00 00"), "truncated"},
		{"end marker beyond a definite parent", hexBytes("30 04 30 80 05 00 00 00"), "truncated"},
		{"open at the end", hexBytes("30 80 05 00"), "truncated"},
		{"primitive of indefinite length", hexBytes("30 80 04 80 00 00 00 00"), "primitive"},
		{"end marker in a definite element", hexBytes("30 02 00 00"), "end marker"},
		{"end marker with content", hexBytes("30 80 00 01 aa 00 00"), "end marker"},
		{"end marker alone", hexBytes("00 00"), "end marker"},
		{"end marker, constructed", hexBytes("30 02 20 00"), "end marker"},
		{"trailing byte", hexBytes("05 00 00"), "after its end"},
		{"trailing byte after indefinite", hexBytes("30 80 00 00 00"), "after its end"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, fault := scep.Scan(test.ber)
			if test.fault == "" {
				if fault != scep.WellFormed {
					t.Errorf("fault = %q, want none", fault)
				}
				return
			}
			if !strings.Contains(fault, test.fault) {
				t.Errorf("fault = %q, want one with %q", fault, test.fault)
			}
			message, err := scep.Decode(test.ber, options())
			if message != nil {
				t.Error("Decode returned a message")
			}
			wantRefusal(t, err, refusal.BadMessage, scep.BadMessageCheck)
			if !strings.Contains(err.Error(), test.fault) {
				t.Errorf("Decode: %v, want a refusal by the guard", err)
			}
		})
	}
}

func TestGuardSeesDER(t *testing.T) {
	for _, test := range []struct {
		ber string
		der bool
	}{
		{"30 02 05 00", true},
		{"30 80 05 00 00 00", false},
		{"30 81 02 05 00", false},
		{"30 82 00 02 05 00", false},
		{"04 82 00 80" + strings.Repeat(" 00", 0x80), false},
		{"04 81 80" + strings.Repeat(" 00", 0x80), true},
		{"24 03 04 01 aa", false},
		{"a0 03 04 01 aa", true},
	} {
		if der, fault := scep.Scan(hexBytes(test.ber)); der != test.der || fault != scep.WellFormed {
			t.Errorf("%s: der = %v (%s), want %v", test.ber, der, fault, test.der)
		}
	}
}

// The guard costs nothing but time, also when it refuses (A32).
func TestGuardAllocatesNothing(t *testing.T) {
	for name, ber := range map[string][]byte{
		"honest": honest(t, recipient(t)), "4096 elements": many(4096), "4097 elements": many(4097), "depth 25": nested(25),
	} {
		if n := testing.AllocsPerRun(100, func() { scep.Scan(ber) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestToDER(t *testing.T) {
	for _, test := range []struct{ name, ber, der string }{
		{"DER", "30 02 05 00", "30 02 05 00"},
		{"indefinite", "30 80 05 00 00 00", "30 02 05 00"},
		{"empty indefinite", "30 80 00 00", "30 00"},
		{"indefinite in definite", "30 06 30 80 05 00 00 00", "30 04 30 02 05 00"},
		{"long form of a short length", "04 82 00 01 aa", "04 01 aa"},
		{"string in pieces", "24 06 04 01 aa 04 01 bb", "04 02 aa bb"},
		{"pieces in pieces", "24 80 24 03 04 01 aa 04 01 bb 00 00", "04 02 aa bb"},
		{"no pieces", "24 80 00 00", "04 00"},
		{"text in pieces", "2c 03 04 01 61", "0c 01 61"},
		{"implicit tag is left alone", "a0 03 04 01 aa", "a0 03 04 01 aa"},
		{"bit string in pieces", "23 04 03 02 00 aa", ""},
		{"piece that is no string", "24 02 30 00", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			der, err := scep.ToDER(hexBytes(test.ber))
			if test.der == "" {
				if err == nil {
					t.Fatalf("der = % x, want an error", der)
				}
				return
			}
			if err != nil || !bytes.Equal(der, hexBytes(test.der)) {
				t.Fatalf("der = % x, %v; want %s", der, err, test.der)
			}
		})
	}
}

// Lengths on either side of each boundary of the length's own length.
func TestToDERLengths(t *testing.T) {
	for _, n := range []int{0, 1, 127, 128, 255, 256, 65535, 65536} {
		want := element(0x04, make([]byte, n))
		ber := slices.Concat([]byte{0x24, 0x80}, want, []byte{0, 0})
		if der, err := scep.ToDER(ber); err != nil || !bytes.Equal(der, want) {
			t.Errorf("%d bytes: wrong (%v)", n, err)
		}
	}
}

// Bytes per second must not fall as the input grows.
func BenchmarkGuard(b *testing.B) {
	for _, n := range []int{64, 512, 4096} {
		for _, shape := range []struct {
			name string
			ber  []byte
		}{
			{"flat", many(n)},
			{"indefinite", slices.Concat([]byte{0x30, 0x80}, bytes.Repeat(hexBytes("30 80 00 00"), n-1), []byte{0, 0})},
		} {
			b.Run(fmt.Sprintf("%s/%d", shape.name, n), func(b *testing.B) {
				b.SetBytes(int64(len(shape.ber)))
				b.ReportAllocs()
				for b.Loop() {
					scep.Scan(shape.ber)
				}
			})
		}
	}
}

// A message may have MaxMessage bytes, and not one more.
func TestDecodeBound(t *testing.T) {
	for length, want := range map[int]string{scep.MaxMessage: "end marker", scep.MaxMessage + 1: "more than"} {
		_, err := scep.Decode(make([]byte, length), options())
		wantRefusal(t, err, refusal.BadMessage, scep.BadMessageCheck)
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%d bytes: %v, want %q", length, err, want)
		}
	}
}
