//! Events that something in this process hands in: the HTTP server's push and the WebSocket endpoint that accepts.
//!
//! One partition; an event's offset is its number, running from [`Options::first`]. A call returns once its events are
//! kept in the [`journal`](super::journal) and in the workers' queue, so whoever calls feels the workers' back-pressure. Calls that wait together become one batch;
//! a lone call goes out at once. The source never ends by itself: an endpoint without callers is a quiet one.

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::batch::BatchBuilder;
use super::repeats::Repeats;
use super::{SourceContext, SourceError, lines};
use crate::record::KeyedCall;

/// How many calls may wait beside the one in work; each holds its own events.
const WAITING_CALLS: usize = 256;

/// What a push source runs with.
#[derive(Debug)]
pub struct Options {
    /// The source's end of [`channel`].
    pub queue: PushQueue,
    /// The number of the first event: one more than the last that an earlier run made safe.
    pub first: i64,
}

/// Hands events in. Clones feed the same source.
#[derive(Clone, Debug)]
pub struct PushHandle {
    calls: mpsc::Sender<Call>,
    /// Whether a frame is one event, whatever bytes it has.
    whole: bool,
}

/// The source's end of a [`PushHandle`].
#[derive(Debug)]
pub struct PushQueue {
    calls: mpsc::Receiver<Call>,
}

#[derive(Debug)]
struct Call {
    events: Vec<Bytes>,
    key: Option<String>,
    done: oneshot::Sender<Result<Taken, NotTaken>>,
}

/// Why a call was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// The source has stopped; some of the events may have been taken.
    #[error("the source has stopped")]
    Stopped,
    /// There is no room to keep events in: none of them was taken.
    #[error("{0}")]
    Full(String),
}

/// How a call was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The number of its last event: its offset in the partition.
    pub last: i64,
    /// Whether it is an earlier call repeated, whose events these are.
    pub repeat: bool,
}

/// Makes a handle, and the queue to run the source with.
pub fn channel() -> (PushHandle, PushQueue) {
    let (sender, receiver) = mpsc::channel(WAITING_CALLS);
    (PushHandle { calls: sender, whole: false }, PushQueue { calls: receiver })
}

impl PushHandle {
    /// The same handle, of a source whose events are bytes in which a newline means nothing.
    #[must_use]
    pub fn of_whole_frames(self) -> Self {
        Self { whole: true, ..self }
    }

    /// The events of a body or of a WebSocket frame, without a copy: its lines, or itself. A blank one holds no event.
    pub fn events(&self, frame: &Bytes) -> Vec<Bytes> {
        match self.whole {
            true if frame.is_empty() => Vec::new(),
            true => vec![frame.clone()],
            false => lines::of(frame).collect(),
        }
    }

    /// Hands in one payload an event, in this order and with nothing of another call between them; returns when the
    /// workers' queue has them all. The number returned is that of the last event: its offset in the partition.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub async fn send(&self, events: Vec<Bytes>) -> Result<i64, NotTaken> {
        Ok(self.send_as(None, events).await?.last)
    }

    /// The same; a call under a key that an earlier one had is that one repeated, and its events are not taken.
    ///
    /// # Errors
    /// As [`PushHandle::send`].
    pub async fn send_as(&self, key: Option<String>, events: Vec<Bytes>) -> Result<Taken, NotTaken> {
        let (done, answer) = oneshot::channel();
        self.calls.send(Call { events, key, done }).await.map_err(|_| NotTaken::Stopped)?;
        answer.await.map_err(|_| NotTaken::Stopped)?
    }

    /// Hands in the events of a body or of a WebSocket frame.
    ///
    /// # Errors
    /// As [`PushHandle::send`].
    pub async fn send_lines(&self, body: &Bytes) -> Result<i64, NotTaken> {
        self.send(self.events(body)).await
    }
}

/// Runs the source until it is stopped.
///
/// # Errors
/// [`SourceError::Stopped`] when the workers are gone.
pub async fn run(options: Options, context: SourceContext) -> Result<(), SourceError> {
    context.until_stopped(forward(options, &context)).await
}

async fn forward(Options { mut queue, first }: Options, context: &SourceContext) -> Result<(), SourceError> {
    let calls = match &context.journal {
        Some(journal) => journal.calls().await.map_err(|cause| context.refused(cause))?,
        None => Vec::new(),
    };
    let mut repeats = Repeats::of(calls, context.clock.now());
    let mut next = context.resume(first).await?;
    let mut builder = BatchBuilder::new(context.origin(0), context.batch_rows);
    let mut answers = Vec::new();
    while let Some(call) = queue.calls.recv().await {
        let mut call = Some(call);
        let (mut batches, mut keyed) = (Vec::new(), Vec::new());
        let first = next;
        while let Some(Call { events, key, done }) = call {
            let at = context.clock.now();
            if let Some(last) = key.as_ref().and_then(|key| repeats.find(key, at)) {
                answers.push((done, Taken { last, repeat: true }));
            } else {
                for event in &events {
                    builder.push(event, next, at);
                    next += 1;
                    if builder.is_full() {
                        batches.extend(builder.take());
                    }
                }
                let last = next - 1;
                if let Some(key) = key.filter(|_| !events.is_empty()) {
                    let call = KeyedCall { key, last, at };
                    keyed.push(call.clone());
                    repeats.add(call);
                }
                answers.push((done, Taken { last, repeat: false }));
            }
            // Calls without events fill no batch, but they too want an answer some time.
            let enough = !batches.is_empty() || answers.len() >= WAITING_CALLS;
            call = if enough { None } else { queue.calls.try_recv().ok() };
        }
        batches.extend(builder.take());
        let calls = keyed.len();
        let full = context.keep(&batches, keyed).await?.err();
        match &full {
            None => {
                for batch in batches {
                    context.give(batch).await?;
                }
            }
            Some(_) => {
                next = first;
                repeats.take_back(calls);
            }
        }
        for (done, taken) in answers.drain(..) {
            let taken: Taken = taken;
            // Repeats of earlier calls are as they were.
            let taken =
                full.clone().filter(|_| taken.last >= first).map_or(Ok(taken), |full| Err(NotTaken::Full(full)));
            // A caller that went away wants no answer; its events are in all the same.
            done.send(taken).ok();
        }
    }
    // No handle is left. That is no end of the stream: its windows stay open until the source is stopped.
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures_util::future::BoxFuture;

    use super::super::contract::{self, NOW, Stage};
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::super::journal::{Journal, NotKept};
    use super::*;
    use crate::record::RawBatch;

    /// A journal that outlives its source, not the process.
    #[derive(Default)]
    struct Memory {
        kept: Mutex<Vec<RawBatch>>,
        calls: Mutex<Vec<KeyedCall>>,
        /// Takes nothing for now.
        full: AtomicBool,
        /// Takes nothing any more.
        failed: bool,
    }

    impl Journal for Memory {
        fn next(&self) -> i64 {
            self.kept.lock().unwrap().last().map_or(0, |batch| batch.offsets.last().unwrap() + 1)
        }

        fn calls(&self) -> BoxFuture<'_, Result<Vec<KeyedCall>, String>> {
            Box::pin(async { Ok(self.calls.lock().unwrap().clone()) })
        }

        fn read(&self, from: i64) -> BoxFuture<'_, Result<Option<RawBatch>, String>> {
            let kept = self.kept.lock().unwrap();
            let found = kept.iter().find(|batch| *batch.offsets.last().unwrap() >= from).cloned();
            Box::pin(async { Ok(found) })
        }

        fn keep(&self, batches: Vec<RawBatch>, calls: Vec<KeyedCall>) -> BoxFuture<'_, Result<(), NotKept>> {
            Box::pin(async move {
                if self.failed {
                    return Err(NotKept::Failed("the disk failed".into()));
                }
                if self.full.load(Ordering::Acquire) {
                    return Err(NotKept::Full("the disk is full".into()));
                }
                self.kept.lock().unwrap().extend(batches);
                self.calls.lock().unwrap().extend(calls);
                Ok(())
            })
        }
    }

    fn start_with(stage: &Stage, journal: &Arc<Memory>, first: i64) -> PushHandle {
        let (handle, queue) = channel();
        let journal = Some(journal.clone() as Arc<dyn Journal>);
        stage.run(|context| run(Options { queue, first }, SourceContext { journal, ..context }));
        handle
    }

    #[tokio::test]
    async fn keeps_the_contract_of_sources_with_a_journal() {
        contract::holds(|stage, events| {
            let handle = start_with(stage, &Arc::default(), 0);
            tokio::spawn(async move {
                for chunk in events.chunks(5_000) {
                    if handle.send(chunk.to_vec()).await.is_err() {
                        return;
                    }
                }
            });
        })
        .await;
    }

    #[tokio::test]
    async fn what_was_kept_comes_again_from_the_resumed_position_on_and_keys_are_known() {
        let journal = Arc::new(Memory::default());
        let mut stage = Stage::new(1024);
        let handle = start_with(&stage, &journal, 0);
        let key = |key: &str| Some(key.to_owned());
        let taken = |last: i64, repeat: bool| Ok(Taken { last, repeat });
        let events = contract::events(9);
        assert_eq!(handle.send_as(key("a"), events[..5].to_vec()).await, taken(4, false));
        assert_eq!(handle.send_as(key("b"), events[5..].to_vec()).await, taken(8, false));
        assert_eq!(handle.send_as(key("a"), events[..5].to_vec()).await, taken(4, true));
        assert_eq!(stage.take(9).await.events(0).len(), 9);
        stage.stop().await.unwrap();

        let mut stage = Stage::new(2);
        let handle = start_with(&stage, &journal, 3);
        assert_eq!(handle.send_as(key("b"), events[5..].to_vec()).await, taken(8, true));
        assert_eq!(handle.send_as(key("c"), events[..1].to_vec()).await, taken(9, false));
        let seen = stage.take(7).await;
        assert!(seen.events(0).iter().map(|(offset, _)| *offset).eq(3..10));
        assert!(seen.events(0).iter().map(|(_, event)| event).eq(events[3..].iter().chain(&events[..1])));
        assert_eq!(seen.arrivals, [NOW; 7]);
        stage.stop().await.unwrap();
    }

    #[tokio::test]
    async fn what_cannot_be_kept_is_not_taken() {
        let stage = Stage::new(1024);
        let handle = start_with(&stage, &Arc::new(Memory { failed: true, ..Memory::default() }), 0);
        assert_eq!(handle.send(contract::events(1)).await, Err(NotTaken::Stopped));
        let error = stage.ended().await.unwrap_err();
        assert_eq!(error.to_string(), "source cards: the disk failed");
    }

    #[tokio::test]
    async fn what_there_is_no_room_for_is_refused_and_taken_later() {
        let mut stage = Stage::new(2);
        let journal = Arc::new(Memory::default());
        let handle = start_with(&stage, &journal, 0);
        let events = contract::events(3);
        let key = |key: &str| Some(key.to_owned());
        assert_eq!(handle.send_as(key("a"), events[..1].to_vec()).await, Ok(Taken { last: 0, repeat: false }));
        journal.full.store(true, Ordering::Release);
        let full = Err(NotTaken::Full("the disk is full".into()));
        assert_eq!(handle.send_as(key("b"), events[1..].to_vec()).await, full);
        assert_eq!(handle.send_as(key("b"), events[1..].to_vec()).await, full, "the key is not known by what failed");
        assert_eq!(handle.send_as(key("a"), events[..1].to_vec()).await, Ok(Taken { last: 0, repeat: true }));
        journal.full.store(false, Ordering::Release);
        assert_eq!(handle.send_as(key("b"), events[1..].to_vec()).await, Ok(Taken { last: 2, repeat: false }));
        let seen = stage.take(3).await;
        assert!(seen.events(0).iter().map(|(offset, event)| (*offset, event)).eq((0..).zip(&events)));
    }

    fn start(stage: &Stage, first: i64) -> PushHandle {
        let (handle, queue) = channel();
        stage.run(|context| run(Options { queue, first }, context));
        handle
    }

    #[tokio::test]
    async fn keeps_the_contract_of_sources() {
        contract::holds(|stage, events| {
            let handle = start(stage, 0);
            tokio::spawn(async move {
                for chunk in events.chunks(101) {
                    if handle.send(chunk.to_vec()).await.is_err() {
                        return;
                    }
                }
            });
        })
        .await;
    }

    #[tokio::test]
    async fn answers_with_the_number_of_the_last_event_once_it_is_in_the_queue() {
        let mut stage = Stage::new(1024);
        let handle = start(&stage, 40);
        assert_eq!(handle.send_lines(&Bytes::from_static(b"a\nb\n\nc")).await, Ok(42));
        assert_eq!(handle.send(vec![]).await, Ok(42), "no event, no new number");
        let whole = handle.of_whole_frames();
        assert_eq!(whole.send_lines(&Bytes::from_static(b"\n\xff\n")).await, Ok(43));
        assert!(whole.events(&Bytes::new()).is_empty());
        let seen = stage.take(4).await;
        assert_eq!(
            seen.events(0),
            [(40, "a".into()), (41, "b".into()), (42, "c".into()), (43, Bytes::from_static(b"\n\xff\n"))]
        );
    }

    #[tokio::test]
    async fn calls_that_wait_together_become_one_batch() {
        let mut stage = Stage::new(1024);
        let (handle, queue) = channel();
        let calls: Vec<_> = (0..50)
            .map(|number| {
                let handle = handle.clone();
                tokio::spawn(async move { handle.send(vec![Bytes::from(number.to_string())]).await })
            })
            .collect();
        tokio::task::yield_now().await;
        stage.run(|context| run(Options { queue, first: 0 }, context));
        let seen = stage.take(50).await;
        assert_eq!(seen.batches, 1);
        for (number, call) in calls.into_iter().enumerate() {
            assert_eq!(call.await.unwrap(), Ok(i64::try_from(number).unwrap()));
        }
    }

    #[tokio::test]
    async fn a_caller_hears_that_the_source_has_stopped() {
        let stage = Stage::new(1024);
        let handle = start(&stage, 0);
        handle.send(vec![Bytes::from_static(b"a")]).await.unwrap();
        stage.stop().await.unwrap();
        assert_eq!(handle.send(vec![Bytes::from_static(b"b")]).await, Err(NotTaken::Stopped));
    }
}
