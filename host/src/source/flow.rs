//! What readers and workers tell each other of every partition: how far it is, whether its reader wants events, and
//! whether it may read on.
//!
//! A reader **gives** a batch: it waits until its partition is not ahead of those that it meets ([`crate::engine::skew`]
//! decides), and then for room on its lane. A worker says how far each batch has taken the partition. What is under way
//! between the two is not known yet and so comes on top of the greatest skew: [`MOST_UNDER_WAY`] batches of a partition
//! that meets others.
//!
//! Always true: a partition counts as silent only for as long as its reader has waited for events and nothing of it is
//! on its way; so neither a full lane nor a pause makes it idle. Plain atomics but for the waiting itself, and the list of
//! partitions, which grows with a topic; a reader that is held looks again every tenth of a second whatever it hears.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::engine::skew::{Reach, is_ahead};
use crate::engine::watermark::BEFORE_ALL;
use crate::record::Origin;
use crate::time::{Clock, Micros};

/// How often a reader that is held looks whether that still is so.
const LOOK: Duration = Duration::from_millis(100);

/// How many batches of a partition that meets others are under way to its worker at most: enough for both to be busy.
pub const MOST_UNDER_WAY: u64 = 4;

/// In place of a time: the reader does not wait for events.
const BUSY: Micros = Micros::MAX;

/// What has to be known of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceTraits {
    /// Whether it ends by itself.
    pub bounded: bool,
    /// Whether what is not read is kept where it comes from. Others are always read: senders would give up, and what they
    /// send be lost.
    pub kept: bool,
    /// The sources that its partitions meet, by index; itself among them if they meet each other.
    pub meets: Vec<u16>,
}

/// The partitions of all sources.
#[derive(Debug)]
pub struct Flow {
    max_skew: Option<Micros>,
    sources: Vec<SourceFlow>,
    /// How many readers are held.
    held: AtomicUsize,
    /// Told to those when a partition has come further.
    moved: Notify,
}

#[derive(Debug)]
struct SourceFlow {
    traits: SourceTraits,
    /// When it was started.
    begun: Micros,
    /// Those that the source has told of; none before it has.
    partitions: RwLock<Vec<Arc<PartitionFlow>>>,
}

#[derive(Debug)]
struct PartitionFlow {
    begun: Micros,
    newest: AtomicI64,
    /// Idle or ended.
    out: AtomicBool,
    waiting_since: AtomicI64,
    /// Batches that were given and not taken.
    under_way: AtomicU64,
    /// Told when the greatest number of them becomes less.
    room: Notify,
    held: AtomicBool,
}

impl PartitionFlow {
    fn waiting_since(&self) -> Option<Micros> {
        let since = self.waiting_since.load(Ordering::SeqCst);
        (since != BUSY && self.under_way.load(Ordering::SeqCst) == 0).then_some(since)
    }
}

impl SourceFlow {
    /// The least time at which one of its partitions is waited for.
    fn slowest(&self, now: Micros) -> Option<Micros> {
        let bounded = self.traits.bounded;
        let partitions = self.partitions();
        if partitions.is_empty() {
            let begun = self.begun;
            return Reach { newest: BEFORE_ALL, bounded, out: false, begun, waiting_since: None }.waited_for(now);
        }
        let reach = |partition: &PartitionFlow| Reach {
            newest: partition.newest.load(Ordering::SeqCst),
            bounded,
            out: partition.out.load(Ordering::SeqCst),
            begun: partition.begun,
            waiting_since: partition.waiting_since(),
        };
        partitions.iter().filter_map(|partition| reach(partition).waited_for(now)).min()
    }

    fn partitions(&self) -> RwLockReadGuard<'_, Vec<Arc<PartitionFlow>>> {
        self.partitions.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flow {
    /// None of the sources, which start at `now`, has told of its partitions. Without `max_skew` all may always be read.
    pub fn new(max_skew: Option<Micros>, sources: Vec<SourceTraits>, now: Micros) -> Self {
        let source = |traits| SourceFlow { traits, begun: now, partitions: RwLock::default() };
        let sources = sources.into_iter().map(source).collect();
        Self { max_skew, sources, held: AtomicUsize::new(0), moved: Notify::new() }
    }

    /// The source has so many partitions, and begins to read those that it has not told of. Those that come when others
    /// have begun are idle until they have given something.
    pub(super) fn announce(&self, source: u16, count: u32, now: Micros) {
        let Some(source) = self.sources.get(usize::from(source)) else { return };
        let mut partitions = source.partitions.write().unwrap_or_else(PoisonError::into_inner);
        let grows = !partitions.is_empty();
        let partition = || PartitionFlow {
            begun: now,
            newest: AtomicI64::new(BEFORE_ALL),
            out: AtomicBool::new(grows),
            waiting_since: AtomicI64::new(now),
            under_way: AtomicU64::new(0),
            room: Notify::new(),
            held: AtomicBool::new(false),
        };
        let count = usize::try_from(count).unwrap_or(usize::MAX).max(partitions.len());
        partitions.resize_with(count, || Arc::new(partition()));
    }

    /// The reader has events, and waits for none until it [has given](Self::given) them.
    pub fn has_some(&self, origin: Origin) {
        if let Some(partition) = self.partition(origin) {
            partition.waiting_since.store(BUSY, Ordering::SeqCst);
        }
    }

    /// A batch goes out.
    pub(super) fn giving(&self, origin: Origin) {
        if let Some(partition) = self.partition(origin) {
            partition.under_way.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// It has gone out: the reader waits for events.
    pub fn given(&self, origin: Origin, now: Micros) {
        if let Some(partition) = self.partition(origin) {
            partition.waiting_since.store(now, Ordering::SeqCst);
        }
    }

    /// Whether a partition may not be read on.
    pub fn is_ahead(&self, origin: Origin, now: Micros) -> bool {
        let Some(max_skew) = self.max_skew.filter(|_| self.is_in_step(origin)) else { return false };
        let source = self.sources.get(usize::from(origin.source));
        let (Some(source), Some(partition)) = (source, self.partition(origin)) else { return false };
        let met = source.traits.meets.iter().filter_map(|met| self.sources.get(usize::from(*met)));
        let slowest = met.filter_map(|met| met.slowest(now)).min();
        is_ahead(partition.newest.load(Ordering::SeqCst), slowest, max_skew)
    }

    /// Whether a partition may have to wait for others at all.
    fn is_in_step(&self, origin: Origin) -> bool {
        let Some(source) = self.sources.get(usize::from(origin.source)) else { return false };
        let alone = || source.partitions().len() == 1;
        let meets = match source.traits.meets.as_slice() {
            [] => false,
            [own] if *own == origin.source => !alone(),
            _ => true,
        };
        self.max_skew.is_some() && source.traits.kept && meets
    }

    /// Waits until a partition may be read on.
    pub(super) async fn until_near(&self, origin: Origin, clock: &dyn Clock) {
        let Some(partition) = self.partition(origin).filter(|_| self.is_in_step(origin)) else { return };
        while partition.under_way.load(Ordering::SeqCst) >= MOST_UNDER_WAY {
            partition.room.notified().await;
        }
        if !self.is_ahead(origin, clock.now()) {
            return;
        }
        let _held = Held::new(self, &partition);
        loop {
            // Listened to before looking, so that nothing is missed in between.
            let mut moved = std::pin::pin!(self.moved.notified());
            moved.as_mut().enable();
            if !self.is_ahead(origin, clock.now()) {
                return;
            }
            // Somebody may become quiet without a word.
            timeout(LOOK, moved).await.ok();
        }
    }

    /// A worker has taken a batch, after which the partition has come to `newest`.
    pub fn taken(&self, origin: Origin, newest: Micros) {
        if let Some(partition) = self.partition(origin) {
            partition.newest.store(newest, Ordering::SeqCst);
            partition.out.store(false, Ordering::SeqCst);
            if partition.under_way.fetch_sub(1, Ordering::SeqCst) >= MOST_UNDER_WAY {
                partition.room.notify_one();
            }
            self.tell();
        }
    }

    /// The partition is idle, or has ended.
    pub fn out(&self, origin: Origin) {
        if let Some(partition) = self.partition(origin)
            && !partition.out.swap(true, Ordering::SeqCst)
        {
            self.tell();
        }
    }

    /// Whether a partition is idle, or has ended, by what its worker last said.
    pub fn is_out(&self, origin: Origin) -> bool {
        self.partition(origin).is_some_and(|partition| partition.out.load(Ordering::SeqCst))
    }

    /// Since when the partition's reader has been waiting for events, with all that it gave taken; none while it does not.
    pub fn waiting_since(&self, origin: Origin) -> Option<Micros> {
        self.partition(origin)?.waiting_since()
    }

    /// How many partitions of a source are not read on for being ahead.
    pub fn held(&self, source: u16) -> usize {
        let Some(source) = self.sources.get(usize::from(source)) else { return 0 };
        source.partitions().iter().filter(|partition| partition.held.load(Ordering::SeqCst)).count()
    }

    /// Whether any partition is not read on for being ahead.
    pub fn holds(&self) -> bool {
        self.held.load(Ordering::SeqCst) > 0
    }

    fn tell(&self) {
        if self.holds() {
            self.moved.notify_waiters();
        }
    }

    fn partition(&self, origin: Origin) -> Option<Arc<PartitionFlow>> {
        let partitions = self.sources.get(usize::from(origin.source))?.partitions();
        partitions.get(usize::try_from(origin.partition).ok()?).cloned()
    }
}

/// For as long as it lives the partition is held; a reader that is stopped is not.
struct Held<'a> {
    flow: &'a Flow,
    partition: &'a PartitionFlow,
}

impl<'a> Held<'a> {
    fn new(flow: &'a Flow, partition: &'a PartitionFlow) -> Self {
        partition.held.store(true, Ordering::SeqCst);
        flow.held.fetch_add(1, Ordering::SeqCst);
        Self { flow, partition }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.partition.held.store(false, Ordering::SeqCst);
        self.flow.held.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests;
