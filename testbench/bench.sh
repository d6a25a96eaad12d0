#!/usr/bin/env bash
# Measures bin/pilotlight beside a simulated branch: testbench/bench/README.md.
# Arguments go to the bench: -short, -full, -fast. The table is printed; the same as JSON lines is bin/bench.jsonl.
set -euo pipefail
cd "$(dirname "$0")/.."

CGO_ENABLED=0 go build -trimpath -o bin/branch ./testbench/branch/cmd/branch
CGO_ENABLED=0 go build -trimpath -o bin/bench ./testbench/bench
exec bin/bench -agent bin/pilotlight -branch bin/branch -json bin/bench.jsonl "$@"
