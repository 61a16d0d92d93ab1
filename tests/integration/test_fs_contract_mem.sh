#!/bin/bash
# kvtier-fs-contract without mounts: the program itself, and `mem` with each
# of its facts both ways.
set -u
source=${KVT_TEST_SOURCE:?}
. "$source/tests/integration/fs_contract_rows"
dir=$temp/dir
mkdir "$dir"

# says STATUS PATTERN ARGS...
says() {
    local wanted=$1 pattern=$2 status
    shift 2
    "$contract" "$@" >"$temp/out" 2>&1
    status=$?
    [ $status = "$wanted" ] || fail "'$*' exits $status, not $wanted"
    grep -qE -- "$pattern" "$temp/out" ||
        fail "'$*' does not say '$pattern': $(head -c 300 "$temp/out")"
}

# The program ---------------------------------------------------------------

says 0 '^usage: ' --help
[ "$(wc -l <"$temp/out")" -le 24 ] && [ "$(wc -L <"$temp/out")" -le 80 ] ||
    fail "the help is more than a screen"
says 0 '^facts_make_sense$' --list
count=$(wc -l <"$temp/out")
[ "$count" = "$(sort -u "$temp/out" | wc -l)" ] || fail "two cases of one name"
says 2 '\-\-fs NAME is missing' --path "$dir"
says 2 '\-\-path DIR is missing' --fs mem
says 2 '`nothing` is no adapter' --fs nothing --path "$dir"
says 2 '`nothing` is no adapter' --fs trace:nothing --path "$dir"
says 2 '`nothing` is no wrapper' --fs nothing:mem --path "$dir"
says 1 '^FAIL mount: juicefs .*is not part of this version' \
    --fs juicefs --path "$dir"
echo 'no library' >"$temp/kvtier-fs-bad.so"
says 1 '^FAIL mount: .*not available: .*kvtier-fs-bad.so is no shared object' \
    --module "$temp/kvtier-fs-bad.so" --path "$dir"
says 2 'no case named x' --fs mem --path "$dir" --only x
says 2 'KEY=VALUE' --fs mem --path "$dir" -o threads
says 2 'no_such_key' --fs mem --path "$dir" -o no_such_key=1
says 2 'value is missing' --fs mem --path
says 2 'unknown argument extra' --fs mem --path "$dir" extra
says 2 'x.so. is not called kvtier-fs-NAME.so' --module /x.so --path "$dir"
says 2 'does not name the adapter of the module /x.so' \
    --module /x.so --fs mem --path "$dir"
says 2 'does not name the adapter of the module /kvtier-fs-mem2.so' \
    --module /kvtier-fs-mem2.so --fs trace:mem --path "$dir"
says 2 '/kvtier-fs-a.so. is no such file' \
    --module /kvtier-fs-a.so --fs a --path "$dir"
says 2 'number of bytes' --fs mem --path "$dir" --full-size 1x
says 2 '`fault` is no adapter' --fs fault --path "$dir"
says 2 '' --fs mem --path "$dir" -o mem.facts=no_such_word
says 1 '^FAIL mount: ' --fs posix --path /proc/nowhere
says 0 '^1 passed, 0 failed, 0 skipped$' --fs=mem --path="$dir" \
    --only=the_mount_is_alive

# It can fail, tells where, and cleans up all the same.
says 1 '^FAIL sync_of_files.*: files.c:[0-9]+: .*, expected 0, got -EIO$' \
    --fs fault:posix --path "$dir" -o 'fault.rules=sync,do=EIO' \
    --only sync_of_files_and_directories_succeeds --only facts_make_sense
[ "$(tail -n 1 "$temp/out")" = "1 passed, 1 failed, 0 skipped" ] ||
    fail "the last line of a failed run is $(tail -n 1 "$temp/out")"
[ -z "$(ls -A "$dir")" ] || fail "a failed run leaves $(ls -A "$dir")"

# mem -----------------------------------------------------------------------

no_renames="one_of_many|readers_of_a_renamed|rename_without_replace_has"
mem() { # FACTS SKIPS
    row "mem $1" "$private|$2" "$dir" --fs mem -o mem.facts="$1" \
        -o mem.capacity=32MiB
}
mem "" "$large"
if ! is_slow "address|thread"; then # one by one
    mem no_rename "$large|$no_renames"
    mem no_noreplace "$large|rename_without_replace_has"
    mem no_exclusive "$large|exclusive_create_has"
    mem no_overwrite "$large|threads_write_ranges"
    mem no_punch "$large|punch_gives"
    for word in no_links transfer64k slices4 close_to_open \
        after_sync lost_on_kill removed_gone trash shared short_names; do
        mem $word "$large"
    done
    row "mem align4096" "$private|$large" "$dir" --fs mem -o direct=on \
        -o mem.facts=align4096 -o mem.capacity=32MiB
fi
mem no_noreplace,align4096,transfer64k,slices4,after_sync,lost_on_kill \
    "rename_without_replace_has|direct_io_that|what_does_not_wait|a_child_can"
mem no_rename,no_links,no_overwrite,no_exclusive,close_to_open,removed_gone,trash,shared,short_names \
    "$large|$no_renames|exclusive_create_has|threads_write_ranges"

finish
