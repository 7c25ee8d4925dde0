//! `millrace check`: everything that is wrong with a project, or what it comes to.

use std::fmt::Write as _;
use std::io::{Write as _, stdout};

use anyhow::{Context, Result};
use clap::Args;

use super::project::ProjectArgs;

/// Check a project, its SQL and its components without running it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millrace check examples/fraud/fraud.toml
  millrace check fraud.toml --set STREAM=transactions_kafka

Exit code 0 when the project could run, 1 when not; all errors are told at once, with line and column.")]
pub(super) struct CheckArgs {
    #[command(flatten)]
    project: ProjectArgs,
}

/// Plans the project and prints its views.
pub(super) fn check(args: &CheckArgs) -> Result<()> {
    let (project, plan) = args.project.plan()?;
    let mut text =
        format!("project {}: {} sources in use, {} views\n", plan.name, plan.sources.len(), plan.views.len());
    for (view, written) in plan.views.iter().zip(&project.views) {
        let from: Vec<_> = written.from.iter().map(|from| from.value.as_str()).collect();
        writeln!(text, "view {} from {} (version {:.12})", view.name, from.join(", "), view.version)?;
        for (index, field) in view.schema.fields().iter().enumerate() {
            let kind = millrace::record::ColumnType::from_arrow(field.data_type());
            let kind = kind.map_or_else(|| field.data_type().to_string(), |kind| kind.to_string());
            writeln!(text, "  {}{}: {kind}", field.name(), if index < view.keys { " (key)" } else { "" })?;
        }
        for digest in &view.digests {
            writeln!(text, "  udf {digest:.12}")?;
        }
    }
    stdout().lock().write_all(text.as_bytes()).or_else(super::closed_pipe).context("standard output")
}
