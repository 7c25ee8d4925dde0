//! `millrace upload` and `millrace versions`: the registry of a project's UDFs.
//!
//! The process that runs the project is asked; where none does, the registry in the data folder is opened here.

use std::io::{Write, stdout};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use millrace::config::project::Project;
use millrace::serve::admin::{Inventory, UdfList, VersionList, VersionView};
use millrace::store::registry::{Digest, Entry, MOST_BYTES};
use millrace::suggest::suggestion;
use millrace::time::{Clock, SystemClock};

use super::closed_pipe;
use super::held::{Holder, TokenArgs, holder, udf_path};
use super::project::ProjectArgs;
use super::versions::{self, Workshop};

#[derive(Debug, Args)]
#[command(after_help = "\
The component is loaded, and bound wherever the project uses the UDF; one that does not fit is refused, with the reason.
It does not run until it is activated. The same bytes under the same name are there once, however often they come.

Examples:
  millrace upload fraud.toml distance target/distance.wasm --name v2 --why 'great-circle distance'
  MILLRACE_TOKEN=millrace_… millrace upload fraud.toml distance distance.wasm")]
pub(super) struct UploadArgs {
    #[command(flatten)]
    project: ProjectArgs,

    /// The UDF, as the project file names it
    #[arg(value_name = "UDF")]
    udf: String,

    /// The component
    #[arg(value_name = "FILE.wasm")]
    component: PathBuf,

    /// A name for the version, unique within the UDF
    #[arg(long, value_name = "VERSION")]
    name: Option<String>,

    /// Why: it is kept with the version
    #[arg(long, value_name = "TEXT", default_value = "")]
    why: String,

    #[command(flatten)]
    token: TokenArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millrace versions fraud.toml
  millrace versions fraud.toml distance
  millrace versions fraud.toml --json | jq '.[].versions[].digest'")]
pub(super) struct VersionsArgs {
    #[command(flatten)]
    project: ProjectArgs,

    /// Only those of this UDF
    #[arg(value_name = "UDF")]
    udf: Option<String>,

    /// Print them as JSON, with what was activated
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    token: TokenArgs,
}

/// Puts a version in.
pub(super) fn upload(args: &UploadArgs) -> Result<()> {
    let (project, text) = args.project.read()?;
    let length = std::fs::metadata(&args.component).with_context(|| args.component.display().to_string())?.len();
    if length > MOST_BYTES {
        bail!("{} has {length} bytes, and a component has at most {MOST_BYTES}", args.component.display());
    }
    let bytes = std::fs::read(&args.component).with_context(|| args.component.display().to_string())?;
    let version = match holder(&project.data_dir, &args.token)? {
        Holder::Process(client) => {
            let mut query = form_urlencoded::Serializer::new(String::new());
            if let Some(name) = &args.name {
                query.append_pair("name", name);
            }
            query.append_pair("why", &args.why);
            let path = format!("{}?{}", udf_path(&args.udf, "versions"), query.finish());
            client.send::<VersionView>(&path, "application/wasm", bytes.into())?
        }
        Holder::Nobody { _lock } => {
            known(&project, &args.udf)?;
            let (registry, running) = (versions::open(&project.data_dir)?, versions::running(&project)?);
            let mut incoming = registry.incoming()?;
            incoming.write(&bytes)?;
            let workshop = Workshop::of_folder((project, text), registry.clone(), running.clone())?;
            let judged = workshop.judge(&args.udf, incoming.path()).map_err(anyhow::Error::msg)?;
            let entry = Entry {
                udf: args.udf.clone(),
                name: args.name.clone(),
                who: std::env::var("USER").unwrap_or_else(|_| "local".into()),
                when: SystemClock.now(),
                why: args.why.clone(),
                signature: judged.signature,
                limits: judged.limits,
            };
            let digest = registry.keep(incoming, entry)?;
            let versions = registry.versions(&args.udf);
            let matches = |version: &&_| is_of(version, &digest, args.name.as_deref());
            let Some(version) = versions.iter().find(matches) else { bail!("the version went while it came") };
            VersionView::new(version.clone(), running.get(&args.udf).map(String::as_str))
        }
    };
    println!("{} {}", version.udf, version.name.as_deref().unwrap_or("(no name)"));
    println!("  digest     {}", version.digest);
    println!("  holds      {}", version.signature);
    println!("  uploaded   {} by {}", version.when, version.who);
    Ok(())
}

fn is_of(version: &millrace::store::registry::Version, digest: &Digest, name: Option<&str>) -> bool {
    version.digest == *digest && (name.is_none() || version.name.as_deref() == name)
}

fn known(project: &Project, udf: &str) -> Result<()> {
    if project.udf(udf).is_some() {
        return Ok(());
    }
    bail!("the project has no UDF {udf}{}", suggestion(udf, project.udfs.iter().map(|known| known.name.value.as_str())))
}

/// Prints the versions.
pub(super) fn versions(args: &VersionsArgs) -> Result<()> {
    let (project, _) = args.project.read()?;
    if let Some(udf) = &args.udf {
        known(&project, udf)?;
    }
    let lists: Vec<VersionList> = match holder(&project.data_dir, &args.token)? {
        Holder::Process(client) => {
            let UdfList { udfs } = client.get("/v1/udfs")?;
            let wanted = udfs.iter().filter(|udf| args.udf.as_ref().is_none_or(|wanted| *wanted == udf.name));
            wanted.map(|udf| client.get(&udf_path(&udf.name, "versions"))).collect::<Result<_>>()?
        }
        Holder::Nobody { _lock } => {
            let (registry, running) = (versions::open(&project.data_dir)?, versions::running(&project)?);
            let active = |udf: &str| running.get(udf).map(String::as_str);
            let udfs = project.udfs.iter().map(|udf| udf.name.value.as_str());
            let wanted = udfs.filter(|udf| args.udf.as_ref().is_none_or(|wanted| wanted == udf));
            wanted.map(|udf| VersionList::new(&registry, udf, active(udf))).collect()
        }
    };
    let text = if args.json { format!("{}\n", serde_json::to_string(&lists)?) } else { table(&lists) };
    let mut out = stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).or_else(closed_pipe).context("standard output")
}

/// A line a version, in columns as wide as what is in them; the reason, which may be of any length, is last.
fn table(lists: &[VersionList]) -> String {
    let heading = ["UDF", "VERSION", "DIGEST", "RUNS", "SIZE", "UPLOADED", "BY", "WHY"];
    let mut rows: Vec<[String; 8]> = vec![heading.map(str::to_owned)];
    for version in lists.iter().flat_map(|list| &list.versions) {
        rows.push([
            version.udf.clone(),
            version.name.clone().unwrap_or_else(|| "-".into()),
            version.digest.get(..12).unwrap_or(&version.digest).to_owned(),
            if version.active { "yes" } else { "" }.to_owned(),
            version.size.to_string(),
            version.when.clone(),
            version.who.clone(),
            version.why.replace(char::is_control, " "),
        ]);
    }
    if rows.len() == 1 {
        return "no versions: `millrace upload` puts one in\n".into();
    }
    let mut widths = [0; 8];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}
