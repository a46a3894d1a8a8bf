# The targets for people are listed by `make help`; scripts with more than a few lines lie in build/.
SHELL := /bin/sh
.DEFAULT_GOAL := help

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
EMBED    := internal/engine/containerd/runcbin
# What lies in EMBED when a target runs is built into the program.
TAGS      = $(shell cd $(EMBED) && for f in runc shim; do [ -e $$f ] && printf 'embed%s ' $$f; done)
LDFLAGS  := -s -w -X main.version=$(VERSION)
GOBUILD   = CGO_ENABLED=0 go build -trimpath -tags '$(TAGS)' -ldflags '$(LDFLAGS)'
# Tests that make namespaces run as root; the compiler does not.
ASROOT   := $(if $(filter 0,$(shell id -u)),,-exec 'sudo -n -E')
FUZZTIME ?= 3s
SEEDS    ?= 1000
# The packages whose tests start whole servers; they run after the others.
WHOLE    := ./test/crash/... ./test/script/... ./test/sdk/... ./test/terraform/...
UNIT      = $(shell go list ./... | grep -vE '/test/(script|sdk|terraform|crash|sim|bench)(/|$$)')

.PHONY: help setup embed build demo demo-vpc test unit rootfs stories sim fuzz check generate lint bench conformance clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

setup: ## install what building and testing need (Debian packages, runc, tools); again does nothing
	@build/setup.sh

# The shim stays beside each container, so it is a slim program of its own inside bin/funade.
embed: setup
	@CGO_ENABLED=0 go build -trimpath -tags no_grpc -ldflags '-s -w' -o $(EMBED)/shim ./internal/engine/containerd/shim/funade-shim

build: embed ## bin/funade
	@mkdir -p bin
	$(GOBUILD) -o bin/funade ./cmd/funade

demo: build ## ship examples/hello to a server of its own and call it; KEEP=1 keeps it running
	@build/demo.sh

demo-vpc: build ## a service reaches a private host through its VPC connector, and nothing else does; KEEP=1 keeps it running
	@build/demo-vpc.sh

test: setup ## everything that must be green before a change goes in
	@$(MAKE) --no-print-directory check unit stories sim fuzz

unit: embed ## unit tests and tests of single packages against the kernel, with the race detector
	go test -race -timeout 15m -tags '$(TAGS)' $(ASROOT) $(UNIT)

rootfs: setup ## root file systems of Debian's packages, for the images of stories
	@build/debrootfs.sh .cache/rootfs/postgres postgresql busybox-static

stories: build rootfs ## the real program, told by the real clients
	FUNADE_BIN=$(CURDIR)/bin/funade go test -timeout 20m -count=1 -p 1 -parallel 2 $(ASROOT) $(WHOLE)

sim: ## the control plane with a fake world and faults at every seam; SEEDS=n
	FUNADE_SIM_SEEDS=$(SEEDS) go test -timeout 15m -count=1 ./test/sim/...

fuzz: ## every fuzz target for FUZZTIME
	@FUZZTIME=$(FUZZTIME) build/fuzz.sh

check: ## format, vet, staticcheck, drift of generated files, the rules of this repository
	@build/check.sh

generate: ## write the generated files again
	go -C internal/aws/gen run .
	go run ./test/compat

lint: ## heavier linters; the first run builds golangci-lint for some minutes
	go tool -modfile=tools/lint/go.mod golangci-lint run ./...

bench: build ## BENCH=name: the measurements of test/bench, beside their peers
	FUNADE_BIN=$(CURDIR)/bin/funade go test -timeout 30m -count=1 -v $(ASROOT) ./test/bench -args -bench='$(BENCH)'

conformance: ## the suite of the OCI distribution specification
	test/conformance/run

clean: ## remove what make made
	rm -rf bin
