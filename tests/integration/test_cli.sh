#!/bin/bash
# The command line: every command, exit status, output and error line.
# shellcheck source=tests/support/command_line.sh
. "${KVT_TEST_SOURCE:?}/tests/support/command_line.sh"

case_name="help of the program and of every command fits a screen"
help_fits() {
    [ -s out ] && [ ! -s err ] || fail "$1: not on stdout alone"
    [ "$(wc -l <out)" -le 24 ] || fail "$1: $(wc -l <out) lines"
    [ "$(wc -L <out)" -le 80 ] || fail "$1: $(wc -L <out) columns"
    grep -q '^Usage: kvtier' out || fail "$1: no usage"
}
run 0 --help
help_fits program
commands=$(sed -n 's/^  \([a-z]*\)  *[a-z].*/\1/p' out)
[ "$(echo $commands)" = \
    "put get exists ls rm stat config backends evict verify replay" ] ||
    fail "commands are $commands"
for command in $commands; do
    run 0 "$command" --help
    help_fits "$command"
    cp out first
    run 0 --help "$command"
    cmp -s out first || fail "--help before $command differs"
done
run 0 --version
grep -qE '^kvtier [0-9]+\.[0-9]+\.[0-9]+$' out || fail "version"

case_name="a command line that makes no sense is a usage error"
run 2 frob && err_has "unknown command" && err_is_one_line
run 2 exist key && err_has "did you mean 'exists'?"
run 2 --jsno ls && err_has "did you mean '--json'?"
run 2 rm --al && err_has "did you mean '--all'?"
run 2 ls -x && err_has "unknown option"
run 2 ls --prefix && err_has "needs a value"
run 2 ls --hex=1 && err_has "takes no value"
run 2 ls surplus
run 2 -o nothing ls && err_has "KEY=VALUE"
run 2 put key
run 2 put key file more
run 2 put --dir . key
run 2 get
run 2 exists
run 2 rm
run 2 stat x
run 2 backends x
run 2 evict --high 1.5 && err_has "0 to 1"
run 2 evict --high 0x1
run 2 evict --high 0.5 --low 0.6
run 2 replay
run 2
err_is_one_line
run 2 exists 'a%zz' && err_has "'%zz'" && err_is_one_line
run 2 exists 'a%' && run 2 exists 'a%4'
run 2 --hex exists abc && run 2 --hex exists zz
run 2 --json frob
json err 'list(rows[0]) == ["error"] and rows[0]["error"]["code"] == -600 and
    set(rows[0]["error"]) == {"name", "code", "errno", "subject", "message",
    "remedy"} and rows[0]["error"]["subject"] == "frob"'

case_name="a setting that is wrong is a usage error that names it"
run 2 -o nosuch=1 ls && err_has nosuch && err_is_one_line
run 2 -o total_size_limit=many ls && err_has total_size_limit
run 2 --backend nosuch ls && err_has nosuch
KVTIER_NOSUCH=1 run 2 ls && err_has NOSUCH
run 1 --config missing.ini ls && err_has missing.ini && err_has ENOENT
store= run 2 ls

case_name="reading does not create a store"
store=$temp/nowhere
for command in "ls" "stat" "get k" "exists k"; do
    run 1 $command
    err_is_one_line
done
[ ! -e "$store" ] || fail "a store was made"
store=$temp/store

case_name="a file system may lack renames, but not a way to publish"
for lacks in no_noreplace,no_links no_rename; do
    run 0 --fs mem -o mem.facts=$lacks put key "$0"
done
run 1 --fs fault:posix -o fault.rules=rename,do=EOPNOTSUPP put key "$0"
err_has 'cannot make a file appear whole, by a rename or otherwise'
err_is_one_line

case_name="an object comes back as it was put"
head -c 300000 /dev/urandom >big
printf 'some bytes' >small
: >empty
run 0 put big big && out_is ''
run 0 put small small
run 0 put -- -dash small
run 0 put empty empty
run 0 get big && cmp -s out big || fail "big differs"
run 0 get small && out_is 'some bytes'
run 0 get -- -dash && out_is 'some bytes'
run 0 get empty && out_is ''
run 0 get big copy && out_is '' && { cmp -s copy big || fail "copy differs"; }
run 0 get empty copy && { [ -f copy ] && [ ! -s copy ] || fail "empty copy"; }
run 0 put stdin - <big
run 0 get stdin && cmp -s out big || fail "stdin differs"
cat big | run 0 put pipe -
run 0 get pipe && cmp -s out big || fail "pipe differs"
run 0 put small big
run 0 get small && cmp -s out big || fail "not replaced"
run 0 --json put small small
json out 'rows == [{"objects": 1, "bytes": 10, "failed": 0}]'
run 0 get small copy --json
json out 'rows == [{"objects": 1, "bytes": 10, "failed": 0}]'

case_name="get writes where a file name leads"
ln -sf target link
run 0 get small link
[ -L link ] && [ "$(cat target)" = "some bytes" ] || fail "link was replaced"
run 0 get small /dev/null
[ -c /dev/null ] || fail "/dev/null is gone"
{ echo before && "$kvtier" --path "$store" get small /dev/stdout &&
    echo after; } >out 2>err || fail "/dev/stdout: $(cat err)"
out_is 'before\nsome bytesafter\n'
run 0 get small - && out_is 'some bytes'

case_name="files that cannot be read or written are failures"
run 1 put k missing && err_has ENOENT && err_is_one_line
run 1 put k . && err_has EISDIR
run 1 get small nodir/file && err_has ENOENT && err_is_one_line
mkdir adir
run 1 get small adir && err_has EISDIR
printf keep >kept
run 3 get missing kept && [ "$(cat kept)" = keep ] || fail "file was touched"
[ -z "$(ls -A | grep tmp)" ] || fail "temporaries were left: $(ls -A)"

case_name="a missing object is a failed object"
run 3 get missing && out_is '' && err_is_one_line
err_has 'kvtier: get missing: no such object'
err_has '[KVT_ERR_OBJECT_NOT_FOUND -704 '
run 3 --json get missing
json err 'rows[0]["error"]["name"] == "KVT_ERR_OBJECT_NOT_FOUND" and
    rows[0]["error"]["code"] == -704 and rows[0]["error"]["subject"] ==
    "missing" and rows[0]["error"]["remedy"]'

case_name="an object that is too large fails alone"
head -c 5000 /dev/zero >large
run 3 -o object_size_max=4096 put large large
err_has object_size_max && err_is_one_line
run 3 -o object_size_max=4096 put large - <large
run 3 exists large

case_name="exists prints a line a key, and 3 when one is absent"
run 0 exists big small && out_is '1\tbig\n1\tsmall\n'
run 3 exists big nope small && out_is '1\tbig\n0\tnope\n1\tsmall\n'
[ ! -s err ] || fail "absence is no error"
run 3 --json exists big small nope big
json out 'rows == [{"key": "big", "exists": True, "size": 300000},
    {"key": "small", "exists": True, "size": 10},
    {"key": "nope", "exists": False, "size": 0},
    {"key": "big", "exists": True, "size": 300000}, {"prefix_length": 2}]'

case_name="ls lists sizes and keys, with a prefix or without"
run 0 ls
[ "$(sort out)" = "$(printf '%s\n' $'0\tempty' $'10\t-dash' $'10\tsmall' \
    $'300000\tbig' $'300000\tpipe' $'300000\tstdin' | sort)" ] ||
    fail "stdout is '$(cat out)'"
run 0 ls --prefix s
[ "$(sort out)" = $'10\tsmall\n300000\tstdin' ] || fail "$(cat out)"
run 0 ls --prefix smal && out_is '10\tsmall\n'
run 0 ls --prefix smaller && out_is ''
run 0 --json ls --prefix small
json out 'rows == [{"key": "small", "size": 10}]'

case_name="keys of any bytes are escaped, and in hex"
every=$(python3 -c 'print("".join("%%%02x" % i for i in range(256)), end="")')
run 0 put "$every" small
run 0 get "$every" && out_is 'some bytes'
run 0 ls --prefix '%00%01'
python3 - out <<'PY' || fail "listed as $(cat out)"
import sys
key = "".join(chr(i) if 0x21 <= i <= 0x7e and i != 0x25 else "%%%02x" % i
              for i in range(256))
sys.exit(open(sys.argv[1]).read() != "10\t" + key + "\n")
PY
run 0 --hex ls --prefix 0001
[ "$(cat out)" = $'10\t'"$(python3 -c 'print(bytes(range(256)).hex())')" ] ||
    fail "hex is $(cat out)"
run 0 --hex get "$(python3 -c 'print(bytes(range(256)).hex().upper())')" &&
    out_is 'some bytes'
run 0 exists "$every" --json
json out 'rows[0]["exists"] and rows[0]["key"].startswith("%00%01")'
for key in ../up a//b / . .. %2e%2e 'a b' 100%25 $'caf\xc3\xa9' %0a; do
    run 0 put "$key" small
    run 0 get "$key" && out_is 'some bytes'
done
run 0 ls --prefix 'a%20' && out_is '10\ta%%20b\n'
run 0 ls --prefix caf && out_is '10\tcaf%%c3%%a9\n'
run 3 get 'no%0asuch%1b' && err_has 'get no%0asuch%1b:' && err_is_one_line
run 3 put '' small && err_has '[KVT_ERR_INVALID_KEY -400 0]'
long=$(printf 'x%.0s' {1..4096})
run 0 put "$long" small
run 3 put "${long}x" small && err_has KVT_ERR_INVALID_KEY && err_is_one_line

case_name="control bytes do not break an error line"
run 1 put k $'no\nsuch\033file' && err_is_one_line
err_has 'no\nsuch\x1bfile'

case_name="rm removes keys, and all only with --yes"
run 0 rm pipe stdin && out_is ''
run 3 exists pipe && out_is '0\tpipe\n'
run 3 rm big nope && err_has 'rm nope: no such object' && err_is_one_line
run 3 exists big
run 2 rm --all && err_has '--yes'
run 2 rm --all --yes small
run 0 exists small
run 0 rm --all --yes
run 0 ls && out_is ''

case_name="a directory goes in and comes out"
mkdir -p tree/a/b/c "tree/with space" tree/empty_dir
for i in {1..150}; do printf '%s' "value $i" >"tree/a/f$i"; done
cp big tree/a/b/c/deep
: >tree/a/none
printf x >$'tree/with space/new\nline%'
ln -s ../small tree/link
ln -s /etc tree/linkdir
mkfifo tree/fifo
run 0 put --dir tree
grep -q '^objects  *153$' out && grep -q '^failed  *0$' out || fail "$(cat out)"
run 0 exists a/f1 a/f150 a/b/c/deep a/none with%20space/new%0aline%25
run 3 exists link linkdir fifo
run 0 get --dir back --json
json out 'rows == [{"objects": 153, "bytes": '"$((300001 + $(cat tree/a/f[0-9]* |
    wc -c)))"', "failed": 0}]'
rm -r tree/link tree/linkdir tree/fifo tree/empty_dir
diff -r tree back >/dev/null || fail "trees differ: $(diff -r tree back | head)"
run 0 get --dir some a/f1 a/b/c/deep
[ "$(cd some && find . -type f | sort | tr '\n' ' ')" = \
    "./a/b/c/deep ./a/f1 " ] || fail "$(find some)"
run 3 get --dir some a/f2 nope && err_has 'nope: no such object'
[ -f some/a/f2 ] || fail "the other was not got"
run 0 --json put --dir tree
json out 'rows[0]["objects"] == 153 and rows[0]["failed"] == 0'
run 1 put --dir missing && err_has ENOENT
run 1 put --dir small && err_has ENOTDIR

case_name="files of a directory that cannot be stored are failed objects"
mkdir mixed
head -c 5000 /dev/zero >mixed/large
printf 1 >mixed/one
run 3 -o object_size_max=4096 --json put --dir mixed
json out 'rows == [{"objects": 1, "bytes": 1, "failed": 1}]'
json err 'len(rows) == 1 and rows[0]["error"]["subject"] == "large"'
run 3 -o object_size_max=4096 put --dir mixed
err_has 'put large:' && err_is_one_line
run 0 exists one
if [ "$(id -u)" -eq 0 ]; then
    chmod 755 "$temp"
    mkdir user_store && chown 65534 user_store
    printf secret >mixed/closed
    mkdir mixed/locked && chmod 000 mixed/closed mixed/locked
    setpriv --reuid 65534 --clear-groups "$kvtier" --path user_store \
        put --dir mixed --json >out 2>err
    [ $? -eq 3 ] || fail "unreadable files: $(cat err)"
    json out 'rows[0]["objects"] == 2 and rows[0]["failed"] == 2'
    err_has EACCES
    [ "$(wc -l <err)" -eq 2 ] || fail "$(cat err)"
    rm -rf mixed/locked mixed/closed user_store
fi

case_name="the store itself is not put into the store"
inside=$temp/inside
mkdir -p "$inside"/st
printf 1 >"$inside"/one
printf 2 >"$inside"/two
store=$inside/st run 0 --json put --dir "$inside"
json out 'rows[0]["objects"] == 2'
store=$temp/store

case_name="a key never leads out of the directory"
mkdir outside
run 0 rm --all --yes
for key in ../up a/../../up /abs a//b a/ . .. ./x a/./b x%00y; do
    run 0 put "$key" small
done
run 0 put good/key small
run 3 --json get --dir jail
json out 'rows == [{"objects": 1, "bytes": 10, "failed": 10}]'
[ "$(wc -l <err)" -eq 10 ] || fail "$(wc -l <err) error lines"
[ "$(cd jail && find . -type f)" = ./good/key ] || fail "$(find jail)"
[ ! -e up ] && [ ! -e /abs ] || fail "a key escaped"
ln -s ../outside jail/dir
run 0 put dir/file small
run 3 get --dir jail dir/file && err_is_one_line
[ -z "$(ls -A outside)" ] || fail "a link was followed"
run 3 get --dir jail good/key good/key/below 2>/dev/null
run 0 put good small
run 3 get --dir jail good && err_is_one_line
[ -z "$(find jail -name '*.tmp')" ] || fail "temporaries were left"

case_name="stat has exactly the agreed fields"
run 0 --json stat
json out 'len(rows) == 1 and set(rows[0]) == set("""backend fs path objects
    object_bytes value_bytes dead_bytes allocated_bytes limit_bytes files
    buckets index_bytes open_seconds evicted_objects checksum_misses
    unverifiable_objects quarantined_objects max_rss_bytes effective recovery
    health adapter""".split()) and set(rows[0]["effective"]) == set("""direct
    io_uring checksum durability fallback_reason""".split()) and
    set(rows[0]["recovery"]) == set("""objects removed_temporaries
    dropped_records orphans""".split()) and set(rows[0]["health"]) ==
    set("state since last_error".split()) and set(rows[0]["adapter"]) ==
    set("submissions transfers bytes_copied max_in_flight".split())'
json out 'rows[0]["path"].endswith("/store") and rows[0]["max_rss_bytes"] > 0
    and rows[0]["objects"] > 0 and rows[0]["health"]["state"] == "ok"'
run 0 stat
grep -qE '^objects  +[0-9]+$' out && grep -qE '^health\.state  +ok$' out ||
    fail "$(cat out)"

case_name="--stats is written at the end, also after a failure"
run 0 --stats s.json put again small
json s.json 'rows[0]["backend"] and rows[0]["objects"] > 0 and
    rows[0]["adapter"]["transfers"] > 0'
run 3 --stats s.json get missing
json s.json 'len(rows) == 1 and rows[0]["objects"] > 0'
rm s.json
store=$temp/nowhere run 1 --stats s.json ls
json s.json 'rows[0]["path"].endswith("/nowhere") and rows[0]["objects"] == 0
    and "adapter" in rows[0]'
rm s.json
run 2 --stats s.json ls surplus
json s.json 'rows[0]["path"].endswith("/store")'
run 1 --stats nodir/s.json ls && err_has nodir/s.json && err_is_one_line

case_name="config lists values and sources, and explains"
run 0 --json config
json out 'all(set(r) == {"key", "value", "source", "default", "type"}
    for r in rows) and [r for r in rows if r["key"] == "path"][0]["source"] ==
    "option" and len({r["key"] for r in rows}) == len(rows)'
printf '[watermark]\nhigh = 0.7\nlow = 0.6\n' >k.ini
KVTIER_WATERMARK_LOW=0.5 run 0 --config k.ini -o eviction=fifo --json config
json out '{r["key"]: (r["value"], r["source"]) for r in rows
    if r["key"] in ("watermark.high", "watermark.low", "eviction", "checksum")}
    == {"watermark.high": ("0.7", "file:k.ini"), "watermark.low": ("0.5",
    "env:KVTIER_WATERMARK_LOW"), "eviction": ("fifo", "option"), "checksum":
    ("on", "default")}'
KVTIER_PATH=/elsewhere run 0 --json config
json out '[r["value"] for r in rows if r["key"] == "path"][0].endswith("/store")'
run 0 --backend distributed --fs posix --json config
json out '{r["key"]: r["source"] for r in rows if r["key"] in ("path", "fs",
    "distributed.path", "distributed.fs")} == {"path": "default",
    "fs": "default", "distributed.path": "option", "distributed.fs": "option"}'
run 0 config && grep -qE '^eviction += lru  \(default\)$' out ||
    fail "$(head -5 out)"
run 0 config --explain eviction
grep -qE '^allowed  +.*fifo' out && grep -qE '^help  +[A-Z]' out ||
    fail "$(cat out)"
run 2 config --explain evicton && err_has eviction && err_is_one_line

case_name="backends lists what this build has"
run 0 --json backends
json out 'all(set(r) == {"kind", "name", "available", "reason"} and
    (r["available"] or r["reason"]) for r in rows) and
    {r["kind"] for r in rows} == {"backend", "fs", "wrapper"} and
    ("fs", "posix", True) in {(r["kind"], r["name"], r["available"])
    for r in rows}'
run 0 backends && grep -qE '^fs +posix +yes ' out || fail "$(cat out)"

case_name="evict makes room"
run 0 rm --all --yes
store=$temp/limited
mkdir many
for i in {1..20}; do head -c 50000 /dev/urandom >many/$i; done
# object by object, not a bucket at a time
limited=(--backend file_per_key -o total_size_limit=4MiB)
run 0 "${limited[@]}" put --dir many
run 0 "${limited[@]}" --json evict
json out 'rows == [{"evicted_objects": 0, "evicted_bytes": 0,
    "allocated_bytes": rows[0]["allocated_bytes"]}] and
    rows[0]["allocated_bytes"] >= 1000000'
run 0 "${limited[@]}" --json evict --high 0.2 --low 0.1
json out '0 < rows[0]["evicted_objects"] < 20 and rows[0]["evicted_bytes"] ==
    50000 * rows[0]["evicted_objects"] and rows[0]["allocated_bytes"] <=
    0.1 * (4 << 20)'
run 0 "${limited[@]}" evict --high 0 --low 0
grep -q '^evicted_objects  *[1-9]' out || fail "$(cat out)"
run 0 "${limited[@]}" ls && out_is ''
store=$temp/store

case_name="evict takes whole buckets"
run 0 -o bucket.keys_limit=5 put --dir many
run 0 -o total_size_limit=4MiB --json evict --high 0.2 --low 0.1
json out '0 < rows[0]["evicted_objects"] <= 20 and
    rows[0]["evicted_objects"] % 5 == 0 and rows[0]["evicted_bytes"] ==
    50000 * rows[0]["evicted_objects"] and rows[0]["allocated_bytes"] <=
    0.1 * (4 << 20)'
run 0 rm --all --yes

case_name="--read-only changes nothing"
run 0 put k small
for command in "put k2 big" "put --dir many" "rm k" "rm --all --yes" evict; do
    run 1 --read-only $command
    err_has read-only && err_is_one_line
done
run 0 ls && out_is '10\tk\n'

case_name="a second owner is told who the first is, and may read"
mkfifo hold
"$kvtier" --path "$store" put held - <hold >/dev/null 2>hold.err &
owner=$!
exec 9>hold
# seen from outside: a command of ours could take the lock first
for i in {1..400}; do
    grep -q "pid $owner," "$store/.kvtier/lock" && break
    sleep 0.05
done
case_failures=$failures
run 1 put k2 small && err_is_one_line && err_has KVT_ERR_FILE_LOCK_FAIL
err_has "$owner" && err_has "$(hostname)"
run 0 get k && out_is 'some bytes'
run 0 exists k && run 0 ls && run 0 stat && run 0 verify
run 1 verify --repair && err_has KVT_ERR_FILE_LOCK_FAIL
printf done >&9
exec 9>&-
wait $owner || fail "the owner failed: $(cat hold.err)"
run 0 get held && out_is done

case_name="a closed pipe is quiet"
for i in {1..200}; do printf x >"many/key$i"; done
run 0 put --dir many
for command in ls "get 1" "exists 1 2 3" config; do
    { "$kvtier" --path "$store" $command 2>err; echo $? >status; } | true
    [ ! -s err ] || fail "$command: $(cat err)"
done
{ sleep 0.3; "$kvtier" --path "$store" ls 2>err; echo $? >status; } | true
[ "$(cat status)" = 1 ] && [ ! -s err ] ||
    fail "ls: status $(cat status), $(cat err)"
"$kvtier" --path "$store" ls 2>err | head -1 >out
[ "$(wc -l <out)" -eq 1 ] && [ ! -s err ] || fail "head: $(cat err)"

case_name="a full stdout is an error"
for command in ls "get 1" "exists 1" stat config backends --help --version; do
    "$kvtier" --path "$store" $command >/dev/full 2>err
    [ $? -eq 1 ] || fail "$command does not fail"
    err_has ENOSPC && err_is_one_line
done
"$kvtier" --path "$store" ls >&- 2>err
[ $? -eq 1 ] && err_has EBADF || fail "closed stdout: $(cat err)"
"$kvtier" --path "$store" put k small >&- 2>&- <&- || fail "closed streams"
run 0 get k && out_is 'some bytes'

[ $failures -eq 0 ] && echo "all passed"
exit $((failures > 0))
