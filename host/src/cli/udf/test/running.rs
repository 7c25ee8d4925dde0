//! A test case, run: the very engine of `millrace run`, in this process, over a folder of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use millrace::config::diagnostics::SourceText;
use millrace::config::plan::{Plan, plan};
use millrace::config::project::Project;
use millrace::config::read_text;
use millrace::room::Reserve;
use millrace::store::dead_letter::DeadLetterReader;
use millrace::time::{Clock, SystemClock};
use millrace::topology::{self, Start};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::super::loaded::Loaded;
use super::project::{INPUT, OUTPUT};
use super::script::Script;
use crate::cli::{recovery, run};

/// How long nothing has come when a part of the input that is followed by a restart counts as read.
const IDLE: Duration = Duration::from_millis(250);

/// One way of running a case.
#[derive(Clone, Copy)]
pub(super) struct Way {
    /// What it is called.
    pub(super) name: &'static str,
    /// How many shards.
    pub(super) shards: usize,
    /// How many rows a batch has at most.
    pub(super) batch_rows: usize,
}

/// What came out: the rows in their order, and behind them the rows in error, in the order of the input.
pub(super) fn run_case(text: &str, script: &Script, way: Way, loaded: &Loaded) -> Result<Vec<Value>> {
    let folder = tempfile::tempdir().context("a folder for the test")?;
    let last = script.parts.len().saturating_sub(1);
    for part in 0..=last {
        fs::write(folder.path().join(INPUT), script.until(part)).context("the test's input")?;
        // A file that is followed has no end: what is open when the run ends stays open.
        let more = part < last;
        let set = [
            ("runtime.shards".to_owned(), way.shards.to_string()),
            ("runtime.batch-rows".to_owned(), way.batch_rows.to_string()),
            ("sources.rows.follow".to_owned(), more.to_string()),
        ];
        let read = read_text("the test's project", text.to_owned(), folder.path(), &|_| None, &set);
        let (project, source) = read?;
        once(&project, &source, loaded, more.then_some(IDLE))?;
    }
    let mut rows = rows(&folder.path().join(OUTPUT))?;
    rows.extend(letters(&folder.path().join("data").join("dead-letters"), script)?);
    Ok(rows)
}

/// From start to end.
fn once(project: &Project, text: &SourceText, loaded: &Loaded, until_idle: Option<Duration>) -> Result<()> {
    fs::create_dir_all(&project.data_dir).context("the test's data folder")?;
    let plan: Arc<Plan> = Arc::new(plan(project, text, &loaded.engine)?);
    let hub = run::hub(project, &plan);
    // A test's folder is gone after it: what happens when the disk is full is not its business.
    let reserve = Reserve::new(0);
    let room = reserve.room(&project.data_dir);
    let mut recovered = recovery::recover(recovery::open(project, &room)?, project, &plan, false, &room)?;
    let (outlets, _) = run::open(project, &plan, &hub, &recovered, &reserve)?;
    recovered.begin(outlets.log.as_ref(), &outlets.dead_letters, &BTreeMap::new())?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let summary = runtime.block_on(async {
        let running = topology::start(Start {
            plan: plan.clone(),
            workers: project.runtime.shards,
            batch_rows: project.runtime.batch_rows,
            max_skew: project.runtime.max_skew,
            memory: None,
            interval: project.checkpoint.interval,
            stop_timeout: project.checkpoint.stop_timeout,
            until_idle,
            outlets,
            clock,
            state: Some(recovered.state),
            opener: None,
            reserve,
            udfs: BTreeMap::new(),
        })?;
        let (_stop, stopped) = watch::channel(false);
        running.wait(stopped).await
    })?;
    match summary.stopped.first() {
        None => Ok(()),
        Some(stopped) => bail!("{stopped}"),
    }
}

fn rows(path: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    text.lines().map(|line| serde_json::from_str(line).context("a row that came out")).collect()
}

/// The rows in error, each with its line.
fn letters(path: &Path, script: &Script) -> Result<Vec<Value>> {
    let mut letters = Vec::new();
    for letter in DeadLetterReader::open(path)?.letters(0) {
        let letter = letter?;
        let line = script.line_at(letter.offset);
        letters.push((line, json!({ "line": line, "dead": letter.reason, "detail": letter.detail })));
    }
    letters.sort_by_key(|(line, _)| *line);
    Ok(letters.into_iter().map(|(_, letter)| letter).collect())
}
