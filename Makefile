# Conveniences. Nothing depends on this file: go build and go test do without.

.PHONY: help build test race clients conformance fuzz bench ci
help: ## what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "%-12s %s\n", $$1, $$2}' Makefile

build: ## bin/understudy, static
	CGO_ENABLED=0 go build -trimpath -o bin/understudy ./cmd/understudy

test: ## the tests that need nothing but Go
	go test ./...

race: ## the same under the race detector (needs a C compiler)
	GORACE=atexit_sleep_ms=50 CGO_ENABLED=1 go test -race ./...

clients: ## real SCEP clients; the packages they need are named when one is missing
	go test -count=1 -tags clients -parallel 4 -timeout 20m ./test/clients/...

conformance: ## RFC 8894 case by case: our server in its modes, and micromdm's
	go test -count=1 -tags clients ./test/conformance/...

fuzz: ## one fuzz target for a minute: make fuzz PACKAGE=./scep TARGET=FuzzDecode
	go test -run '^$$' -fuzz '^$(TARGET)$$' -fuzztime 60s -fuzzminimizetime 10x $(PACKAGE)

bench: ## an enrolment's CPU compared with its bare RSA operations
	go test -run '^$$' -bench . ./test/bench

ci: ## everything, as CI runs it (Debian 12, as root)
	.ci/run
