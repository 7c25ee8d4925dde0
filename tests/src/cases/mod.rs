//! Cases of feature views: a file of events, views over them and the rows that must come out, turned into projects and
//! run by the real binary.
//!
//! A file is a JSON object with lists of [`Case`]s under `cases` and, if it likes, `seed_cases`. The words of its views
//! are FeatHub's; `project.rs` says what they become. A case whose sources all end is run over files, one with a source
//! without an end over Kafka, until nothing comes any more.

mod compare;
mod project;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};
use tempfile::TempDir;

use crate::process::Millrace;
use crate::servers::kafka::Kafka;

/// How long a case may run.
const LIMIT: Duration = Duration::from_secs(60);

/// How long a source without an end has to be silent.
const IDLE: &str = "3s";

/// Where the rows of the case's view are written.
const ROWS: &str = "rows.jsonl";

/// A file of cases.
#[derive(Clone, Debug, Deserialize)]
struct File {
    #[serde(default)]
    seed_cases: Vec<Case>,
    #[serde(default)]
    cases: Vec<Case>,
}

/// Events, a view, and its rows.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    /// What it is called.
    pub id: String,
    /// The sources, by name.
    sources: BTreeMap<String, Source>,
    /// Further views that joins name.
    #[serde(default)]
    joined_views: BTreeMap<String, View>,
    /// The view whose rows are looked at.
    view: View,
    /// What must come out.
    expected: Expected,
}

/// A source and its events.
#[derive(Clone, Debug, Deserialize)]
struct Source {
    /// Column names and types, in the order of the rows' values.
    schema: Map<String, Value>,
    #[serde(default)]
    keys: Option<Vec<String>>,
    timestamp_field: String,
    timestamp_format: String,
    #[serde(default)]
    max_out_of_orderness_ms: u64,
    /// Whether the source ends; it does unless it says otherwise.
    #[serde(default = "yes")]
    bounded: bool,
    rows: Vec<Vec<Value>>,
}

fn yes() -> bool {
    true
}

/// A view over a source or a view.
#[derive(Clone, Debug, Deserialize)]
struct View {
    kind: ViewKind,
    name: String,
    source: Input,
    features: Vec<Feature>,
    #[serde(default)]
    keep_source_fields: bool,
    #[serde(default)]
    timestamp_field: Option<String>,
    #[serde(default)]
    timestamp_format: Option<String>,
    #[serde(default = "yes")]
    enable_empty_window_output: bool,
    #[serde(default = "yes")]
    skip_same_window_output: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ViewKind {
    /// A row at each step of a window.
    Sliding,
    /// A row for each row.
    Derived,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Input {
    Named(String),
    View(Box<View>),
}

#[derive(Clone, Debug, Deserialize)]
struct Feature {
    name: String,
    kind: FeatureKind,
    expr: String,
    dtype: String,
    #[serde(default)]
    keys: Option<Vec<String>>,
    #[serde(default)]
    table_name: Option<String>,
    #[serde(default)]
    agg_func: Option<String>,
    #[serde(default)]
    group_by_keys: Option<Vec<String>>,
    #[serde(default)]
    window_ms: Option<u64>,
    #[serde(default)]
    step_ms: Option<u64>,
    #[serde(default)]
    limit: Option<u64>,
    #[serde(default)]
    filter_expr: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FeatureKind {
    Expr,
    Join,
    Sliding,
    Over,
}

#[derive(Clone, Debug, Deserialize)]
struct Expected {
    /// What rows are sorted by before they are compared; what is equal in that, by everything else.
    #[serde(default)]
    sorted_by: Option<Vec<String>>,
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
}

/// Reads a file of cases.
///
/// # Errors
/// What is wrong with the file.
pub fn read(path: &Path) -> Result<Vec<Case>, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let file: File = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(file.seed_cases.into_iter().chain(file.cases).collect())
}

/// Where a case's events come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Files where all sources end, else Kafka.
    Fitting,
    /// Kafka.
    Kafka,
}

impl Case {
    /// The project file that the case becomes, over files.
    ///
    /// # Errors
    /// What has no form in a project.
    pub fn project(&self) -> Result<String, String> {
        project::text(self, None)
    }

    /// Runs the case and compares.
    ///
    /// # Errors
    /// What differs, or what went wrong.
    ///
    /// # Panics
    /// There is no room for files, no binary, or no Kafka.
    pub fn run(&self, way: Way) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary folder: {error}"));
        let endless = self.sources.values().any(|source| !source.bounded);
        let topics = match (way, endless) {
            (Way::Fitting, false) => None,
            _ => Some(self.produce(&folder)),
        };
        let text = project::text(self, topics.as_ref())?;
        write(&folder, "project.toml", &text);
        if topics.is_none() {
            for (name, source) in &self.sources {
                write(&folder, &format!("{name}.jsonl"), &source.lines().join("\n"));
            }
        }
        let mut arguments = vec!["run", "project.toml"];
        if endless {
            arguments.extend(["--until-idle", IDLE]);
        }
        let finished = Millrace::command().dir(folder.path()).args(arguments).finish(LIMIT);
        if !finished.status.success() {
            let why = finished.stderr.lines().find(|line| line.contains("project.toml:"));
            let why = why.or(finished.stderr.lines().next_back()).unwrap_or_default();
            return Err(format!("millrace ended with {}: {why}", finished.status));
        }
        let rows = fs::read_to_string(folder.path().join(ROWS)).map_err(|error| format!("no rows: {error}"))?;
        compare::compare(&rows, &self.expected, &self.singles()).map_err(|difference| {
            let dead = finished.stderr.lines().find(|line| line.contains("dead letters"));
            dead.map_or(difference.clone(), |dead| format!("{difference} ({})", dead.trim()))
        })
    }

    /// Writes the events to topics of the case's own.
    fn produce(&self, folder: &TempDir) -> Topics {
        let kafka = Kafka::shared();
        let unique = folder.path().file_name().map(|name| name.to_string_lossy().replace('.', "")).unwrap_or_default();
        let topics = Topics { brokers: kafka.brokers(), unique };
        for (name, source) in &self.sources {
            kafka.create_topic(&topics.of(name), 1);
            kafka.produce(&topics.of(name), 0, source.lines());
        }
        topics
    }

    /// The columns that are single-precision.
    fn singles(&self) -> Vec<&str> {
        let features = self.view.all_features();
        let single = features.into_iter().filter(|feature| feature.dtype == "float32").map(|feature| &*feature.name);
        let of_sources = self.sources.values().flat_map(|source| &source.schema);
        single.chain(of_sources.filter(|(_, kind)| *kind == "float32").map(|(name, _)| &**name)).collect()
    }
}

/// Where the events of a case lie that is run over Kafka.
struct Topics {
    brokers: String,
    /// What no other run's topics end with.
    unique: String,
}

impl Topics {
    fn of(&self, source: &str) -> String {
        format!("{source}-{}", self.unique)
    }
}

fn write(folder: &TempDir, name: &str, text: &str) {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

impl Source {
    /// The events as JSON.
    fn lines(&self) -> Vec<String> {
        let line = |row: &Vec<Value>| {
            let fields = self.schema.keys().zip(row).map(|(name, value)| (name.clone(), value.clone()));
            Value::Object(fields.collect()).to_string()
        };
        self.rows.iter().map(line).collect()
    }
}

impl View {
    /// The features of this view and of those that it is made of.
    fn all_features(&self) -> Vec<&Feature> {
        let mut features: Vec<&Feature> = self.features.iter().collect();
        if let Input::View(view) = &self.source {
            features.extend(view.all_features());
        }
        features
    }
}
