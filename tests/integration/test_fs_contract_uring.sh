#!/bin/bash
# kvtier-fs-contract on uring, where direct I/O is real, refused and pretended;
# and a store there, which tells what is in effect.
set -u
source=${KVT_TEST_SOURCE:?}
. "$source/tests/integration/fs_contract_rows"

cli=${KVT_TEST_BIN:?}
"$cli" backends | grep -q '^fs  *uring  *yes' || {
    echo "SKIP: uring is not part of this build"
    exit 77
}
own_mounts 1g || no_mounts "$why"

# effective NAME DIR PATTERN: of a store that writes and reads something
effective() {
    local told
    # ramfs has no size that a limit could be a share of
    local store=("$cli" --path "$2/store" --fs uring -o total_size_limit=1MiB)
    "${store[@]}" put key - <<<"a value" >"$temp/out" 2>&1 &&
        "${store[@]}" get key - >"$temp/value" 2>>"$temp/out" ||
        fail "$1: $(head -n 3 "$temp/out")"
    [ "$(cat "$temp/value")" = "a value" ] || fail "$1: another value comes back"
    told=$("${store[@]}" stat |
        sed -n 's/^effective\.\(direct\|io_uring\|fallback_reason\) */\1=/p' |
        tr '\n' ' ')
    [[ $told =~ $3 ]] || fail "$1: in effect is $told"
    rm -rf "$2/store"
}

# uring_row NAME DIRECT SKIPS: DIRECT is what `auto` has to come to
uring_row() {
    effective "$1" "$images/$1" "direct=$2 io_uring=true fallback_reason= "
    row "uring-$1" "$large${3:+|$3}" "$images/$1" --fs uring
}

mkdir "$images/tmpfs" "$images/ramfs"
mount -t tmpfs -o size=48m tmpfs "$images/tmpfs" || no_mounts tmpfs
mount -t ramfs ramfs "$images/ramfs" || no_mounts ramfs
make_fs ext4 48M "-q -F" ""
make_fs xfs 320M "-q" ""
make_fs btrfs 128M "-q" ",commit=1" # how soon it gives space back

uring_row ext4 on ""
if ! is_slow thread; then
    uring_row tmpfs off ""
    uring_row ramfs off "full_is|$space"
    uring_row xfs on "full_is|$space"
    uring_row btrfs off "$space"
fi
row uring-buffered "$large" "$images/ext4" --fs uring -o direct=off

finish
