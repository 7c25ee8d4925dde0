//! Ways on: rows and progress for the shards of the next stages, from a source or from a stage alike.

use std::sync::Arc;

use super::board::Board;
use super::message::Message;
use super::stop_view;
use crate::engine::front::{Front, FrontPlan};
use crate::engine::rows::Rows;
use crate::engine::watermark::Progress;
use crate::record::{DeadLetter, Origin};
use crate::time::Micros;

/// What goes on: messages for shards, in order, and rows in error.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// Receiver and message.
    pub(super) messages: Vec<(usize, Message)>,
    /// Rows in error.
    pub(super) dead: Vec<DeadLetter>,
}

/// What a step gives into, and whom it tells of views that cannot go on.
pub(super) struct Hand<'a> {
    pub(super) board: &'a Board,
    /// The views' names.
    pub(super) names: &'a [String],
    pub(super) given: &'a mut Given,
}

/// Sends rows over a way; a view that cannot go on stops.
pub(super) fn send(front: &mut Front, rows: &Rows, positions: Option<&Arc<[(Origin, i64)]>>, hand: &mut Hand<'_>) {
    let Hand { board, names, given } = hand;
    let (view, stage, input) = (front.plan().view, front.plan().stage, front.plan().input);
    if board.stopped(usize::from(view)).is_some() {
        return;
    }
    let batches = match front.process(rows, &mut given.dead) {
        Ok(batches) => batches,
        Err(error) => {
            let name = names.get(usize::from(view)).map_or("", String::as_str);
            return stop_view(board, name, view, &error);
        }
    };
    for (shard, batch) in batches.into_iter().enumerate() {
        if let Some(batch) = batch {
            let message = Message::Data { stage, input, batch: Box::new(batch), positions: positions.cloned() };
            given.messages.push((shard, message));
        }
    }
}

/// Tells all shards of the stage that a way leads to how far its rows have come.
pub(super) fn tell(front: &FrontPlan, workers: usize, progress: Progress, newest: Micros, given: &mut Given) {
    let (stage, input) = (front.stage, front.input);
    let message = |shard| (shard, Message::Progress { stage, input, progress, newest });
    given.messages.extend((0..workers).map(message));
}
