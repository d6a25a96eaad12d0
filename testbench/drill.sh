#!/usr/bin/env bash
# The tests at full figures, each fuzz target for a while, and the whole bench;
# what came out is docs/measured.md. Takes about an hour on two cores.
#
#   FUZZTIME=30s testbench/drill.sh
#
# The page is written even when something fails, and says so; the exit status is then 1.
set -euo pipefail
cd "$(dirname "$0")/.."

fuzztime=${FUZZTIME:-30s}
page=docs/measured.md
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
failed=0
commit=$(git describe --always --dirty --abbrev=12)
load() { cut -d' ' -f1 /proc/loadavg; }
load_before=$(load)
started=$(date -u '+%Y-%m-%d %H:%M')

echo "drill: all tests at full figures" >&2
PILOTLIGHT_DRILL=full go test -race -count=1 -v -timeout 60m ./... >"$out/tests" 2>&1 || failed=1

echo "drill: fuzz targets, $fuzztime each" >&2
for package in $(go list ./...); do
  for target in $(go test -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
    if go test -run '^$' -fuzz "^$target\$" -fuzztime "$fuzztime" "$package" >"$out/fuzz" 2>&1; then
      verdict=pass
    else
      verdict='**FAIL**' failed=1
      cat "$out/fuzz" >&2
    fi
    execs=$(grep -o 'execs: [0-9]*' "$out/fuzz" | tail -n1 | cut -d' ' -f2 || true)
    echo "| ${package#*/} | $target | $verdict | ${execs:-0} |" >>"$out/fuzzed"
  done
done

echo "drill: bench" >&2
make -s build
testbench/bench.sh -full >"$out/bench" || { failed=1; echo 'The bench **failed**.' >"$out/bench"; }

# drills: the tests of the power cuts, with the table or the last line that each logged.
drills() {
  awk '
    /^=== RUN/         { said = "" }
    /^ *\| *[0-9]/     { said = $0; gsub(/^ *\| *| *\| *$/, "", said); n = split(said, v, / *\| */)
                         said = v[1] " runs, " v[2] " acknowledged, " v[3] " lost, " v[4] " failed starts, " v[5] " set aside, " v[6] " epoch not grown, " v[7] " refused"; next }
    /^ +[a-z_]+\.go:[0-9]+: / { if ($0 !~ /seed/) { said = $0; sub(/^ +[a-z_]+\.go:[0-9]+: /, "", said); gsub(/\|/, "/", said) } }
    /^ *--- (PASS|FAIL)/ { t[++c] = $3; r[$3] = $2; s[$3] = $4; if (said != "") w[$3] = said; said = "" }
    /^ok |^FAIL\t/     { if ($2 ~ /testbench\/(drill|powercut)$/)
                           for (i = 1; i <= c; i++) { k = t[i]; m = r[k]; gsub(/[:()]/, "", m); gsub(/[()]/, "", s[k])
                             printf "| %s | %s | %s | %s |\n", k, m == "PASS" ? "pass" : "**FAIL**", s[k], substr(w[k], 1, 200) }
                         c = 0; delete w }
  ' "$out/tests"
}

count() { grep -cE "$1" "$out/tests" || true; }

{
  cat <<PAGE
# Measured

Written by \`make drill\` (testbench/drill.sh) on $started UTC, at commit $commit, on $(nproc) cores shared with other work: load average
$load_before at the start, $(load) in the end. Times and rates are of that machine at that hour; what is counted holds anywhere.

## Tests

\`PILOTLIGHT_DRILL=full go test -race ./...\`: $(count '^ok ') packages pass, $(count '^FAIL.pilotlight') fail; $(count '^ *--- PASS') tests pass, $(count '^ *--- FAIL') fail,
$(count '^WARNING: DATA RACE') data races.

## Power cuts

What the disk has not synced is dropped or torn at each cut (testbench/powercut/README.md). Tests named *Finds* and *Controls* run
a program that breaks the promise on purpose, and pass when that is found.

| drill | result | time | what it says |
|---|---|---:|---|
$(drills)

## Fuzzing

\`go test -fuzz TARGET -fuzztime $fuzztime\`, each:

| package | target | result | inputs |
|---|---|---|---:|
$(cat "$out/fuzzed")

## Bench

\`testbench/bench.sh -full\` (\`make bench\` is its shorter form; testbench/bench/README.md says what each figure is):

$(cat "$out/bench")
PAGE
} >"$page"

if ((failed)); then
  grep -E '^ *--- FAIL|^FAIL|^panic:' "$out/tests" >&2 || true
  echo "drill: something failed: see $page" >&2
fi
exit "$failed"
