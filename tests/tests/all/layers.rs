//! The layers of the host: imports point down only, and a library that one layer is to hide is named in that one alone.
//!
//! Every path in `host/src` is read, in `use` lines and elsewhere, in tests and in macros too.

mod paths;

use std::fs;
use std::path::{Path, PathBuf};

use paths::{Path as Named, paths};

/// What all share; these may use one another.
const SHARED: [&str; 6] = ["error", "failpoint", "record", "room", "suggest", "time"];

/// What each other module may use, beside itself and [`SHARED`].
const LAYERS: [(&str, &[&str]); 10] = [
    ("engine", &[]),
    ("source", &["engine"]),
    ("sink", &["engine"]),
    ("store", &["engine"]),
    ("wasm", &["engine"]),
    ("simulate", &[]),
    ("config", &["engine", "source", "sink", "store", "wasm"]),
    ("topology", &["engine", "source", "sink", "store", "wasm", "config"]),
    ("serve", &["engine", "source", "sink", "store", "wasm", "config"]),
    ("cli", &["engine", "source", "sink", "store", "wasm", "simulate", "config", "topology", "serve"]),
];

/// Libraries, and the modules that may name them.
const LIBRARIES: [(&str, &[&str]); 18] = [
    ("libc", &["failpoint"]),
    ("rustix", &["room"]),
    ("wasmtime", &["wasm"]),
    ("sled", &["store"]),
    ("redis", &["store"]),
    ("rdkafka", &["source", "sink", "simulate"]),
    ("hyper", &["source", "cli"]),
    ("parquet", &["source", "store"]),
    ("apache_avro", &["engine"]),
    ("prost_reflect", &["engine"]),
    ("protox", &["engine", "config"]),
    ("axum", &["config", "serve", "cli"]),
    ("tokio", &["source", "sink", "store", "simulate", "topology", "serve", "cli"]),
    ("rustls", &["serve", "cli"]),
    ("tokio_rustls", &["serve", "cli"]),
    ("utoipa", &["serve", "cli"]),
    ("anyhow", &["cli"]),
    ("clap", &["simulate", "cli"]),
];

/// What is wrong in one file, whose path is relative to `host/src`.
fn violations(file: &Path, text: &str) -> Vec<String> {
    let modules = modules(file);
    let Some(layer) = modules.first().map(String::as_str) else {
        // lib.rs and main.rs put everything together.
        return Vec::new();
    };
    let found = match paths(text, &modules) {
        Ok(found) => found,
        Err(error) => return vec![format!("{}: {error}", file.display())],
    };
    let mut wrong: Vec<String> = found
        .iter()
        .filter_map(|path| match path {
            Named::Own(module) => may_use(layer, module).err(),
            Named::Library(library) => may_name(layer, library).err(),
        })
        .map(|what| format!("{}: {what}", file.display()))
        .collect();
    wrong.sort();
    wrong.dedup();
    wrong
}

fn may_use(layer: &str, module: &str) -> Result<(), String> {
    let known = |name: &str| SHARED.contains(&name) || LAYERS.iter().any(|(layer, _)| *layer == name);
    if let Some(stranger) = [layer, module].into_iter().find(|name| !known(name)) {
        return Err(format!("the layer of `{stranger}` is not known: give it one in tests/all/layers.rs"));
    }
    let below = LAYERS.iter().find(|(name, _)| *name == layer).map_or(&[][..], |(_, below)| below);
    if module == layer || SHARED.contains(&module) || below.contains(&module) {
        return Ok(());
    }
    Err(format!("`{layer}` may not use `{module}`"))
}

fn may_name(layer: &str, library: &str) -> Result<(), String> {
    match LIBRARIES.iter().find(|(name, _)| *name == library) {
        Some((_, layers)) if !layers.contains(&layer) => Err(format!("`{layer}` may not name `{library}`")),
        _ => Ok(()),
    }
}

/// The module path of a file: `engine/window/mod.rs` is `engine::window`; none for the roots of the crates.
fn modules(file: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        file.with_extension("").iter().map(|name| name.to_string_lossy().into_owned()).collect();
    if names.last().is_some_and(|name| ["mod", "lib", "main"].contains(&name.as_str())) {
        names.pop();
    }
    names
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder of the sources is there") {
        let path = entry.expect("a folder can be listed").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn imports_point_down_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.iter().any(|file| file.ends_with("engine/mod.rs")), "{files:?}");
    files.sort();
    let wrong: Vec<String> = files
        .iter()
        .flat_map(|file| violations(file.strip_prefix(&root).unwrap(), &fs::read_to_string(file).unwrap()))
        .collect();
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// Each violation is seen, however it is written.
#[test]
fn what_points_up_is_seen() {
    let cases = [
        ("engine/window/mod.rs", "use crate::store::Log;", "`engine` may not use `store`"),
        ("engine/pane.rs", "use super::super::config;", "`engine` may not use `config`"),
        ("engine/mod.rs", "use super::{record::Rows, wasm::Component};", "`engine` may not use `wasm`"),
        ("engine/mod.rs", "mod tests { use super::super::wasm::Component; }", "`engine` may not use `wasm`"),
        ("engine/mod.rs", "fn f() { crate::topology::run() }", "`engine` may not use `topology`"),
        ("engine/mod.rs", "fn f() { select!(a => { crate::topology::run() }) }", "`engine` may not use `topology`"),
        ("engine/mod.rs", "use tokio::sync::mpsc;", "`engine` may not name `tokio`"),
        ("engine/mod.rs", "use ::{tokio::sync, std::fmt};", "`engine` may not name `tokio`"),
        ("engine/mod.rs", "use {wasmtime as w};", "`engine` may not name `wasmtime`"),
        ("engine/mod.rs", "#[tokio::test] async fn t() {}", "`engine` may not name `tokio`"),
        ("engine/mod.rs", "type T = Vec<::sled::Db>;", "`engine` may not name `sled`"),
        ("engine/mod.rs", "extern crate redis;", "`engine` may not name `redis`"),
        ("source/kafka/reader.rs", "use crate::{error, sink::Sink};", "`source` may not use `sink`"),
        ("store/log.rs", "use crate::wasm;", "`store` may not use `wasm`"),
        ("serve/mod.rs", "use crate::topology::Board;", "`serve` may not use `topology`"),
        ("topology/mod.rs", "use crate::serve::App;", "`topology` may not use `serve`"),
        ("topology/mod.rs", "use wasmtime::Store;", "`topology` may not name `wasmtime`"),
        ("record.rs", "use crate::engine::key;", "`record` may not use `engine`"),
        ("config/mod.rs", "pub use crate::cli::run;", "`config` may not use `cli`"),
        ("new.rs", "use crate::time::Clock;", "the layer of `new` is not known: give it one in tests/all/layers.rs"),
    ];
    for (file, text, expected) in cases {
        assert_eq!(violations(Path::new(file), text), [format!("{file}: {expected}")], "{text}");
    }
}

#[test]
fn what_points_down_is_let_pass() {
    let cases = [
        ("main.rs", "use anyhow::Result; use millrace::serve;"),
        ("engine/window/mod.rs", "use super::pane::Pane; use crate::{record::{self, Rows}, time::Micros};"),
        ("engine/window/mod.rs", "mod tests { use super::*; use super::super::pane; }"),
        ("store/online/mod.rs", "pub mod redis; use redis::Writer; use self::redis as r;"),
        ("store/log.rs", "//! As crate::serve does.\n// use crate::serve;\nconst X: &str = \"crate::serve\";"),
        ("serve/mod.rs", "use crate::config::Plan; use crate::store::online::OnlineReader; use axum::Router;"),
        ("error.rs", "use crate::time::Micros;"),
        ("engine/mod.rs", "fn f(tokio: u8) -> u8 { tokio } use std::redis::Nothing;"),
    ];
    for (file, text) in cases {
        assert_eq!(violations(Path::new(file), text), [""; 0], "{text}");
    }
}
