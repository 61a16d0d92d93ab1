#!/bin/bash
# Stores that the program makes, and what tests/reference/kvtier_reader.py
# reads in their files by docs/format.md alone: the same keys, sizes and
# values, and every check value holds. After kill -9 the reader says what the
# next owner will find.
set -u
kvtier=${KVT_TEST_BIN:?path of the kvtier binary}
reader=${KVT_TEST_SOURCE:?}/tests/reference/kvtier_reader.py
for name in $(compgen -e | grep -E '^(KVTIER|MOONCAKE)_'); do
    unset "$name"
done
if ! /usr/bin/python3 -c 'import xxhash' 2>/dev/null; then
    echo "SKIP: no python3-xxhash; scripts/setup test installs it"
    exit 77
fi
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
cd "$temp" || exit 1
case_name=

fail() {
    echo "FAIL: $case_name: $*"
    exit 1
}

kvt() {
    "$kvtier" --backend "$backend" --path store "${options[@]}" "$@" \
        >out 2>err || fail "'$*': $(head -c 300 err)"
}

# tree VERSION NAME...: files whose bytes depend on name and version
tree() {
    rm -rf tree
    mkdir tree
    /usr/bin/python3 - "$@" <<'PY'
import pathlib, random, sys
version = sys.argv[1]
for name in sys.argv[2:]:
    chance = random.Random(f"{name} {version}")
    size = chance.choice([0, 1, 4096, chance.randrange(20000), 70000])
    path = pathlib.Path("tree") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(chance.randbytes(size))
PY
}

# What the reader finds; `found` says on which way.
read_store() {
    /usr/bin/python3 "$reader" --summary summary "$@" store >read.json ||
        fail "the reader: $(cat summary)"
}

# found NAME: so many of these
found() {
    /usr/bin/python3 -c 'import json, sys
print(json.load(open("summary")).get(sys.argv[1], 0))' "$1"
}

# The program and the reader say the same of keys, sizes and values.
same() {
    local wanted=$1
    kvt --json --read-only ls
    cp out ls.json
    rm -rf got
    mkdir got
    kvt --read-only get --dir got
    /usr/bin/python3 - "$wanted" <<'PY' || fail "they do not agree (at least $wanted)"
import hashlib, json, pathlib, sys
def rows(name, *fields):
    return sorted(tuple(row[field] for field in fields)
                  for row in map(json.loads, open(name)))
listed = rows("ls.json", "key", "size")
read = rows("read.json", "key", "size", "sha256")
if [row[:2] for row in read] != listed or len(listed) < int(sys.argv[1]):
    sys.exit(f"{len(listed)} listed, {len(read)} read")
values = {str(path.relative_to("got")):
          hashlib.sha256(path.read_bytes()).hexdigest()
          for path in pathlib.Path("got").rglob("*") if path.is_file()}
if sorted(values.values()) != sorted(row[2] for row in read):
    sys.exit("values differ")
for key, _, sha in read:
    if "%" not in key and values[key] != sha:
        sys.exit(f"{key} differs")
PY
}

names=$(seq -f 'a/%g' 20)
for backend in bucket file_per_key; do
    options=(-o total_size_limit=1GiB)
    rm -rf store
    case_name="$backend: put, replaced, removed"
    # shellcheck disable=SC2086 # names are words
    tree 1 $names 'b/with space' 'b/with%percent' "b/$(printf 'n%.0s' {1..250})"
    kvt put --dir tree
    read_store
    same 23
    # shellcheck disable=SC2046
    tree 2 $(seq -f 'a/%g' 5 2 15)
    kvt put --dir tree
    kvt rm a/1 a/2 a/5
    read_store
    same 20
    kvt rm a/3
    read_store
    same 19
done

backend=distributed
options=(-o distributed.fs=posix)
case_name="distributed: put, replaced, removed"
rm -rf store
mkdir store
# shellcheck disable=SC2086
tree 1 $names "b/$(printf 'n%.0s' {1..250})"
kvt put --dir tree
kvt rm a/1
tree 2 a/2 a/3
kvt put --dir tree
read_store
same 20

backend=bucket
options=(-o total_size_limit=1GiB -o bucket.keys_limit=100)
case_name="a checkpoint says what the buckets say"
rm -rf store
# shellcheck disable=SC2046
tree 1 $(seq -f 'many/%g' 500)
kvt put --dir tree
tree 2 many/7 many/8
kvt put --dir tree
read_store
[ "$(found checkpoint)" = 1 ] || fail "there is none"
[ "$(found dead)" = 2 ] || fail "$(cat summary)"
same 500

case_name="evicted to a limit"
options=(-o total_size_limit=14MiB)
kvt evict --high 0.5 --low 0.4
grep -q '^evicted_objects *[1-9]' out || fail "nothing: $(cat out)"
read_store
same 50
kvt put --dir tree
read_store
same 50

case_name="dead blocks are punched out"
rm -rf store
options=(-o total_size_limit=2MiB -o eviction=none)
tree 1 $(seq -f 'p/%g' 24)
kvt put --dir tree
rm -rf tree && mkdir -p tree/p
for i in $(seq 24); do
    head -c 50000 /dev/urandom >"tree/p/$i"
done
for _ in $(seq 4); do
    for i in 1 5 6 11 23; do
        head -c 50000 /dev/urandom >"tree/p/$i"
    done
    kvt put --dir tree
done
read_store
[ "$(found punched_values)" -gt 0 ] || fail "none was: $(cat summary)"
same 24

case_name="kill -9"
options=(-o total_size_limit=1GiB -o bucket.keys_limit=70)
rm -rf store
# shellcheck disable=SC2046
tree 0 $(seq -f 'k/%g' 200)
kvt put --dir tree
unsealed=0
round=0
RANDOM=${KVT_TEST_SEED:-$$}
echo "seed ${KVT_TEST_SEED:-$$}"
delay_ms=50 # towards the middle of a put, however fast this machine is
until [ "$unsealed" -ge 3 ] || { [ "$round" -ge 60 ] && [ "$unsealed" -ge 1 ]; }; do
    round=$((round + 1))
    [ "$round" -le 150 ] || fail "no kill was in time"
    # shellcheck disable=SC2046
    tree "$round" $(seq -f 'k/%g' 200)
    "$kvtier" --backend bucket --path store "${options[@]}" put --dir tree \
        >out 2>err &
    owner=$!
    sleep "$(printf '0.%03d' $((delay_ms / 2 + RANDOM % (delay_ms + 1))))"
    if kill -9 $owner 2>/dev/null; then
        delay_ms=$((delay_ms < 600 ? delay_ms * 11 / 10 + 1 : delay_ms))
    else # it was through
        delay_ms=$((delay_ms * 7 / 10 + 1))
    fi
    wait $owner 2>/dev/null
    # as it was left: who opens without ownership, and who owns next
    read_store
    more=$(found unsealed)
    [ "$more" -gt 0 ] || continue
    unsealed=$((unsealed + more))
    # (the old place of what an unsealed bucket replaces may be gone)
    read_store --sealed-only
    same 1
    read_store
    kvt evict --high 1 --low 1
    same 200
    read_store
    same 200
    [ "$(found unsealed)" = 0 ] || fail "left unsealed: $(cat summary)"
done
echo "$round kills, $unsealed unsealed buckets read"

case_name="a flipped bit shows"
rm -rf store
tree 1 one
head -c 5000 /dev/urandom >tree/one
kvt put --dir tree
read_store
same 1
/usr/bin/python3 - "$reader" <<'PY' || fail "the reader passes it"
import pathlib, subprocess, sys
path = max(pathlib.Path("store").glob("w-*/*.kvb"),
           key=lambda path: path.name)
whole = path.read_bytes()
record = whole.rindex(b"\x89KVTR")
value = record + 4096  # one key: a record of one block
for at in (record + 70, value):
    spoilt = bytearray(whole)
    spoilt[at] ^= 4
    path.write_bytes(spoilt)
    done = subprocess.run([sys.argv[1], "store"], capture_output=True)
    if done.returncode == 0:
        sys.exit(f"byte {at}")
PY
