# Tests of the command line, to be sourced: a store in a directory of its own, a
# run of the program whose output is looked at, and the count of failures.
set -u
kvtier=${KVT_TEST_BIN:?path of the kvtier binary}
# the program reads every variable of these prefixes as a setting
for name in $(compgen -e | grep -E '^(KVTIER|MOONCAKE)_'); do
    unset "$name"
done
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
store=$temp/store
mkdir "$store"
cd "$temp" || exit 1
failures=0
case_name=

fail() {
    echo "FAIL: $case_name: $*"
    failures=$((failures + 1))
}

# run STATUS ARGS...: output in $temp/out and $temp/err
run() {
    local wanted=$1 got
    shift
    "$kvtier" --path "$store" "$@" >out 2>err
    got=$?
    [ $got -eq "$wanted" ] ||
        fail "'$*' exits $got, not $wanted: $(head -c 300 err)"
}

out_is() {
    printf "$1" | cmp -s - out || fail "stdout is '$(head -c 300 out)'"
}

err_has() {
    grep -qF -- "$1" err || fail "stderr lacks '$1': $(head -c 300 err)"
}

# One line of the agreed form: kvtier: COMMAND ...; remedy [NAME CODE ERRNO]
err_is_one_line() {
    [ "$(wc -l <err)" -eq 1 ] || fail "stderr has $(wc -l <err) lines"
    grep -qE '^kvtier: .+; .+ \[KVT_ERR_[A-Z_]+ -[0-9]+ (0|E[A-Z0-9]+)\]$' \
        err || fail "error line has another form: $(head -c 300 err)"
}

# json FILE EXPRESSION: `rows` are the objects of its lines
json() {
    python3 - "$1" "$2" <<'PY' || fail "JSON: $2: $(head -c 400 "$1")"
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
sys.exit(0 if eval("(" + sys.argv[2] + ")") else 1)
PY
}
