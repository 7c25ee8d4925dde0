//! `millrace log`: the offline log as JSON lines.

use std::io::{BufWriter, Write, stdout};

use anyhow::{Context, Result, bail};
use clap::Args;
use millrace::config::diagnostics::suggestion;
use millrace::sink::json_lines::{RowForm, write_rows};
use millrace::store::log::LogReader;
use millrace::time::rfc3339;

use super::closed_pipe;
use super::project::ProjectArgs;

/// Read a project's offline log
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  The rows of all views, as JSON lines:
    millrace log fraud.toml

  Where the last rows of one view came from: epoch, UDF digests, source positions
    millrace log fraud.toml --view card_transactions_10m_agg --chunks

The process that runs the project holds the log; read it when that has ended.")]
pub(super) struct LogArgs {
    #[command(flatten)]
    project: ProjectArgs,

    /// Only this view
    #[arg(long)]
    view: Option<String>,

    /// At most this many rows of each view
    #[arg(long, value_name = "ROWS")]
    limit: Option<usize>,

    /// Print the chunks that hold the rows, and not the rows
    #[arg(long)]
    chunks: bool,
}

/// Prints rows, or chunks.
pub(super) fn log(args: &LogArgs) -> Result<()> {
    let (project, _) = args.project.read()?;
    let folder = project.data_dir.join("log");
    if !folder.is_dir() {
        bail!("{} is not there: nothing has been logged yet; run the project first", folder.display());
    }
    let reader = LogReader::open(&folder)?;
    let views = reader.views()?;
    if let Some(view) = args.view.as_ref().filter(|view| !views.contains(view)) {
        bail!("the log holds nothing of view {view}{}", suggestion(view, views.iter().map(String::as_str)));
    }
    let mut out = BufWriter::new(stdout().lock());
    for view in views.iter().filter(|view| args.view.as_ref().is_none_or(|wanted| wanted == *view)) {
        if let Err(error) = print(&reader, view, args, &mut out) {
            return match error.downcast::<std::io::Error>() {
                Ok(error) => closed_pipe(error).context("standard output"),
                Err(error) => Err(error),
            };
        }
    }
    out.flush().or_else(closed_pipe).context("standard output")
}

fn print(reader: &LogReader, view: &str, args: &LogArgs, out: &mut impl Write) -> Result<()> {
    let mut left = args.limit.unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    for chunk in reader.chunks(view, ..) {
        if left == 0 {
            break;
        }
        let chunk = chunk?;
        let batch = chunk.batch.slice(0, chunk.batch.num_rows().min(left));
        left -= batch.num_rows();
        if args.chunks {
            let header = &chunk.header;
            let positions = header.positions.iter();
            let positions: Vec<_> =
                positions.map(|at| format!("{}/{} < {}", at.source, at.partition, at.next_offset)).collect();
            writeln!(
                out,
                "{view} chunk {}: {} {} rows, epoch {}, written {}, view version {:.12}, udfs [{}], positions [{}]",
                chunk.sequence,
                chunk.batch.num_rows(),
                header.kind.name(),
                header.epoch,
                rfc3339(header.written_at),
                header.view_version,
                header.udfs.iter().map(|digest| format!("{digest:.12}")).collect::<Vec<_>>().join(", "),
                positions.join(", "),
            )?;
        } else {
            bytes.clear();
            write_rows(&batch, &RowForm::default(), &mut bytes)?;
            out.write_all(&bytes)?;
        }
    }
    Ok(())
}
