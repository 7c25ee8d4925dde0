//! `millrace activate` and `millrace rollback`: another version of a UDF takes over in the process that runs the project.

use anyhow::{Result, bail};
use clap::Args;
use millrace::serve::admin::{ActivateReport, ActivateRequest, RollbackRequest};

use super::held::{Client, Holder, TokenArgs, holder, udf_path};
use super::project::ProjectArgs;

/// Have another version of a UDF take over in a running project
#[derive(Debug, Args)]
#[command(after_help = "\
The version takes over at one point of each partition: every row before it is of the old one, every row after it of the
new one, and state goes on. The old one can take its place again (`millrace rollback`), and does so by itself where the
new one fails 16 rows in a row. A version takes, keeps and gives the same columns as the one before.

Examples:
  By the name that it was uploaded under:
    millrace activate fraud.toml distance v2 --why 'haversine in place of the plane'

  By the beginning of its digest:
    millrace activate fraud.toml distance 3fa92c")]
pub(super) struct ActivateArgs {
    #[command(flatten)]
    project: ProjectArgs,

    #[command(flatten)]
    token: TokenArgs,

    /// The UDF, as the project names it
    #[arg(value_name = "UDF")]
    udf: String,

    /// The version: its name, its digest, or at least six digits of that
    #[arg(value_name = "VERSION")]
    version: String,

    /// What for: kept with who and when
    #[arg(long, value_name = "TEXT", default_value = "")]
    why: String,
}

/// Have the version of a UDF that ran before take over again
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
    millrace rollback fraud.toml distance --why 'distances above the circumference of the earth'")]
pub(super) struct RollbackArgs {
    #[command(flatten)]
    project: ProjectArgs,

    #[command(flatten)]
    token: TokenArgs,

    /// The UDF, as the project names it
    #[arg(value_name = "UDF")]
    udf: String,

    /// What for: kept with who and when
    #[arg(long, value_name = "TEXT", default_value = "")]
    why: String,
}

/// Has a version take over.
pub(super) fn activate(args: &ActivateArgs) -> Result<()> {
    let ActivateArgs { project, token, udf, version, why } = args;
    let request = ActivateRequest { version: version.clone(), why: why.clone() };
    let report: ActivateReport = running(project, token)?.post(&udf_path(udf, "activate"), &request)?;
    tell(&report);
    Ok(())
}

/// Has the version before take over again.
pub(super) fn rollback(args: &RollbackArgs) -> Result<()> {
    let RollbackArgs { project, token, udf, why } = args;
    let request = RollbackRequest { why: why.clone() };
    let report: ActivateReport = running(project, token)?.post(&udf_path(udf, "rollback"), &request)?;
    tell(&report);
    Ok(())
}

/// The process that runs a project.
fn running(project: &ProjectArgs, token: &TokenArgs) -> Result<Client> {
    let (project, _) = project.read()?;
    match holder(&project.data_dir, token)? {
        Holder::Process(client) => Ok(client),
        Holder::Nobody { .. } => bail!(
            "nothing runs the project now: put the component where the project file names it, and start it with \
             `millrace run --adopt file`"
        ),
    }
}

fn tell(report: &ActivateReport) {
    let ActivateReport { udf, digest, former, epoch, milliseconds, already } = report;
    if *already {
        println!("UDF {udf}: {digest:.12} runs already, since epoch {epoch}");
    } else {
        println!(
            "UDF {udf}: {digest:.12} runs in place of {former:.12}, from the barrier of epoch {epoch} on; committed after \
             {milliseconds:.1} ms"
        );
    }
}
