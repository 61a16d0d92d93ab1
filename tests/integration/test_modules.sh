#!/bin/bash
# Adapters in files of their own: where they are found, everything that can be
# wrong with one, and that nothing of it ends the process. (With threads, by
# pthread_create: so it runs under TSan in CI.)
set -u
kvtier=${KVT_TEST_BIN:?}
source=${KVT_TEST_SOURCE:?}
lib=${KVT_TEST_BUILD:?}/lib
for name in $(compgen -e | grep -E '^(KVTIER|MOONCAKE)_'); do
    unset "$name"
done
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
modules=$temp/modules
mkdir "$modules" "$temp/store"
failures=0

fail() {
    echo "FAIL: $*"
    failures=$((failures + 1))
}

compile() { # OUTPUT ARGS...
    local output=$1
    shift
    # shellcheck disable=SC2086 # flags are words
    "${KVT_TEST_CC:-cc}" -std=gnu17 -g ${KVT_TEST_CFLAGS:-} \
        -I "$source/include" -o "$output" "$@" || {
        echo "FAIL: cannot compile $output"
        exit 1
    }
}

# module FILE ARGS...
module() {
    local file=$1
    shift
    compile "$file" -shared -fPIC -fvisibility=hidden \
        "$source/tests/integration/modules/toy.c" -L"$lib" -lkvtier "$@"
}

# run STATUS ARGS...: output in $temp/out and $temp/err
run() {
    local wanted=$1 got
    shift
    "$kvtier" "$@" >"$temp/out" 2>"$temp/err"
    got=$?
    [ $got = "$wanted" ] ||
        fail "'$*' exits $got, not $wanted: $(head -c 400 "$temp/err")"
}

out_has() {
    grep -qE -- "$1" "$temp/out" || fail "$2: output lacks '$1':" \
        "$(grep '^fs' "$temp/out" | tail -n 3)"
}

err_has() {
    grep -qE -- "$1" "$temp/err" || fail "stderr lacks '$1': $(cat "$temp/err")"
}

# One line of the agreed form.
err_is_one_line() {
    [ "$(wc -l <"$temp/err")" = 1 ] &&
        grep -qE '^kvtier: .+; .+ \[KVT_ERR_[A-Z_]+ -[0-9]+ (0|E[A-Z0-9]+)\]$' \
            "$temp/err" || fail "error line: $(cat "$temp/err")"
}

at() { # ARGS...: a command with the modules' folder
    "$kvtier" -o module_path="$modules" "$@"
}

# refused NAME PATTERN: it is listed with the reason, and a store on it says
# the same; neither ends otherwise.
refused() {
    run 0 -o module_path="$modules" backends
    out_has "^fs +$1 +no +not available: .*$2" "$1"
    run 1 -o module_path="$modules" --fs "$1" --path "$temp/store" ls
    err_has "\"$1\" is not available: .*$2"
    err_is_one_line
    run 1 --fs "$modules/kvtier-fs-$1.so" --path "$temp/store" ls
    err_has "ls [^ ]+: not available: .*$2"
    err_is_one_line
}

# bad PATTERN ARGS...: a module that is compiled so is refused
bad() {
    local pattern=$1
    shift
    module "$modules/kvtier-fs-toy.so" "$@"
    refused toy "$pattern"
}

# Found -----------------------------------------------------------------------

module "$temp/good.so"
cp "$temp/good.so" "$modules/kvtier-fs-toy.so"
run 0 backends
! grep -q toy "$temp/out" || fail "a module is found nowhere"
run 0 -o module_path="$modules" backends
out_has "^fs +toy +yes +a toy \($modules/kvtier-fs-toy.so\)\$" "module_path"
KVTIER_MODULE_PATH=$modules run 0 --json backends
out_has '^\{"kind":"fs","name":"toy","available":true,"reason":"a toy' "JSON"
printf 'module_path = %s\n' "$modules" >"$temp/c.ini"
run 0 --config "$temp/c.ini" backends
out_has "^fs +toy +yes" "a file names the folder"
run 0 --fs "$modules/kvtier-fs-toy.so" backends
out_has "^fs +toy +yes" "by its file"
KVTIER_FS=nobody run 0 -o module_path="$modules" backends
out_has "^fs +toy +yes" "an adapter that is none is looked for"
run 1 -o module_path="$temp/nowhere" backends
err_has 'module_path = .* cannot be read: No such file' && err_is_one_line
run 2 -o module_path=modules backends
err_has 'is relative; allowed: an absolute path' && err_is_one_line

# Beside the library, and in the folder kvtier there, of a copy of it.
mkdir -p "$temp/moved/bin" "$temp/moved/lib/kvtier" "$temp/elsewhere"
cp "$kvtier" "$temp/moved/bin"
cp -P "$lib"/libkvtier.so* "$temp/moved/lib"
cp "$temp/good.so" "$temp/moved/lib/kvtier-fs-toy.so"
moved() {
    (cd "$temp/elsewhere" && "$temp/moved/bin/kvtier" "$@") >"$temp/out" 2>&1 ||
        fail "a copy of the program: $(tail -n 1 "$temp/out")"
}
moved backends
out_has "^fs +toy +yes .*\($temp/moved/lib/kvtier-fs-toy.so\)" "beside"
cp "$temp/good.so" "$temp/moved/lib/kvtier/kvtier-fs-toy.so"
moved backends
out_has "^fs +toy +yes .*\($temp/moved/lib/kvtier/kvtier-fs-toy.so\)" "kvtier/"
moved -o module_path="$modules" backends
out_has "^fs +toy +yes .*\($modules/kvtier-fs-toy.so\)" "module_path is first"
[ "$(grep -c '^fs *toy' "$temp/out")" = 1 ] || fail "one name is listed twice"
(cd "$temp/moved" && LD_LIBRARY_PATH=lib bin/kvtier backends >/dev/null) ||
    fail "the library by a relative path"

# Settings --------------------------------------------------------------------

run 0 -o module_path="$modules" config
out_has '^toy.size += 4096 +\(default\)$' "config"
out_has '^toy.mode += a +\(default\)$' "config"
run 0 -o toy.size=8KiB -o toy.mode=b -o module_path="$modules" config
out_has '^toy.size += 8192 +\(option\)$' "whatever the order"
out_has '^toy.mode += b +\(option\)$' "config"
run 0 -o module_path="$modules" config --explain toy.size
out_has '^help +Size of it\.$' "--explain"
out_has '^allowed +0 to 1MiB$' "--explain"
KVTIER_TOY_SIZE=1K KVTIER_MODULE_PATH=$modules run 0 config
out_has '^toy.size += 1024 +\(env:KVTIER_TOY_SIZE\)$' "environment"
printf 'fs = toy\n[toy]\nsize = 2K\n[]\nmodule_path = %s\n' "$modules" \
    >"$temp/c.ini"
run 0 --config "$temp/c.ini" config
out_has '^toy.size += 2048 +\(file:' "file"
printf '[toy]\nsize = 2K\n' >"$temp/c.ini"
KVTIER_MODULE_PATH=$modules run 0 --config "$temp/c.ini" config
out_has '^toy.size += 2048 +\(file:' "file and environment"
printf 'module_path = %s\n' "$modules" >"$temp/c.ini"
KVTIER_TOY_SIZE=1K run 0 --config "$temp/c.ini" config
out_has '^toy.size += 1024 +\(env:' "environment and file"
run 0 -o toy.size=1K --fs "trace:$modules/kvtier-fs-toy.so" config
out_has '^toy.size += 1024 +\(option\)' "by its file"
run 2 -o module_path="$modules" -o toy.size=2M config
err_has 'toy.size = "2M" from option: is too large; allowed: 0 to 1MiB'
run 2 -o module_path="$modules" -o toy.siez=1 config
err_has 'did you mean `toy.size`'
run 2 -o module_path="$modules" -o toy.mode=c config
err_has 'allowed: a, b'
run 2 -o toy.size=1 config
err_has 'no setting is called that' && err_has 'module_path' && err_is_one_line
KVTIER_TOY_SIZE=1 run 2 config
err_has 'KVTIER_TOY_SIZE' && err_is_one_line
# the mount gets them, whether or not one was set
run 1 -o module_path="$modules" --fs toy --path "$temp/store" ls
err_has 'cannot be mounted: toy.size = 4096; use another' && err_is_one_line
run 1 -o module_path="$modules" --fs trace:toy -o toy.size=8K \
    --path "$temp/store" ls
err_has 'toy.size = 8192'
run 1 -o fs=toy -o module_path="$modules" -o toy.size=9 --path "$temp/store" ls
err_has 'toy.size = 9'
run 0 -o module_path="$modules" -o fs=toy --fs posix config
out_has '^fs += posix ' "--fs wins over -o fs"
run 0 --backend distributed -o module_path="$modules" --fs toy config
out_has '^distributed.fs += toy ' "--fs of distributed"
# names of the project's own modules are known without them
run 0 -o cephfs.conf=/x -o juicefs.trash=refuse config
out_has '^cephfs.conf += /x' "cephfs"
run 1 --fs cephfs --path "$temp/store" ls
err_has 'not part of this version' && err_is_one_line

# Modules that are wrong --------------------------------------------------------

bad 'is no module: it has no table kvt_fs_module' -DHIDDEN
bad 'is no module' -DTINY
bad 'is no module' -DFUNCTION
bad 'is no module' -DLYING
bad 'speaks version 99 of the interface, this library version 1; build it' \
    -DVERSION=99
bad 'has a module table of [0-9]+ bytes, this library expects' -DLARGER
bad 'has a module table of 24 bytes, this library expects' -DSMALLER
bad 'without ops' -DNO_OPS
bad 'adapter speaks version 7 of the interface' -DOPS_VERSION=7
bad "adapter's table has 8 bytes, this library expects" -DOPS_SIZE=8
bad "adapter's table has 1000 bytes, this library expects" -DOPS_SIZE=1000
bad "adapter's table lacks rename" -DNO_RENAME
bad "adapter's table lacks name" -DNO_NAME
bad "lacks a member of its queue" -DNO_QUEUE_OPEN
bad 'is a wrapper' -DWRAPS
bad 'holds the adapter "other"; name the file after' -DNAME='"other"'
bad 'toy has no daemon; start the toy.s daemon' -DUNAVAILABLE
bad 'the module gives no reason; ask those' -DUNAVAILABLE \
    -DNO_REASON=KVT_ERR_FILE_OPEN_FAIL
err_has '\[KVT_ERR_FILE_OPEN_FAIL -[0-9]+ 0\]$'
# An errno is no code of the library.
module "$modules/kvtier-fs-toy.so" -DNO_REASON=-111
run 1 -o module_path="$modules" --fs toy --path "$temp/store" ls
err_has 'the module gives no reason; ask those .*\[KVT_ERR_INTERNAL -1 ECONNREFUSED' &&
    err_is_one_line
module "$modules/kvtier-fs-toy.so" -DNO_REASON=KVT_ERR_FILE_OPEN_FAIL
run 1 -o module_path="$modules" --fs toy --path "$temp/store" ls
err_has 'the module gives no reason; ask those .*\[KVT_ERR_FILE_OPEN_FAIL -' &&
    err_is_one_line
bad 'setting other.size is not called' -DKEY='"other.size"'
bad 'setting toy.Size is not called' -DKEY='"toy.Size"'
bad 'setting toy. is not called' -DKEY='"toy."'
bad 'setting toy.size has an unknown type' -DTYPE=99
bad 'setting toy.size has a default that it does not take' -DDEFAULT='"2MiB"'
bad 'setting toy.size has no help' -DHELP='""'
bad 'setting toy.mode has no choices' -DNO_CHOICES
bad 'has a setting toy.mode, which cannot be told from toy.mode' -DTWICE
if [ -z "${KVT_TEST_CFLAGS:-}" ]; then # a sanitizer may let it pass
    bad 'undefined symbol: nobody_has_this; install what it needs' -DUNDEFINED
fi
echo 'int toy_library(void); int toy_library(void) { return 1; }' >"$temp/l.c"
compile "$temp/libtoyabsent.so" -shared -fPIC "$temp/l.c"
module "$modules/kvtier-fs-toy.so" -DMISSING_LIBRARY -L"$temp" -ltoyabsent \
    -Wl,-rpath,"$temp"
run 0 -o module_path="$modules" backends
out_has '^fs +toy +yes' "with its library"
rm "$temp/libtoyabsent.so"
refused toy 'libtoyabsent.so: cannot open shared object file: No such file'

# its name is that of a setting of the library
module "$modules/kvtier-fs-total.so" -DNAME='"total"' -DKEY='"total.keys_limit"'
refused total 'total.keys_limit, which cannot be told from total_keys_limit'
rm "$modules/kvtier-fs-total.so"

# Files that are wrong ----------------------------------------------------------

toy=$modules/kvtier-fs-toy.so
rm "$toy"
: >"$toy"
refused toy 'is no shared object'
echo 'not a library' >"$toy"
refused toy 'is no shared object'
rm "$toy"
mkdir "$toy"
refused toy 'is a directory'
rmdir "$toy"
mkfifo "$toy"
refused toy 'is no file'
rm "$toy"
ln -s nowhere "$toy"
refused toy 'cannot be read: No such file'
ln -sf kvtier-fs-toy.so "$toy"
refused toy 'cannot be read: Too many levels'
rm "$toy"
cp "$kvtier" "$toy"
refused toy 'cannot be loaded|is no module'

patched() { # OFFSET BYTES
    cp "$temp/good.so" "$toy"
    printf "$2" | dd of="$toy" bs=1 seek="$1" conv=notrunc status=none
}
patched 4 '\003'
refused toy 'another kind of machine'
patched 18 '\377'
refused toy 'another kind of machine'
patched 16 '\001'
refused toy 'is no shared object; link it as one'
patched 32 '\377\377\377\377\377\377\377\377'
refused toy 'is cut off'
patched 56 '\377\377'
refused toy 'is cut off'
size=$(stat -c %s "$temp/good.so")
for ((cut = 1; cut < size; cut += cut < 256 ? 37 : size / 23)); do
    head -c $cut "$temp/good.so" >"$toy"
    at backends >"$temp/out" 2>&1 || fail "cut to $cut bytes: exit status $?"
    grep -qE '^fs +toy +(no +not available: .*(cut off|no shared)|yes)' \
        "$temp/out" || fail "cut to $cut: $(grep 'fs *toy' "$temp/out")"
done
head -c $((size / 3)) "$temp/good.so" >"$toy"
refused toy 'is cut off; build it, or copy it, again'

cp "$temp/good.so" "$toy"
chmod o+w "$toy"
refused toy 'can be written by everybody; take that right away'
chmod o-w "$toy"
chmod 1777 "$modules"
refused toy 'lies in a folder that everybody can write to'
chmod 755 "$modules"
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
    chmod 755 "$temp" "$modules"
    chmod 600 "$toy"
    setpriv --reuid=65534 --regid=65534 --clear-groups \
        "$kvtier" -o module_path="$modules" backends >"$temp/out" 2>&1
    if grep -q Permission.denied "$temp/out" && ! grep -q '^fs' "$temp/out"; then
        echo "SKIP: a module that may not be read: nor may the program"
    else
        out_has '^fs +toy +no +.*cannot be read: Permission denied; let the' uid
    fi
    chmod 644 "$toy"
else
    echo "SKIP: a module that may not be read: not root, or no setpriv"
fi

# Names that no fs value can have, or that mean something else.
for name in Toy posix trace 9toy ''; do
    cp "$temp/good.so" "$modules/kvtier-fs-$name.so"
done
run 0 -o module_path="$modules" backends
out_has '^fs +kvtier-fs-Toy.so +no +.*is not called kvtier-fs-NAME.so' Toy
out_has '^fs +kvtier-fs-9toy.so +no +.*is not called' 9toy
out_has '^fs +kvtier-fs-.so +no +.*is not called' 'no name'
out_has '^fs +kvtier-fs-posix.so +no +.*hides behind the fs of that name' posix
out_has '^fs +kvtier-fs-trace.so +no +.*hides behind the wrapper' trace
out_has '^fs +posix +yes' posix
out_has '^fs +toy +yes' toy
rm "$modules"/kvtier-fs-{Toy,posix,trace,9toy,}.so
# a module may stand for an adapter that this version only knows by name
module "$modules/kvtier-fs-juicefs.so" -DNAME='"juicefs"'
run 0 -o module_path="$modules" backends
out_has '^fs +juicefs +yes +a toy' juicefs
[ "$(grep -c juicefs "$temp/out")" = 1 ] || fail "juicefs is listed twice"
rm "$modules/kvtier-fs-juicefs.so"

# Programs ----------------------------------------------------------------------

host=$source/tests/integration/modules/host.c
compile "$temp/host" "$host" -L"$lib" -lkvtier -Wl,-rpath,"$lib" -pthread
compile "$temp/interpreter" -DHOST_LIBRARY="\"$lib/libkvtier.so\"" "$host"
uring=
! nm "$lib/libkvtier.a" | grep -q ' U io_uring_' || uring=-luring
compile "$temp/static" "$host" "$lib/libkvtier.a" -linih $uring -pthread
"$temp/host" list "$modules" >"$temp/out" || fail "host: $?"
out_has '^toy yes a toy' "a program"
"$temp/interpreter" list "$modules" >"$temp/out" || fail "interpreter: $?"
out_has '^toy yes a toy' "a program that loads the library by itself"
LD_LIBRARY_PATH=$lib "$temp/static" list "$modules" >"$temp/out" ||
    fail "static: $?"
out_has '^toy no .*is linked with another copy of the library.*libkvtier.so' \
    "a program with the library inside"

mkdir "$temp/life"
echo broken >"$temp/life/kvtier-fs-toy.so"
cp "$temp/good.so" "$temp/life/good.so"
"$temp/host" life "$temp/life" >"$temp/out" || fail "life: $?"
sed "s|$temp|TEMP|g" "$temp/out" | diff - <(
    cat <<'LIFE'
broken: KVT_ERR_NOT_SUPPORTED, mapped 0
mended: KVT_OK, 8192
too late: KVT_ERR_INVALID_PARAMS, module_path = "/usr" from option: comes too late: settings of the module toy are in use; allowed: an absolute path
the same: KVT_OK
mount: KVT_ERR_FILE_OPEN_FAIL: the toy cannot be mounted: toy.size = 8192
kept: mapped 1
mount: KVT_ERR_FILE_OPEN_FAIL: the toy cannot be mounted: toy.size = 4096
LIFE
) || fail "the life of a module"
# one that the loader took and we refused is not kept either
module "$temp/life/kvtier-fs-toy.so" -DWRAPS
cp "$temp/good.so" "$temp/life/good.so"
"$temp/host" life "$temp/life" >"$temp/out" || fail "life: $?"
out_has '^broken: KVT_ERR_NOT_SUPPORTED, mapped 0$' "refused"
out_has '^mended: KVT_OK, 8192$' "refused, then mended"

compile "$modules/kvtier-fs-example.so" -shared -fPIC -fvisibility=hidden \
    "$source"/examples/adapter/*.c -L"$lib" -lkvtier
mkdir "$temp/dir"
"$temp/host" threads "$modules" "$temp/dir" >"$temp/out" 2>&1 ||
    fail "threads: $(head -c 2000 "$temp/out")"
out_has '^8 threads, 0 failed$' threads

[ $failures = 0 ] || echo "$failures failed"
[ $failures = 0 ]
