#!/bin/bash
# bench_kvtier's rows of layout bucket: loads are submitted by the batch, room
# is counted, openings are proved to read no values. Speeds are not looked at.
set -u
bench=$(dirname "${KVT_TEST_BIN:?}")/bench_kvtier
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
mkdir "$temp/a dir"

# small ROW PATTERN: the row, with little work, gives a line like that
small() {
    "$bench" --dir "$temp/a dir" --quick 1000 --pairs 1 --csv "$temp/csv" \
        --only "$1" >"$temp/out" 2>&1 && grep -qE -- "^$2" "$temp/out" || {
        echo "FAIL: $1"
        cat "$temp/out"
        exit 1
    }
}

# field COLUMN: of the only row of the CSV
field() {
    python3 - "$temp/csv" "$1" <<'PYTHON'
import csv, sys
print(next(csv.DictReader(open(sys.argv[1], newline="")))[sys.argv[2]])
PYTHON
}

small bucket/load/64KiB/batch32/warm/loop+ \
    'bucket/load/64KiB/batch32/warm/loop\+hash +[0-9.]+ \['
[ "$(field submissions)" = "$(($(field operations) / 32))" ] &&
    [ "$(field bytes_copied)" = 0 ] || {
    echo "FAIL: a batch is not one submission: $(cat "$temp/csv")"
    exit 1
}
small bucket/space/4KiB 'bucket/space/4KiB/batch32 +0\.9[0-9]+ .* bytes of'
small bucket/exists/batch32/line 'bucket/exists/batch32/line +[0-9.]+ \['
small bucket/open/clean/warm 'bucket/open/clean/warm/reads +[0-9.]+ \['
small bucket/open/killed/warm 'bucket/open/killed/warm/reads +[0-9.]+ \['
[ -z "$(ls -A "$temp/a dir")" ] || {
    echo "FAIL: files are left: $(ls "$temp/a dir")"
    exit 1
}
