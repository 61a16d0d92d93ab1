#!/bin/bash
# bench_kvtier: that it runs and tells what it did; speeds are not looked at.
set -u
bench=$(dirname "${KVT_TEST_BIN:?}")/bench_kvtier
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
mkdir "$temp/a dir"

fail() {
    echo "FAIL: $*"
    cat "$temp/out"
    exit 1
}

# says STATUS PATTERN ARGS...
says() {
    local wanted=$1 pattern=$2 status
    shift 2
    "$bench" "$@" >"$temp/out" 2>&1
    status=$?
    [ $status = "$wanted" ] || fail "'$*' exits $status, not $wanted"
    grep -qE -- "$pattern" "$temp/out" || fail "'$*' does not say '$pattern'"
}

# field ROW COLUMN: of the CSV, which has to be one
field() {
    python3 - "$temp/csv" "$1" "$2" <<'PYTHON'
import csv, sys
path, name, column = sys.argv[1:]
rows = list(csv.DictReader(open(path, newline="")))
assert all(None not in row and None not in row.values() for row in rows)
print(next(row[column] for row in rows if row["row"] == name))
PYTHON
}

# is ROW COLUMN PATTERN
is() {
    field "$1" "$2" | grep -qxE -- "$3" ||
        fail "$1: $2 is '$(field "$1" "$2")', not '$3'"
}

says 0 '^usage: ' --help
says 2 'takes a number|--pairs takes' --pairs 0
says 2 'no such option' --nothing 1
says 1 '' --only no_such_row
says 0 '^fetch/64KiB/files10000/warm/loop$' --list
[ -z "$(sort "$temp/out" | uniq -d)" ] || fail "two rows of one name"

small_in() { says "$@" --dir "$temp/a dir" --quick 1000 --csv "$temp/csv"; }

# A ratio with its bounds, and counters of our sides and of nothing else.
row=read/64KiB/depth1/warm/loop
small_in 0 "^$row +[0-9.]+ \[[0-9.]+\.\.[0-9.]+\]" --only $row --pairs 6
is $row pairs 6
is $row ratio_low '[0-9]+\.[0-9]+'
is $row not_taken ''
[ "$(field $row operations)" -gt 0 ] &&
    [ "$(field $row operations)" = "$(field $row submissions)" ] ||
    fail "at depth 1 an operation is a submission: $(cat "$temp/csv")"
[ "$(field $row bytes)" = $((65536 * $(field $row operations))) ] ||
    fail "bytes are not operations times size"

# Too few pairs have no bounds, and none are made up.
small_in 0 "^$row +[0-9.]+ \[six pairs" --only $row --pairs 5
is $row ratio_low ''
is $row ratio_median '[0-9]+\.[0-9]+'

row=fetch/64KiB/files10000/warm/loop
small_in 0 "^$row +[0-9.]+ \[" --only $row --pairs 6
is $row bytes_copied 0

small_in 0 'ns each$' --only boundary --pairs 1

# A side that cannot be run is a blank with its reason, not a figure.
row=write/4KiB/depth1/warm/fio
mkdir "$temp/bin"
printf '#!/bin/sh\necho "fio says \\"no\\","; echo and more; exit 1\n' \
    >"$temp/bin/fio"
chmod +x "$temp/bin/fio"
PATH=$temp/bin:$PATH small_in 1 "^$row +not taken: fio: fio says" --only $row
is $row pairs 0
is $row ratio_median ''
is $row not_taken 'fio: fio says "no", and more ?'
rm "$temp/bin/fio"
ln -s "$(command -v sh)" "$temp/bin/sh"
PATH=$temp/bin "$bench" --only $row --dir "$temp/a dir" --quick 1000 \
    >"$temp/out" 2>&1 && fail "without fio a row beside fio is taken"
grep -q 'not taken: fio is not installed' "$temp/out" || fail "and fio?"
says 1 'not taken: none: ' --fs none --only $row --dir "$temp/a dir"

if ! command -v fio >/dev/null; then
    echo "SKIP: beside fio: fio is not installed (scripts/setup bench)"
else
    small_in 0 "^$row +[0-9.]+ \[" --only $row --pairs 6
    is $row other_command "fio .*--filename='$temp/a dir/bench-file' .*"
fi
[ -z "$(ls -A "$temp/a dir")" ] || fail "files are left: $(ls "$temp/a dir")"
