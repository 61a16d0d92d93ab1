#!/bin/bash
# replay: small traces with known hits, and everything that may go wrong.
set -u
kvtier=${KVT_TEST_BIN:?path of the kvtier binary}
# the program reads every variable of these prefixes as a setting
for name in $(compgen -e | grep -E '^(KVTIER|MOONCAKE)_'); do
    unset "$name"
done
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
store=$temp/store
cd "$temp" || exit 1
failures=0
case_name=

fail() {
    echo "FAIL: $case_name: $*"
    failures=$((failures + 1))
}

fresh() {
    rm -rf "$store"
    mkdir "$store"
}

# run STATUS ARGS...: replays with --json into $temp/out and $temp/err
run() {
    local wanted=$1 got
    shift
    "$kvtier" --path "$store" --json replay "$@" >out 2>err
    got=$?
    [ $got -eq "$wanted" ] ||
        fail "'$*' exits $got, not $wanted: $(head -c 300 err)"
}

# json EXPRESSION: `r` is the result
json() {
    python3 - "$1" <<'PY' || fail "JSON: $1: $(cat out)"
import json, sys
rows = [json.loads(line) for line in open("out")]
r = rows[0]
sys.exit(0 if len(rows) == 1 and eval("(" + sys.argv[1] + ")") else 1)
PY
}

# request TIME IDS
request() {
    echo "{\"timestamp\": $1, \"input_length\": 512, \"output_length\": 10," \
        "\"hash_ids\": [$2]}"
}

# The files that hold objects: all but the store's own.
object_files() {
    find "$store" -type f -not -path "$store/.kvtier/*"
}

{
    request 0 "0, 1, 2"
    request 1 "0, 1, 3"
    request 2 "5, 1, 2"
    request 3 "0, 1, 2, 3, 5"
    request 4 ""
    request 5 "9"
} >small.jsonl
# blocks: 3 new | 2 hits, prefix 2, 1 new | 2 hits, prefix 0, 1 new |
#         5 hits, prefix 5 | none | 1 new

case_name="the hits of a small trace are known"
fresh
run 0 small.jsonl --block-size 1000
json 'r["requests"] == 6 and r["blocks_requested"] == 15 and
    r["blocks_hit"] == 9 and r["prefix_blocks_hit"] == 7 and
    r["block_hit_ratio"] == 9 / 15 and r["prefix_hit_ratio"] == 7 / 15'
json 'r["blocks_offloaded"] == 6 and r["bytes_offloaded"] == 6000 and
    r["bytes_loaded"] == 7000 and r["peak_value_bytes"] >= 6000 and
    r["peak_allocated_bytes"] >= 6000'
json 'r["wrong_blocks"] == 0 and r["failed_loads"] == 0 and
    r["failed_offloads"] == 0 and r["evicted_objects"] == 0 and
    r["broken_lines"] == 0 and r["interrupted"] is False'
[ ! -s err ] || fail "stderr: $(cat err)"

case_name="the result has exactly the agreed fields"
json 'set(r) == set("""requests blocks_requested blocks_hit block_hit_ratio
    prefix_blocks_hit prefix_hit_ratio blocks_offloaded bytes_loaded
    bytes_offloaded bytes_rewritten wrong_blocks failed_loads failed_offloads
    evicted_objects seconds peak_value_bytes peak_allocated_bytes max_rss_bytes
    broken_lines interrupted load_latency_us offload_latency_us""".split())'
json 'all(set(r[n]) == {"p50", "p90", "p99", "p999", "max"} and
    0 < r[n]["p50"] <= r[n]["p90"] <= r[n]["p99"] <= r[n]["p999"] <=
    r[n]["max"] for n in ("load_latency_us", "offload_latency_us"))'
json 'r["seconds"] > 0 and r["max_rss_bytes"] > 0'

case_name="a second run finds all blocks"
run 0 small.jsonl --block-size 1000
json 'r["blocks_hit"] == 15 and r["prefix_blocks_hit"] == 15 and
    r["blocks_offloaded"] == 0 and r["bytes_loaded"] == 15000'

case_name="blocks of another size are other objects"
run 0 small.jsonl --block-size 1001
json 'r["blocks_hit"] == 9 and r["wrong_blocks"] == 0'

case_name="a trace comes from standard input, and in text form too"
fresh
run 0 - --block-size 4K <small.jsonl
json 'r["requests"] == 6 and r["bytes_offloaded"] == 6 * 4096'
"$kvtier" --path "$store" replay small.jsonl --block-size 4KiB >out 2>err ||
    fail "text: $(cat err)"
grep -qE '^blocks_hit  +15$' out && grep -qE '^load_latency_us\.p99  +' out &&
    grep -qE '^interrupted  +false$' out || fail "$(cat out)"

case_name="a second reference in a request is a hit"
fresh
{ request 0 "7, 7, 8"; request 1 "7, 7, 8, 9, 7"; } >repeated.jsonl
run 0 repeated.jsonl --block-size 1
json 'r["blocks_requested"] == 8 and r["blocks_hit"] == 5 and
    r["prefix_blocks_hit"] == 3 and r["blocks_offloaded"] == 3'

case_name="ids of 64 bits, long requests and empty traces"
fresh
python3 - >wide.jsonl <<'PY'
import json
ids = [2**64 - 1 - i for i in range(1000)]
for i in range(2):
    print(json.dumps({"timestamp": i, "hash_ids": ids}))
PY
run 0 wide.jsonl --block-size 100
json 'r["blocks_hit"] == 1000 and r["bytes_loaded"] == 100000'
run 0 /dev/null
json 'r["requests"] == 0 and r["block_hit_ratio"] == 0 and
    r["load_latency_us"]["max"] == 0'
run 0 wide.jsonl --requests 1
json 'r["requests"] == 1 and r["blocks_requested"] == 1000'

case_name="a broken line ends the replay, or is counted"
fresh
{ head -2 small.jsonl; echo '{"timestamp": 1, "hash_ids": [1, "x"]}';
  tail -4 small.jsonl; echo '{"timesta'; } >broken.jsonl
run 1 broken.jsonl --block-size 1000
json 'r["requests"] == 2 and r["broken_lines"] == 1 and r["blocks_hit"] == 2'
grep -qF 'broken.jsonl:3' err && grep -qF hash_ids err || fail "$(cat err)"
[ "$(wc -l <err)" -eq 1 ] || fail "$(cat err)"
fresh
run 0 broken.jsonl --block-size 1000 --on-broken skip
json 'r["requests"] == 6 and r["broken_lines"] == 2 and r["blocks_hit"] == 9'
run 1 missing.jsonl && grep -qF ENOENT err || fail "$(cat err)"
run 2 small.jsonl --on-broken maybe
run 2 small.jsonl --block-size 0
run 2 small.jsonl --threads 0
run 2 small.jsonl --limit-blocks x
run 2

# A trace with a hot set, and what least recently used makes of it: blocks
# are touched in their order, and only what a write needs is evicted.
python3 - <<'PY'
import collections, json, random
random.seed(11)
requests = []
fresh = 1000
for i in range(400):
    start = int(random.paretovariate(0.8)) % 40 * 10
    ids = list(range(start, start + random.randint(1, 10)))
    for _ in range(random.randint(0, 3)):
        ids.append(fresh)
        fresh += 1
    requests.append(ids)
with open("hot.jsonl", "w") as out:
    for i, ids in enumerate(requests):
        print(json.dumps({"timestamp": i, "hash_ids": ids}), file=out)

def simulate(capacity):
    cache = collections.OrderedDict()
    hits = prefix = 0
    for ids in requests:
        stored = [i in cache for i in ids]
        hits += sum(stored)
        length = stored.index(False) if False in stored else len(ids)
        prefix += length
        for i in ids:
            if i in cache:
                cache.move_to_end(i)
                continue
            if len(cache) == capacity:
                cache.popitem(last=False)
            cache[i] = True
    return [hits, prefix]
json.dump({"free": simulate(10**9), "bound": simulate(64)}, open("lru", "w"))
PY

case_name="without a limit, hits are those of an endless cache"
fresh
run 0 hot.jsonl --block-size 1000
json '[r["blocks_hit"], r["prefix_blocks_hit"]] ==
    json.load(open("lru"))["free"] and r["evicted_objects"] == 0'

case_name="a limit in blocks holds, and hits follow least recently used"
fresh
"$kvtier" --path "$store" --backend file_per_key --json replay hot.jsonl \
    --block-size 1000 --limit-blocks 64 >out 2>err || fail "$(cat err)"
json 'r["peak_value_bytes"] <= 64000 and r["evicted_objects"] > 0 and
    r["wrong_blocks"] == 0 and r["failed_loads"] == 0'
json '[r["blocks_hit"], r["prefix_blocks_hit"]] ==
    json.load(open("lru"))["bound"]'
size=$(object_files | xargs cat | wc -c)
[ "$size" -le $((64000 + 64 * 200)) ] || fail "$size bytes on disk"

case_name="threads share the trace"
fresh
run 0 hot.jsonl --block-size 1000 --threads 4
json 'r["requests"] == 400 and r["wrong_blocks"] == 0 and
    r["failed_loads"] == 0 and r["failed_offloads"] == 0 and
    abs(r["blocks_hit"] - json.load(open("lru"))["free"][0]) < 100'
run 0 hot.jsonl --block-size 1000 --threads 4 --no-verify
json 'r["blocks_hit"] == r["blocks_requested"]'
fresh
run 0 hot.jsonl --block-size 1000 --threads 4 --limit-blocks 64
json 'r["peak_value_bytes"] <= 64000 and r["wrong_blocks"] == 0'

case_name="what a full store refuses is counted and shown in part"
fresh
"$kvtier" --path "$store" -o eviction=none --json replay hot.jsonl \
    --block-size 1000 --limit-blocks 64 >out 2>err
[ $? -eq 3 ] || fail "exit status"
json 'r["failed_offloads"] > 11 and r["requests"] == 400 and
    r["peak_value_bytes"] <= 64000'
grep -qF KVT_ERR_UNABLE_OFFLOAD err || fail "$(cat err)"
[ "$(wc -l <err)" -eq 11 ] || fail "$(wc -l <err) lines on stderr"

case_name="flipped bytes are failed loads and misses, never wrong blocks"
fresh
export KVTIER_BACKEND=file_per_key
run 0 small.jsonl --block-size 1000
object_files | while read -r file; do
    python3 - "$file" <<'PY'
import sys
with open(sys.argv[1], "r+b") as f:
    data = bytearray(f.read())
    data[len(data) // 3] ^= 0x40
    f.seek(0)
    f.write(data)
PY
done
run 3 small.jsonl --block-size 1000 --requests 1
json 'r["failed_loads"] > 0 and r["wrong_blocks"] == 0 and
    r["prefix_blocks_hit"] < 3'
grep -qF KVT_ERR_CHECKSUM_MISMATCH err || fail "$(cat err)"
unset KVTIER_BACKEND

case_name="objects deleted behind the store's back are misses"
fresh
{ request 0 "1, 2, 3, 4"; request 3000 "1, 2, 3, 4";
  request 3001 "1, 2, 3, 4"; } >paced.jsonl
"$kvtier" --backend file_per_key --path "$store" --json replay paced.jsonl \
    --paced --block-size 1000 >out 2>err &
pid=$!
for i in {1..100}; do
    [ "$(object_files | wc -l)" -gt 0 ] && break
    sleep 0.05
done
sleep 0.5
object_files | xargs -r -d '\n' rm
wait $pid || fail "exit status: $(cat err)"
json 'r["requests"] == 3 and r["blocks_hit"] == 4 and
    r["prefix_blocks_hit"] == 4 and r["blocks_offloaded"] == 8 and
    r["wrong_blocks"] == 0 and r["failed_loads"] == 0 and
    2.9 < r["seconds"] < 10'

case_name="a signal ends the replay with what was done"
for signal in INT TERM; do
    for threads in 1 3; do
        fresh
        { request 0 "1, 2"; request 100000 "1, 2"; } >slow.jsonl
        # a job of a shell without job control ignores SIGINT: env resets it
        python3 -c 'import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])' "$kvtier" --path "$store" --json \
            replay slow.jsonl --paced --threads $threads >out 2>err &
        pid=$!
        for i in {1..100}; do
            [ "$(object_files | wc -l)" -gt 0 ] && break
            sleep 0.05
        done
        sleep 0.2
        kill -$signal $pid
        wait $pid
        [ $? -eq 1 ] || fail "SIG$signal: exit status"
        json 'r["interrupted"] is True and r["requests"] == 1 and
            r["blocks_offloaded"] == 2 and r["seconds"] < 30'
    done
done

case_name="a signal ends the wait for a pipe"
fresh
mkfifo pipe
"$kvtier" --path "$store" --json replay - --threads 2 <pipe >out 2>err &
pid=$!
exec 9>pipe
request 0 "1, 2" >&9
for i in {1..100}; do
    [ "$(object_files | wc -l)" -gt 0 ] && break
    sleep 0.05
done
sleep 0.2
kill -TERM $pid
wait $pid
[ $? -eq 1 ] || fail "exit status"
exec 9>&-
json 'r["interrupted"] is True and r["requests"] == 1'

case_name="--stats has the counters of the replay"
fresh
"$kvtier" --path "$store" --stats s.json replay hot.jsonl --block-size 1000 \
    --limit-blocks 64 >out 2>err || fail "$(cat err)"
python3 -c '
import json
s = json.load(open("s.json"))
assert s["evicted_objects"] > 0 and s["value_bytes"] <= 64000, s
assert s["adapter"]["transfers"] > 0, s' || fail "figures"

[ $failures -eq 0 ] && echo "all passed"
exit $((failures > 0))
