#!/usr/bin/env bash
# The tests at full figures, each fuzz target for a while, and the whole bench;
# what came out is docs/measured.md. Takes about an hour on two cores.
#
#   FUZZTIME=30s BENCH=-full testbench/drill.sh      # these are the defaults; BENCH= is the usual bench
#
# The page is written even when something fails, and says so; the exit status is then 1.
set -euo pipefail
cd "$(dirname "$0")/.."

fuzztime=${FUZZTIME:-30s}
bench=${BENCH--full}
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
testbench/bench.sh ${bench:+"$bench"} >"$out/bench" || { failed=1; echo 'The bench **failed**.' >"$out/bench"; }

# drills: the tests of the power cuts, each with the last thing that it logged, or its table's row in words.
drills() {
  awk '
    BEGIN { columns = split("runs acknowledged lost failed_starts set_aside epoch_not_grown refused seconds", column, " ") }
    /^=== (RUN|NAME|CONT)/ { test = $3 }
    /^ +\| [0-9]/ {
      split($0, v, / *\| */)
      text = ""
      for (i = 1; i < columns; i++) if (i <= 2 || v[i + 1] > 0) text = text (text == "" ? "" : ", ") v[i + 1] " " column[i]
      gsub(/_/, " ", text)
      said[test] = text
    }
    /^ +[a-z_]+\.go:[0-9]+: / && !/seed/ { text = $0; sub(/^ +[a-z_]+\.go:[0-9]+: /, "", text); gsub(/\|/, "/", text); said[test] = substr(text, 1, 120) }
    /^ *--- (PASS|FAIL):/ { order[++n] = $3; result[$3] = $2 == "PASS:" ? "pass" : "**FAIL**"; time[$3] = $4; gsub(/[()]/, "", time[$3]) }
    /^(ok +|FAIL)\t/ {
      if ($2 ~ /testbench\/(drill|powercut)$/)
        for (i = 1; i <= n; i++) printf "| %s | %s | %s | %s |\n", order[i], result[order[i]], time[order[i]], said[order[i]]
      n = 0
    }
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

\`testbench/bench.sh $bench\` (\`make bench\` is the form without \`-full\`; testbench/bench/README.md says what each figure is):

$(cat "$out/bench")
PAGE
} >"$page"

if ((failed)); then
  grep -E '^ *--- FAIL|^FAIL|^panic:' "$out/tests" >&2 || true
  echo "drill: something failed: see $page" >&2
fi
exit "$failed"
