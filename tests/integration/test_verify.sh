#!/bin/bash
# The command `verify`: every layout, damaged and whole.
# shellcheck source=tests/support/command_line.sh
. "${KVT_TEST_SOURCE:?}/tests/support/command_line.sh"

mkdir many
for i in {1..20}; do head -c 50000 /dev/urandom >many/$i; done

# damage FILE DIR: flips a byte of what the file holds, wherever DIR has it
damage() {
    python3 - "$1" "$2" <<'PY' || fail "$1 is not stored in $2"
import os, sys
wanted = open(sys.argv[1], "rb").read()[20000:20100]
found = 0
for folder, _, names in os.walk(sys.argv[2]):
    for name in names:
        path = os.path.join(folder, name)
        with open(path, "r+b") as file:
            at = file.read().find(wanted)
            if at >= 0:
                file.seek(at)
                file.write(bytes([wanted[0] ^ 1]))
                found += 1
sys.exit(0 if found == 1 else 1)
PY
}

case_name="verify checks every object, and repairs when asked"
for backend in bucket file_per_key distributed; do
    store=$temp/verify-$backend
    mkdir "$store"
    set -- --backend $backend --fs posix
    run 0 "$@" put --dir many
    run 0 "$@" --json verify
    json out 'rows == [{"objects": 20, "bytes": 1000000, "bad": 0,
        "unverifiable": 0, "repaired": 0}]'
    run 0 "$@" verify --rate 100M
    grep -qE '^objects  +20$' out && [ ! -s err ] || fail "$(cat out err)"
    damage many/7 "$store"
    cp -r "$store" before
    run 3 "$@" verify && err_is_one_line
    err_has 'kvtier: verify 7: ' && err_has CHECKSUM_MISMATCH
    run 3 "$@" --json verify
    json out 'rows[0]["objects"] == 20 and rows[0]["bad"] == 1 and
        rows[0]["repaired"] == 0'
    json err 'len(rows) == 1 and rows[0]["error"]["subject"] == "7"'
    diff -r before "$store" || fail "verify changed the store"
    run 1 "$@" --read-only verify --repair && err_is_one_line
    run 3 "$@" --json verify --repair
    json out 'rows[0]["bad"] == 1'
    if [ $backend = distributed ]; then
        json out 'rows[0]["repaired"] == 0'
        diff -r before "$store" || fail "a shared root was changed"
        run 0 "$@" put 7 many/7
    else
        json out 'rows[0]["repaired"] == 1'
        [ "$(ls "$store/.kvtier/quarantine" | wc -l)" -eq 1 ] ||
            fail "evidence: $(ls "$store/.kvtier/quarantine")"
        run 3 "$@" exists 7
    fi
    run 0 "$@" --json verify
    json out 'rows[0]["bad"] == 0'
    rm -r before
done
set -- --backend distributed --fs posix
store=$temp/verify-raw
mkdir "$store"
run 0 "$@" -o distributed.format=raw put k many/1
run 0 "$@" -o distributed.format=raw --json verify --repair
json out 'rows == [{"objects": 1, "bytes": 50000, "bad": 0,
    "unverifiable": 1, "repaired": 0}]'
[ "$(cd "$store" && find . -type f | wc -l)" -eq 1 ] || fail "raw: more files"
run 2 verify surplus && err_is_one_line
run 2 verify --rate fast && err_is_one_line
store=$temp/nowhere run 1 verify && err_is_one_line

[ $failures -eq 0 ] && echo "all passed"
exit $((failures > 0))
