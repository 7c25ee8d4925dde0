//! `millrace run`: brings a project up, and down again.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use millrace::config::plan::{OutputPlan, OutputTarget, Plan, plan_with};
use millrace::config::project::Project;
use millrace::config::units::parse_duration;
use millrace::room::Reserve;
use millrace::sink::json_lines::JsonLinesSink;
use millrace::sink::kafka::{Delivery, KafkaSink, Outgoing};
use millrace::sink::subscribers::{Hub, StreamKind};
use millrace::sink::{Sink, SinkError};
use millrace::store::dead_letter::{DeadLetterWriter, Limits};
use millrace::store::log::LogWriter;
use millrace::store::online::OnlineReader;
use millrace::store::state::StateStore;
use millrace::time::{Clock, SECOND, SystemClock};
use millrace::topology::keeper::Summary;
use millrace::topology::outlets::Outlets;
use millrace::topology::{self, Memory, Start};

use super::administering::{self, Administering, Below};
use super::choosing::{self, Adopt};
use super::deploying::Deployer;
use super::held::LOCK;
use super::online::Online;
use super::project::ProjectArgs;
use super::recovery::{self, Recovered};
use super::serving::{self, Reads, Serving};
use super::stop_on_signal;
use super::versions::Workshop;

/// How long calls that are under way may take at the end.
const LEAVE: Duration = Duration::from_secs(2);

/// Run a project: read its sources, keep its features, serve them
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millrace run fraud.toml
  millrace run fraud.toml --set STREAM=transactions_file       ends when the file ends, with all windows fired
  millrace run fraud.toml --set STREAM=transactions_kafka --until-idle 5s

A run that is started again goes on where its last checkpoint was, whatever ended it; to begin afresh, name another
folder: --set project.data-dir=data2. Ctrl-C or SIGTERM finishes what was read, makes a last checkpoint and exits 0 (1 if
a view had stopped; 75 if a store or a topic is away for longer than checkpoint.stop-timeout: nothing is lost, and the
next run goes on from the checkpoint before); once more exits at once.")]
pub(super) struct RunArgs {
    #[command(flatten)]
    project: ProjectArgs,

    /// End when no source has given an event for this long; windows that the watermark has not passed stay open, and go on
    /// with the next run
    #[arg(long, value_name = "DURATION", value_parser = |text: &str| parse_duration(text).map_err(|error| error.to_string()))]
    until_idle: Option<Duration>,

    /// Go on serving after bounded sources have ended, until Ctrl-C
    #[arg(long)]
    linger: bool,

    /// Go on though views or services have changed or gone, or a source reads something else, since state was kept: what was kept
    /// of those is dropped, that of others stays
    #[arg(long)]
    drop_changed: bool,

    /// Run what the project file names where another version of a UDF ran last; else the one that ran last goes on
    #[arg(long, value_enum, value_name = "WHAT")]
    adopt: Option<Adopt>,
}

/// Runs the project to its end.
pub(super) fn run(args: RunArgs) -> Result<()> {
    let (project, text) = args.project.read()?;
    // A folder that is refused is not touched, and compiled components are kept in it too.
    StateStore::check_owner(&project.data_dir.join("state"), &project.name.value)?;
    let _lock = lock(&project.data_dir)?;
    let reserve = Reserve::new(project.runtime.min_free);
    let room = reserve.room(&project.data_dir);
    // A start writes too: components are compiled, stores opened, terms taken, what does not count is cut off.
    room.wait_now()?;
    let kept = recovery::open(&project, &room)?;
    let chosen = choosing::choose(&project, kept.commit(), args.adopt, SystemClock.now())?;
    let engine = ProjectArgs::engine_of(&project)?;
    let plan = Arc::new(plan_with(&project, &text, &engine, &chosen.choices)?);
    administering::forget(&project.data_dir)?;
    let metrics = serving::record_metrics()?;
    let hub = Arc::new(hub(&project, &plan));
    let mut recovered = recovery::recover(kept, &project, &plan, args.drop_changed, &room)?;
    if recovered.has_ended(&plan) {
        eprintln!(
            "all of the input was read before: there is nothing to do. To begin afresh, delete {} or name another data-dir",
            project.data_dir.display()
        );
    }
    let (outlets, reader) = open(&project, &plan, &hub, &recovered, &reserve)?;
    recovered.begin(outlets.log.as_ref(), &outlets.dead_letters, &chosen.udfs)?;
    let letters = outlets.dead_letters.reader();
    let operators_room = room.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let stop = stop_on_signal().context("signals")?;
        let bounded = plan.sources.iter().all(|source| source.kind.is_bounded());
        let serves = !bounded || args.linger;
        let listener = if serves {
            Some(millrace::serve::bind("serve.http", &project.serve.http.to_string()).await?)
        } else {
            None
        };
        let admin = administering::bind(&project).await?;
        let started = clock.now();
        let running = topology::start(Start {
            plan: plan.clone(),
            workers: workers(&project),
            batch_rows: project.runtime.batch_rows,
            max_skew: project.runtime.max_skew,
            memory: memory(&project),
            interval: project.checkpoint.interval,
            stop_timeout: project.checkpoint.stop_timeout,
            until_idle: args.until_idle,
            outlets,
            clock: clock.clone(),
            state: Some(recovered.state),
            opener: None,
            reserve,
            udfs: chosen.udfs.clone(),
        })?;
        let server = match listener {
            None => None,
            Some(listener) => {
                Some(Serving::start(&project, &plan, listener, Reads { reader, hub, room }, &running, metrics, &clock)?)
            }
        };
        let activator = running.activator().clone();
        let workshop = Workshop::of_run((project.clone(), text.clone()), engine.clone(), &chosen, activator.clone());
        let deployer = Deployer::new((project.clone(), text), engine, &chosen, activator, clock.clone());
        let withdrawing = deployer.watch();
        let below = Below {
            project: &project,
            letters,
            running: &running,
            deployer,
            workshop,
            registry: chosen.registry.clone(),
            room: operators_room,
            started,
            clock: &clock,
        };
        let admin = Administering::start(admin, below)?;
        let summary = running.wait(stop.clone()).await;
        withdrawing.abort();
        let summary = summary?;
        print_summary(&plan, &summary, clock.now() - started);
        if let Some(server) = server {
            server.end(args.linger, stop).await?;
        }
        admin.end().await?;
        stopped_views(&summary)
    });
    // A call that never returns is not waited for.
    runtime.shutdown_timeout(LEAVE);
    done
}

/// One owner of a project's state.
fn lock(folder: &Path) -> Result<File> {
    std::fs::create_dir_all(folder).with_context(|| format!("data-dir {}", folder.display()))?;
    let path = folder.join(LOCK);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| path.display().to_string())?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("{} is in use by another process: end it, or name another data-dir", folder.display())
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// One worker a core unless the project says otherwise.
fn workers(project: &Project) -> usize {
    match project.runtime.shards {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        shards => shards,
    }
}

/// How much of the operators' state is in memory, and where the rest is.
fn memory(project: &Project) -> Option<Memory> {
    let folder = project.data_dir.join("spill");
    if project.runtime.memory.is_none() {
        // What a run with a limit has left means nothing.
        std::fs::remove_dir_all(&folder).ok();
    }
    project.runtime.memory.map(|limit| Memory { limit, folder })
}

/// Opens everything that rows go to.
pub(super) fn open(
    project: &Project,
    plan: &Plan,
    hub: &Hub,
    recovered: &Recovered,
    reserve: &Reserve,
) -> Result<(Outlets, Arc<dyn OnlineReader>)> {
    let room = reserve.room(&project.data_dir);
    let Online { writer: online, filler, reader } = Online::open(project, plan, recovered.state.term, &room)?;
    let offline = plan.views.iter().any(|view| view.offline);
    let mut log = if offline { Some(LogWriter::open(&project.data_dir.join("log"))?.within(&room)) } else { None };
    if let Some(log) = &mut log {
        recovered.cut_back_log(log)?;
    }
    let limits = Limits { max_bytes: project.dead_letters.max_size, max_age: project.dead_letters.max_age };
    let mut dead_letters = DeadLetterWriter::open(&project.data_dir.join("dead-letters"), limits)?.within(&room);
    recovered.cut_back_dead_letters(&mut dead_letters)?;
    let sinks = |kind: StreamKind, name: &str, outputs: &[OutputPlan]| {
        outputs
            .iter()
            .filter_map(|output| sink(hub, kind, name, output, recovered, reserve).transpose())
            .collect::<Result<Vec<_>, _>>()
    };
    let outputs = plan.views.iter().map(|view| sinks(StreamKind::View, &view.name, &view.outputs));
    let outputs = outputs.collect::<Result<_, _>>()?;
    let services = plan.services.iter().map(|service| sinks(StreamKind::Service, &service.name, &service.outputs));
    let services = services.collect::<Result<_, _>>()?;
    let (outbox, publishing) = recovered.outboxes(plan)?;
    Ok((Outlets { online, filler, log, dead_letters, outputs, services, outbox, publishing }, reader))
}

/// The streams that can be listened to, and the names of the views and services that cannot.
pub(super) fn hub(project: &Project, plan: &Plan) -> Hub {
    let form = |outputs: &[OutputPlan]| {
        let listened = outputs.iter().find(|output| matches!(output.target, OutputTarget::Subscribers));
        listened.map(|output| output.form.clone())
    };
    let views = plan.views.iter().map(|view| (StreamKind::View, view.name.clone(), form(&view.outputs)));
    let services = project.services.iter().map(|service| {
        let planned = plan.services.iter().find(|planned| planned.name == service.name.value);
        (StreamKind::Service, service.name.value.clone(), planned.and_then(|planned| form(&planned.outputs)))
    });
    Hub::new(views.chain(services))
}

/// Opens an output of a view or a service.
fn sink(
    hub: &Hub,
    kind: StreamKind,
    name: &str,
    output: &OutputPlan,
    recovered: &Recovered,
    reserve: &Reserve,
) -> Result<Option<Sink>, SinkError> {
    Ok(match &output.target {
        OutputTarget::File(path) => {
            let name = recovered.name_of(path);
            let file = JsonLinesSink::resume(path, recovered.output(&name))?.known_as(name);
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            Some(Sink::File(file.with_form(output.form.clone()).within(reserve.room(folder))))
        }
        OutputTarget::Kafka(options) => Some(match options.delivery {
            Delivery::AtLeastOnce => Sink::Kafka(Box::new(KafkaSink::open(options.clone())?)),
            Delivery::ExactlyOnce { .. } => Sink::Outbox(Outgoing::new(options.clone())),
        }),
        OutputTarget::Subscribers => hub.feed(kind, name).map(Sink::Subscribers),
    })
}

fn print_summary(plan: &Plan, summary: &Summary, took: i64) {
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    let (seconds, events) = (took as f64 / SECOND as f64, summary.events as f64);
    eprintln!("{} events in {seconds:.1} s ({:.0} events/s)", summary.events, events / seconds.max(0.001));
    for (view, rows) in plan.views.iter().zip(&summary.rows) {
        eprintln!("  view {}: {rows} rows", view.name);
    }
    for (reason, letters) in &summary.dead {
        eprintln!("  dead letters, {reason}: {letters}");
    }
}

/// A view that has stopped makes the run a failure, however much the others have done.
fn stopped_views(summary: &Summary) -> Result<()> {
    match summary.stopped.as_slice() {
        [] => Ok(()),
        stopped => bail!("stopped: {}", stopped.join("; ")),
    }
}
