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


# Does the file system really bypass the page cache? One that takes an
# unaligned transfer only pretends.
is_direct() { # DIR
    python3 - "$1/probe" <<'END'
import os, sys
path = sys.argv[1]
direct = False
with open(path, "wb") as file:
    file.write(bytes(8192))
try:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        os.preadv(fd, [bytearray(100)], 3)
    except OSError:
        direct = True
except OSError:
    pass
os.unlink(path)
sys.exit(not direct)
END
}

# direct_row NAME DIR: where direct I/O is real, the contract holds with it;
# where it is refused or only pretended, so are we, with the reason.
direct_row() {
    if is_direct "$2"; then
        row "$1" "$large|full_is|$space" "$2" --fs posix -o direct=on
        return
    fi
    "$contract" --fs posix --path "$2" -o direct=on --only facts_make_sense \
        >"$temp/out" 2>&1
    grep -q '^FAIL mount: .*direct = on .* cannot be kept' "$temp/out" ||
        fail "$1 does not say why: $(head -n 3 "$temp/out")"
    row "$1-auto" "" "$2" --fs posix -o direct=auto \
        --only direct_is_what_the_facts_say --only facts_make_sense
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
direct_row tmpfs-direct "$images/tmpfs"
direct_row ramfs-direct "$images/ramfs"
direct_row btrfs-direct "$images/btrfs"
is_direct "$images/ext4" || fail "ext4 is not direct here"
! is_direct "$images/ramfs" || fail "ramfs is direct here"
[ "${KVT_TEST_SCALE:-1}" = 1 ] ||
    row xfs-full "" "$images/xfs" --fs posix --full-size $((320 << 20)) \
        --only full_is_an_error_and_never_a_short_success

finish
