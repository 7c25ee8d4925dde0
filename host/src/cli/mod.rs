//! The command line: what can be asked for, and how it is answered when it goes wrong.

mod activate;
mod administering;
mod check;
mod choosing;
mod dead_letters;
mod deploying;
mod graph;
mod held;
mod log;
mod online;
mod pinned;
mod project;
mod recovery;
mod run;
mod serving;
mod token;
mod udf;
mod upload;
mod versions;

use std::io::{IsTerminal, stderr};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Parser, Subcommand};
use millrace::simulate::{self, SimulateArgs};
use millrace::time::{Clock, SystemClock};
use millrace::topology::TopologyError;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// The exit code of a run that was stopped without a last checkpoint, since something was away: EX_TEMPFAIL of sysexits.
const TRY_AGAIN: u8 = 75;

const ABOUT: &str = "\
Event streams in, features out, with logic that you bring as WebAssembly components.

A project file names sources, UDFs and views; `run` reads the streams, keeps the features of each entity over windows,
writes them to the online store and the offline log, and serves them over HTTP.";

const EXAMPLES: &str = "\
Examples:
  Look at a project without running it:
    millrace check examples/fraud/fraud.toml

  Run it, reading a file in place of the live stream, and end when the file ends:
    millrace run examples/fraud/fraud.toml --set STREAM=transactions_file

  Write two million card transactions to try it with:
    millrace simulate --events 2000000 --to file:examples/fraud/transactions.jsonl

  See what the offline log holds:
    millrace log examples/fraud/fraud.toml --limit 5";

#[derive(Debug, Parser)]
#[command(name = "millrace", version, about = "Event streams in, features out", long_about = ABOUT, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a project: read its sources, keep its features, serve them
    Run(run::RunArgs),
    /// Check a project, its SQL and its components without running it
    Check(check::CheckArgs),
    /// Read a project's offline log
    Log(log::LogArgs),
    /// Show what reads what in a running project, and how far each has come
    Graph(graph::GraphArgs),
    /// Rebuild a project's online store from its offline log
    Online(online::OnlineArgs),
    /// Have another version of a UDF take over in a running project, at one point of each partition
    Activate(activate::ActivateArgs),
    /// Have the version of a UDF that ran before take over again
    Rollback(activate::RollbackArgs),
    /// List a project's dead letters, the rows in error; show one; replay them
    DeadLetters(dead_letters::DeadLettersArgs),
    /// Put another version of a UDF into a project's registry
    Upload(upload::UploadArgs),
    /// List the versions of a project's UDFs
    Versions(upload::VersionsArgs),
    /// Make tokens for operators
    Token(token::TokenCommands),
    /// Begin, build, check, run and test UDFs by themselves
    Udf(udf::UdfArgs),
    /// Simulate a stream of events: card transactions, purchases, drivers, a market
    Simulate(SimulateArgs),
}

/// Runs the command line; says what went wrong on stderr and with the exit code.
pub(super) fn main() -> ExitCode {
    let cli = Cli::parse();
    // Who tests a UDF wants to see the test, and not what a run says of itself.
    let level = if matches!(cli.command, Command::Udf(_)) { "warn" } else { "info" };
    tracing_subscriber::fmt()
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal())
        .with_target(false)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("MILLRACE_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level)),
        )
        .init();
    let done = match cli.command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::check(&args),
        Command::Log(args) => log::log(&args),
        Command::Graph(args) => graph::graph(&args),
        Command::Online(args) => online::online(&args),
        Command::Activate(args) => activate::activate(&args),
        Command::Rollback(args) => activate::rollback(&args),
        Command::DeadLetters(args) => dead_letters::dead_letters(&args),
        Command::Upload(args) => upload::upload(&args),
        Command::Versions(args) => upload::versions(&args),
        Command::Token(args) => token::token(&args),
        Command::Udf(args) => udf::udf(args),
        Command::Simulate(args) => simulate(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            match error.downcast_ref() {
                Some(TopologyError::GaveUp { .. }) => ExitCode::from(TRY_AGAIN),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn simulate(args: SimulateArgs) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let options = args.plan(clock.as_ref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let summary = runtime.block_on(async {
        let stop = stop_on_signal().context("signals")?;
        anyhow::Ok(simulate::run(options, stop).await?)
    })?;
    tracing::info!(
        events = summary.events,
        bytes = summary.bytes,
        until = millrace::time::rfc3339(summary.until),
        "simulated"
    );
    Ok(())
}

/// Whoever reads standard output has read enough: no error.
fn closed_pipe(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }
}

/// Turns true with the first SIGINT or SIGTERM; the second one ends the process at once. Both are caught from now on.
fn stop_on_signal() -> std::io::Result<watch::Receiver<bool>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        for number in 0.. {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if number > 0 {
                std::process::exit(130);
            }
            tracing::info!("stopping; once more to stop at once");
            stop.send_replace(true);
        }
    });
    Ok(stopped)
}
