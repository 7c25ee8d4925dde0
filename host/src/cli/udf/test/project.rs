//! The project that a test case is run as: one source, the UDF, one view, into a file.

use anyhow::{Context, Result};
use toml::{Table, Value};

use super::super::loaded::{Bound, Loaded};
use super::case::Case;
use super::script::TIME;

/// The names of what it has.
pub(super) const INPUT: &str = "input";
pub(super) const OUTPUT: &str = "output.jsonl";
const UDF: &str = "udf";

/// The project file of a case: everything but how it is run.
pub(super) fn project(case: &Case, loaded: &Loaded, name: &str, bound: &Bound) -> Result<String> {
    let component = std::path::absolute(&loaded.file).context("the component's path")?;
    let mut project = Table::new();
    project.insert("project".into(), table([("name", "udf-test".into())]));
    let columns = &case.written.columns;
    let sources = table([("rows", source(case)?)]);
    project.insert("sources".into(), sources);
    let udf = [
        ("component", Value::from(format!("{}#{name}", component.display()))),
        ("options", Value::Table(case.written.options.clone())),
    ];
    project.insert("udfs".into(), table([(UDF, table(udf))]));
    let mut view = vec![
        ("from", Value::from("rows")),
        ("online", false.into()),
        ("offline", false.into()),
        ("output", table([("type", "file".into()), ("path", OUTPUT.into())])),
    ];
    if !case.written.key.is_empty() {
        let keys = case.written.key.iter().filter_map(|key| Some((key.as_str(), plain(columns.get(key)?))));
        project.insert("entities".into(), table([("key", table([("keys", table(keys))]))]));
        view.push(("entity", "key".into()));
    }
    match bound {
        Bound::Transform(factory) => {
            view.push(("transform", Value::from(vec![Value::from(UDF)])));
            let output = factory.signature().output.iter().map(|field| field.name().as_str());
            let shown = case
                .written
                .show
                .iter()
                .map(String::as_str)
                .filter(|name| !case.written.key.iter().any(|key| key == name));
            let features = shown.chain(output).map(|name| (name, table([("expr", quoted(name).into())])));
            view.push(("features", table(features)));
        }
        Bound::Aggregate(factory) => {
            let of = factory.signature().input.iter().map(|name| (name.as_str(), quoted(name).into()));
            let feature = [("aggregate", format!("udf:{UDF}").into()), ("of", table(of))];
            view.push(("features", table([(name, table(feature))])));
            if let Some(window) = &case.written.window {
                view.push(("window", Value::Table(window.clone())));
            }
            if let Some(lateness) = &case.written.allowed_lateness {
                view.push(("allowed-lateness", lateness.as_str().into()));
            }
        }
    }
    project.insert("views".into(), table([("test", table(view))]));
    toml::to_string(&project).context("the test's project")
}

fn source(case: &Case) -> Result<Value> {
    let written = &case.written;
    let mut schema = Table::new();
    for (name, kind) in &written.columns {
        let text = kind.as_str().unwrap_or_default();
        let format = text.strip_prefix("timestamp(").and_then(|rest| rest.strip_suffix(')'));
        let kind = match format {
            Some(format) => table([("type", "timestamp".into()), ("format", format.into())]),
            None => kind.clone(),
        };
        schema.insert(name.clone(), kind);
    }
    let time = match &written.event_time {
        Some(time) => table([("column", time.as_str().into())]),
        None => {
            schema.insert(TIME.into(), "int64".into());
            table([("column", TIME.into()), ("format", "epoch-seconds".into())])
        }
    };
    let mut source = vec![
        ("type", Value::from("file")),
        ("path", INPUT.into()),
        ("format", if case.is_csv() { "csv" } else { "json" }.into()),
        ("schema", Value::Table(schema)),
        ("event-time", time),
        ("max-ahead", "off".into()),
    ];
    if let Some(delay) = &written.watermark_delay {
        source.push(("watermark-delay", delay.as_str().into()));
    }
    Ok(table(source))
}

/// A column's type without its format.
fn plain(kind: &Value) -> Value {
    let text = kind.as_str().unwrap_or_default();
    text.split('(').next().unwrap_or_default().into()
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn table<'a>(entries: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    Value::Table(entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}
