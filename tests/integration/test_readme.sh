#!/bin/bash
# The C and the shell of README.md are compiled and run as they stand, but for
# the place of the store.
set -eu
readme=${KVT_TEST_SOURCE:?}/README.md
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
cd "$temp"

# block LANGUAGE: the code block of that language
block() {
    awk -v fence="\`\`\`$1" '$0 == fence {inside = 1; next}
        /^```/ {inside = 0} inside' "$readme" |
        sed "s|/tmp/kvtier-readme|$temp/store|g"
}

block sh >example.sh
grep -q 'kvtier put' example.sh
PATH=$(dirname "${KVT_TEST_BIN:?}"):$PATH bash -eu example.sh

block c >example.c
grep -q 'kvt_batch_load' example.c
# shellcheck disable=SC2086 # flags are words
"${KVT_TEST_CC:-cc}" -std=c11 -Wall -Wextra -Wpedantic -Werror -I"$KVT_TEST_SOURCE/include" \
    example.c ${KVT_TEST_CFLAGS:-} -L"${KVT_TEST_BUILD:?}/lib" -lkvtier \
    -Wl,-rpath,"$KVT_TEST_BUILD/lib" -o example
out=$(./example)
echo "$out"
test "$out" = "1 offloaded, 1 loaded"
