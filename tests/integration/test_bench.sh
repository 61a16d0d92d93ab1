#!/bin/bash
# The benchmarks run and say what they did; no figure is looked at.
set -u
bench=${KVT_TEST_BUILD:?}/bin/bench_kvtier
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
failures=0
fail() {
    echo "FAIL: $*"
    failures=$((failures + 1))
}

rows=$("$bench" --list) || fail "--list: exit status $?"
for row in boundary/64B/batch32 read/4KiB/depth1/warm/loop \
    write/1MiB/depth16/direct/fio fetch/64KiB/files10000/cold/loop; do
    grep -qx "$row" <<<"$rows" || fail "no row $row"
done
[ "$(sort <<<"$rows" | uniq -d)" = "" ] || fail "two rows of one name"

mkdir "$temp/dir"
for row in boundary read/4KiB/depth1/warm/loop write/64KiB/depth1/warm/loop \
    fetch/64KiB/files10000/warm; do
    "$bench" --dir "$temp/dir" --only "$row" --pairs 3 --quick 100 \
        --csv "$temp/csv" >"$temp/out" 2>&1 || fail "$row: $(cat "$temp/out")"
    grep -q 'not taken' "$temp/out" && fail "$row: $(cat "$temp/out")"
    [ "$(wc -l <"$temp/csv")" = 2 ] || fail "$row: $(cat "$temp/csv")"
    tail -n 1 "$temp/csv" | grep -qE "^$row[^,]*,posix,[^,]*,[0-9]+,[0-9]+,[0-9]+,[a-z]*,3,[1-9]" ||
        fail "$row: $(cat "$temp/csv")"
done
[ -z "$(ls -A "$temp/dir")" ] || fail "files are left: $(ls -A "$temp/dir")"

# what cannot be taken is blank, with the reason
PATH=$temp "$bench" --dir "$temp/dir" --only read/4KiB/depth1/warm/fio \
    --pairs 3 --quick 100 --csv "$temp/csv" >"$temp/out" 2>&1 &&
    fail "a row without fio was taken"
grep -q 'not taken: fio is not installed; run: scripts/setup bench' \
    "$temp/out" || fail "no reason: $(cat "$temp/out")"
tail -n 1 "$temp/csv" | grep -q ',0,0.0,0.0,' || fail "$(tail -n 1 "$temp/csv")"

"$bench" --pairs 0 >"$temp/out" 2>&1
[ $? = 2 ] || fail "--pairs 0 was taken"
"$bench" --only nothing-of-that-name >"$temp/out" 2>&1 && fail "no row, no error"

[ $failures = 0 ] || echo "$failures failed"
[ $failures = 0 ]
