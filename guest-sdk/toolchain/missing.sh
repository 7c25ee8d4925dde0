# What the languages have in common when something is missing: sourced by their scripts. `say` and $cache are the sourcing
# script's.
#
# What a person is told to type stands on a line of its own behind four blanks, and works as it stands on a fresh Debian:
# scripts/fresh-debian types it. Where Python is there, some toolchains come from its package index, into the cache folder.
# shellcheck shell=bash

# Says what to type.
type_this() { printf '    %s\n' "$*" >&2; }

# The version of a package of Debian that could be installed, if there is one.
candidate() { apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: \([^(].*\)$/\1/p'; }

# Whether apt could install a package, of at least this version.
apt_has() {
    local version
    version=$(candidate "$1")
    [ -n "$version" ] && { [ $# = 1 ] || dpkg --compare-versions "$version" ge "$2"; }
}

# What stands before a command that is root's.
as_root() { if [ "$(id -u)" != 0 ]; then echo "sudo "; fi; }

# Says how to install packages of Debian. The lists of a fresh machine may not be there yet.
type_apt() {
    local package update=
    for package in "$@"; do
        if [ -z "$(candidate "$package")" ]; then update="$(as_root)apt-get update && "; fi
    done
    type_this "$update$(as_root)apt-get install $*"
}

# Whether there is a Python that can make folders of packages: Debian has that in a package of its own.
python_fetches() { python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; }

# Says how to get such a Python.
type_python() {
    if command -v apt-get >/dev/null; then type_apt python3-venv; else say "Python is at python.org"; fi
}

# Fetches a package of the Python package index into a folder of the cache, where it is not there yet: `fetch FOLDER PACKAGE==VERSION`.
# Whether it is there. The folder cannot be moved; one that was left half made is made anew.
fetch() {
    local folder=$1 package=$2
    [ -e "$folder/complete" ] && return
    say "fetching $package into $folder, once"
    mkdir -p "$(dirname "$folder")"
    if { python3 -m venv --clear "$folder" && "$folder/bin/pip" install -q --disable-pip-version-check "$package"; } >&2; then
        touch "$folder/complete"
        return
    fi
    say "$package could not be had from the Python package index: what pip says stands above"
    return 1
}
