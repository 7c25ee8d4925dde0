//! The ready-made UDFs of `udfs/`, each over the rows of its test cases, by the command that authors test theirs with: at once,
//! row by row over two shards, with a restart in the middle, and cut at every row.

use std::fs;
use std::path::Path;

use millrace_tests::patience::START;
use millrace_tests::process::{Finished, Millrace};

use crate::conformance::languages::cache;
use crate::project::{components, repository};

/// A project of the cases of a UDF, with the component that was built of it; none where that could not be built.
fn project(name: &str) -> Option<tempfile::TempDir> {
    let component = components().join(format!("{name}.wasm"));
    if !component.exists() && std::env::var("MILLRACE_REQUIRE_SERVERS").is_ok_and(|value| value == "1") {
        panic!("{} is not there", component.display());
    }
    if !component.exists() {
        eprintln!("left out: {name}, since there is no {}", component.display());
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let link = |from: &Path, to: &str| std::os::unix::fs::symlink(from, folder.path().join(to)).unwrap();
    link(&component, &format!("{name}.wasm"));
    link(&repository().join("udfs").join(name).join("tests"), "tests");
    let manifest = format!("name = \"{name}\"\nlanguage = \"rust\"\nsdk = \"0.1.0\"\n");
    fs::write(folder.path().join("udf.toml"), manifest).unwrap();
    Some(folder)
}

fn udf(folder: &Path, command: &str) -> Finished {
    let done = Millrace::command().args(["udf", command]).dir(folder).env("XDG_CACHE_HOME", cache()).finish(4 * START);
    assert!(done.status.success(), "udf {command}: {}\n{}", done.stdout, done.stderr);
    done
}

/// Runs the cases of one UDF, and checks it.
fn held(name: &str) {
    let Some(folder) = project(name) else { return };
    let cases = fs::read_dir(folder.path().join("tests")).unwrap().map(|entry| entry.unwrap().path());
    let cases = cases.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).count();
    let tested = udf(folder.path(), "test");
    assert_eq!(tested.stdout.lines().filter(|line| line.contains(": ok, ")).count(), cases, "{}", tested.stdout);
    let checked = udf(folder.path(), "check");
    let cut = "whole and one by one: the same, bit for bit";
    assert_eq!(checked.stdout.matches(cut).count(), cases, "{}", checked.stdout);
}

/// A test for each of them, and one that they are all here.
macro_rules! held {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                held(stringify!($name));
            }
        )*

        const HELD: &[&str] = &[$(stringify!($name)),*];
    };
}

held! {
    decayed_stats decayed_sum device hyperloglog last_distinct merchant_category normalised_text order_book_imbalance
    packed_readings sessions t_digest trade_volume_index travel
}

#[test]
fn every_ready_made_udf_has_cases_and_stands_in_the_readme() {
    let udfs = repository().join("udfs");
    let readme = fs::read_to_string(udfs.join("README.md")).unwrap();
    let folders = fs::read_dir(&udfs).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    // What measures the boundary, what breaks the contract, and what is built.
    let others =
        |name: &String| name.starts_with("bench_") || name == "hostile" || name == "target" || name.starts_with('.');
    let mut names: Vec<String> = folders.filter(|name| !others(name) && udfs.join(name).is_dir()).collect();
    names.sort_unstable();
    assert_eq!(names, HELD);
    for name in names {
        assert!(readme.contains(&format!("\n## {name}\n")), "{name} has no part of its own in udfs/README.md");
        assert!(readme.contains(&format!("\n| [`{name}`](#{name}) ")), "{name} has no row in udfs/README.md's table");
    }
}
