//! `millrace udf check`: what a component is, before anybody relies on it.

use std::fmt::Write as _;
use std::io::{Write as _, stdout};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use millrace::engine::decode::DecodeField;
use millrace::wasm::Limits;

use super::loaded::{self, Bound, ComponentArgs, Loaded};
use super::test::case::{self, Case};
use super::test::cuts;
use super::{columns, signature, size, time};

/// How often starting an instance is measured.
const STARTS: usize = 20;

/// Look at a component: what it holds and imports, its size, how fast it starts, what it wants and gives
#[derive(Debug, Args)]
#[command(after_help = "\
In a UDF's project, its test cases say which columns it is bound to, and their rows are folded whole and cut at every row:
not a bit of the result may depend on that.

Examples:
  millrace udf check cards.wasm
  millrace udf check cards.wasm#clean --columns 'merchant: utf8, amount: float64' --options '{\"units\": 100}'

Exit code 0 when a project could use it, 1 when not.")]
pub(super) struct CheckArgs {
    #[command(flatten)]
    component: ComponentArgs,

    /// The columns that it is to be bound to: `name: type`, separated by commas
    #[arg(long, value_name = "COLUMNS")]
    columns: Option<String>,

    /// Its options, a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}")]
    options: String,
}

/// Prints what there is to say.
pub(super) fn check(args: &CheckArgs) -> Result<()> {
    let loaded = args.component.load()?;
    let mut text = String::new();
    describe(&loaded, &mut text)?;
    if let Some(written) = &args.columns {
        let columns = columns::parse(written).map_err(anyhow::Error::msg).context("--columns")?;
        let (name, aggregates) = loaded.udf(None)?;
        binding(&loaded, &name, aggregates, &columns, &args.options, &mut text)?;
    }
    let cases = loaded.folder.as_deref().map(case::all).transpose()?.unwrap_or_default();
    for case in &cases {
        bind_case(&loaded, case, &mut text)?;
    }
    if args.columns.is_none() && cases.is_empty() {
        text.push_str(
            "to see what a UDF wants and gives, say what it gets: --columns 'amount: float64, at: timestamp'\n",
        );
    }
    stdout().lock().write_all(text.as_bytes()).or_else(super::super::closed_pipe).context("standard output")
}

/// The component as a whole.
fn describe(loaded: &Loaded, text: &mut String) -> Result<()> {
    let component = &loaded.component;
    let names = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let (cold, warm) = (timed(|| loaded::engine(false)?.load(&loaded.bytes).map_err(Into::into))?, warm(loaded)?);
    writeln!(text, "{}: a component of Millrace's contract, importing nothing else", loaded.file.display())?;
    writeln!(text, "  digest      {}", component.digest())?;
    writeln!(text, "  size        {}", size(loaded.bytes.len()))?;
    writeln!(text, "  transforms  {}", names(component.transforms()))?;
    writeln!(text, "  aggregates  {}", names(component.aggregates()))?;
    writeln!(text, "  loading     {} compiled anew, {} from the cache", time(cold), time(warm))?;
    Ok(())
}

fn warm(loaded: &Loaded) -> Result<Duration> {
    timed(|| loaded.engine.load(&loaded.bytes).map_err(Into::into))
}

/// A test case's UDF: its signature, its start, and whether cuts change anything.
fn bind_case(loaded: &Loaded, case: &Case, text: &mut String) -> Result<()> {
    let (name, aggregates) = loaded.udf(case.udf())?;
    let bound = binding(loaded, &name, aggregates, case.columns(), &case.options(), text)
        .with_context(|| format!("test case {}", case.name))?;
    let rows = cuts::check(&bound, case)?;
    writeln!(text, "  cuts        {rows} rows of the case {}, whole and one by one: the same, bit for bit", case.name)?;
    Ok(())
}

/// Binds a UDF and says what it wants and gives.
fn binding(
    loaded: &Loaded,
    name: &str,
    aggregates: bool,
    columns: &[DecodeField],
    options: &str,
    text: &mut String,
) -> Result<Bound> {
    let fields = columns::fields(columns);
    let bound = loaded.bind(name, aggregates, &fields, options, Limits::default())?;
    writeln!(text, "{} {name}", if aggregates { "aggregate" } else { "transform" })?;
    for line in signature::lines(&bound, columns) {
        writeln!(text, "  {line}")?;
    }
    let mut starts = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        starts.push(timed(|| bound.start())?);
    }
    starts.sort_unstable();
    let median = starts.get(STARTS / 2).copied().unwrap_or_default();
    writeln!(text, "  an instance starts in {}", time(median))?;
    Ok(bound)
}

#[expect(clippy::disallowed_methods, reason = "a person asks how long it takes")]
fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<Duration> {
    let started = Instant::now();
    work()?;
    Ok(started.elapsed())
}
