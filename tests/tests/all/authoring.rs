//! From nothing to a tested UDF, as its author goes: `udf new`, `udf build`, `udf test`, in every language.

use std::fs;

use millrace_tests::patience::START;
use millrace_tests::process::{Finished, Millrace};

use crate::conformance::languages::component;

/// The folder's own cache stays empty: what compilers are fetched and what they keep is the user's.
fn udf(folder: &std::path::Path, arguments: &[&str]) -> Finished {
    Millrace::command().args(["udf"]).args(arguments).dir(folder).finish(4 * START)
}

/// Goes all the way, for a UDF of each kind. `built` is a component of the suite: where it could not be built there is no
/// toolchain.
fn author(language: &str, built: &str) {
    if component(built).is_none() {
        return;
    }
    for (kind, name) in [("transform", "clean_names"), ("aggregate", "spread")] {
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path().join(name);
        let new = ["new", "--lang", language, "--kind", kind, name];
        for (place, arguments) in [(folder.path(), &new[..]), (&project, &["build"]), (&project, &["test"])] {
            let done = udf(place, arguments);
            assert!(done.status.success(), "{language} {arguments:?}: {} {}", done.stdout, done.stderr);
        }
        let size = fs::metadata(project.join(format!("{name}.wasm"))).unwrap().len();
        assert!(size > 5_000, "{language} {kind}: {size} bytes");
    }
}

#[test]
fn udfs_in_c_are_begun_built_and_tested() {
    author("c", "readme-c-1");
}

#[test]
fn udfs_in_cpp_are_begun_built_and_tested() {
    author("c++", "readme-c-1");
}

#[test]
fn udfs_in_go_are_begun_built_and_tested() {
    author("go", "readme-go-1");
}

#[test]
fn udfs_in_rust_are_begun_built_and_tested() {
    author("rust", "conformance-rust");
}

#[test]
fn udfs_in_python_are_begun_built_and_tested() {
    author("python", "conformance-python");
}

#[test]
fn udfs_in_typescript_are_begun_built_and_tested() {
    author("typescript", "conformance-javascript");
}

#[test]
fn what_c_does_not_compile_is_told_in_its_own_words() {
    if component("readme-c-1").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let begun = udf(folder.path(), &["new", "--lang", "c", "--kind", "transform", "clean"]);
    assert!(begun.status.success(), "{}", begun.stderr);
    let source = folder.path().join("clean/clean.c");
    let broken = fs::read_to_string(&source).unwrap().replace("out->cents", "out->pence");
    fs::write(&source, broken).unwrap();
    let built = udf(folder.path(), &["build", "clean"]);
    assert!(!built.status.success());
    assert!(built.stderr.contains("no member named 'pence'"), "{}", built.stderr);
}
