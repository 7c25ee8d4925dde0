//! The thread that writes the input log. Records that come while it syncs share the next sync: nobody waits for company,
//! and nobody longer than for the sync under way and his own.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::{InputLog, SourceInput};
use crate::failpoint::{self, Point};
use crate::record::{KeyedCall, RawBatch};
use crate::store::StoreError;
use crate::time::Clock;

/// How many records may wait, and share a sync.
const WAITING: usize = 64;

/// Has records written; clones share the thread, which ends with the last of them.
#[derive(Clone)]
pub struct InputWriter {
    jobs: mpsc::Sender<Job>,
}

struct Job {
    source: Arc<SourceInput>,
    batches: Vec<RawBatch>,
    calls: Vec<KeyedCall>,
    done: oneshot::Sender<Result<(), StoreError>>,
}

impl InputWriter {
    /// Starts the thread.
    ///
    /// # Errors
    /// It could not be started.
    pub fn start(log: InputLog, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let (jobs, queue) = mpsc::channel(WAITING);
        let name = log.disk.name().to_owned();
        let started = std::thread::Builder::new().name("input".into()).spawn(move || run(&log, queue, &*clock));
        match started {
            Ok(_) => Ok(Self { jobs }),
            Err(error) => {
                Err(StoreError::Refused { store: name, cause: format!("its thread could not be started: {error}") })
            }
        }
    }

    /// Returns once the events of batches, whose positions follow one another, are on disk as one record, with the keys
    /// of the calls that end in it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: the disk is full, and nothing of them is there. Otherwise the disk failed: they may be
    /// there or not, and nothing more gets there.
    pub async fn keep(
        &self,
        source: &Arc<SourceInput>,
        batches: Vec<RawBatch>,
        calls: Vec<KeyedCall>,
    ) -> Result<(), StoreError> {
        let (done, answer) = oneshot::channel();
        let gone = || source.log.disk.refused("its thread has died: start again".into());
        let job = Job { source: source.clone(), batches, calls, done };
        self.jobs.send(job).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

fn run(log: &InputLog, mut queue: mpsc::Receiver<Job>, clock: &dyn Clock) {
    let mut group = Vec::new();
    let mut buffer = Vec::new();
    while let Some(job) = queue.blocking_recv() {
        group.push(job);
        while group.len() < WAITING
            && let Ok(job) = queue.try_recv()
        {
            group.push(job);
        }
        let result = write(log, &group, &mut buffer, clock);
        for job in group.drain(..) {
            // Who does not wait any more finds his events at the next start.
            job.done.send(result.clone()).ok();
        }
    }
}

fn write(log: &InputLog, group: &[Job], buffer: &mut Vec<u8>, clock: &dyn Clock) -> Result<(), StoreError> {
    log.has_room(group.iter().flat_map(|job| &job.batches).map(size).sum())?;
    let began = clock.now();
    for Job { source, batches, calls, .. } in group {
        let bytes = source.append(buffer, batches, calls)?;
        let label = [("source", source.label.clone())];
        let events: usize = batches.iter().map(RawBatch::len).sum();
        metrics::counter!("millrace_input_events_total", &label).increment(events as u64);
        metrics::counter!("millrace_input_bytes_total", &label).increment(bytes as u64);
    }
    failpoint::reach(Point::InputWritten);
    log.sync()?;
    failpoint::reach(Point::InputSynced);
    let took = clock.now().saturating_sub(began);
    #[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
    metrics::histogram!("millrace_input_sync_seconds").record(took.unsigned_abs() as f64 / 1e6);
    Ok(())
}

/// About what a batch takes in the log.
fn size(batch: &RawBatch) -> usize {
    /// What an event takes beside its payload, at most.
    const BESIDE: usize = 32;
    batch.data.len() + batch.len() * BESIDE
}
