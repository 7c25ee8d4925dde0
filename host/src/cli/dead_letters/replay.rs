//! `millrace dead-letters replay`.

use anyhow::{Result, bail};
use clap::Args;
use millrace::serve::admin::{ReplayReport, ReplayRequest};

use super::super::held::TokenArgs;
use super::super::project::ProjectArgs;
use super::{Letters, Which};

/// Hand the events of dead letters in again
#[derive(Debug, Args)]
#[command(after_help = "\
The process that runs the project reads the events anew, as if they came now: all that read the source get those that
the source refused, and a view those that it refused alone. Each letter goes once, unless --again is given. Late ones are
left alone, since they would be late again, unless --reason late or --id asks for them.

Examples:
  What would be replayed:
    millrace dead-letters replay fraud.toml --all --dry-run

  Those that a UDF failed on, now that it is mended:
    millrace dead-letters replay fraud.toml --reason fault")]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    project: ProjectArgs,

    #[command(flatten)]
    token: TokenArgs,

    /// Only these, by their numbers
    #[arg(long = "id", value_name = "ID")]
    ids: Vec<u64>,

    #[command(flatten)]
    which: Which,

    /// At most this many, the oldest first
    #[arg(long, value_name = "LETTERS")]
    limit: Option<u64>,

    /// All of them, where nothing else says which
    #[arg(long)]
    all: bool,

    /// Those that were replayed before, too
    #[arg(long)]
    again: bool,

    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

/// Has them handed in, and says what came of it.
pub(super) fn replay(args: &ReplayArgs) -> Result<()> {
    let Letters::Process(client) = super::open(&args.project, &args.token)? else {
        bail!("nobody runs the project, and a replay goes to the process that does: start it with `millrace run`");
    };
    let Which { reason, source, view, since } = args.which.clone();
    let request = ReplayRequest {
        ids: args.ids.clone(),
        reason,
        source,
        view,
        since,
        limit: args.limit,
        all: args.all,
        again: args.again,
        dry_run: args.dry_run,
    };
    let report: ReplayReport = client.post("/v1/dead-letters/replay", &request)?;
    let (count, done) = (report.replayed, if report.dry_run { "would be replayed" } else { "replayed" });
    println!("{count} dead letter{} {done}", if count == 1 { "" } else { "s" });
    if report.dead_again > 0 {
        println!("  {} dead again", report.dead_again);
    }
    for left in &report.left {
        println!("  {} left alone: {}", left.letters, left.why);
    }
    Ok(())
}
