//! `millrace dead-letters list`.

use std::io::{BufWriter, IsTerminal, Write, stdout};

use anyhow::{Context, Result};
use clap::Args;
use form_urlencoded::Serializer;
use millrace::serve::admin::{LetterPage, LetterView, SelectionText, choose};

use super::super::closed_pipe;
use super::super::held::TokenArgs;
use super::super::project::ProjectArgs;
use super::table::Table;
use super::{Letters, Which};

/// How many are asked for at once.
const PAGE: usize = 1_000;

/// List a project's dead letters
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  Those of the last two hours:
    millrace dead-letters list fraud.toml --since 2h

  The payloads of the first ten that came too late:
    millrace dead-letters list fraud.toml --reason late --limit 10 --json | jq -r .payload")]
pub(super) struct ListArgs {
    #[command(flatten)]
    project: ProjectArgs,

    #[command(flatten)]
    token: TokenArgs,

    #[command(flatten)]
    which: Which,

    /// At most this many, the oldest first
    #[arg(long, value_name = "LETTERS", default_value_t = usize::MAX, hide_default_value = true)]
    limit: usize,

    /// One JSON object a line in a terminal too
    #[arg(long)]
    json: bool,
}

/// Prints them, the oldest first.
pub(super) fn list(args: &ListArgs) -> Result<()> {
    let letters = super::open(&args.project, &args.token)?;
    let text = args.which.text();
    let mut out = BufWriter::new(stdout().lock());
    let mut table = (!args.json && stdout().is_terminal()).then(Table::default);
    let (mut after, mut left) = (None, args.limit);
    loop {
        let page = page(&letters, &text, after, left.min(PAGE))?;
        left -= page.letters.len().min(left);
        let written = match &mut table {
            Some(table) => table.add(&page.letters, &mut out),
            None => lines(&page.letters, &mut out),
        };
        if let Err(error) = written {
            return closed_pipe(error).context("standard output");
        }
        after = page.next;
        if after.is_none() || left == 0 {
            break;
        }
    }
    let ended = table.map_or(Ok(()), |table| table.end(&mut out)).and_then(|()| out.flush());
    ended.or_else(closed_pipe).context("standard output")
}

fn lines(letters: &[LetterView], out: &mut impl Write) -> std::io::Result<()> {
    for letter in letters {
        serde_json::to_writer(&mut *out, letter)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

fn page(letters: &Letters, text: &SelectionText, after: Option<u64>, limit: usize) -> Result<LetterPage> {
    match letters {
        Letters::Folder { reader, .. } => Ok(choose(reader, &text.read(super::now())?, after, limit)?),
        Letters::Process(client) => {
            let mut query = Serializer::new(String::new());
            let numbers = [("after", after.map(|after| after.to_string())), ("limit", Some(limit.to_string()))];
            let texts =
                [("reason", &text.reason), ("source", &text.source), ("view", &text.view), ("since", &text.since)];
            for (name, value) in texts.into_iter().map(|(name, value)| (name, value.clone())).chain(numbers) {
                if let Some(value) = value {
                    query.append_pair(name, &value);
                }
            }
            client.get(&format!("/v1/dead-letters?{}", query.finish()))
        }
    }
}
