# C and C++ for guests: sourced by whoever builds them. `say` and $cache are the sourcing script's; $MILLRACE_COMPONENT makes a
# component of a module.
#
# The compiler is Debian's clang with its linker and WASI's C library, or, where they are not there, zig's clang, which the Python
# package index has as `ziglang` and which is fetched into the cache folder.
# shellcheck shell=bash

# shellcheck source=guest-sdk/toolchain/missing.sh
. "$(dirname "${BASH_SOURCE[0]}")/missing.sh"
c_sdk=$(cd "$(dirname "${BASH_SOURCE[0]}")/../c" && pwd)
zig_version=0.15.2
c_packages=(clang lld wasi-libc libclang-rt-dev-wasm32)
c_flags=(-O3 -flto -msimd128 -Wall -Wextra -ffunction-sections -fdata-sections -I "$c_sdk/include")
c_link=(-O3 -flto -mexec-model=reactor -Wl,--gc-sections -Wl,--strip-all -Wl,-z,stack-size=262144)

# clang's runtime for WebAssembly, by its own word where that is.
builtins() { clang --target=wasm32-wasi -print-libgcc-file-name; }

clang_works() {
    command -v clang wasm-ld >/dev/null && [ -e /usr/include/wasm32-wasi/stdlib.h ] && [ -e "$(builtins)" ]
}

zig_works() { "$zig" -m ziglang version >/dev/null 2>&1; }

# The compilers to use, in $cc and $cxx; whether there are any.
find_compiler() {
    zig=$cache/zig-$zig_version/bin/python
    if clang_works; then
        cc=(clang --target=wasm32-wasi) cxx=(clang++ --target=wasm32-wasi -nostdlib++)
        return
    fi
    if ! zig_works; then
        if ! python_fetches; then
            say "there is no clang for WebAssembly here, with its linker and WASI's C library. This line installs it:"
        elif fetch "$cache/zig-$zig_version" "ziglang==$zig_version" && zig_works; then
            use_zig
            return
        else
            say "so a clang for WebAssembly has to be installed, with its linker and WASI's C library:"
        fi
        type_apt "${c_packages[@]}"
        return 1
    fi
    use_zig
}

use_zig() {
    cc=("$zig" -m ziglang cc --target=wasm32-wasi) cxx=("$zig" -m ziglang c++ --target=wasm32-wasi)
}

# Builds the C and C++ in a folder, with the SDK, into a component. To be called after find_compiler.
compile() {
    local folder=$1 out=$2 work source objects=() made=0
    shopt -s nullglob
    work=$(mktemp -d "${TMPDIR:-/tmp}/guest-XXXXXX")
    for source in "$c_sdk"/src/*.c "$folder"/*.c "$folder"/*.cpp; do
        objects+=("$work/$(basename "$source").o")
        case $source in
        *.cpp) "${cxx[@]}" "${c_flags[@]}" -std=c++17 -fno-exceptions -fno-rtti -c "$source" -o "${objects[-1]}" || made=1 ;;
        *) "${cc[@]}" "${c_flags[@]}" -std=c11 -c "$source" -o "${objects[-1]}" || made=1 ;;
        esac
    done
    shopt -u nullglob
    # The command is one of several words.
    # shellcheck disable=SC2086
    [ "$made" = 0 ] && "${cc[@]}" "${c_link[@]}" "${objects[@]}" -o "$work/module.wasm" &&
        $MILLRACE_COMPONENT "$work/module.wasm" -o "$out" || made=1
    rm -rf "$work"
    return "$made"
}

# Builds the UDF in a folder.
build() { find_compiler && compile "$1" "$2"; }
