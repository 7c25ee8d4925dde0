//! Rows to whoever listens: a view's as they are given out, or a service's combined ones.
//!
//! - Nobody waits for a subscriber. Rows queue for it up to [`QUEUE`] bytes; one that is further behind when more come
//!   is cut off, and told so.
//! - Rows are written as JSON once, whoever listens, and shared; while nobody listens nothing is done at all.
//! - A subscriber hears what comes after it has subscribed, in the order in which it was given out.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, not};
use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use super::SinkError;
use super::json_lines::{RowForm, Rows};

/// How many bytes of rows wait for a subscriber before it is cut off. One batch more may be on its way.
pub const QUEUE: usize = 8 << 20;

/// What a provisional row ends with: names that begin so are Millrace's own.
const PROVISIONAL: &[u8] = b",\"__provisional\":true}";

/// What a stream is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// The rows of a view.
    View,
    /// The combined rows of a service.
    Service,
}

impl StreamKind {
    /// Its name in requests, metrics and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Service => "service",
        }
    }
}

/// Why there is no subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoStream {
    /// The project has no such view or service.
    Unknown,
    /// It has, but without an output to WebSockets.
    Off,
}

/// Why a subscription is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The subscriber was too slow.
    CutOff,
    /// No more rows come.
    Finished,
}

/// All streams of a project.
#[derive(Debug, Default)]
pub struct Hub {
    streams: Vec<(StreamKind, String, Option<Arc<Stream>>)>,
}

#[derive(Debug)]
struct Stream {
    form: RowForm,
    /// How many listen, and how many of them to provisional rows: looked at before the lock is taken.
    listening: AtomicUsize,
    to_updates: AtomicUsize,
    listeners: Mutex<Listeners>,
}

#[derive(Debug, Default)]
struct Listeners {
    all: Vec<Listener>,
    next: u64,
    finished: bool,
}

#[derive(Debug)]
struct Listener {
    id: u64,
    updates: bool,
    queue: mpsc::UnboundedSender<Frames>,
    state: Arc<State>,
}

/// What publisher and subscriber share.
#[derive(Debug, Default)]
struct State {
    queued: AtomicUsize,
    cut_off: AtomicBool,
    cut: Notify,
}

/// Rows that were given out together, a frame each.
#[derive(Clone, Debug)]
pub struct Frames {
    rows: Arc<[Bytes]>,
    bytes: usize,
}

impl Frames {
    /// The frames, in order: JSON without a newline.
    pub fn rows(&self) -> &[Bytes] {
        &self.rows
    }
}

impl Hub {
    /// Streams that nothing is sent to yet: each view and service of the project, and in which form those are written
    /// that can be listened to.
    pub fn new(streams: impl IntoIterator<Item = (StreamKind, String, Option<RowForm>)>) -> Self {
        let stream = |form| {
            let (listening, to_updates) = (AtomicUsize::new(0), AtomicUsize::new(0));
            Arc::new(Stream { form, listening, to_updates, listeners: Mutex::default() })
        };
        let streams = streams.into_iter().map(|(kind, name, form)| (kind, name, form.map(stream)));
        Self { streams: streams.collect() }
    }

    /// Where rows of a stream go in. There is one for each stream; when it is dropped the stream is finished.
    pub fn feed(&self, kind: StreamKind, name: &str) -> Option<Feed> {
        self.find(kind, name).ok().cloned().map(Feed)
    }

    /// Listens from now on; with `updates` to provisional rows too.
    ///
    /// # Errors
    /// [`NoStream`].
    pub fn subscribe(&self, kind: StreamKind, name: &str, updates: bool) -> Result<Subscription, NoStream> {
        let stream = self.find(kind, name)?.clone();
        let (queue, rows) = mpsc::unbounded_channel();
        let state = Arc::new(State::default());
        let mut listeners = stream.lock();
        let id = listeners.next;
        listeners.next += 1;
        if !listeners.finished {
            listeners.all.push(Listener { id, updates, queue, state: state.clone() });
            stream.count(&listeners);
        }
        drop(listeners);
        Ok(Subscription { stream, id, rows, state, taken: 0 })
    }

    /// The names of all streams of a kind.
    pub fn names(&self, kind: StreamKind) -> impl Iterator<Item = &String> {
        self.streams.iter().filter(move |(known, ..)| *known == kind).map(|(_, name, _)| name)
    }

    fn find(&self, kind: StreamKind, name: &str) -> Result<&Arc<Stream>, NoStream> {
        let found = self.streams.iter().find(|(known, of, _)| *known == kind && of == name);
        let (.., stream) = found.ok_or(NoStream::Unknown)?;
        stream.as_ref().ok_or(NoStream::Off)
    }
}

impl Stream {
    fn lock(&self) -> MutexGuard<'_, Listeners> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, listeners: &Listeners) {
        self.listening.store(listeners.all.len(), Ordering::Relaxed);
        let to_updates = listeners.all.iter().filter(|listener| listener.updates).count();
        self.to_updates.store(to_updates, Ordering::Relaxed);
    }

    /// Queues frames for everybody who wants them, and cuts off who has not taken the ones before.
    fn publish(&self, frames: &Frames, updates: bool) {
        let mut listeners = self.lock();
        let before = listeners.all.len();
        listeners.all.retain(|listener| (updates && !listener.updates) || listener.take(frames));
        if listeners.all.len() != before {
            self.count(&listeners);
        }
    }
}

impl Listener {
    /// Whether it is still there afterwards.
    fn take(&self, frames: &Frames) -> bool {
        if self.state.queued.load(Ordering::Relaxed) > QUEUE {
            self.state.cut_off.store(true, Ordering::Release);
            self.state.cut.notify_one();
            return false;
        }
        self.state.queued.fetch_add(frames.bytes, Ordering::Relaxed);
        self.queue.send(frames.clone()).is_ok()
    }
}

/// Where a stream's rows go in.
#[derive(Debug)]
pub struct Feed(Arc<Stream>);

impl Feed {
    /// Gives rows to all subscribers, but for those by which a key is deleted.
    pub(super) fn write(&self, batch: &RecordBatch, deleted: Option<&BooleanArray>) -> Result<(), SinkError> {
        if self.0.listening.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        match deleted {
            None => self.publish(batch, b"}", false),
            Some(deleted) => self.publish(&filter_record_batch(batch, &not(deleted)?)?, b"}", false),
        }
    }

    /// Gives provisional rows to those subscribers that want them.
    pub(super) fn write_updates(&self, batch: &RecordBatch) -> Result<(), SinkError> {
        match self.0.to_updates.load(Ordering::Relaxed) {
            0 => Ok(()),
            _ => self.publish(batch, PROVISIONAL, true),
        }
    }

    /// `end` stands in for the closing brace of every row.
    fn publish(&self, batch: &RecordBatch, end: &[u8], updates: bool) -> Result<(), SinkError> {
        let mut rows = Rows::of(batch, &self.0.form)?;
        let mut text = Vec::new();
        let ends: Vec<usize> = (0..batch.num_rows())
            .map(|row| {
                rows.write(row, &mut text);
                text.pop();
                text.extend_from_slice(end);
                text.len()
            })
            .collect();
        if ends.is_empty() {
            return Ok(());
        }
        let text = Bytes::from(text);
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let rows = starts.zip(&ends).map(|(start, &end)| text.slice(start..end)).collect();
        self.0.publish(&Frames { rows, bytes: text.len() }, updates);
        Ok(())
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let mut listeners = self.0.lock();
        listeners.finished = true;
        listeners.all.clear();
        self.0.count(&listeners);
    }
}

/// One subscriber's end; dropping it unsubscribes.
#[derive(Debug)]
pub struct Subscription {
    stream: Arc<Stream>,
    id: u64,
    rows: mpsc::UnboundedReceiver<Frames>,
    state: Arc<State>,
    /// The bytes that were handed out last.
    taken: usize,
}

impl Subscription {
    /// The next rows; asking for them says that those before are done with.
    ///
    /// # Errors
    /// [`End`]; there are no more.
    pub async fn next(&mut self) -> Result<Frames, End> {
        self.state.queued.fetch_sub(std::mem::take(&mut self.taken), Ordering::Relaxed);
        let frames = self.rows.recv().await;
        if self.state.cut_off.load(Ordering::Acquire) {
            return Err(End::CutOff);
        }
        let frames = frames.ok_or(End::Finished)?;
        self.taken = frames.bytes;
        Ok(frames)
    }

    /// Waits until this subscriber is cut off.
    pub async fn cut_off(&self) {
        while !self.state.cut_off.load(Ordering::Acquire) {
            self.state.cut.notified().await;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut listeners = self.stream.lock();
        listeners.all.retain(|listener| listener.id != self.id);
        self.stream.count(&listeners);
    }
}

#[cfg(test)]
mod tests;
