#!/bin/bash
# kvtier-fs-contract on the kernel's file systems, page cache and direct; and
# the program itself: its options, what it leaves behind, that it can fail.
# Rows without a mount are in test_fs_contract_mem.sh.
set -u
source=${KVT_TEST_SOURCE:?}
. "$source/tests/integration/fs_contract_rows"

own_mounts 1g || no_mounts "$why"

# make_fs TYPE SIZE MKFS_OPTIONS MOUNT_OPTIONS: mounts it at $images/TYPE
make_fs() {
    mkdir "$images/$1"
    truncate -s "$2" "$images/$1.img" &&
        mkfs."$1" $3 "$images/$1.img" >"$temp/err" 2>&1 &&
        mount -o "loop$4" "$images/$1.img" "$images/$1" 2>>"$temp/err" ||
        no_mounts "$1: $(tail -n 1 "$temp/err")"
}


# buffers_or_row NAME DIR: a file system that may only pretend to be direct is
# refused with a reason, or keeps the contract.
buffers_or_row() {
    "$contract" --fs posix --path "$2" -o direct=on --only facts_make_sense \
        >"$temp/out" 2>&1
    if [ $? = 0 ]; then
        row "$1" "$large|full_is|$space" "$2" --fs posix -o direct=on
    elif ! grep -q '^FAIL mount: .*direct = on .* cannot be kept' \
        "$temp/out"; then
        fail "$1 neither passes nor says why: $(head -n 3 "$temp/out")"
    fi
}

mkdir "$images/tmpfs" "$images/ramfs"
mount -t tmpfs -o size=48m tmpfs "$images/tmpfs" || no_mounts tmpfs
mount -t ramfs ramfs "$images/ramfs" || no_mounts ramfs
make_fs ext4 48M "-q -F" ""
make_fs xfs 320M "-q" ""
make_fs btrfs 128M "-q" ",commit=1" # how soon it gives space back

row tmpfs "$large" "$images/tmpfs" --fs posix -o direct=off
if ! is_slow thread; then
    row ramfs "$large|full_is|$space" "$images/ramfs" --fs posix -o direct=off
    row ext4 "$large" "$images/ext4" --fs posix -o direct=off
    row ext4-direct "$large" "$images/ext4" --fs posix -o direct=on
    row xfs "$large|full_is" "$images/xfs" --fs posix -o direct=off
fi
row xfs-direct "$large|full_is" "$images/xfs" --fs posix -o direct=on
row btrfs "$large|$space" "$images/btrfs" --fs posix -o direct=off
buffers_or_row tmpfs-direct "$images/tmpfs"
buffers_or_row ramfs-direct "$images/ramfs"
buffers_or_row btrfs-direct "$images/btrfs"
[ "${KVT_TEST_SCALE:-1}" = 1 ] ||
    row xfs-full "" "$images/xfs" --fs posix --full-size $((320 << 20)) \
        --only full_is_an_error_and_never_a_short_success

finish
