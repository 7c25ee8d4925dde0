//! `millrace udf build`: an author's source into a component, by the language's own toolchain and the SDK that this binary
//! brings. What is missing is named with the command that installs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::loaded::{self, Manifest};
use super::sdk::{self, Language};
use super::{size, time};

/// Build a UDF's project into a component
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millrace udf build
  millrace udf build udfs/clean

The component is NAME.wasm in the project's folder. It imports nothing but Millrace's log, and is looked at as `check` does
before it counts as built.")]
pub(super) struct BuildArgs {
    /// The UDF's project
    #[arg(value_name = "FOLDER", default_value = ".")]
    folder: PathBuf,
}

/// Builds it.
#[expect(clippy::disallowed_methods, reason = "a person waits for it")]
pub(super) fn build(args: &BuildArgs) -> Result<()> {
    let began = Instant::now();
    let folder = std::path::absolute(&args.folder).with_context(|| args.folder.display().to_string())?;
    let manifest = Manifest::read(&folder)?;
    let language = manifest.language()?;
    manifest.fits()?;
    let sdk = sdk::lay(language, &folder)?;
    let made = folder.join(".millrace").join(format!("{}.wasm", manifest.name));
    run(language, &folder, &sdk, &made)?;
    let bytes = fs::read(&made).with_context(|| made.display().to_string())?;
    let component = loaded::engine(true)?.load(&bytes).context("what was built is no UDF")?;
    let file = folder.join(format!("{}.wasm", manifest.name));
    fs::rename(&made, &file).with_context(|| file.display().to_string())?;
    let shown = args.folder.join(format!("{}.wasm", manifest.name));
    let names: Vec<&str> = component.transforms().iter().chain(component.aggregates()).map(String::as_str).collect();
    println!("{}: {}, {}, in {}", shown.display(), names.join(", "), size(bytes.len()), time(began.elapsed()));
    Ok(())
}

/// Has the language's script make the component.
fn run(language: Language, folder: &Path, sdk: &Path, made: &Path) -> Result<()> {
    let this = std::env::current_exe().context("where this program is")?;
    let script = sdk.join("guest-sdk").join("build");
    let mut command = Command::new("bash");
    command.arg(&script).arg(language.sdk()).arg(folder).arg(made);
    command.env("MILLRACE_COMPONENT", format!("{} udf component", this.display())).stdin(Stdio::null());
    let status = command.status().context("bash, which runs the build")?;
    if !status.success() {
        bail!("{} was not built; why stands above", folder.display());
    }
    Ok(())
}
