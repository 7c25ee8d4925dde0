//! `millrace dead-letters`: the rows in error, each with its position, its payload and what was wrong.

use std::io::{BufWriter, Write, stdout};

use anyhow::{Context, Result, bail};
use clap::Args;
use millrace::store::dead_letter::{DeadLetterReader, StoredLetter};
use millrace::time::rfc3339;
use serde_json::json;

use super::closed_pipe;
use super::project::ProjectArgs;

/// How many letters are read at once.
const PAGE: usize = 1_000;

/// List a project's dead letters: the rows in error
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  All of them, one JSON object a line:
    millrace dead-letters fraud.toml

  The first ten that came too late:
    millrace dead-letters fraud.toml --reason late --limit 10

The process that runs the project holds them; read them when that has ended. How many there are is in /metrics.")]
pub(super) struct DeadLettersArgs {
    #[command(flatten)]
    project: ProjectArgs,

    /// Only those of this reason: decode, event-time, future, late, null-key, rejected, fault or expression
    #[arg(long)]
    reason: Option<String>,

    /// At most this many
    #[arg(long, value_name = "LETTERS", default_value_t = usize::MAX, hide_default_value = true)]
    limit: usize,
}

/// Prints them, the oldest first.
pub(super) fn dead_letters(args: &DeadLettersArgs) -> Result<()> {
    let (project, _) = args.project.read()?;
    let folder = project.data_dir.join("dead-letters");
    if !folder.is_dir() {
        bail!("{} is not there: the project has not run yet", folder.display());
    }
    let reader = DeadLetterReader::open(&folder)?;
    let mut out = BufWriter::new(stdout().lock());
    let mut from = 0;
    let mut left = args.limit;
    loop {
        let page = reader.list(from, PAGE)?;
        let Some(last) = page.last() else { break };
        from = last.sequence + 1;
        let wanted = page.iter().filter(|letter| args.reason.as_ref().is_none_or(|reason| *reason == letter.reason));
        for letter in wanted.take(left) {
            left -= 1;
            if let Err(error) = writeln!(out, "{}", line(letter)) {
                return closed_pipe(error).context("standard output");
            }
        }
    }
    out.flush().or_else(closed_pipe).context("standard output")
}

/// A letter as JSON; a payload that is no text is shown as near to text as can be.
fn line(letter: &StoredLetter) -> serde_json::Value {
    json!({
        "sequence": letter.sequence,
        "reason": letter.reason,
        "detail": letter.detail,
        "source": letter.source,
        "partition": letter.partition,
        "offset": letter.offset,
        "arrival": rfc3339(letter.arrival),
        "view": letter.view,
        "udf": letter.udf,
        "payload": String::from_utf8_lossy(&letter.payload),
    })
}
