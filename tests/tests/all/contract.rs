//! The contract's versions: what was built for one runs for ever, and what one says does not change.
//!
//! `tests/fixtures/contract-VERSION` holds components that were built when that version was new. They are the conformance suite
//! as it was then; what they do is written down here once more, so that the suite may go on.

use std::fs;
use std::path::Path;
use std::process::Command;

use millrace::engine::aggregate::Aggregate;
use millrace::wasm::{Component, Engine, EngineOptions, Limits};

use crate::conformance::cells::{Cell, Row, assert_same, columns, fields, float, rows, text};
use crate::project::repository;

/// The components of a version, by their files' names.
fn built_for(version: &str) -> Vec<(String, Component)> {
    let engine = Engine::new(EngineOptions::default()).unwrap();
    let folder = repository().join("tests/fixtures").join(format!("contract-{version}"));
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "wasm")).collect();
    paths.sort();
    let load = |path: std::path::PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let component = engine.load(&fs::read(&path).unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, component)
    };
    paths.into_iter().map(load).collect()
}

fn bound(component: &Component, name: &str, given: &str, options: &str) -> Box<dyn Aggregate> {
    let factory = component.aggregate(Some(name), &fields(given), options, Limits::default()).unwrap();
    assert_eq!(factory.signature().ordered, name == "sessions");
    factory.create().unwrap()
}

fn time(seconds: i64) -> Cell {
    Cell::Time(seconds * 1_000_000)
}

#[test]
fn transforms_of_0_1_0_run() {
    let components = built_for("0.1.0");
    assert_eq!(components.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["c", "rust"]);
    for (language, component) in components {
        let apply = |name: &str, given: &str, options: &str, input: &[Row]| {
            let given = fields(given);
            let factory = component.transform(Some(name), &given, options, Limits::default());
            let factory = factory.unwrap_or_else(|error| panic!("{language} {name}: {error}"));
            factory.create().unwrap().apply(&columns(&given, input))
        };
        let done =
            apply("multiply", "value float32?", "{\"factor\":4}", &[vec![float(1.5)], vec![Cell::Null]]).unwrap();
        assert_same(&rows(&done.output), &[vec![float(6.0)], vec![Cell::Null]], &language);
        assert_eq!((done.origin, done.rejected.len()), (None, 0));

        let lists =
            [Cell::List(vec![float(-0.0), Cell::Null]), Cell::Null, Cell::List(vec![]), Cell::List(vec![float(2.0)])];
        let done = apply("explode", "items list<float64>?", "{}", &lists.map(|list| vec![list])).unwrap();
        assert_same(&rows(&done.output), &[vec![float(-0.0)], vec![Cell::Null], vec![float(2.0)]], &language);
        assert_eq!(done.origin, Some(vec![0, 0, 3]), "{language}");
        assert_eq!(
            done.rejected.iter().map(|one| (one.row, one.reason.as_str())).collect::<Vec<_>>(),
            [(1, "no list")]
        );

        let every =
            "b boolean?, i int64?, f float64?, t timestamp?, s utf8?, z binary?, lf list<float64>?, ls list<utf8>?";
        let full: Row = vec![
            Cell::Bool(true),
            Cell::Int(i64::MIN),
            float(f64::MIN_POSITIVE),
            time(-1),
            text("é\u{0}日"),
            Cell::Bytes(vec![0xff, 0, 0xc0]),
            Cell::List(vec![float(1.0)]),
            Cell::List(vec![text(""), Cell::Null, text("x")]),
        ];
        let input = [full, vec![Cell::Null; 8]];
        assert_same(&rows(&apply("echo", every, "{}", &input).unwrap().output), &input, &language);

        let whole = |values: &[i64]| values.iter().map(|value| vec![Cell::Int(*value)]).collect::<Vec<_>>();
        let done = apply("fail", "value int32", "{}", &whole(&[0, 2, 5])).unwrap();
        assert_same(&rows(&done.output), &whole(&[0, 5]), &language);
        assert_eq!(done.rejected[0].reason, "two is refused");
        let failed = apply("fail", "value int64?", "{}", &whole(&[0, 1])).map(|_| ()).unwrap_err().to_string();
        assert!(failed.contains("one is not welcome"), "{language}: {failed}");
    }
}

#[test]
fn aggregates_of_0_1_0_run_and_go_on_with_states_of_then() {
    for (language, component) in built_for("0.1.0") {
        let given = "text utf8?";
        let mut seen = bound(&component, "seen", given, "{}");
        // {"a": 1, "b": 2} as it lay in checkpoints.
        let kept = [vec![Cell::Bytes(vec![0x82, 0xa1, b'a', 1, 0xa1, b'b', 2])], vec![Cell::Bytes(vec![0x80])]];
        let state = columns(&fields("counts binary"), &kept);
        let words = ["c", "a", "c", "c"].map(|word| vec![text(word)]);
        let state = seen.update(state, &[0, 0, 0, 1], &columns(&fields(given), &words)).unwrap().state;
        let wanted = [vec![0x83, 0xa1, b'a', 2, 0xa1, b'b', 2, 0xa1, b'c', 2], vec![0x81, 0xa1, b'c', 1]];
        assert_same(&rows(&state), &wanted.map(|bytes| vec![Cell::Bytes(bytes)]), &language);
        let state = seen.merge(state.clone(), &[0, 0], &state).unwrap();
        let top = rows(&seen.evaluate(&state, &[0; 2], &[1; 2]).unwrap());
        assert_same(&top, &[vec![text("c")], vec![text("c")]], &language);

        let given = "time timestamp?";
        let mut sessions = bound(&component, "sessions", given, "{\"gap_us\":10000000}");
        let state = columns(
            &fields("first timestamp?, last timestamp?, sessions int64"),
            &[vec![time(5), time(20), Cell::Int(2)]],
        );
        let later = sessions.initial(1).unwrap();
        let times = [25, 40].map(|seconds| vec![time(seconds)]);
        let later = sessions.update(later, &[0, 0], &columns(&fields(given), &times)).unwrap().state;
        let state = sessions.merge(state, &[0], &later).unwrap();
        assert_same(&rows(&state), &[vec![time(5), time(40), Cell::Int(3)]], &language);
        let nulls = columns(&fields(given), &[vec![Cell::Null]]);
        assert_eq!(sessions.update(state, &[0], &nulls).unwrap().rejected[0].reason, "no time");
    }
}

/// Every version that is written down has its fixtures, and they are small.
#[test]
fn every_version_has_components_that_were_built_for_it() {
    let versions = fs::read_to_string(repository().join("wit/versions")).unwrap();
    for line in versions.lines().filter(|line| !line.starts_with('#')) {
        let version = line.split_whitespace().next().unwrap();
        let components = built_for(version);
        assert!(!components.is_empty(), "tests/fixtures/contract-{version} holds no component: put some there");
    }
}

/// What `scripts/check-wit` says of a contract that is this text.
fn checked(contract: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let copy = |name: &str| {
        let to = folder.path().join(name);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(repository().join(name), to).unwrap();
    };
    copy("scripts/check-wit");
    copy("wit/versions");
    fs::write(folder.path().join("wit/feature.wit"), contract).unwrap();
    let done = check_wit(folder.path());
    (done.status.success(), String::from_utf8(done.stderr).unwrap())
}

fn check_wit(folder: &Path) -> std::process::Output {
    Command::new("bash").arg(folder.join("scripts/check-wit")).output().unwrap()
}

#[test]
fn a_contract_that_changes_without_a_new_version_is_found() {
    let contract = fs::read_to_string(repository().join("wit/feature.wit")).unwrap();
    let checked_here = check_wit(&repository());
    assert!(checked_here.status.success(), "{}", String::from_utf8_lossy(&checked_here.stderr));
    assert_eq!(checked(&contract), (true, String::new()));
    // A comment says nothing to components.
    assert_eq!(checked(&contract.replacen("\n", "\n/// Said otherwise.\n", 1)), (true, String::new()));
    let changed = contract.replacen("nullable: bool", "nullable: u8", 1);
    assert_ne!(changed, contract);
    let (fine, said) = checked(&changed);
    assert!(!fine, "{said}");
    assert!(said.contains("wit/feature.wit differs from what 0.1.0 was: raise its version"), "{said}");
    let (fine, said) = checked(&changed.replacen("@0.1.0;", "@0.2.0;", 1));
    assert!(!fine, "{said}");
    assert!(said.contains("version 0.2.0 is new: add the line '0.2.0 "), "{said}");
}
