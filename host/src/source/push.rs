//! Events that something in this process hands in: the HTTP server's push and the WebSocket endpoint that accepts.
//!
//! One partition; an event's offset is its number, running from [`Options::first`]. A call returns once its events are
//! in the workers' queue, so whoever calls feels the workers' back-pressure. Calls that wait together become one batch;
//! a lone call goes out at once. The source never ends by itself: an endpoint without callers is a quiet one.

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::batch::BatchBuilder;
use super::intake::Stopped;
use super::{SourceContext, SourceError, lines};

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
    done: oneshot::Sender<i64>,
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
    /// The source has stopped; some of the events may have been taken.
    pub async fn send(&self, events: Vec<Bytes>) -> Result<i64, Stopped> {
        let (done, answer) = oneshot::channel();
        self.calls.send(Call { events, done }).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }

    /// Hands in the events of a body or of a WebSocket frame.
    ///
    /// # Errors
    /// As [`PushHandle::send`].
    pub async fn send_lines(&self, body: &Bytes) -> Result<i64, Stopped> {
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
    context.announce(&[first]).await?;
    let mut batch = BatchBuilder::new(context.origin(0), context.batch_rows);
    let mut next = first;
    let mut answers = Vec::new();
    while let Some(call) = queue.calls.recv().await {
        let mut call = Some(call);
        while let Some(Call { events, done }) = call {
            let arrival = context.clock.now();
            for event in &events {
                batch.push(event, next, arrival);
                next += 1;
                if batch.is_full() {
                    flush(&mut batch, context).await?;
                }
            }
            answers.push((done, next - 1));
            // Calls without events fill no batch, but they too want an answer some time.
            let enough = batch.is_full() || answers.len() >= WAITING_CALLS;
            call = if enough { None } else { queue.calls.try_recv().ok() };
        }
        flush(&mut batch, context).await?;
        for (done, last) in answers.drain(..) {
            // A caller that went away wants no answer; its events are in all the same.
            done.send(last).ok();
        }
    }
    // No handle is left. That is no end of the stream: its windows stay open until the source is stopped.
    std::future::pending().await
}

async fn flush(batch: &mut BatchBuilder, context: &SourceContext) -> Result<(), SourceError> {
    if let Some(batch) = batch.take() {
        context.give(batch).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::contract::{self, Stage};
    use super::*;

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
        assert_eq!(handle.send(vec![Bytes::from_static(b"b")]).await, Err(Stopped));
    }
}
