//! A test case of a UDF: `tests/NAME.toml` says how it is used, `NAME.jsonl` or `NAME.csv` beside it what goes in, and
//! `NAME.expected.jsonl` what comes out.
//!
//! ```toml
//! udf = "spread"                                           # where the component holds several
//! columns = { card = "int64", at = "timestamp", amount = "float64" }
//! options = { units = 100 }
//! event-time = "at"
//! show = ["card"]                                          # of a transform: columns to see beside what it gives
//! key = ["card"]                                           # of an aggregate; none: one key for all
//! window = { sliding = "10m", step = "1m" }                # of an aggregate; as in a view
//! watermark-delay = "10s"
//! allowed-lateness = "1m"
//! tolerance = 1e-9                                         # of numbers, relative; 0 unless it is said
//! ```
//! A line of the input that begins with `#` is no row: `# restart` ends the run there and goes on with a new one, from
//! its checkpoint; any other is a remark.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use millrace::engine::decode::DecodeField;
use serde::Deserialize;

use super::super::columns;

/// The folder of a project's test cases.
const FOLDER: &str = "tests";

/// What the file says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Written {
    pub(super) udf: Option<String>,
    pub(super) columns: toml::Table,
    #[serde(default)]
    pub(super) options: toml::Table,
    pub(super) event_time: Option<String>,
    #[serde(default)]
    pub(super) show: Vec<String>,
    #[serde(default)]
    pub(super) key: Vec<String>,
    pub(super) window: Option<toml::Table>,
    pub(super) watermark_delay: Option<String>,
    pub(super) allowed_lateness: Option<String>,
    #[serde(default)]
    pub(super) tolerance: f64,
}

/// A test case.
pub(in crate::cli::udf) struct Case {
    /// Its name, that of its files.
    pub(in crate::cli::udf) name: String,
    pub(super) written: Written,
    columns: Vec<DecodeField>,
    /// Where what goes in is.
    pub(super) input: PathBuf,
    /// Where what comes out is.
    pub(super) expected: PathBuf,
}

impl Case {
    fn read(path: &Path) -> Result<Self> {
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let text = fs::read_to_string(path)?;
        let written: Written = toml::from_str(&text)?;
        let mut columns = Vec::new();
        for (column, kind) in &written.columns {
            let kind = kind.as_str().with_context(|| format!("columns: `{column}` wants its type as a text"))?;
            columns.push(columns::column(column, kind).map_err(anyhow::Error::msg).context("columns")?);
        }
        let named = |what: &str, name: &String| {
            if columns.iter().any(|column| column.name == *name) {
                return Ok(());
            }
            bail!("{what}: `{name}` is not among the columns")
        };
        written.event_time.iter().try_for_each(|name| named("event-time", name))?;
        written.show.iter().try_for_each(|name| named("show", name))?;
        written.key.iter().try_for_each(|name| named("key", name))?;
        let beside = |extension: &str| path.with_file_name(format!("{name}.{extension}"));
        let input = [beside("jsonl"), beside("csv")].into_iter().find(|file| file.exists());
        let input = input.with_context(|| format!("there is neither {name}.jsonl nor {name}.csv beside it"))?;
        if written.event_time.is_none() && input.extension().is_some_and(|extension| extension == "csv") {
            bail!("CSV needs an `event-time`: name the timestamp column that it has");
        }
        Ok(Self { expected: beside("expected.jsonl"), name, written, columns, input })
    }

    /// The UDF that it is about; none: the only one.
    pub(in crate::cli::udf) fn udf(&self) -> Option<&str> {
        self.written.udf.as_deref()
    }

    /// The columns of its rows.
    pub(in crate::cli::udf) fn columns(&self) -> &[DecodeField] {
        &self.columns
    }

    /// The UDF's options, as JSON.
    pub(in crate::cli::udf) fn options(&self) -> String {
        serde_json::to_string(&self.written.options).unwrap_or_else(|_| "{}".into())
    }

    /// Whether its rows are CSV.
    pub(in crate::cli::udf) fn is_csv(&self) -> bool {
        self.input.extension().is_some_and(|extension| extension == "csv")
    }

    /// The rows, without remarks.
    pub(in crate::cli::udf) fn rows(&self) -> Result<String> {
        let text = fs::read_to_string(&self.input).with_context(|| self.input.display().to_string())?;
        Ok(text.lines().filter(|line| !line.starts_with('#')).flat_map(|line| [line, "\n"]).collect())
    }
}

/// The test cases of a UDF's project, by name.
pub(in crate::cli::udf) fn all(folder: &Path) -> Result<Vec<Case>> {
    let folder = folder.join(FOLDER);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| folder.display().to_string()),
    };
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| folder.display().to_string())?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    files.iter().map(|path| Case::read(path).with_context(|| path.display().to_string())).collect()
}
