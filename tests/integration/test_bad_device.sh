#!/bin/bash
# A device that returns EIO, and one that turns out to be full when the bytes
# are written back: errors arrive as they are, nothing half-done stays, and the
# store goes on when the device does.
set -u
kvtier=${KVT_TEST_BIN:?}
temp=$(mktemp -d)
failures=0

if [ -z "${KVT_BAD_DEVICE_MOUNTS:-}" ]; then
    rm -rf "$temp"
    if ! why=$(unshare -m true 2>&1); then
        [ -z "${CI:-}" ] || { echo "FAIL: no mounts: $why"; exit 1; }
        echo "SKIP: no mounts: $why"
        exit 77
    fi
    KVT_BAD_DEVICE_MOUNTS=yes exec unshare -m bash "$0"
fi

clean() {
    cd /
    umount "$temp/eio" "$temp/full" 2>/dev/null
    [ -z "${loop:-}" ] || losetup -d "$loop"
    umount "$temp/nbd/disk" 2>/dev/null
    wait # for nbdkit
    umount "$temp/small" 2>/dev/null
    rm -rf "$temp"
}
trap clean EXIT
trap 'exit 1' INT TERM HUP
for name in $(compgen -e | grep -E '^(KVTIER|MOONCAKE)_'); do
    unset "$name"
done

fail() {
    echo "FAIL: $*"
    failures=$((failures + 1))
}

skip() { # what every machine of ours has is no reason to skip there
    [ -z "${CI:-}" ] || { echo "FAIL: $1"; exit 1; }
    echo "SKIP: $1"
    exit 77
}

# expect STATUS WORD COMMAND...: exits so, and the message has the word.
expect() {
    local status=$1 word=$2
    shift 2
    "$@" >"$temp/out" 2>"$temp/err"
    local got=$?
    [ $got = "$status" ] ||
        fail "$*: exit status $got, not $status: $(head -n 2 "$temp/err")"
    [ -z "$word" ] || grep -q -- "$word" "$temp/err" ||
        fail "$*: no '$word' in: $(head -n 2 "$temp/err")"
}

store() { # DIR ARGS...
    local dir=$1
    shift
    "$kvtier" --backend file_per_key --path "$dir" -o durability=batch "$@"
}

for tool in nbdkit nbdfuse mkfs.ext4 losetup; do
    command -v $tool >/dev/null || skip "$tool is missing; run scripts/setup"
done
[ -e /dev/fuse ] || skip "no /dev/fuse"

# EIO ------------------------------------------------------------------------

mkdir "$temp/nbd" "$temp/eio"
touch "$temp/nbd/disk"
nbdfuse "$temp/nbd/disk" --command nbdkit -s --exit-with-parent \
    --filter=error memory 64M error=EIO \
    error-file="$temp/inject" error-rate=100% 2>"$temp/nbdkit" &
for _ in $(seq 100); do
    [ "$(stat -c %s "$temp/nbd/disk" 2>/dev/null)" = 67108864 ] && break
    sleep 0.1
done
loop=$(losetup -f --show "$temp/nbd/disk") || skip "no loop device"
mkfs.ext4 -q -F -O ^has_journal "$loop" || fail "mkfs"
mount -o errors=continue "$loop" "$temp/eio" || skip "cannot mount ext4"

dir=$temp/eio/s
head -c 200000 /dev/urandom >"$temp/value"
expect 0 "" store "$dir" put key "$temp/value"
expect 0 "" store "$dir" put other "$temp/value"
umount "$temp/eio" && mount -o errors=continue "$loop" "$temp/eio" ||
    fail "cannot mount again"
ls -lR "$temp/eio" >/dev/null # metadata in memory, values not
cat "$dir/.kvtier/store" >/dev/null

touch "$temp/inject"
expect 3 EIO store "$dir" --read-only get key "$temp/got"
[ ! -e "$temp/got" ] || fail "a load that failed left a file"
head -c 300000 /dev/urandom >"$temp/new"
expect 3 EIO store "$dir" put new "$temp/new"
rm "$temp/inject"

# a device that recovers: nothing was thrown away for an error of the moment
umount "$temp/eio" && mount -o errors=continue "$loop" "$temp/eio" ||
    fail "cannot mount again"
expect 0 "" store "$dir" get key "$temp/got"
cmp -s "$temp/value" "$temp/got" || fail "other bytes than were stored"
expect 0 "" store "$dir" get other "$temp/got"
cmp -s "$temp/value" "$temp/got" || fail "other bytes than were stored"
expect 3 NOT_FOUND store "$dir" get new -
[ -z "$(ls -A "$dir/.kvtier/tmp")" ] || fail "temporaries are left"
expect 0 "" store "$dir" put new "$temp/new"
expect 0 "" store "$dir" get new "$temp/got"
cmp -s "$temp/new" "$temp/got" || fail "other bytes than were stored"

# Full at write-back ---------------------------------------------------------

# A sparse image of 64 MiB on a tmpfs of 4 MiB: ext4 believes in its blocks.
mkdir "$temp/small" "$temp/full"
mount -t tmpfs -o size=4m tmpfs "$temp/small" || skip "cannot mount tmpfs"
truncate -s 64M "$temp/small/image"
mkfs.ext4 -q -F -O ^has_journal "$temp/small/image" || fail "mkfs"
mount -o loop,errors=continue "$temp/small/image" "$temp/full" ||
    skip "cannot mount ext4"
dir=$temp/full/s
head -c 100000 /dev/urandom >"$temp/value"
expect 0 "" store "$dir" put small "$temp/value"
head -c 6000000 /dev/urandom >"$temp/large"
expect 3 "EIO\|ENOSPC" store "$dir" put large "$temp/large"
expect 3 NOT_FOUND store "$dir" get large -
expect 0 "" store "$dir" get small "$temp/got"
cmp -s "$temp/value" "$temp/got" || fail "other bytes than were stored"
[ -z "$(ls -A "$dir/.kvtier/tmp")" ] || fail "temporaries are left"

[ $failures = 0 ] || echo "$failures failed"
[ $failures = 0 ]
