//! The components, one a language.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use millrace::wasm::{Component, Engine, EngineOptions, Limits};

use crate::project::{components, repository};

/// The suite's component in one language.
pub(super) struct Language {
    pub(super) name: String,
    pub(super) component: Component,
}

/// What a call may use here: enough for an interpreter on a machine with other things to do.
pub(super) const LIMITS: Limits =
    Limits { time: Duration::from_secs(60), memory: 512 << 20, rows: 1 << 20, bytes: 512 << 20, state: 4 << 20 };

/// The cache folder of these tests, to be said to whoever runs the same components: compiling an interpreter takes ten seconds
/// and more, and once is enough.
pub(crate) fn cache() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("cache")
}

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    // As `millrace udf` has it.
    let cache = cache().join("millrace").join("compiled");
    Engine::new(EngineOptions { cache: Some(cache), ..EngineOptions::default() }).unwrap()
});

/// A component; none where what builds it could not be had, unless it is required.
pub(crate) fn component(name: &str) -> Option<Component> {
    let path = components().join(format!("{name}.wasm"));
    match std::fs::read(&path) {
        Ok(bytes) => Some(ENGINE.load(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"))),
        Err(error) if std::env::var("MILLRACE_REQUIRE_SERVERS").is_ok_and(|value| value == "1") => {
            panic!("{}: {error}", path.display())
        }
        Err(_) => {
            eprintln!("left out: {name}, since there is no {}", path.display());
            None
        }
    }
}

static LANGUAGES: LazyLock<Vec<Language>> = LazyLock::new(|| {
    let load = |name: String| {
        let component = component(&format!("conformance-{name}"))?;
        Some(Language { name, component })
    };
    sources().into_iter().filter_map(load).collect()
});

/// The languages that the suite is written in.
fn sources() -> Vec<String> {
    let folders = std::fs::read_dir(repository().join("tests/conformance")).unwrap().map(Result::unwrap);
    let mut names: Vec<_> = folders
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

/// All languages whose component is built.
pub(super) fn languages() -> &'static [Language] {
    assert!(!LANGUAGES.is_empty(), "no component of the suite is built: run `make guests`");
    &LANGUAGES
}

#[test]
fn every_component_holds_the_whole_suite() {
    for Language { name, component } in languages() {
        let sorted = |names: &[String]| {
            let mut names = names.to_vec();
            names.sort_unstable();
            names.join(" ")
        };
        assert_eq!(sorted(component.transforms()), "chance echo explode fail filter flat_map lower multiply", "{name}");
        assert_eq!(sorted(component.aggregates()), "chances mean registers seen sessions", "{name}");
    }
}
