#!/bin/bash
# docs/adding-an-adapter.md as a stranger follows it: the sample from where it
# is installed, built against what is installed, through the contract that is
# installed, and then under a store. What the page quotes is in the sample.
# (The contract's threads use pthread_create: so it runs under TSan in CI.)
set -u
source=${KVT_TEST_SOURCE:?}
. "$source/tests/integration/fs_contract_rows"
unsure="$space|full_is" # who else uses the space of $temp?
images=$temp
if own_mounts 64m; then
    unsure=nothing
elif [ -n "${CI:-}" ]; then
    no_mounts "$why"
else
    echo "SKIP: cases about space: cannot mount: $why"
fi
export PREFIX=$images/prefix
export CC="${KVT_TEST_CC:-cc}" CFLAGS="${KVT_TEST_CFLAGS:-}"
mkdir "$images/work"
cd "$images/work" || exit 1

DESTDIR= cmake --install "$KVT_TEST_BUILD" --prefix "$PREFIX" \
    >"$temp/out" 2>&1 || fail "cannot install: $(tail -n 3 "$temp/out")"
rm -f "$PREFIX"/lib*/libkvtier.a "$PREFIX"/lib*/*/libkvtier.a # room
PKG_CONFIG_PATH=$(dirname "$(find "$PREFIX" -name kvtier.pc)")
export PKG_CONFIG_PATH
page=$PREFIX/share/doc/kvtier/adding-an-adapter.md
sample=$PREFIX/share/doc/kvtier/examples/adapter

# What the page quotes ----------------------------------------------------------

python3 - "$page" "$sample" <<'PYTHON' || fail "the page is not the sample"
import pathlib, re, sys
page, sample = map(pathlib.Path, sys.argv[1:])
code = "\n".join(p.read_text() for p in sorted(sample.glob("*.[ch]")))
build = (sample / "CMakeLists.txt").read_text()
blocks = re.findall(r"^```(c|cmake)\n(.*?)^```$", page.read_text(), re.M | re.S)
wrong = [text for kind, text in blocks
         if text not in (code if kind == "c" else build)]
for text in wrong:
    print("not in the sample:\n" + text)
sys.exit(bool(wrong) or len(blocks) < 8)
PYTHON

# A case that fails can be read where the page says.
cases=$PREFIX/share/doc/kvtier/contract
grep -q 'in `share/doc/kvtier/contract`' "$page" || fail "the page, and cases?"
kvtier_cases=$("$PREFIX/bin/kvtier-fs-contract" --list)
[ -n "$kvtier_cases" ] || fail "there are no cases"
for case in $kvtier_cases; do
    grep -qE "\b$case\(struct contract \*c\)" "$cases"/*.c ||
        fail "no function $case in $cases"
done

# What the page runs ------------------------------------------------------------

# block N: the N-th block of shell
block() {
    awk -v wanted="$1" '$0 == "```sh" {inside = ++count == wanted; next}
        /^```/ {inside = 0} inside' "$page"
}

block 1 >first.sh
grep -q 'kvtier-fs-contract --module' first.sh || fail "no first block"
bash -eu first.sh >first.out 2>first.err ||
    fail "the first block: $(tail -n 3 first.err) $(grep ^FAIL first.out)"
# the contract: what it left out is what it has to
grep -qxE '[1-9][0-9]* passed, 0 failed, [0-9]+ skipped' first.out ||
    fail "the contract: $(grep -E '^FAIL|passed' first.out)"
allowed="truncate_cuts|one_of_many|rename_without_replace_has|punch_gives"
allowed="$allowed|copies_of_odd|what_does_not_wait|direct_io_that|a_child_can"
surprises=$(sed -n 's/^skip \(.*\)/\1/p' first.out |
    grep -vE "^($allowed|$unsure)")
[ -z "$surprises" ] || fail "the contract skips: $surprises"
grep -qE '^fs +example +yes' first.out || fail "it is not listed"
grep -qE '^allowed +1 to 256$' first.out || fail "its setting is not told"
sed -n '/^\/\* The example adapter/,/^help  /p' first.out |
    grep -q 'KVT_FS_MODULE = {' || fail "the object does not come back"

block 2 | sed "s|^cc |$CC $CFLAGS |" >second.sh
grep -q 'pkg-config' second.sh || fail "no second block"
cat - second.sh <<<'PATH=$PREFIX/bin:$PATH' |
    bash -eu >second.out 2>&1 || fail "the second block: $(cat second.out)"
grep -q '	key$' second.out || fail "the second block lists $(cat second.out)"

# Under a store -------------------------------------------------------------------

kvtier=$PREFIX/bin/kvtier
export KVTIER_MODULE_PATH=$PWD/build KVTIER_PATH=$PWD/scratch/replayed
trace=$source/examples/traces/conversation_1500.jsonl
"$kvtier" --fs example --json replay "$trace" --requests 150 \
    --block-size 4KiB --limit-blocks 1500 --threads 2 >replay.out 2>&1 ||
    fail "replay: $(tail -n 2 replay.out)"
python3 - replay.out <<'PYTHON' || fail "replay: $(head -c 600 replay.out)"
import json, sys
row = json.loads(open(sys.argv[1]).read().splitlines()[-1])
sys.exit(not (row["requests"] == 150 and row["blocks_hit"] > 0 and
              row["wrong_blocks"] == row["failed_loads"] ==
              row["failed_offloads"] == 0 and row["evicted_objects"] > 0))
PYTHON
# what one adapter stored another one reads: it is a directory
"$kvtier" --fs posix ls >by_posix && "$kvtier" --fs example ls >by_example ||
    fail "the store cannot be listed"
[ -s by_posix ] && cmp -s by_posix by_example || fail "two adapters, two stores"
# an errno arrives as it was
"$kvtier" --fs fault:example -o 'fault.rules=write,do=ENOSPC' put full "$trace" \
    >out 2>&1 && fail "a write that fails succeeds"
grep -q 'ENOSPC' out || fail "the errno is lost: $(cat out)"
"$kvtier" --fs example -o example.depth=257 ls >out 2>&1 &&
    fail "its bounds are not kept"
grep -q 'allowed: 1 to 256' out || fail "its bounds are not told: $(cat out)"

# Installed, it needs no setting.
unset KVTIER_MODULE_PATH
! "$kvtier" --fs example ls >/dev/null 2>&1 || fail "it is found nowhere"
cmake --install build --prefix "$PREFIX" >out 2>&1 || fail "$(cat out)"
[ -f "$(pkg-config --variable=moduledir kvtier)/kvtier-fs-example.so" ] ||
    fail "moduledir is another folder"
"$kvtier" --fs posix ls >by_posix # the write that failed has evicted some
"$kvtier" --fs example ls | cmp -s - by_posix || fail "it is not found"

cd /
finish
