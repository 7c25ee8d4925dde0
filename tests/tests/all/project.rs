//! A project of a test's own: its file in a temporary folder, with the components beside it and its data below it.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use millrace_tests::guarded::Signal;
use millrace_tests::http::{get, post};
use millrace_tests::patience::START;
use millrace_tests::process::{Finished, Millrace, Running};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// The view of the fraud example.
pub(crate) const FRAUD_VIEW: &str = "card_transactions_10m_agg";

/// The name of the project's file.
const FILE: &str = "project.toml";

/// A row as it is printed: flat JSON.
pub(crate) type Row = Map<String, Value>;

/// A project in a folder that goes with it.
pub(crate) struct Project {
    folder: TempDir,
}

impl Project {
    /// A project with this file.
    pub(crate) fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), text).unwrap();
        for component in fs::read_dir(components()).unwrap() {
            let component = component.unwrap().path();
            if component.extension() == Some(OsStr::new("wasm")) {
                let name = component.file_name().unwrap();
                std::os::unix::fs::symlink(&component, folder.path().join(name)).unwrap();
            }
        }
        Self { folder }
    }

    /// The fraud example, as its users have it.
    pub(crate) fn fraud() -> Self {
        Self::new(&fs::read_to_string(repository().join("examples/fraud/fraud.toml")).unwrap())
    }

    /// A file of the project.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file of the project.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    /// Writes a file of lines.
    pub(crate) fn write_lines<S: AsRef<str>>(&self, name: &str, lines: impl IntoIterator<Item = S>) {
        let text: String = lines.into_iter().map(|line| format!("{}\n", line.as_ref())).collect();
        self.write(name, text);
    }

    /// `millrace COMMAND project.toml --set SETTING …`; a command may be of two words.
    pub(crate) fn call<S: AsRef<str>>(&self, command: &str, settings: impl IntoIterator<Item = S>) -> Millrace {
        let settings = settings.into_iter().flat_map(|setting| ["--set".to_owned(), setting.as_ref().to_owned()]);
        Millrace::command().dir(self.folder.path()).args(command.split(' ')).args([FILE]).args(settings)
    }

    /// The next run begins from nothing, whatever ran before.
    pub(crate) fn forget(&self) {
        let data = self.path("data");
        if data.exists() {
            fs::remove_dir_all(data).unwrap();
        }
    }

    /// Runs it over its bounded sources to the end, which has to be a good one; from nothing, whatever ran before.
    pub(crate) fn run<S: AsRef<str>>(&self, settings: impl IntoIterator<Item = S>) -> Finished {
        self.forget();
        let finished = self.call("run", settings).finish(START);
        assert!(finished.status.success(), "{}", finished.stderr);
        finished
    }

    /// The rows of a file of JSON lines.
    pub(crate) fn rows(&self, name: &str) -> Vec<Row> {
        parse(&fs::read_to_string(self.path(name)).unwrap())
    }
}

/// A process that serves HTTP, and its address.
pub(crate) struct Served {
    pub(crate) process: Running,
    pub(crate) address: String,
}

impl Served {
    /// The answer to `POST /get-online-features`, which has to be a good one.
    pub(crate) fn features(&self, features: &[impl AsRef<str>], keys: Value) -> Value {
        let request = json!({"features": features.iter().map(AsRef::as_ref).collect::<Vec<_>>(), "entities": keys});
        let answer = post(&self.address, "/get-online-features", &request).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// `GET /metrics`.
    pub(crate) fn metrics(&self) -> String {
        get(&self.address, "/metrics").unwrap().body
    }

    /// SIGTERM, which is a good end; gives all that was said.
    pub(crate) fn terminate(mut self) -> String {
        self.process.signal(Signal::Terminate);
        let status = self.process.wait(START);
        assert!(status.success(), "{status}: {}", self.process.said());
        self.process.said()
    }
}

/// Starts what serves at a port that the system chooses, and waits until it listens.
pub(crate) fn serve(command: Millrace) -> Served {
    let process = command.args(["--set", "serve.http=127.0.0.1:0"]).start();
    let line = process.line("serving on http://", START);
    let (_, address) = line.rsplit_once("http://").unwrap();
    Served { address: address.to_owned(), process }
}

/// JSON lines as rows.
pub(crate) fn parse(lines: &str) -> Vec<Row> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The last row of each key and event timestamp: only that counts.
pub(crate) fn last_rows(rows: Vec<Row>, key: &str) -> BTreeMap<(i64, String), Row> {
    let at = |row: &Row| (row[key].as_i64().unwrap(), row["event_timestamp"].as_str().unwrap().to_owned());
    rows.into_iter().map(|row| (at(&row), row)).collect()
}

/// A setting that writes a view's rows into a file of the project.
pub(crate) fn output(view: &str, file: &str) -> String {
    format!("views.{view}.output={{ type = \"file\", path = \"{file}\" }}")
}

/// A counter of `/metrics`; 0 where it has not counted yet.
pub(crate) fn counter(metrics: &str, name: &str) -> u64 {
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap())
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where `make guests` puts the components.
pub(crate) fn components() -> PathBuf {
    let folder = env::var_os("MILLRACE_COMPONENTS");
    folder.map_or_else(|| repository().join("udfs/target/components"), PathBuf::from)
}
