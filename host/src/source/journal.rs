//! Events that nobody else keeps: where they are before anything is made of them, and again after a crash.
//!
//! Always true: an event goes to the workers only once the journal has it, where there is one; at the start the events
//! from the resumed position on come first, as they came the first time; positions count on over restarts.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::sleep;

use super::batch::BatchBuilder;
use super::{SourceContext, SourceError};
use crate::failpoint::{self, Point};
use crate::record::{KeyedCall, RawBatch};

/// Why events were not kept, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotKept {
    /// There is no room for them now; nothing of them is there.
    Full(String),
    /// The journal has failed, for good.
    Failed(String),
}

/// How often a journal that is full is asked again.
const LOOK: Duration = Duration::from_millis(100);

/// Keeps the events of one source. Errors are in words, and for good unless they say otherwise.
pub trait Journal: Send + Sync {
    /// The position after the last event that was kept before this start.
    fn next(&self) -> i64;

    /// The calls with keys of before this start, in their order.
    fn calls(&self) -> BoxFuture<'_, Result<Vec<KeyedCall>, String>>;

    /// The events at position `from` and some that follow, or else the next there are.
    fn read(&self, from: i64) -> BoxFuture<'_, Result<Option<RawBatch>, String>>;

    /// Returns once the events, whose positions follow one another, are where they outlive the process: all or none of
    /// them, and with them the keys of the calls that they complete.
    fn keep(&self, batches: Vec<RawBatch>, calls: Vec<KeyedCall>) -> BoxFuture<'_, Result<(), NotKept>>;
}

impl SourceContext {
    /// Announces the source's only partition, read from `first` on, and gives what was kept from there; returns the
    /// position of the first new event.
    ///
    /// # Errors
    /// [`SourceError::Stopped`] when the workers are gone; [`SourceError::Refused`] when the journal cannot be read.
    pub(super) async fn resume(&self, first: i64) -> Result<i64, SourceError> {
        self.announce(&[first]).await?;
        let Some(journal) = &self.journal else { return Ok(first) };
        let mut next = first;
        let mut events = 0;
        while let Some(kept) = journal.read(next).await.map_err(|cause| self.refused(cause))? {
            let mut batch = BatchBuilder::new(self.origin(0), self.batch_rows);
            for (event, (offset, arrival)) in kept.offsets.iter().zip(&kept.arrivals).enumerate() {
                if *offset < next {
                    continue;
                }
                batch.push(kept.payload_slice(event), *offset, *arrival);
                next = offset.saturating_add(1);
                events += 1;
                if batch.is_full()
                    && let Some(batch) = batch.take()
                {
                    self.give(batch).await?;
                }
            }
            if let Some(batch) = batch.take() {
                self.give(batch).await?;
                failpoint::reach(Point::InputRead);
            }
        }
        if events > 0 {
            tracing::info!(
                source = self.name,
                events,
                "events that were kept since the last checkpoint are read again"
            );
        }
        Ok(next.max(journal.next()))
    }

    /// Has new events kept, together and with the keys of the calls that they complete; says in words why there is no room
    /// for them now, and then nothing of them is kept.
    ///
    /// # Errors
    /// [`SourceError::Refused`] when the journal fails.
    pub(super) async fn keep(
        &self,
        batches: &[RawBatch],
        calls: Vec<KeyedCall>,
    ) -> Result<Result<(), String>, SourceError> {
        let Some(journal) = self.journal.as_ref().filter(|_| !batches.is_empty()) else { return Ok(Ok(())) };
        match journal.keep(batches.to_vec(), calls).await {
            Ok(()) => Ok(Ok(())),
            Err(NotKept::Full(cause)) => Ok(Err(cause)),
            Err(NotKept::Failed(cause)) => Err(self.refused(cause)),
        }
    }

    /// Has new events kept, and gives them; where there is no room for them it waits until there is.
    ///
    /// # Errors
    /// As [`SourceContext::resume`].
    pub(super) async fn keep_and_give(&self, batch: RawBatch) -> Result<(), SourceError> {
        while self.keep(std::slice::from_ref(&batch), Vec::new()).await?.is_err() {
            sleep(LOOK).await;
        }
        self.give(batch).await
    }
}
