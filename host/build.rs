//! Lists the SDKs, their templates and the contract, so that the binary can lay them down for authors: a UDF is begun and
//! built with nothing but `millrace` and the language's own toolchain.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// What is made there, or of no use to authors.
const LEFT_OUT: [&str; 6] = ["target", "node_modules", "__pycache__", "component", "tests", "test"];

fn main() -> io::Result<()> {
    // Asked when it runs: clones that share a target folder share this program too.
    println!("cargo::rerun-if-env-changed=CARGO_MANIFEST_DIR");
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("..").canonicalize()?;
    let mut files = Vec::new();
    for folder in ["guest-sdk", "wit"] {
        println!("cargo::rerun-if-changed={}", root.join(folder).display());
        list(&root.join(folder), &mut files)?;
    }
    files.sort();
    let mut text = String::from("&[\n");
    for file in files {
        let name = file.strip_prefix(&root).map_err(io::Error::other)?.display().to_string();
        writeln!(text, "({name:?}, include_bytes!({:?})),", file.display().to_string()).map_err(io::Error::other)?;
    }
    text.push(']');
    let out = PathBuf::from(variable("OUT_DIR")?);
    fs::write(out.join("sdk.rs"), text)
}

/// What cargo says in its environment.
fn variable(name: &str) -> io::Result<OsString> {
    env::var_os(name).ok_or_else(|| io::Error::other(format!("cargo gives no {name}")))
}

/// The files below a folder. A template's tests are part of it.
fn list(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let of_template = path.components().any(|part| part.as_os_str() == "template");
        if name.starts_with('.') || (LEFT_OUT.contains(&name.as_str()) && !(of_template && name == "tests")) {
            continue;
        }
        if path.is_dir() {
            list(&path, files)?;
        } else if path.extension().is_none_or(|extension| extension != "wasm") {
            files.push(path);
        }
    }
    Ok(())
}
