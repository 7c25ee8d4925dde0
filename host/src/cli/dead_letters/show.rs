//! `millrace dead-letters show`.

use std::io::{Write, stdout};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use millrace::serve::admin::LetterView;

use super::super::closed_pipe;
use super::super::held::TokenArgs;
use super::super::project::ProjectArgs;
use super::Letters;

/// Show one dead letter in full
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  All that is known of it, and the next thing to try:
    millrace dead-letters show fraud.toml 17

  Its event, byte for byte, into a file:
    millrace dead-letters show fraud.toml 17 --payload > event")]
pub(super) struct ShowArgs {
    #[command(flatten)]
    project: ProjectArgs,

    #[command(flatten)]
    token: TokenArgs,

    /// Its number, as `list` prints it
    id: u64,

    /// Print it as a JSON object
    #[arg(long, conflicts_with = "payload")]
    json: bool,

    /// Print its event alone, as it came
    #[arg(long)]
    payload: bool,
}

/// Prints it.
pub(super) fn show(args: &ShowArgs) -> Result<()> {
    let letter: LetterView = match super::open(&args.project, &args.token)? {
        Letters::Process(client) => client.get(&format!("/v1/dead-letters/{}", args.id))?,
        Letters::Folder { reader, .. } => {
            let letter = reader.get(args.id)?;
            LetterView::from(&letter.ok_or_else(|| anyhow!("there is no dead letter {}, or no more", args.id))?)
        }
    };
    let text = if args.payload {
        payload(&letter)
    } else if args.json {
        format!("{}\n", serde_json::to_string(&letter)?).into_bytes()
    } else {
        whole(&letter).into_bytes()
    };
    let mut out = stdout().lock();
    out.write_all(&text).and_then(|()| out.flush()).or_else(closed_pipe).context("standard output")
}

/// The bytes of the event.
fn payload(letter: &LetterView) -> Vec<u8> {
    match (&letter.payload, &letter.payload_hex) {
        (Some(text), _) => text.clone().into_bytes(),
        (None, hex) => hex.as_deref().unwrap_or_default().as_bytes().chunks(2).filter_map(byte).collect(),
    }
}

fn byte(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// All that is known of it, for people.
fn whole(letter: &LetterView) -> String {
    let none = || "-".to_owned();
    let (bytes, form) = match (&letter.payload, &letter.payload_hex) {
        (Some(text), _) => (text.len(), "UTF-8"),
        (None, hex) => (hex.as_deref().unwrap_or_default().len() / 2, "hex"),
    };
    let position = format!("{}, partition {}, offset {}", letter.source, letter.partition, letter.offset);
    let rows = [
        ("reason", letter.reason.clone()),
        ("detail", letter.detail.clone()),
        ("source", position),
        ("view", letter.view.clone().unwrap_or_else(none)),
        ("udf", letter.udf.clone().unwrap_or_else(none)),
        ("arrival", letter.arrival.clone()),
        ("kept", letter.kept.clone()),
        ("replayed", letter.replayed.clone().unwrap_or_else(|| "never".into())),
        ("next", letter.next_step().to_owned()),
        ("payload", format!("{bytes} bytes, {form}")),
    ];
    let mut text = format!("dead letter {}\n", letter.id);
    for (name, value) in rows {
        text.push_str(&format!("  {name:9} {value}\n"));
    }
    text.push_str(letter.payload.as_ref().or(letter.payload_hex.as_ref()).map_or("", String::as_str));
    text.push('\n');
    text
}
