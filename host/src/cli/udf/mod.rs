//! `millrace udf`: what an author of UDFs needs before a project runs them. No stream, no server, no project file.

mod build;
mod check;
mod columns;
mod component;
mod lines;
mod loaded;
mod new;
mod run;
mod sdk;
mod signature;
mod test;

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};

/// Begin, build, check, run and test UDFs by themselves
#[derive(Debug, Args)]
#[command(after_help = "\
A component may be named by its file, by its file and the UDF in it (cards.wasm#clean), or by the folder of a UDF's project,
which is the one that you are in where nothing is said.

Examples:
  millrace udf new --lang python --kind transform clean
  millrace udf build clean
  millrace udf check cards.wasm
  millrace udf test
  millrace udf run cards.wasm#clean --columns 'merchant: utf8, amount: float64' < rows.jsonl")]
pub(super) struct UdfArgs {
    #[command(subcommand)]
    command: UdfCommand,
}

#[derive(Debug, Subcommand)]
enum UdfCommand {
    /// Begin a UDF: source, a test with sample rows, and a README
    New(new::NewArgs),
    /// Build a UDF's project into a component
    Build(build::BuildArgs),
    /// Look at a component: what it holds and imports, its size, how fast it starts, what it wants and gives
    Check(check::CheckArgs),
    /// Run a UDF over sample rows, as a project would, and compare with what is expected
    Test(test::TestArgs),
    /// Pipe rows through a UDF: JSON lines or CSV in, JSON lines out
    Run(run::RunArgs),
    #[command(hide = true)]
    Component(component::ComponentArgs),
}

/// A size for people.
#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn size(bytes: usize) -> String {
    match bytes as f64 {
        bytes @ ..10_240.0 => format!("{bytes} bytes"),
        bytes @ ..10_485_760.0 => format!("{:.0} KiB", bytes / 1024.0),
        bytes => format!("{:.1} MiB", bytes / 1_048_576.0),
    }
}

/// A time for people.
fn time(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds @ ..0.001 => format!("{:.1} µs", seconds * 1e6),
        seconds @ ..1.0 => format!("{:.1} ms", seconds * 1e3),
        seconds => format!("{seconds:.1} s"),
    }
}

/// Does it.
pub(super) fn udf(args: UdfArgs) -> Result<()> {
    match args.command {
        UdfCommand::New(args) => new::new(&args),
        UdfCommand::Build(args) => build::build(&args),
        UdfCommand::Check(args) => check::check(&args),
        UdfCommand::Test(args) => test::test(&args),
        UdfCommand::Run(args) => run::run(&args),
        UdfCommand::Component(args) => component::component(&args),
    }
}
