#!/bin/bash
# Each rule script passes on a good sample and fails on a bad one, with a
# message that names file and line.
set -u
source=${KVT_TEST_SOURCE:?}
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
tree=$temp/tree
build=$temp/build
failures=0

# A small tree that breaks no rule.
good_tree() {
    rm -rf "$tree"
    mkdir -p "$tree"/{include/kvtier,src/{store,backend,fs,core},cli}
    cp "$source/.clang-format" "$tree"
    cat >"$tree/include/kvtier/base.h" <<'END'
#ifndef KVTIER_BASE_H
#define KVTIER_BASE_H
#define KVT_API __attribute__((visibility("default")))
#ifdef __cplusplus
extern "C" {
#endif
/* KVT_API int kvt_only_in_a_comment(void); */
KVT_API int kvt_answer(void);
KVT_API int
kvt_each(int (*each)(void *arg), void *arg);
#ifdef __cplusplus
}
#endif
#endif
END
    cat >"$tree/src/core/core.c" <<'END'
#include <kvtier/base.h>

int kvt_answer(void)
{
    return 42;
}

int kvt_each(int (*each)(void *arg), void *arg)
{
    return each(arg);
}
END
    echo '#include "core/core.h"' >"$tree/src/backend/layout.c"
    echo '#include "backend/backend.h"' >"$tree/src/store/store.c"
    echo '#define _GNU_SOURCE' >"$tree/src/fs/a.c"
    echo '#include "cli.h"' >"$tree/cli/main.c"
    clang-format-14 -i "$tree"/include/kvtier/*.h "$tree"/src/*/*.c
}

# Libraries of the tree, as CMake would leave them.
libraries() {
    mkdir -p "$build/lib"
    rm -f "$build"/lib/*
    (cd "$temp" && cc -fPIC -fvisibility=hidden -I "$tree/include" \
        -c "$tree/src/core/core.c" -o core.o) &&
        cc -shared "$temp/core.o" -o "$build/lib/libkvtier.so" &&
        ar rc "$build/lib/libkvtier.a" "$temp/core.o"
}

report() {
    echo "FAILED: $*"
    sed 's/^/    /' "$temp/out"
    failures=$((failures + 1))
}

check() { # CHECK: runs it
    "$source/scripts/checks/$1" "$tree" "$build" >"$temp/out" 2>&1
}

passes() { # CHECK
    check "$1" || report "$1 fails on a good sample"
}

fails() { # CHECK PATTERN: the message has to match
    if check "$1"; then
        report "$1 passes a bad sample; expected: $2"
    elif ! grep -qE -- "$2" "$temp/out"; then
        report "$1 has no message that matches: $2"
    fi
}

good_tree
libraries || exit 1
for name in layering no_os_in_backends lengths gnu_source formatting \
    headers_alone symbols; do
    passes $name
done

# layering: FILE, a line for it, what the message says
while IFS="|" read -r file line message; do
    good_tree
    mkdir -p "$(dirname "$tree/$file")"
    printf '\n%s\n' "$line" >"$tree/$file"
    fails layering "^$file:2: .*$message"
done <<'END'
cli/a.c|#include "core/core.h"|core/core.h
cli/a.c|#include <core/core.h>|core/core.h
examples/a.c|#include "../src/core/core.h"|src/core
include/kvtier/a.h|#include "base.h"|base.h
src/core/a.c|#include "fs/fs.h"|src/core.may.not.*fs/fs.h
src/core/a.c|#include <kvtier/kvtier.h>|kvtier.h
src/core/a.c|#include "core.h"|folder/file.h
src/fs/a.c|# include "backend/backend.h"|src/fs.may.not
src/fs/deep/a.h|#include "store/store.h"|src/fs.may.not
src/backend/a.c|#include "fs/fs_core.h"|src/backend.may.not
src/backend/a.c|#include "store/store.h"|src/backend.may.not
src/store/a.c|#include "index/index.h"|src/store.may.not
src/store/a.c|#include "fs/fs_core.h"|src/store.may.not
src/index/a.c|#include "format/record.h"|src/index.may.not
src/evict/a.c|#include <kvtier/fs.h>|src/evict.may.not
src/format/a.c|#include <kvtier/config.h>|src/format.may.not
END
good_tree
mkdir "$tree/src/new"
echo >"$tree/src/new/a.c"
fails layering "^src/new/a.c:1: no rule"

# no_os_in_backends: the same
while IFS="|" read -r file line message; do
    good_tree
    mkdir -p "$(dirname "$tree/$file")"
    printf '\n%s\n' "$line" >"$tree/$file"
    fails no_os_in_backends "^$file:2: .*$message"
done <<'END'
src/backend/a.c|x = kvt_fs_posix;|posix
src/format/a.h|/* as cephfs does */|cephfs
src/index/a.c|strcmp(name, "io_uring")|uring
src/evict/a.c|#include <sys/stat.h>|sys/stat.h
src/backend/a.c|# include <fcntl.h>|fcntl.h
src/backend/a.c|#include <unistd.h>|unistd.h
END

good_tree
printf 'int x;\n%.0s' {1..801} >"$tree/cli/long.c"
fails lengths '^cli/long.c:801: 801 lines'
good_tree
{
    printf 'int f(void)\n{\n'
    printf '    g();\n%.0s' {1..68}
    printf '}\n'
} >"$tree/cli/function.c"
passes lengths
sed -i '3s/^/    g();\n/' "$tree/cli/function.c"
fails lengths '^cli/function.c:2: function of 71 lines'

good_tree
printf '\n#define _GNU_SOURCE\n' >"$tree/src/core/a.c"
fails gnu_source '^src/core/a.c:2:'
good_tree
printf '\n#define _GNU_SOURCE\n' >"$tree/src/fs/a.h"
fails gnu_source '^src/fs/a.h:2:'

good_tree
printf 'int a;\nint f(int *x) { return *x; }\n' >"$tree/src/core/a.c"
fails formatting '^src/core/a.c:2:'

good_tree
echo 'size_t kvt_size(void);' >"$tree/include/kvtier/alone.h"
fails headers_alone '^include/kvtier/alone.h:1: .*gcc -std=c11'
good_tree
echo 'int kvt_f(int class);' >"$tree/include/kvtier/plus.h"
fails headers_alone '^include/kvtier/plus.h:1: .*g\+\+ -std=c\+\+17'

good_tree
libraries
sed -i '/#define KVT_API/a KVT_API int kvt_forgotten(void);' \
    "$tree/include/kvtier/base.h"
fails symbols '^include/kvtier/base.h:4: kvt_forgotten .*does not export'
good_tree
sed -i '/kvt_answer(void);/s/KVT_API//' "$tree/include/kvtier/base.h"
sed -i '1,3s/^int kvt_answer/__attribute__((visibility("default"))) &/' \
    "$tree/src/core/core.c"
libraries
fails symbols 'libkvtier.so: exports kvt_answer'
good_tree
echo 'int stray;' >>"$tree/src/core/core.c"
libraries
fails symbols 'libkvtier.a: the global name stray'

# install: a build that forgets a header, and one that installs nothing
good_tree
for rules in \
    'install(FILES kvtier.pc DESTINATION lib/pkgconfig)' \
    'install(CODE "")'; do
    rm -rf "$build" "$temp/project"
    mkdir -p "$temp/project"
    echo 'Name: kvtier' >"$temp/project/kvtier.pc"
    printf 'cmake_minimum_required(VERSION 3.22)\nproject(p NONE)\n%s\n' \
        "$rules" >"$temp/project/CMakeLists.txt"
    cmake -G Ninja -S "$temp/project" -B "$build" >/dev/null
    fails install 'scripts/checks/install:[0-9]+: failed'
done

echo "$failures failures"
[ $failures = 0 ]
