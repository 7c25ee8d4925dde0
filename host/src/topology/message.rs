//! What runs between the threads.

use std::sync::Arc;

use super::activation::Activation;
use crate::engine::checkpoint::PartitionMark;
use crate::engine::emission::Emission;
use crate::engine::rows::KeyedBatch;
use crate::engine::state::Part;
use crate::engine::watermark::Progress;
use crate::record::{DeadLetter, Origin};
use crate::time::Micros;

/// From a worker's stateless half, or from a stage of it, to a shard of a stage.
#[derive(Debug)]
pub(super) enum Message {
    /// Rows for one input of a stage.
    Data {
        /// The stage's index in the plan.
        stage: u16,
        /// Which of its inputs.
        input: u16,
        /// The rows.
        batch: Box<KeyedBatch>,
        /// Where a stage gave them: for each partition that it has seen the offset after the last event. Rows of a
        /// source say so themselves.
        positions: Option<Arc<[(Origin, i64)]>>,
    },
    /// How far the sender has come with what it gives to one input of a stage.
    Progress {
        /// The stage's index in the plan.
        stage: u16,
        /// Which of its inputs.
        input: u16,
        /// The progress.
        progress: Progress,
        /// The greatest event time given.
        newest: Micros,
    },
    /// Everything that the sender gave before the epoch's barrier, on this lane, is ahead of this message.
    Barrier(u64),
}

/// From the workers to the thread that keeps what comes out.
#[derive(Debug)]
pub(super) enum Output {
    /// Feature rows of one view.
    Rows {
        /// The view's index in the plan.
        view: u16,
        /// The rows.
        emission: Box<Emission>,
        /// For each partition that the shard has seen for this view the offset after the last one folded.
        positions: Arc<[(Origin, i64)]>,
    },
    /// Behind its rows: how far a shard of a view that a service combines has come.
    Progress {
        /// The view's index in the plan.
        view: u16,
        /// The shard.
        shard: usize,
        /// Its progress.
        progress: Progress,
    },
    /// Rows in error.
    Dead(Vec<DeadLetter>),
    /// How far a worker had read its partitions when the epoch began.
    Read {
        /// The partitions.
        partitions: Vec<(Origin, PartitionMark)>,
    },
    /// A shard's state of one stage at the epoch's barrier.
    State {
        /// The stage's index in the plan.
        stage: u16,
        /// What has changed, or all.
        parts: Vec<Part>,
        /// Whether that is all.
        whole: bool,
    },
    /// The worker has given out all that came before the epoch's barrier, and its state then.
    ShardDone {
        /// The epoch.
        epoch: u64,
        /// What it has gone over to at the barrier.
        activation: Option<Arc<Activation>>,
    },
}

/// From the coordinator to a worker.
#[derive(Clone, Debug)]
pub(super) enum Control {
    /// An epoch begins.
    Begin(Begin),
    /// The sources have ended or were stopped: finish what was read, begin this last epoch, and end.
    Finish(Begin),
}

/// An epoch that begins.
#[derive(Clone, Debug)]
pub(super) struct Begin {
    /// Its number.
    pub(super) epoch: u64,
    /// Which stages are to export all of their state, by their index; none: state is not kept at all.
    pub(super) whole: Option<Arc<[bool]>>,
    /// What is gone over to at its barrier.
    pub(super) activation: Option<Arc<Activation>>,
}
