//! Starts a plan's sources.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::durable::Journals;
use crate::config::plan::{Plan, SourcePlan};
use crate::config::project::{KafkaStart, SourceKind};
use crate::engine::decode::Format;
use crate::record::Origin;
use crate::source::flow::Flow;
use crate::source::intake::IntakeSender;
use crate::source::journal::Journal;
use crate::source::push::PushHandle;
use crate::source::registry::Registry;
use crate::source::replay::ReplayHandle;
use crate::source::{SourceContext, SourceError, file, kafka, parquet as parquet_file, push, websocket};
use crate::time::Clock;

/// Where others hand events in.
#[derive(Clone, Default)]
pub struct Entrances {
    /// Push sources, by name.
    pub pushes: BTreeMap<String, PushHandle>,
    /// WebSocket endpoints, by path.
    pub ingests: BTreeMap<String, PushHandle>,
    /// Where events of each source are read anew, by its name.
    pub replays: BTreeMap<String, ReplayHandle>,
}

/// What reads a source in place of what the project file says: tests that decide what comes when.
pub type Opener = dyn Fn(&SourcePlan, SourceContext) -> BoxFuture<'static, Result<(), SourceError>> + Send + Sync;

/// What all sources share.
pub(super) struct Shared<'a> {
    pub(super) batch_rows: usize,
    pub(super) intake: IntakeSender,
    pub(super) flow: Arc<Flow>,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) opener: Option<&'a Opener>,
    /// Where partitions are to be read from, as far as that is known.
    pub(super) positions: BTreeMap<Origin, i64>,
    /// Those that had ended before.
    pub(super) ended: BTreeSet<u16>,
    /// Where it is kept which files have been read of those that are followed; none: nowhere.
    pub(super) followed: Option<PathBuf>,
    /// Where sources' events are kept, by the sources' index.
    pub(super) journals: Journals,
}

/// Spawns every source of the plan on the current runtime.
pub(super) fn spawn(
    plan: &Plan,
    shared: &Shared<'_>,
    safe: Vec<watch::Receiver<Vec<i64>>>,
) -> (JoinSet<Result<(), SourceError>>, Entrances) {
    let mut tasks = JoinSet::new();
    let mut entrances = Entrances::default();
    for (((index, source), safe), journal) in (0..).zip(&plan.sources).zip(safe).zip(&shared.journals) {
        let context = SourceContext {
            name: source.name.clone(),
            index,
            batch_rows: shared.batch_rows,
            intake: shared.intake.clone(),
            flow: shared.flow.clone(),
            stop: shared.stop.clone(),
            safe,
            clock: shared.clock.clone(),
            // The URL was tried when the project file was read.
            registry: source.registry.as_ref().and_then(|options| Registry::new(options).ok()).map(Arc::new),
            journal: journal.clone().map(|journal| journal as Arc<dyn Journal>),
        };
        let own = shared.positions.iter().filter(|(origin, _)| origin.source == index);
        let positions: BTreeMap<u32, i64> = own.map(|(origin, next)| (origin.partition, *next)).collect();
        let readers = source.fronts.iter().map(|front| front.view);
        let replay = ReplayHandle::new(context.again(), readers, never_again(source));
        entrances.replays.insert(source.name.clone(), replay);
        if shared.ended.contains(&index) {
            tasks.spawn(ended(context, positions));
            continue;
        }
        match shared.opener {
            Some(opener) => drop(tasks.spawn(opener(source, context))),
            None => spawn_one(source, context, positions, shared.followed.as_deref(), &mut tasks, &mut entrances),
        }
    }
    (tasks, entrances)
}

/// Why events of a source cannot be read anew from what a dead letter holds of them.
fn never_again(source: &SourcePlan) -> Option<&'static str> {
    match (&source.decoding.format, &source.kind) {
        (Format::Columns, _) => Some("of a Parquet file's row a letter has only its values as JSON: mend the file"),
        (Format::Raw, SourceKind::Kafka { .. }) => {
            Some("a letter has no key and no headers, which are columns of raw events: produce them again")
        }
        _ => None,
    }
}

/// A source that had given all there is: it ends as it had, whatever has come to it since.
async fn ended(context: SourceContext, positions: BTreeMap<u32, i64>) -> Result<(), SourceError> {
    tracing::info!(source = context.name, "the source was read to its end before, and is not read again");
    let starts: Vec<i64> = positions.values().copied().collect();
    context.announce(&starts).await?;
    for partition in positions.into_keys() {
        context.end(partition).await?;
    }
    Ok(())
}

fn spawn_one(
    source: &SourcePlan,
    context: SourceContext,
    positions: BTreeMap<u32, i64>,
    followed: Option<&Path>,
    tasks: &mut JoinSet<Result<(), SourceError>>,
    entrances: &mut Entrances,
) {
    let first = positions.get(&0).copied().unwrap_or(0);
    let start = u64::try_from(first).unwrap_or(0);
    match &source.kind {
        SourceKind::File { path, .. } if matches!(source.decoding.format, Format::Columns) => {
            let columns = source.decoding.fields.iter().map(|field| field.name.clone()).collect();
            tasks.spawn(parquet_file::run(
                parquet_file::Options { path: path.value.clone(), start: usize::try_from(first).unwrap_or(0), columns },
                context,
            ));
        }
        SourceKind::File { path, follow } => {
            let cut = match source.decoding.format {
                Format::Csv { delimiter, heading } => file::Cut::Csv { delimiter, heading },
                _ => file::Cut::Lines,
            };
            let trail = followed.filter(|_| *follow).map(|folder| folder.join(&source.name));
            let options = file::Options { start, follow: *follow, cut, trail, ..file::Options::new(&path.value) };
            tasks.spawn(file::run(options, context));
        }
        SourceKind::WebSocketConnect { url, headers, send } => {
            let headers = headers.iter().map(|(name, value)| (name.value.clone(), value.value.clone())).collect();
            let whole = source.decoding.format.is_binary();
            let options = websocket::Options {
                headers,
                send: send.clone(),
                whole,
                first,
                ..websocket::Options::new(url.value.clone())
            };
            tasks.spawn(websocket::run(options, context));
        }
        SourceKind::WebSocketListen { path } => {
            let (handle, queue) = push::channel();
            let handle = if source.decoding.format.is_binary() { handle.of_whole_frames() } else { handle };
            entrances.ingests.insert(path.value.clone(), handle);
            tasks.spawn(push::run(push::Options { queue, first }, context));
        }
        SourceKind::Push => {
            let (handle, queue) = push::channel();
            entrances.pushes.insert(source.name.clone(), handle);
            tasks.spawn(push::run(push::Options { queue, first }, context));
        }
        SourceKind::Kafka { brokers, topic, start, bounded, properties, group, refresh } => {
            let start = match start {
                KafkaStart::Earliest => kafka::Start::Earliest,
                KafkaStart::Latest => kafka::Start::Latest,
                KafkaStart::At(time) => kafka::Start::Time(*time),
            };
            let properties = properties.iter().map(|(name, value)| (name.value.clone(), value.clone())).collect();
            let options = kafka::Options {
                start,
                positions,
                refresh: *refresh,
                bounded: *bounded,
                properties,
                beside: matches!(source.decoding.format, Format::Raw),
                ..kafka::Options::new(brokers.value.clone(), topic.value.clone(), group.clone())
            };
            tasks.spawn(kafka::run(options, context));
        }
    }
}
