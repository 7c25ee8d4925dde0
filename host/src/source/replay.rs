//! Events that are read anew: the payloads of dead letters, from the process that holds them.
//!
//! Always true: an event goes to the worker of its own partition, with the position that it had, and in the order of
//! those; what a call reports as taken has been taken by that worker, and what it reports as refused has not been seen by
//! anybody.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use super::SourceContext;
use super::batch::BatchBuilder;
use super::intake::Intake;
use crate::record::{Origin, RawBatch};
use crate::time::Micros;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplayEvent {
    /// The partition that it was read from.
    pub partition: u32,
    /// Its position there.
    pub offset: i64,
    /// When it arrived.
    pub arrival: Micros,
    /// Its bytes.
    pub payload: Bytes,
}

/// Why events were not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// Reads events of one source anew.
#[derive(Clone)]
pub struct ReplayHandle {
    context: Arc<SourceContext>,
    /// The views that read the source, by index.
    readers: Arc<[u16]>,
    /// Why no event of this source can be read anew, if none can.
    never: Option<&'static str>,
}

impl ReplayHandle {
    /// That of the source of this context, which the views `readers` read; `never` says why it takes nothing, if so.
    pub(crate) fn new(
        context: SourceContext,
        readers: impl IntoIterator<Item = u16>,
        never: Option<&'static str>,
    ) -> Self {
        Self { context: Arc::new(context), readers: readers.into_iter().collect(), never }
    }

    /// The views that read the source, by index.
    pub fn readers(&self) -> &[u16] {
        &self.readers
    }

    /// Why no event of this source can be read anew, if none can.
    pub fn never(&self) -> Option<&'static str> {
        self.never
    }

    /// Has events decoded and judged as if they came now: by the view of that index alone, or by all that read the
    /// source. Returns how many dead letters that made at once; further ones may follow behind joins.
    ///
    /// # Errors
    /// None of the events, which are of one partition, was taken.
    pub async fn replay(&self, view: Option<u16>, events: &[ReplayEvent]) -> Result<usize, Refused> {
        let Some(partition) = events.first().map(|event| event.partition) else { return Ok(0) };
        debug_assert!(events.iter().all(|event| event.partition == partition), "of one partition");
        let stopped = || Refused("the run is ending: replay them in the next one".into());
        if *self.context.stop.borrow() {
            return Err(stopped());
        }
        let origin = Origin { source: self.context.index, partition };
        let mut builder = BatchBuilder::new(origin, events.len());
        for event in events {
            builder.push(&event.payload, event.offset, event.arrival);
        }
        let Some(batch) = builder.take() else { return Ok(0) };
        let batch = self.context.with_schemas(batch).await;
        let (done, answer) = oneshot::channel();
        let sent = self.context.intake.send(Intake::Replay(Replay { batch, view, done })).await;
        sent.map_err(|_| stopped())?;
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }
}

/// Events to read anew, on their way to a worker.
#[derive(Debug)]
pub struct Replay {
    /// The events.
    pub batch: RawBatch,
    /// The view that is to take them, by its index; none: all that read the source.
    pub view: Option<u16>,
    /// Hears how many dead letters it made, or that nobody took them.
    pub done: oneshot::Sender<Result<usize, Refused>>,
}

impl SourceContext {
    /// That of the same source, for [`ReplayHandle`].
    pub(crate) fn again(&self) -> Self {
        Self {
            name: self.name.clone(),
            index: self.index,
            batch_rows: self.batch_rows,
            intake: self.intake.clone(),
            flow: self.flow.clone(),
            stop: self.stop.clone(),
            safe: watch::channel(Vec::new()).1,
            clock: self.clock.clone(),
            registry: self.registry.clone(),
            journal: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract::Stage;
    use super::super::intake::lanes;
    use super::*;

    fn event(partition: u32, offset: i64) -> ReplayEvent {
        ReplayEvent { partition, offset, arrival: 5, payload: Bytes::from(format!("event {offset}")) }
    }

    #[tokio::test]
    async fn events_go_to_the_worker_of_their_partition_and_its_answer_comes_back() {
        let (intake, receivers) = lanes(2);
        let context = SourceContext { intake, ..Stage::new(10).context() };
        let handle = ReplayHandle::new(context, [3], None);
        let asked = tokio::spawn(async move { handle.replay(Some(3), &[event(1, 7), event(1, 9)]).await });
        let message = loop {
            match receivers[1].channel().try_recv() {
                Ok(message) => break receivers[1].take(message),
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let Intake::Replay(Replay { batch, view, done }) = message else { panic!("{message:?}") };
        assert_eq!((view, &batch.offsets[..], batch.payload_slice(1)), (Some(3), &[7, 9][..], &b"event 9"[..]));
        done.send(Ok(1)).unwrap();
        assert_eq!(asked.await.unwrap(), Ok(1));
    }

    #[tokio::test]
    async fn a_worker_that_goes_takes_nothing() {
        let (intake, receivers) = lanes(1);
        let handle = ReplayHandle::new(SourceContext { intake, ..Stage::new(10).context() }, [], None);
        let asked = tokio::spawn(async move { handle.replay(None, &[event(0, 7)]).await });
        tokio::task::yield_now().await;
        drop(receivers);
        assert!(asked.await.unwrap().is_err());
    }
}
