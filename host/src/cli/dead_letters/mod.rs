//! `millrace dead-letters`: the rows in error, each with its position, its payload and what was wrong.
//!
//! The process that runs the project is asked for them; where none does, the folder is read here.

mod list;
mod replay;
mod show;
mod table;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use millrace::config::project::Project;
use millrace::serve::admin::SelectionText;
use millrace::store::dead_letter::DeadLetterReader;
use millrace::time::{Clock, SystemClock};

use super::held::{Client, Holder, TokenArgs, holder};
use super::project::ProjectArgs;

/// List a project's dead letters, show one, and replay them
#[derive(Debug, Args)]
pub(super) struct DeadLettersArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List them: a table in a terminal, else one JSON object a line
    List(list::ListArgs),
    /// Show one in full, and the next thing to try
    Show(show::ShowArgs),
    /// Hand their events in again, to the process that runs the project
    Replay(replay::ReplayArgs),
}

/// Which letters.
#[derive(Clone, Debug, Default, Args)]
struct Which {
    /// Only those of this reason: decode, event-time, future, late, null-key, rejected, fault or expression
    #[arg(long)]
    reason: Option<String>,

    /// Only those of this source
    #[arg(long)]
    source: Option<String>,

    /// Only those that this view refused
    #[arg(long)]
    view: Option<String>,

    /// Only those kept since then: a time such as 2026-01-31T12:00:00Z, or how long ago, such as 2h
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
}

impl Which {
    fn text(&self) -> SelectionText {
        let Self { reason, source, view, since } = self.clone();
        SelectionText { ids: Vec::new(), reason, source, view, since }
    }
}

/// Where the letters are.
enum Letters {
    /// In a folder that nobody else holds.
    Folder { reader: DeadLetterReader, _nobody: Holder },
    /// With the process that runs the project.
    Process(Client),
}

/// Does what is asked for.
pub(super) fn dead_letters(args: &DeadLettersArgs) -> Result<()> {
    match &args.command {
        Command::List(args) => list::list(args),
        Command::Show(args) => show::show(args),
        Command::Replay(args) => replay::replay(args),
    }
}

fn open(project: &ProjectArgs, token: &TokenArgs) -> Result<Letters> {
    let (Project { data_dir, .. }, _) = project.read()?;
    match holder(&data_dir, token)? {
        Holder::Process(client) => Ok(Letters::Process(client)),
        nobody => {
            let folder = data_dir.join("dead-letters");
            if !folder.is_dir() {
                bail!("{} is not there: the project has not run yet", folder.display());
            }
            Ok(Letters::Folder { reader: DeadLetterReader::open(&folder)?, _nobody: nobody })
        }
    }
}

fn now() -> i64 {
    SystemClock.now()
}
