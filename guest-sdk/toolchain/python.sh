# Python for guests: sourced by whoever builds them. `say` and $cache are the sourcing script's.
#
# What makes the components, componentize-py, is fetched from the Python package index once, in the version of
# guest-sdk/python/requirements.txt, into the cache folder.
# shellcheck shell=bash

# shellcheck source=guest-sdk/toolchain/missing.sh
. "$(dirname "${BASH_SOURCE[0]}")/missing.sh"
python_sdk=$(cd "$(dirname "${BASH_SOURCE[0]}")/../python" && pwd)
componentize_py_version=$(sed -n 's/^componentize-py==//p' "$python_sdk/requirements.txt")

# componentize-py, in $componentize_py, fetched where it is not there yet; whether there is one.
find_componentize_py() {
    local fetched=$cache/componentize-py-$componentize_py_version new
    componentize_py=$fetched/run
    [ -e "$componentize_py" ] && return
    if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        say "there is no Python of 3.11 or newer here. This line installs it:"
        type_python
        return 1
    fi
    if ! python_fetches; then
        say "this Python can make no folders of packages, which Debian has in a package of its own. This line installs it:"
        type_python
        return 1
    fi
    mkdir -p "$cache"
    new=$(mktemp -d "$cache/fetching-XXXXXX")
    if ! fetch "$new" "componentize-py==$componentize_py_version"; then
        rm -rf "$new"
        say "where it is already, this says so to the next build:"
        type_this "export COMPONENTIZE_PY=/where/it/is/componentize-py"
        return 1
    fi
    # The scripts of such a folder know where it was made: so it is called through Python, and can be moved.
    # shellcheck disable=SC2016 # for that script
    printf '#!/bin/sh\nexec "${0%%/*}/bin/python3" -c "from componentize_py import script; script()" "$@"\n' >"$new/run"
    chmod +x "$new/run"
    # Whoever fetched it meanwhile has fetched the same.
    mv -T "$new" "$fetched" 2>/dev/null || rm -rf "$new"
    [ -e "$componentize_py" ]
}

# Builds a source into a component. To be called after find_componentize_py.
compile() { COMPONENTIZE_PY=$componentize_py python3 "$python_sdk/build.py" "$1" -o "$2"; }

# Builds the UDF in a folder: its source is called as it is.
build() {
    if [ -n "${COMPONENTIZE_PY:-}" ]; then componentize_py=$COMPONENTIZE_PY; else find_componentize_py || return; fi
    compile "$1/$(sed -n 's/^name = "\(.*\)"$/\1/p' "$1/udf.toml").py" "$2"
}
