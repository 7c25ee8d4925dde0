//! `millrace udf component`: a component of a core module, for languages whose compilers make no more than that. It is `udf
//! build`'s own, and nobody else needs it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use clap::Args;

/// Make a component of a core module that C's or Go's compiler wrote
#[derive(Debug, Args)]
pub(super) struct ComponentArgs {
    /// The core module
    #[arg(value_name = "MODULE")]
    module: PathBuf,

    /// Where the component goes
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

/// Makes it.
pub(super) fn component(args: &ComponentArgs) -> Result<()> {
    let of = |path: &PathBuf| path.display().to_string();
    let module = fs::read(&args.module).with_context(|| of(&args.module))?;
    let made = millrace_component::component(&module).map_err(|error| anyhow!("{error}"));
    fs::write(&args.out, made.with_context(|| of(&args.module))?).with_context(|| of(&args.out))
}
