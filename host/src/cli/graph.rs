//! `millrace graph`: what reads what, and how far each has come.

use std::io::{Write, stdout};

use anyhow::{Context, Result, bail};
use clap::Args;
use millrace::serve::admin::graph::{Advance, Graph};

use super::closed_pipe;
use super::held::{Holder, TokenArgs, holder};
use super::project::ProjectArgs;

/// Show what reads what in a running project, and how far each has come
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millrace graph fraud.toml
  watch -n 1 -- millrace graph fraud.toml
  millrace graph fraud.toml --json | jq '.sources[].partitions'")]
pub(super) struct GraphArgs {
    #[command(flatten)]
    project: ProjectArgs,

    #[command(flatten)]
    token: TokenArgs,

    /// Print it as JSON, with each partition
    #[arg(long)]
    json: bool,
}

/// Prints it.
pub(super) fn graph(args: &GraphArgs) -> Result<()> {
    let (project, _) = args.project.read()?;
    let Holder::Process(client) = holder(&project.data_dir, &args.token)? else {
        bail!("nobody runs the project: start it with `millrace run`");
    };
    let graph: Graph = client.get("/v1/graph")?;
    let text = if args.json { format!("{}\n", serde_json::to_string(&graph)?) } else { table(&graph) };
    let mut out = stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).or_else(closed_pipe).context("standard output")
}

/// Lines for people: sources, views and services, each with what it reads.
fn table(graph: &Graph) -> String {
    let heading = ["", "STATE", "EVENT TIME", "WATERMARK", "LAG", "ROWS", "LATE", "READS"];
    let mut rows: Vec<[String; 8]> = vec![heading.map(str::to_owned)];
    for source in &graph.sources {
        let partitions = match source.partitions.len() {
            0 | 1 => String::new(),
            count => format!(", {count} partitions"),
        };
        let reads = format!("{} ({}{partitions})", source.kind, source.format);
        rows.push(row(&format!("source {}", source.name), &source.advance, reads));
    }
    for view in &graph.views {
        rows.push(row(&format!("view {}", view.name), &view.advance, reads(graph, &view.name)));
    }
    for service in &graph.services {
        let mut cells = <[String; 8]>::default();
        (cells[0], cells[7]) = (format!("service {}", service.name), reads(graph, &service.name));
        rows.push(cells);
    }
    let mut widths = [0; 8];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = format!("{} at {}\n", graph.project, graph.time);
    for row in &rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let space = " ".repeat(width.saturating_sub(cell.chars().count()));
            // Numbers end where their column does.
            match (4..7).contains(&column) {
                true => line.extend([&space, cell.as_str(), "  "]),
                false => line.extend([cell.as_str(), &space, "  "]),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    for view in &graph.views {
        if let Some(reason) = &view.stopped {
            text.push_str(&format!("view {} has stopped: {reason}\n", view.name));
        }
    }
    text
}

fn row(name: &str, advance: &Advance, reads: String) -> [String; 8] {
    let time = |time: &Option<String>| time.clone().unwrap_or_else(|| "-".into());
    [
        name.to_owned(),
        advance.state.clone(),
        time(&advance.event_time),
        time(&advance.watermark),
        advance.lag_seconds.map_or_else(|| "-".into(), lag),
        advance.rows.to_string(),
        advance.rows_late.to_string(),
        reads,
    ]
}

/// Seconds, in the unit that people would say.
fn lag(seconds: f64) -> String {
    match seconds.abs() {
        size if size < 120.0 => format!("{seconds:.1} s"),
        size if size < 7_200.0 => format!("{:.1} min", seconds / 60.0),
        size if size < 172_800.0 => format!("{:.1} h", seconds / 3_600.0),
        _ => format!("{:.1} d", seconds / 86_400.0),
    }
}

fn reads(graph: &Graph, name: &str) -> String {
    let reads = graph.edges.iter().filter(|edge| edge.to == name);
    let reads = reads.map(|edge| match edge.kind.as_str() {
        "join" => format!("joins {}", edge.from),
        _ => edge.from.clone(),
    });
    reads.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use millrace::serve::admin::graph::{Edge, ServiceNode, SourceNode, ViewNode};

    use super::*;

    #[test]
    fn a_line_each() {
        let second = 1_000_000;
        let at = 1_735_689_600 * second;
        let advance = |state| Advance::new(Some(at), Some(at - 5 * second), at + 85 * second, state);
        let edge = |from: &str, to: &str, kind: &str| Edge { from: from.into(), to: to.into(), kind: kind.into() };
        let graph = Graph {
            project: "fraud".into(),
            time: "2025-01-01T00:01:25.000Z".into(),
            sources: vec![SourceNode {
                name: "cards".into(),
                kind: "kafka".into(),
                format: "json".into(),
                advance: Advance { rows: 1_200, rows_late: 3, ..advance("active") },
                partitions: Vec::new(),
            }],
            views: vec![ViewNode {
                name: "totals".into(),
                entity: None,
                advance: Advance::new(None, None, at, "waiting"),
                stopped: Some("its UDF fails".into()),
                version: String::new(),
            }],
            services: vec![ServiceNode { name: "model".into() }],
            edges: vec![
                edge("cards", "totals", "from"),
                edge("names", "totals", "join"),
                edge("totals", "model", "service"),
            ],
        };
        let wanted = "\
fraud at 2025-01-01T00:01:25.000Z
               STATE    EVENT TIME                WATERMARK                    LAG  ROWS  LATE  READS
source cards   active   2025-01-01T00:00:00.000Z  2024-12-31T23:59:55.000Z  90.0 s  1200     3  kafka (json)
view totals    waiting  -                         -                              -     0     0  cards, joins names
service model                                                                                   totals
view totals has stopped: its UDF fails
";
        assert_eq!(table(&graph), wanted);
        assert_eq!(
            (lag(-3.0), lag(600.0), lag(90_000.0), lag(864_000.0)),
            ("-3.0 s".into(), "10.0 min".into(), "25.0 h".into(), "10.0 d".into())
        );
    }
}
