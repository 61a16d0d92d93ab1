#!/bin/bash
# kvtier-fs-contract on the wrappers, and on slow transfers.
set -u
source=${KVT_TEST_SOURCE:?}
. "$source/tests/integration/fs_contract_rows"
unsure="$space|full_is" # who else uses the space of $temp?
if own_mounts 48m; then
    unsure=$large
elif [ -n "${CI:-}" ]; then
    no_mounts "$why"
else
    echo "SKIP: cases about space: cannot mount: $why"
fi
dir=$images/dir
mkdir "$dir"

for wrapper in fault crash trace; do
    trace=
    [ $wrapper != trace ] || trace="-o trace.file=$temp/trace"
    # only the core can be asked about alignment, not the adapter inside
    row $wrapper:mem "$large|$private|direct_is_what" "$dir" \
        --fs $wrapper:mem -o mem.capacity=32MiB $trace
    row $wrapper:posix "$large|$unsure|direct_is_what" "$dir" \
        --fs $wrapper:posix $trace
done

late=past_its_deadline_everything_times_out
row slow "" "$dir" --fs fault:posix \
    -o 'fault.rules=read,delay=5;open,delay=5;stat,delay=5' \
    --only $late --only memory_is_held_until_late \
    --only a_file_opened_too_late_is_closed \
    --only a_file_opened_too_late_for_a_chain_is_closed \
    --only a_publish_past_its_deadline_is_whole_or_not \
    --only foreign_memory_is_left_alone_behind_the_end \
    --only a_chain_with_a_deadline_breaks_as_any

# a mount that takes no file so large, or has no holes in files
for errno in EFBIG ENOSPC; do
    for fault in "write,do=$errno" "write,nth=2,do=$errno"; do
        row "no holes: $fault" offsets_beyond "$dir" --fs fault:posix \
            -o "fault.rules=$fault" --only a_missing_name_is_enoent \
            --only offsets_beyond_4_gib_are_their_own
    done
done

finish
