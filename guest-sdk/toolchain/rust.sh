# Rust for guests: sourced by whoever builds them. `say`, $cache and $target are the sourcing script's.
#
# Where the Rust toolchain has the target wasm32-unknown-unknown, or rustup can add it, that is all it takes. Where it
# cannot, the standard library is built once from the source that Debian packages, and kept in the cache folder, by the
# compiler's version.
# shellcheck shell=bash

# shellcheck source=guest-sdk/toolchain/missing.sh
. "$(dirname "${BASH_SOURCE[0]}")/missing.sh"
# What a calling build sets for its own target does not belong into guests.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET CARGO_TARGET_DIR CARGO_BUILD_RUSTFLAGS
target=wasm32-unknown-unknown
oldest_rust=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$(dirname "${BASH_SOURCE[0]}")/../rust/Cargo.toml")

# Whether a compiler is new enough for the SDK.
new_enough() {
    local version
    version=$("$1" --version 2>/dev/null | sed -n 's/^rustc \([0-9]*\.[0-9]*\).*/\1/p')
    [ -n "$version" ] && printf '%s\n' "$oldest_rust" "$version" | sort -CV
}

# Whether a compiler brings the target's standard library.
has_target() {
    local sysroot
    sysroot=$("$1" --print sysroot 2>/dev/null) &&
        compgen -G "$sysroot/lib/rustlib/$target/lib/libstd-*.rlib" >/dev/null
}

# Whether a compiler brings the standard library's source, and the linker for components.
has_source() {
    local sysroot
    sysroot=$("$1" --print sysroot 2>/dev/null) &&
        [ -f "$sysroot/lib/rustlib/src/rust/library/Cargo.lock" ] &&
        compgen -G "$sysroot/lib/rustlib/*/bin/wasm-component-ld" >/dev/null
}

# The compiler to use, in $rustc; $recipe is `toolchain` or `source`.
find_compiler() {
    if new_enough rustc && has_target rustc; then
        rustc=rustc recipe=toolchain
        return
    fi
    if command -v rustup >/dev/null && new_enough rustc; then
        say "adding the target $target to the Rust toolchain"
        if rustup target add "$target" >&2 && has_target rustc; then
            rustc=rustc recipe=toolchain
            return
        fi
        say "rustup could not add it: trying the distribution's Rust instead"
    fi
    for rustc in /usr/bin/rustc rustc; do
        if new_enough "$rustc" && has_source "$rustc"; then
            recipe=source
            return
        fi
    done
    say "there is no Rust of $oldest_rust or newer here that can build for $target. This line installs one:"
    if command -v rustup >/dev/null && ! new_enough rustc; then
        type_this "rustup update && rustup target add $target"
    elif apt_has rust-web-src "$oldest_rust"; then
        type_apt rustc-web cargo-web rust-web-src rust-web-llvm "$(lld_package)"
    elif command -v apt-get >/dev/null && [ -z "$(candidate rustc)" ]; then
        # The lists of a fresh machine are not there yet: with them the next build knows more.
        type_this "$(as_root)apt-get update"
    else
        type_this "curl --proto '=https' -sSf https://sh.rustup.rs | sh -s -- -y --target $target"
    fi
    exit 1
}

# Debian's linker for the LLVM of its Rust.
lld_package() {
    local package
    package=$(apt-cache depends rust-web-llvm 2>/dev/null | sed -n 's/.*Depends: llvm-\([0-9]*\)$/lld-\1/p' | head -n 1)
    echo "${package:-lld}"
}

# A linker for WebAssembly, called wasm-ld as wasm-component-ld wants it, in the folder $1.
link_wasm_ld() {
    local found
    for found in "$("$rustc" --print sysroot)"/lib/rustlib/*/bin/gcc-ld/wasm-ld "$(command -v rust-lld)" \
        "$(command -v wasm-ld)"; do
        if [ -x "$found" ]; then
            mkdir -p "$1"
            ln -sfn "$found" "$1/wasm-ld"
            return
        fi
    done
    say "there is no linker for WebAssembly here. This line installs it:"
    type_apt "$(lld_package)"
    exit 1
}

# The cargo beside the compiler.
find_cargo() {
    cargo=cargo
    if [ "$rustc" = /usr/bin/rustc ]; then cargo=/usr/bin/cargo; fi
    if ! command -v "$cargo" >/dev/null; then
        say "there is no $cargo beside $rustc. This line installs it:"
        type_apt cargo-web
        exit 1
    fi
}

# Builds the standard library for the target, unless this compiler's is in the cache; its folder in $sysroot.
build_sysroot() {
    sysroot=$cache/sysroot-$("$rustc" -vV | sha256sum | cut -c1-16)
    [ -e "$sysroot/complete" ] && return
    say "building the standard library for $target, once: a minute or two"
    mkdir -p "$cache"
    local work libraries host
    work=$(mktemp -d "$cache/building-XXXXXX")
    # shellcheck disable=SC2064 # the folder of now
    trap "rm -rf '$work'" EXIT
    mkdir "$work/src"
    echo '#![no_std]' >"$work/src/lib.rs"
    printf '%s\n' '[package]' 'name = "empty"' 'edition = "2024"' '[workspace]' '[profile.release]' 'panic = "abort"' \
        >"$work/Cargo.toml"
    # Bitcode, or guests could not be optimised as one with the library.
    (cd "$work" && RUSTC_BOOTSTRAP=1 RUSTC="$rustc" CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS=-Cembed-bitcode=yes \
        "$cargo" build --quiet --release -Zbuild-std=std,panic_abort --target "$target" --target-dir "$work/target")
    libraries=$work/sysroot/lib/rustlib/$target/lib
    mkdir -p "$libraries"
    cp "$work/target/$target/release/deps/"*.rlib "$libraries"
    rm -f "$libraries"/libempty-*
    # The linkers are looked for in the sysroot too.
    host=$("$rustc" -vV | sed -n 's/^host: //p')
    mkdir -p "$work/sysroot/lib/rustlib/$host"
    ln -s "$("$rustc" --print sysroot)/lib/rustlib/$host/bin" "$work/sysroot/lib/rustlib/$host/bin"
    touch "$work/sysroot/complete"
    # Whoever built it meanwhile has built the same.
    mv -T "$work/sysroot" "$sysroot" 2>/dev/null || [ -e "$sysroot/complete" ]
}

# Makes the compiler ready for use: $cargo, and in the environment what it needs. To be called after find_compiler.
use_compiler() {
    find_cargo
    export RUSTC=$rustc
    if [ "$recipe" = source ]; then
        link_wasm_ld "$cache/tools"
        export PATH=$cache/tools:$PATH
        build_sysroot
        # Cargo adds this to the flags in .cargo/config.toml.
        export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS=--sysroot=$sysroot
    fi
}

is_component() {
    # The magic of WebAssembly, then the version and layer of a component.
    [ "$(head -c 8 "$1" | od -An -tx1 | tr -d ' \n')" = 0061736d0d000100 ]
}

# Builds the crate in a folder, into a component.
build() {
    local folder=$1 out=$2 built
    find_compiler
    use_compiler
    (cd "$folder" && "$cargo" build --release --target "$target" --target-dir "$folder/target") || return 1
    built=$(find "$folder/target/$target/release" -maxdepth 1 -name '*.wasm' -newer "$folder/Cargo.toml" -print -quit)
    built=${built:-$(find "$folder/target/$target/release" -maxdepth 1 -name '*.wasm' -print -quit)}
    if [ -z "$built" ] || ! is_component "$built"; then
        say "cargo made no component: is crate-type = [\"cdylib\"] in Cargo.toml?"
        return 1
    fi
    cp "$built" "$out"
}
