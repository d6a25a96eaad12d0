# Two commands for a fresh machine: `make run` shows a whole branch,
# `make check` installs what the tests need and runs them all.

GO      ?= go
BIN     := bin/pilotlight
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)

.PHONY: run build tools check test lint drill bench image docs clean

run: build ## a simulated branch with its agent and panel, on loopback
	$(BIN) demo

build:
	CGO_ENABLED=0 $(GO) build -trimpath -tags gosnmp_nodebug -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/pilotlight

tools: ## the real programs that the tests talk to, and staticcheck
	testbench/install.sh

check: tools lint test ## everything, in short form

lint:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

test:
	$(GO) test -race -timeout 30m ./...

drill: tools ## the same tests at full figures; writes docs/measured.md
	testbench/drill.sh

bench: build ## yardsticks, side by side with the peers
	testbench/bench.sh

image: build ## the container image (the appliance image is a later issue's)
	@if docker info >/dev/null 2>&1; then \
	  docker build --build-arg VERSION=$(VERSION) --build-arg COMMIT=$(COMMIT) -t pilotlight:$(VERSION) .; \
	else echo "no container engine is running here: see Dockerfile" >&2; exit 1; fi

docs: ## docs/configuration.md from the structs
	$(GO) test ./cmd/pilotlight -run TestConfigurationPage -update

clean:
	rm -rf bin
