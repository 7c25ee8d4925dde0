//! Joins sources to the input log: pushes and WebSockets, whose events nobody else keeps.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::config::plan::{Plan, SourcePlan};
use crate::error::Blame;
use crate::record::{KeyedCall, RawBatch};
use crate::source::journal::{Journal, NotKept};
use crate::source::repeats;
use crate::store::StoreError;
use crate::store::input::{InputLog, InputWriter, SourceInput};
use crate::time::{Clock, Micros, micros};

/// The journals of a plan's sources, by their index; none for those whose events are kept where they come from.
pub(super) type Journals = Vec<Option<Arc<SourceJournal>>>;

/// A source's part of the input log.
pub(super) struct SourceJournal {
    input: Arc<SourceInput>,
    writer: InputWriter,
}

/// Opens the journals in `log`; none, where there is none.
pub(super) fn open(log: Option<InputLog>, plan: &Plan, clock: &Arc<dyn Clock>) -> Result<Journals, StoreError> {
    let Some(log) = log else { return Ok(vec![None; plan.sources.len()]) };
    let writer = InputWriter::start(log.clone(), clock.clone())?;
    let open = |source: &SourcePlan| {
        let input = Arc::new(log.source(&source.name, &source.identity)?);
        Ok(Some(Arc::new(SourceJournal { input, writer: writer.clone() })))
    };
    let sources = plan.sources.iter();
    sources.map(|source| if source.kind.is_kept() { Ok(None) } else { open(source) }).collect()
}

impl SourceJournal {
    /// Lets go of what is below a position that is committed.
    pub(super) fn committed(&self, offset: i64, now: Micros) -> Result<(), StoreError> {
        self.input.remove_below(offset, now.saturating_sub(micros(repeats::WITHIN)))
    }

    /// Reads where that holds up nobody.
    async fn read_with<T: Send + 'static>(
        &self,
        read: impl FnOnce(&SourceInput) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, String> {
        let input = self.input.clone();
        let read = tokio::task::spawn_blocking(move || read(&input)).await;
        read.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }
}

impl Journal for SourceJournal {
    fn next(&self) -> i64 {
        self.input.next()
    }

    fn calls(&self) -> BoxFuture<'_, Result<Vec<KeyedCall>, String>> {
        Box::pin(self.read_with(SourceInput::calls))
    }

    fn read(&self, from: i64) -> BoxFuture<'_, Result<Option<RawBatch>, String>> {
        Box::pin(self.read_with(move |input| Ok(input.read(from)?.map(|record| record.events))))
    }

    fn keep(&self, batches: Vec<RawBatch>, calls: Vec<KeyedCall>) -> BoxFuture<'_, Result<(), NotKept>> {
        let failed = |error: StoreError| match error.retry_helps() {
            true => NotKept::Full(error.to_string()),
            false => NotKept::Failed(error.to_string()),
        };
        Box::pin(async move { self.writer.keep(&self.input, batches, calls).await.map_err(failed) })
    }
}
