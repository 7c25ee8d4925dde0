//! `millrace online`: the online store, opened as the project says, and rebuilt.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use millrace::config::plan::Plan;
use millrace::config::project::{Layout, OnlineStore, Project};
use millrace::room::{Reserve, Room};
use millrace::serve::admin::{RebuildReport, RebuildRequest};
use millrace::store::log::LogReader;
use millrace::store::online::embedded::EmbeddedStore;
use millrace::store::online::redis::{KeyVersion, RedisOptions, RedisStore};
use millrace::store::online::{OnlineReader, OnlineWriter};
use millrace::store::state::StateStore;
use millrace::topology::rebuilding::{ViewProgress, rebuild};

use super::held::{Client, Holder, TokenArgs, holder};
use super::project::ProjectArgs;

/// How often a process is asked how far it is.
const LOOK: Duration = Duration::from_millis(200);

/// Rebuild a project's online store
#[derive(Debug, Args)]
pub(super) struct OnlineArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fill the online store with the newest row of each key that the offline log has
    Rebuild(RebuildArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
A store that was emptied or exchanged is rebuilt by itself as soon as that is noticed; this is for all other cases. Rows
that are newer stay, whatever is rebuilt. The process that runs the project is asked to do it, and goes on meanwhile;
where none does, the store is opened here. Views with offline = false have no rows in the log, and cannot be rebuilt.

Examples:
  All views:
    millrace online rebuild fraud.toml

  One of them:
    millrace online rebuild fraud.toml card_transactions_10m_agg")]
struct RebuildArgs {
    #[command(flatten)]
    project: ProjectArgs,

    #[command(flatten)]
    token: TokenArgs,

    /// The view; without it all that are online and in the log
    #[arg(value_name = "VIEW")]
    view: Option<String>,
}

/// Does what is asked for.
pub(super) fn online(args: &OnlineArgs) -> Result<()> {
    let Command::Rebuild(args) = &args.command;
    let (project, _) = args.project.read()?;
    match holder(&project.data_dir, &args.token)? {
        Holder::Process(client) => ask(&client, args.view.clone()),
        Holder::Nobody { _lock } => here(args),
    }
}

/// Has the process that runs the project do it, and waits for it.
fn ask(client: &Client, view: Option<String>) -> Result<()> {
    let mut shown = Shown::default();
    let RebuildReport { asked, .. } = client.post("/v1/online/rebuild", &RebuildRequest { view })?;
    loop {
        let report: RebuildReport = client.get("/v1/online/rebuild")?;
        if report.over >= asked {
            if let Some(why) = report.failed {
                bail!("{why}");
            }
            for (name, view) in &report.views {
                println!("view {name}: {} rows of {} chunks", view.rows, view.chunks);
            }
            return Ok(());
        }
        for (name, view) in &report.views {
            shown.show(name, view.done, view.chunks);
        }
        pause();
    }
}

/// Does it here, where nobody holds the folder.
fn here(args: &RebuildArgs) -> Result<()> {
    let (project, plan) = args.project.plan()?;
    let folder = project.data_dir.join("log");
    if !folder.is_dir() {
        bail!("{} is not there: nothing has been logged that could be put online", folder.display());
    }
    let mut state = StateStore::open(&project.data_dir.join("state"), &plan.name)?;
    // What the log has beyond that is cut off by the next start.
    let ends = state.recover()?.commit.map(|commit| commit.log).unwrap_or_default();
    let term = state.next_term()?;
    let mut online =
        Online::open(&project, &plan, term, &Reserve::new(project.runtime.min_free).room(&project.data_dir))?;
    let log = LogReader::open(&folder)?;
    let mut views: Vec<(String, ViewProgress)> = Vec::new();
    let mut shown = Shown::default();
    let mut told = |name: &str, so_far: &ViewProgress| {
        match views.last_mut().filter(|(view, _)| view == name) {
            Some((_, known)) => known.clone_from(so_far),
            None => views.push((name.to_owned(), so_far.clone())),
        }
        shown.show(name, so_far.done, so_far.chunks);
    };
    let Some(filler) = &mut online.filler else { bail!("nothing of this project is online") };
    rebuild(&plan, args.view.as_deref(), &log, &ends, &mut **filler, &mut told)?;
    online.writer.flush()?;
    for (name, view) in &views {
        println!("view {name}: {} rows of {} chunks", view.rows, view.chunks);
    }
    Ok(())
}

/// Says how far things are, to people.
#[derive(Default)]
struct Shown(u64);

impl Shown {
    fn show(&mut self, view: &str, done: u64, chunks: u64) {
        let percent = done.saturating_mul(100) / chunks.max(1);
        if std::io::stderr().is_terminal() && percent != self.0 {
            self.0 = percent;
            eprint!("\rview {view}: {percent} %  ");
            if percent == 100 {
                eprintln!();
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a command that waits for another process has nothing else to do")]
fn pause() {
    std::thread::sleep(LOOK);
}

/// The online store, open.
pub(super) struct Online {
    /// Writes what is new.
    pub(super) writer: Box<dyn OnlineWriter>,
    /// Fills in what is missing; none where nothing is online.
    pub(super) filler: Option<Box<dyn OnlineWriter>>,
    /// Reads.
    pub(super) reader: Arc<dyn OnlineReader>,
}

impl Online {
    /// Opens the one that the project names.
    pub(super) fn open(project: &Project, plan: &Plan, term: u64, room: &Room) -> Result<Self> {
        let views: Vec<_> = plan.views.iter().filter_map(|view| view.online.clone()).collect();
        let (writer, filler, reader): (Box<dyn OnlineWriter>, Box<dyn OnlineWriter>, Arc<dyn OnlineReader>) =
            match &project.online.store.value {
                OnlineStore::Embedded => {
                    let (writer, reader) = EmbeddedStore::open_at(&project.data_dir.join("online"), &views, term)?;
                    let filler = writer.filler();
                    (Box::new(writer.within(room)), Box::new(filler), Arc::new(reader))
                }
                OnlineStore::Redis { url } => {
                    let Layout::Feast = project.online.layout;
                    let key_version = if project.online.key_version == 2 { KeyVersion::V2 } else { KeyVersion::V3 };
                    let options = RedisOptions { key_version, term, ..RedisOptions::new(url, &plan.name) };
                    let filler = RedisStore::filler(options.clone(), &views)?;
                    let (writer, reader) = RedisStore::open(options, &views)?;
                    (Box::new(writer), Box::new(filler), Arc::new(reader))
                }
            };
        let filler = if views.is_empty() { None } else { Some(filler) };
        Ok(Self { writer, filler, reader })
    }
}
