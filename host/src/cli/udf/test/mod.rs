//! `millrace udf test`: a UDF over sample rows, by the engine that will run it, against what is expected.
//!
//! Every case is run several ways: at once, row by row over two shards, and with a restart in its middle. They must all
//! come to the same.

mod bench;
pub(super) mod case;
mod compare;
pub(super) mod cuts;
mod project;
mod running;
mod script;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Args;
use millrace::wasm::Limits;
use serde_json::Value;

use super::columns;
use super::loaded::{ComponentArgs, Loaded, MANIFEST};
use case::Case;
use running::Way;
use script::Script;

/// The ways in which a case is run.
const WAYS: [Way; 2] = [
    Way { name: "at once", shards: 1, batch_rows: 4_096 },
    Way { name: "row by row, two shards", shards: 2, batch_rows: 1 },
];

/// The way in which it is restarted.
const RESTARTED: Way = Way { name: "with a restart in the middle", shards: 1, batch_rows: 4_096 };

/// Run a UDF over sample rows, as a project would, and compare with what is expected
#[derive(Debug, Args)]
#[command(after_help = "\
The cases are in the project's folder tests/: NAME.toml says how the UDF is used, NAME.jsonl or NAME.csv what goes in, and
NAME.expected.jsonl what comes out: rows, and behind them the rows in error. Each is run at once, row by row over two
shards, and with a restart in its middle; a line `# restart` in the input says where else.

Examples:
  millrace udf test
  millrace udf test udfs/clean
  millrace udf test --update            takes what comes out as what is expected: look at it
  millrace udf test speed --bench       one case, and what it costs

Exit code 0 when all cases hold, 1 when not.")]
pub(in crate::cli) struct TestArgs {
    /// Only the case of this name; or the folder of the UDF's project
    #[arg(value_name = "CASE")]
    case: Option<String>,

    #[command(flatten)]
    component: Project,

    /// Write down what comes out as what is expected
    #[arg(long)]
    update: bool,

    /// Measure too: nanoseconds a row, memory, how long an instance takes to start
    #[arg(long)]
    bench: bool,
}

/// Where the project is.
#[derive(Debug, Args)]
struct Project {
    /// The UDF's project
    #[arg(long = "project", value_name = "FOLDER", default_value = ".")]
    folder: String,
}

/// Runs the cases.
pub(super) fn test(args: &TestArgs) -> Result<()> {
    // `udf build` takes a folder there, and so it is typed here too.
    let (project, only) = match &args.case {
        Some(folder) if Path::new(folder).join(MANIFEST).is_file() => (folder, None),
        only => (&args.component.folder, only.as_ref()),
    };
    let loaded = ComponentArgs::of_folder(project).load()?;
    let folder = loaded.folder.clone().context("a UDF's project")?;
    let mut cases = case::all(&folder)?;
    if let Some(name) = only {
        cases.retain(|case| case.name == *name);
        if cases.is_empty() {
            bail!(
                "there is no case {name}: {} does not exist",
                folder.join("tests").join(format!("{name}.toml")).display()
            );
        }
    }
    if cases.is_empty() {
        bail!("{} has no test cases: what they look like says `millrace udf test --help`", folder.display());
    }
    let mut failed = 0_usize;
    for case in &cases {
        match run(case, &loaded, args) {
            Ok(said) => println!("case {}: {said}", case.name),
            Err(error) => {
                failed += 1;
                println!("case {}: FAILED: {error:#}", case.name);
            }
        }
    }
    match failed {
        0 => Ok(()),
        failed => bail!("{failed} of {} cases failed", cases.len()),
    }
}

/// Runs one case every way.
fn run(case: &Case, loaded: &Loaded, args: &TestArgs) -> Result<String> {
    let (name, aggregates) = loaded.udf(case.udf())?;
    let fields = columns::fields(case.columns());
    let bound = loaded.bind(&name, aggregates, &fields, &case.options(), Limits::default())?;
    let text = project::project(case, loaded, &name, &bound)?;
    let script = Script::read(case)?;
    let restarted = script.restarted();
    let ways = WAYS.iter().map(|way| (*way, &script)).chain(restarted.iter().map(|script| (RESTARTED, script)));
    let mut expected = if args.update { None } else { Some(expected(case)?) };
    let mut ran = Vec::new();
    for (way, script) in ways {
        let mut rows = running::run_case(&text, script, way, loaded).with_context(|| way.name.to_owned())?;
        tidy(case, &mut rows);
        match &expected {
            None => {
                update(case, &rows)?;
                expected = Some(rows);
            }
            Some(expected) => {
                if let Some(difference) = compare::difference(expected, &rows, case.written.tolerance) {
                    bail!("{}\n{difference}    where that is right: millrace udf test --update", way.name);
                }
            }
        }
        ran.push(way.name);
    }
    let rows = expected.map_or(0, |rows| rows.len());
    let mut said = format!("ok, {rows} rows, {}", ran.join("; "));
    if args.bench {
        said.push_str(&bench::measured(&bound, case)?);
    }
    Ok(said)
}

/// Rows as they are compared: without a time that nobody asked for; an aggregate's by time, since shards have no order
/// among them.
fn tidy(case: &Case, rows: &mut Vec<Value>) {
    let time = millrace::record::EVENT_TIMESTAMP;
    let is_row = |row: &Value| row.get(time).is_some();
    if case.written.window.is_some() || !case.written.key.is_empty() {
        let key = |row: &Value| {
            let at = row.get(time).and_then(Value::as_str).unwrap_or("~").to_owned();
            (at, if is_row(row) { row.to_string() } else { String::new() })
        };
        rows.sort_by_cached_key(key);
    }
    if case.written.event_time.is_none() {
        for row in rows {
            if let Value::Object(row) = row {
                row.remove(time);
            }
        }
    }
}

fn expected(case: &Case) -> Result<Vec<Value>> {
    let path = case.expected.display();
    let text = match fs::read_to_string(&case.expected) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!("{path} is not there: write what must come out, or have it written by `millrace udf test --update`")
        }
        Err(error) => return Err(error).with_context(|| path.to_string()),
    };
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    lines.map(|(number, line)| serde_json::from_str(line).with_context(|| format!("{path}:{number}"))).collect()
}

fn update(case: &Case, rows: &[Value]) -> Result<()> {
    let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
    fs::write(&case.expected, text).with_context(|| case.expected.display().to_string())
}
