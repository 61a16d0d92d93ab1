#!/bin/bash
# kvtier-fs-contract on the wrappers, on slow transfers, and on the example of
# docs/adding-an-adapter.md.
set -u
source=${KVT_TEST_SOURCE:?}
. "$source/tests/integration/fs_contract_rows"
if own_mounts; then
    mount -t tmpfs -o size=48m tmpfs "$images"
fi
dir=$images/dir
mkdir "$dir"

wrapped="$large|direct_is_what" # the core's own calls only
for inner in mem posix; do
    at="$wrapped|$private|$space|full_is"
    row "fault:$inner" "$at" "$dir" --fs "fault:$inner"
    row "crash:$inner" "$at" "$dir" --fs "crash:$inner"
    row "trace:$inner" "$at" "$dir" --fs "trace:$inner" \
        -o trace.file="$temp/trace"
    rm -f "$temp/trace"
done
late=past_its_deadline_everything_times_out
row slow "" "$dir" --fs fault:posix \
    -o 'fault.rules=read,delay=5;open,delay=5;stat,delay=5' \
    --only $late --only memory_is_held_until_late \
    --only a_file_opened_too_late_is_closed \
    --only a_file_opened_too_late_for_a_chain_is_closed \
    --only a_publish_past_its_deadline_is_whole_or_not \
    --only a_chain_with_a_deadline_breaks_as_any

contract=$KVT_TEST_BUILD/tests/fs-contract-example # in the place of posix
row example "one_of_many|rename_without_replace_has|truncate_cuts|$space|full_is" "$dir" \
    --fs posix

finish
