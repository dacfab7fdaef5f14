# Every chore of the house. Each is one line; what needs more is a script of its own.

.DEFAULT_GOAL := help
STATICCHECK = go tool -modfile=tools/go.mod staticcheck
GOVULNCHECK = go tool -modfile=tools/go.mod govulncheck
CLUSTER     = go run ./internal/store/storetest/cluster
FUZZTIME   ?= 30s

help: ## list the chores
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build the one binary into dist/
	go build -trimpath -o dist/safeconduct ./cmd/safeconduct

console: ## build the console's pages into internal/console/dist (needs Node)
	cd internal/console/app && npm ci --ignore-scripts --no-audit --no-fund && npm run -s types && npm run -s check && npm run -s build

test: ## run all tests on SQLite
	go test ./...

race: ## run all tests under the race detector (needs a C compiler)
	go test -race -short ./...

postgres: ## run all tests on a PostgreSQL started for the purpose
	$(CLUSTER) go test ./...

lint: ## gofmt, go vet, staticcheck
	test -z "$$(gofmt -l .)" && go vet ./... && $(STATICCHECK) ./...

vuln: ## look for known vulnerabilities (needs the network)
	$(GOVULNCHECK) ./...

fuzz: ## fuzz every target, FUZZTIME each (30s)
	tools/fuzz $(FUZZTIME)

bench: ## run the benchmarks that need no server
	go test -run '^$$' -bench . -benchmem ./...

versus: ## measure the server and OPA side by side
	bench/run.sh

tokens: ## measure passports and introspection
	bench/tokens.sh

demo: ## run the demo and leave the server running
	go run ./cmd/safeconduct demo

ci: ## everything that must hold before a change is accepted
	.ci/run

clean: ## remove what was built
	rm -rf dist

.PHONY: help build console test race postgres lint vuln fuzz bench versus tokens demo ci clean
