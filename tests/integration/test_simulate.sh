#!/bin/bash
# bench/simulate.py says of single objects what a store of them does, and of
# whole buckets nearly so; bench/workload.py makes what `replay` takes.
set -u
kvtier=${KVT_TEST_BIN:?path of the kvtier binary}
source=${KVT_TEST_SOURCE:?}
for name in $(compgen -e | grep -E '^(KVTIER|MOONCAKE)_'); do
    unset "$name"
done
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
cd "$temp" || exit 1

fail() {
    echo "FAIL: $*"
    exit 1
}

# replayed BACKEND EVICTION TRACE: its hit ratio at 4000 blocks
replayed() {
    rm -rf store
    "$kvtier" --backend "$1" --path store --json -o eviction="$2" replay "$3" \
        --block-size 4KiB --limit-blocks 4000 >out.json 2>err ||
        fail "replay: $(cat err)"
    /usr/bin/python3 -c 'import json
print("%.4f" % json.load(open("out.json"))["block_hit_ratio"])'
}

# The share of all written bytes that the last replay wrote again.
rewritten() {
    /usr/bin/python3 -c 'import json
sums = json.load(open("out.json"))
again = sums["bytes_rewritten"]
print("%.4f" % (again / (again + sums["bytes_offloaded"])) if again else 0)'
}

# simulated POLICY TRACE
simulated() {
    "$source/bench/simulate.py" --blocks 4000 "$2" >table || fail "simulate"
    awk -v name="$1" '$1 == name { print $4 }' table
}

# near MOST A B: a batch makes room before it is written, which the simulator
# does block by block
near() {
    /usr/bin/python3 -c 'import sys
most, a, b = map(float, sys.argv[1:])
sys.exit(abs(a - b) > most)' "$@"
}

"$source/bench/workload.py" --requests 300 --seed 2 >made.jsonl || fail "made"
[ "$(wc -l <made.jsonl)" = 300 ] || fail "requests: $(wc -l <made.jsonl)"
head -n 700 "$source/examples/traces/conversation_1500.jsonl" >short.jsonl
for trace in short.jsonl made.jsonl; do
    for policy in lru fifo; do
        ours=$(replayed file_per_key $policy $trace)
        theirs=$(simulated $policy $trace)
        near 0.001 "$ours" "$theirs" ||
            fail "$trace, $policy: $ours, simulated $theirs"
        echo "$trace, $policy: $ours, simulated $theirs"
    done
    ours=$(replayed bucket fifo $trace)
    theirs=$(simulated bucket $trace)
    near 0.01 "$ours" "$theirs" ||
        fail "$trace, bucket: $ours, simulated $theirs"
    echo "$trace, bucket: $ours, simulated $theirs"
    ours=$(replayed bucket second_chance $trace)
    theirs=$(simulated carry:0.2 $trace)
    near 0.01 "$ours" "$theirs" ||
        fail "$trace, second chance: $ours, simulated $theirs"
    again=$(rewritten)
    [ "$again" != 0 ] && near 0.2 "$again" 0 || fail "$trace: $again rewritten"
    echo "$trace, second chance: $ours, simulated $theirs; $again rewritten"
done
