//! Where events come from. A source is options → `run` → [`Intake`] messages; it knows nothing of views.
//!
//! Always true: a source first says how many partitions it has; the events of a partition go out in its order; a source
//! that cannot reach its server tries again with back-off until it is stopped, and says so in the log.

mod backoff;
mod batch;
#[cfg(test)]
pub(crate) mod contract;
pub mod file;
pub mod flow;
pub mod intake;
pub mod journal;
pub mod kafka;
pub mod lines;
pub mod parquet;
pub mod push;
pub mod registry;
pub mod repeats;
pub mod replay;
pub mod websocket;

use std::sync::Arc;

use tokio::sync::watch;

use crate::error::{Blame, Fault};
use crate::failpoint::{self, Point};
use crate::record::{Origin, RawBatch};
use crate::time::Clock;
use flow::Flow;
use intake::{Intake, IntakeSender, Stopped};
use journal::Journal;
use registry::Registry;

/// What a source is given to run with.
pub struct SourceContext {
    /// The source's name in the project file, for messages and metrics.
    pub name: String,
    /// Its index in the plan: the `source` of every origin.
    pub index: u16,
    /// How many events a batch holds at most.
    pub batch_rows: usize,
    /// Where its events go.
    pub intake: IntakeSender,
    /// How far all partitions are, which says whether one may be read on.
    pub flow: Arc<Flow>,
    /// True once the source is to end.
    pub stop: watch::Receiver<bool>,
    /// For each partition the offset below which everything is safe in the outputs; grows as epochs commit.
    pub safe: watch::Receiver<Vec<i64>>,
    /// The present.
    pub clock: Arc<dyn Clock>,
    /// Where the schemas are that its events name, if they do.
    pub registry: Option<Arc<Registry>>,
    /// Where its events are kept, if nobody else does; none: nowhere.
    pub journal: Option<Arc<dyn Journal>>,
}

impl SourceContext {
    /// The origin of a partition's events.
    pub fn origin(&self, partition: u32) -> Origin {
        Origin { source: self.index, partition }
    }

    /// An error that names this source; `cause` says what was refused, and what to try.
    fn refused(&self, cause: impl Into<String>) -> SourceError {
        SourceError::Refused { source_name: self.name.clone(), cause: cause.into() }
    }

    /// Tells of the source's partitions, by the offsets that they are read from: before anything else, and again, of all of
    /// them, when there are more.
    ///
    /// # Errors
    /// [`SourceError::Stopped`] when the workers are gone, as the next two.
    pub async fn announce(&self, starts: &[i64]) -> Result<(), SourceError> {
        self.flow.announce(self.index, u32::try_from(starts.len()).unwrap_or(u32::MAX), self.clock.now());
        self.intake.send(Intake::Partitions { source: self.index, starts: starts.into() }).await?;
        failpoint::reach(Point::Sought);
        Ok(())
    }

    /// Hands a batch on, with the schemas that its events name; waits for those, while its partition is ahead of others,
    /// and where its worker is busy.
    ///
    /// # Errors
    /// As [`Self::announce`].
    pub async fn give(&self, batch: RawBatch) -> Result<(), SourceError> {
        let origin = batch.origin;
        self.flow.has_some(origin);
        let batch = self.with_schemas(batch).await;
        self.flow.until_near(origin, &*self.clock).await;
        self.flow.giving(origin);
        self.intake.send(Intake::Data(batch)).await?;
        self.flow.given(origin, self.clock.now());
        Ok(())
    }

    /// Says that a partition has no more events.
    ///
    /// # Errors
    /// As [`Self::announce`].
    pub async fn end(&self, partition: u32) -> Result<(), SourceError> {
        Ok(self.intake.send(Intake::End(self.origin(partition))).await?)
    }

    /// The batch with the schemas that its events name.
    async fn with_schemas(&self, mut batch: RawBatch) -> RawBatch {
        if let Some(registry) = &self.registry {
            let schemas = registry.resolve(&batch, self).await;
            batch.beside.get_or_insert_default().schemas = schemas;
        }
        batch
    }

    /// Runs `work` until it ends or the source is to stop; then `work` is dropped at its next await, and what it had
    /// not sent yet is not part of any position.
    async fn until_stopped(&self, work: impl Future<Output = Result<(), SourceError>>) -> Result<(), SourceError> {
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            // An error says that nobody can stop us any more, which is the same.
            _ = stop.wait_for(|stop| *stop) => Ok(()),
            result = work => result,
        }
    }
}

/// A source that ended, though nobody stopped it and its input has not ended.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SourceError {
    /// The options name something that is not there, or that the server refuses for good.
    #[error("source {source_name}: {cause}")]
    Refused {
        /// The source.
        source_name: String,
        /// What was refused, and what to try.
        cause: String,
    },
    /// Nobody takes events any more.
    #[error("stopped")]
    Stopped,
}

impl From<Stopped> for SourceError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl Blame for SourceError {
    fn fault(&self) -> Fault {
        match self {
            Self::Refused { .. } => Fault::User,
            Self::Stopped => Fault::External,
        }
    }

    fn retry_helps(&self) -> bool {
        false
    }
}
