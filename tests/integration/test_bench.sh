#!/bin/bash
# bench_kvtier: that it runs and tells what it did; speeds are not looked at.
# (It uses drop_caches, which no other test may do meanwhile.)
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

# System calls, by counting them: a loop's are known.
if [ "$(field $row other_calls)" = "" ]; then
    echo "SKIP: system calls: a process may not be watched here"
else
    is $row other_calls 1.000
    # who is watched is slow, and a slow transfer calls a thread for help
    for _ in {1..8}; do
        [ "$(field $row ours_calls)" = 1.000 ] && break
        small_in 0 '' --only $row --pairs 1
    done
    is $row ours_calls 1.000
    small_in 0 'calls [0-9.]+ 3.00$' --only fetch/64KiB/files10000/warm --pairs 1
    is fetch/64KiB/files10000/warm/loop other_calls 3.000
    small_in 0 '' --only boundary --pairs 1
    is boundary/64B/batch32 ours_calls 0.000
fi

# What is in flight is looked at; a batch is one submission.
small_in 0 '' --only read/64KiB/depth16/warm/fio --pairs 1
python3 -c "import sys; sys.exit(not 1 < float(sys.argv[1]) <= 16)" \
    "$(field read/64KiB/depth16/warm/fio ours_in_flight)" ||
    fail "in flight: $(field read/64KiB/depth16/warm/fio ours_in_flight)"

# Any command in the place of the other side.
against() { # STATUS PATTERN COMMAND ROW ARGS...
    local status=$1 pattern=$2 command=$3 only=$4
    shift 4
    small_in "$status" "$pattern" --against "$command" --only "$only" "$@"
}
row=read/64KiB/depth1/warm/loop
against 0 "^$row +[0-9.]+ \[" 'cat "$BENCH_FILE" >/dev/null' $row --pairs 6
is $row other command
is $row other_command 'cat "\$BENCH_FILE" >/dev/null'
is $row other_calls ''
[ "$(field $row other_seen_bytes)" -ge "$(field $row bytes)" ] ||
    fail "cat was seen to read $(field $row other_seen_bytes) bytes"
against 0 "^$row .*  the command's calls moved only 0 % of the bytes$" true \
    $row --pairs 1
against 1 'not taken: exit 7: exit status 7: ' 'exit 7' $row
against 0 '' 'test $BENCH_OPERATION = read && test $BENCH_SIZE = 65536 &&
    test $((BENCH_SIZE * BENCH_COUNT)) = $BENCH_BYTES && test -f "$BENCH_FILE"' \
    $row --pairs 1
against 0 '' 'test $BENCH_OPERATION = read && test -d "$BENCH_FILE" &&
    test $(ls "$BENCH_FILE" | wc -l) = $BENCH_COUNT' \
    fetch/64KiB/files10000/warm --pairs 1
against 1 'not taken: it has no file' true boundary
says 0 '^read/1MiB/depth1/warm/dd +[0-9.]+ \[six' --dir "$temp/a dir" \
    --quick 100 --csv "$temp/csv" --only warm/dd --pairs 1
is read/1MiB/depth1/warm/dd other_command '.*dd if=.*bs=1048576 count=2 .*'

# Cold, warm and direct are proved by what the device was asked for.
on_device=$(python3 -c 'import os, sys
print(os.major(os.stat(sys.argv[1]).st_dev))' "$temp")
if [ "$on_device" = 0 ] || [ "$(id -u)" != 0 ] ||
    ! (: >/proc/sys/vm/drop_caches) 2>/dev/null; then
    echo "SKIP: cold and direct: no root, or $temp is on no device"
else
    row=fetch/64KiB/files10000/cold/loop
    small_in 0 "^$row +[0-9.]+ \[" --only $row --pairs 6
    [ "$(field $row ours_device_bytes)" -ge "$(field $row bytes)" ] &&
        [ "$(field $row other_device_bytes)" -ge "$(field $row bytes)" ] ||
        fail "cold files did not come from the device"
    larger() { # ROW PATTERN: than what a program itself is read from
        says 1 "not taken: $2" --dir "$temp/a dir" --quick 20 --pairs 1 \
            --only "$1" --against true
    }
    larger $row 'not cold: [0-9]+ % of the bytes came from the device'
    larger read/64KiB/depth1/direct/fio 'not direct: [0-9]+ % of the bytes came'
    larger write/64KiB/depth1/direct/fio 'not direct: [0-9]+ % of the bytes went'
    row=read/64KiB/depth1/warm/loop
    says 1 'not taken: not warm: [0-9]+ % of the bytes came from the device' \
        --dir "$temp/a dir" --quick 5 --pairs 1 --only $row \
        --against 'dd if="$BENCH_FILE" of=/dev/null bs=1M iflag=direct'
    against 0 "^$row" 'sync; echo 3 >/proc/sys/vm/drop_caches' $row --pairs 3
    is $row ours_device_bytes 0
fi

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
# Neither is a success when others could be run.
PATH=$temp/bin:$PATH small_in 1 '^2 of [0-9]+ rows were not taken$' \
    --only /4KiB/depth1/warm --pairs 1
rm "$temp/bin/fio"
ln -s "$(command -v sh)" "$temp/bin/sh"
PATH=$temp/bin "$bench" --only $row --dir "$temp/a dir" --quick 1000 \
    >"$temp/out" 2>&1 && fail "without fio a row beside fio is taken"
grep -q 'not taken: fio is not installed' "$temp/out" || fail "and fio?"
says 1 'not taken: none: ' --fs none --only $row --dir "$temp/a dir"

if ! command -v fio >/dev/null; then
    echo "SKIP: beside fio: fio is not installed (scripts/setup bench)"
else
    row=read/64KiB/batch16/direct/fio
    if [ "$on_device" != 0 ]; then
        small_in 0 "^$row +[0-9.]+ \[" --only $row --pairs 6
        is $row batch yes
        is $row other_command '.*io_uring --iodepth=16 .*iodepth_batch_submit=16 --iodepth_batch_complete_min=16 .*'
        is $row submissions "$(($(field $row operations) / 16))"
    fi
    row=write/4KiB/depth1/warm/fio
    small_in 0 "^$row +[0-9.]+ \[" --only $row --pairs 6
    is $row other_command "fio .*--filename='$temp/a dir/bench-file' .*"
fi
[ -z "$(ls -A "$temp/a dir")" ] || fail "files are left: $(ls "$temp/a dir")"
