package server_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// The answers that never change cost next to nothing.
func BenchmarkGetCACaps(b *testing.B) { benchmarkGet(b, "/scep?operation=GetCACaps") }

func BenchmarkGetCACert(b *testing.B) { benchmarkGet(b, "/scep?operation=GetCACert") }

func benchmarkGet(b *testing.B, target string) {
	h := open(b)
	r := httptest.NewRequest(http.MethodGet, target, nil)
	handler := h.Public()
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
	}
}

// What is turned away before the flow costs little: the guard and the log
// line.
func BenchmarkGarbage(b *testing.B) {
	h := open(b)
	handler := h.Public()
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, post(strings.NewReader("garbage")))
		if w.Code != http.StatusBadRequest {
			b.Fatal(w.Code)
		}
	}
}
