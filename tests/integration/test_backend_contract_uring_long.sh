#!/bin/bash
# The backends' contract on uring over the kernel's file systems, where direct
# I/O is real, refused and pretended.
set -u
source=${KVT_TEST_SOURCE:?}
. "$source/tests/integration/fs_contract_rows"

"${KVT_TEST_BIN:?}" backends | grep -q '^fs  *uring  *yes' || {
    echo "SKIP: uring is not part of this build"
    exit 77
}
own_mounts 6g || no_mounts "$why"
unset KVT_TEST_SCALE # as often as there are file systems is enough
mkdir "$images/tmpfs"
mount -t tmpfs -o size=2g tmpfs "$images/tmpfs" || no_mounts tmpfs
make_fs xfs 1500M "-q" ""
make_fs btrfs 1500M "-q" ""

for fs in tmpfs xfs btrfs; do
    for suite in "$KVT_TEST_BUILD"/tests/backend_*contract; do
        start=$SECONDS
        (cd "$images/$fs" && KVT_TEST_SCRATCH=$images/$fs \
            KVT_TEST_ROW="on uring" "$suite") >"$temp/out" 2>&1 ||
            fail "$fs, ${suite##*/}: $(tail -n 15 "$temp/out")"
        # a row that no suite runs would pass, too
        grep -q '\[ *PASSED *\] [1-9]' "$temp/out" ||
            fail "$fs, ${suite##*/}: nothing was run"
        echo "  $fs, ${suite##*/}: $((SECONDS - start)) s"
    done
done

finish
