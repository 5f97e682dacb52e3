# SPDX-License-Identifier: Apache-2.0

GO        ?= go
BIN       := bin/assize
FUZZTIME  ?= 60s
BENCHTIME ?= 1s
TOOL      := $(GO) tool -modfile=internal/tools/go.mod
PACKAGES  := ./...
FUZZJOBS  ?= 1

# Curve and field arithmetic of the standard library works on its operands alone
# and would take most of the time under the race detector: there it is
# compiled as it is shipped. Hashing, which reads the buffers of others, is not.
ARITHMETIC := nistec/... edwards25519/... bigmod
UNRACED    := $(ARITHMETIC:%=-gcflags=crypto/internal/fips140/%=-race=false)

.DEFAULT_GOAL := help
.PHONY: help build demo test race fuzz lint bench generate integration mutants cover clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## bin/assize
	$(GO) build -trimpath -o $(BIN) ./cmd/assize

demo: build ## appraise recorded evidence of real hardware and check the verdict
	sh integration/demo/demo.sh ./$(BIN)

test: ## vet and all tests; needs a plain clone and Go, nothing else
	$(GO) vet $(PACKAGES)
	$(GO) test $(PACKAGES)

race: ## the tests under the race detector (needs a C compiler), long walks as samples
	$(GO) test -race -short $(UNRACED) $(PACKAGES)

fuzz: ## every fuzz target for FUZZTIME (60s), of FUZZJOBS (1) packages at a time
	FUZZJOBS=$(FUZZJOBS) sh internal/tools/fuzz.sh $(FUZZTIME)

lint: ## gofmt, vet, staticcheck, revive
	@unformatted=$$(gofmt -l .) && if [ -n "$$unformatted" ]; then echo "not gofmt-clean:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet $(PACKAGES)
	$(TOOL) staticcheck $(PACKAGES)
	$(TOOL) revive -config internal/tools/revive.toml -set_exit_status -formatter unix $(PACKAGES)

bench: ## all benchmarks once, BENCHTIME (1s) each
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) -count 1 $(PACKAGES)

generate: ## regenerate, and fail if that changed anything
	$(GO) generate $(PACKAGES)
	git diff --exit-code

integration: ## black-box tests only
	$(GO) test -count 1 ./integration/...

mutants: ## take every enforcement away once and see that a test notices (long)
	nice -n 15 $(GO) run ./integration/mutate -write docs/mutations.md

cover: ## coverage per function in cover.out
	$(GO) test -coverprofile=cover.out $(PACKAGES)
	$(GO) tool cover -func=cover.out

clean: ## remove what the other targets made
	rm -rf bin cover.out
