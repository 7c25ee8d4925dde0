//! The rules by which workers exchange messages and barriers, and by which the keeper listens to them: what may be read
//! now, what is held, when a barrier goes on.
//!
//! Nothing here sends or receives: a worker (`topology/worker`) asks what it may do, does it, and says what came of it; so
//! does the keeper. `model` does the same with channels of one place, and visits every state that can be reached.
//!
//! ```text
//!   sources ─▶ lane 0 ─▶ lane 1 ─▶ … ─▶ last lane       from every worker to every worker, a channel each
//!                 └─────────┴──────────────┴─▶ keeper    from every worker
//! ```
//! Always true:
//! - A message of one lane leads to messages of later lanes alone, and is taken only while nothing is held for those: what
//!   is held is no more than what one message leads to.
//! - What has no room is held, and waited for by nobody: whoever holds something for one lane goes on taking from later
//!   ones. So the last lane always moves, hence the one before it in the end, and no circle of workers waits for each other.
//! - Between two barriers of one inbox lies what its sender gave in one epoch; nothing behind a barrier is taken before all
//!   that is ahead of it, on all lanes, from all senders.

#[cfg(test)]
mod model;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

/// How many outputs of reading are held for the next epoch, at which sources are no longer read before that begins.
const EARLY: usize = 4;

/// A worker's part of the exchange: messages `M` to workers, outputs `O` to the keeper.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Exchange<M, O> {
    /// By lane and receiver, what its inbox had no room for.
    held: Vec<Vec<VecDeque<M>>>,
    /// What the keeper had no room for.
    outputs: VecDeque<O>,
    /// Whether a barrier of its own is on its way through the stages: what is read meanwhile is of the next epoch.
    under_way: bool,
    /// What reading gave the keeper meanwhile.
    early: VecDeque<O>,
    /// By lane and sender, the inboxes that are not read: each behind a barrier, until that has come from all.
    closed: Vec<Vec<bool>>,
    /// How far the barriers of each epoch have come.
    barriers: BTreeMap<u64, Alignment>,
}

/// How far the barriers of an epoch have come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Alignment {
    /// How many senders' have come on each lane.
    counts: Vec<usize>,
    /// The last lane on which it has gone on.
    passed: usize,
}

/// A barrier that may go on once all that comes before it is given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Awaited {
    /// The epoch.
    pub epoch: u64,
    /// The lanes on which it may go on, in this order, each once the stages that give on it have given all; one behind the
    /// last stands for the epoch's end.
    pub lanes: Range<usize>,
}

/// What follows from a barrier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// The lanes on which it goes to all workers now, behind what is held for them.
    pub lanes: Range<usize>,
    /// Whether it has come on all lanes: all of the epoch has been taken, and all inboxes are open again.
    pub done: bool,
}

impl<M, O> Exchange<M, O> {
    /// Between so many workers, over so many lanes.
    pub fn new(lanes: usize, workers: usize) -> Self {
        Self {
            held: (0..lanes).map(|_| (0..workers).map(|_| VecDeque::new()).collect()).collect(),
            outputs: VecDeque::new(),
            under_way: false,
            early: VecDeque::new(),
            closed: vec![vec![false; workers]; lanes],
            barriers: BTreeMap::new(),
        }
    }

    /// Whether sources may be read and an epoch begun: nothing is held.
    pub fn may_read(&self) -> bool {
        self.may_take_from(0)
    }

    /// Whether events of sources may be taken: as above, and not too much of it has to wait for the next epoch.
    pub fn may_take_events(&self) -> bool {
        self.may_read() && self.early.len() < EARLY
    }

    /// Whether an inbox may be read: it is not behind a barrier, and nothing is held that its messages lead to.
    pub fn may_take(&self, lane: usize, sender: usize) -> bool {
        self.may_take_from(lane + 1) && !self.is_closed(lane, sender)
    }

    /// Whether something may be given on a lane: nothing is held for it, for later ones and for the keeper.
    pub fn may_give(&self, lane: usize) -> bool {
        self.may_take_from(lane)
    }

    /// Whether time alone may have something given out: not while a barrier is on its way through the worker, since what
    /// came of it then would be neither ahead of the barrier nor in the state behind it.
    pub fn may_tick(&self) -> bool {
        self.may_read() && !self.closed.iter().flatten().any(|closed| *closed)
    }

    /// Whether outputs wait for the keeper; nothing else may be done then but to send.
    pub fn gives(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// Whether something is held for an inbox.
    pub fn holds(&self, lane: usize, receiver: usize) -> bool {
        self.held.get(lane).and_then(|lane| lane.get(receiver)).is_some_and(|held| !held.is_empty())
    }

    /// Holds a message until it is sent.
    pub fn hold(&mut self, lane: usize, receiver: usize, message: M) {
        if let Some(held) = self.held.get_mut(lane).and_then(|lane| lane.get_mut(receiver)) {
            held.push_back(message);
        }
    }

    /// Holds a message for every worker.
    pub fn hold_for_all(&mut self, lane: usize, message: impl Fn() -> M) {
        for held in self.held.get_mut(lane).into_iter().flatten() {
            held.push_back(message());
        }
    }

    /// Holds an output until it is sent.
    pub fn give(&mut self, output: O) {
        self.outputs.push_back(output);
    }

    /// Begins an epoch: its barrier goes to all on the first lane, behind what was read.
    pub fn begin(&mut self, barrier: impl Fn() -> M) {
        self.hold_for_all(0, barrier);
        self.under_way = true;
    }

    /// Holds what reading gives the keeper by itself, not by way of the stages: while a barrier is on its way through those it
    /// waits for the end of their epoch.
    pub fn give_read(&mut self, output: O) {
        if self.under_way { self.early.push_back(output) } else { self.outputs.push_back(output) }
    }

    /// The last output of an epoch has been given: what was read meanwhile follows.
    pub fn end(&mut self) {
        self.under_way = false;
        self.outputs.append(&mut self.early);
    }

    /// Takes note of a barrier that was taken from an inbox, and says where it goes on where all is given out by then.
    pub fn barrier(&mut self, lane: usize, sender: usize, epoch: u64) -> Passed {
        self.note(lane, sender, epoch);
        let mut all = Passed { lanes: 0..0, done: false };
        while self.awaits().is_some() {
            let passed = self.pass(epoch);
            if !passed.lanes.is_empty() {
                let start = if all.lanes.is_empty() { passed.lanes.start } else { all.lanes.start };
                all.lanes = start..passed.lanes.end;
            }
            all.done |= passed.done;
        }
        all
    }

    /// Takes note of a barrier that was taken from an inbox, and closes that.
    pub fn note(&mut self, lane: usize, sender: usize, epoch: u64) {
        if let Some(closed) = self.closed.get_mut(lane).and_then(|lane| lane.get_mut(sender)) {
            *closed = true;
        }
        let lanes = self.closed.len();
        let new = || Alignment { counts: vec![0; lanes], passed: 0 };
        let alignment = self.barriers.entry(epoch).or_insert_with(new);
        if let Some(count) = alignment.counts.get_mut(lane) {
            *count += 1;
        }
    }

    /// A barrier that has come from all senders on all lanes up to some, and may go on.
    pub fn awaits(&self) -> Option<Awaited> {
        let workers = self.closed.first().map_or(0, Vec::len);
        self.barriers.iter().find_map(|(epoch, alignment)| {
            let whole = alignment.counts.iter().take_while(|count| **count == workers).count();
            let lanes = alignment.passed + 1..whole + 1;
            (!lanes.is_empty()).then_some(Awaited { epoch: *epoch, lanes })
        })
    }

    /// All that comes before a barrier that is awaited is given out, up to the first of its lanes: it goes on there.
    pub fn pass(&mut self, epoch: u64) -> Passed {
        let lanes = self.closed.len();
        let Some(alignment) = self.barriers.get_mut(&epoch) else { return Passed { lanes: 0..0, done: false } };
        alignment.passed += 1;
        let next = alignment.passed;
        if next < lanes {
            return Passed { lanes: next..next + 1, done: false };
        }
        self.barriers.remove(&epoch);
        self.closed.iter_mut().flatten().for_each(|closed| *closed = false);
        Passed { lanes: 0..0, done: true }
    }

    /// Sends what there is room for: `to_keeper` gets outputs, `to_worker` messages with their lane and receiver, and each
    /// gives back what there is no room for.
    ///
    /// # Errors
    /// One of them fails.
    pub fn send<E>(
        &mut self,
        to_keeper: impl FnMut(O) -> Result<Option<O>, E>,
        mut to_worker: impl FnMut(usize, usize, M) -> Result<Option<M>, E>,
    ) -> Result<(), E> {
        send_all(&mut self.outputs, to_keeper)?;
        for (lane, receivers) in self.held.iter_mut().enumerate() {
            for (receiver, held) in receivers.iter_mut().enumerate() {
                send_all(held, |message| to_worker(lane, receiver, message))?;
            }
        }
        Ok(())
    }

    /// Nothing is held for the keeper, this lane and later ones.
    fn may_take_from(&self, lane: usize) -> bool {
        self.outputs.is_empty() && self.held.iter().skip(lane).flatten().all(VecDeque::is_empty)
    }

    fn is_closed(&self, lane: usize, sender: usize) -> bool {
        self.closed.get(lane).and_then(|lane| lane.get(sender)) == Some(&true)
    }
}

/// Sends as much of a queue as there is room for.
fn send_all<T, E>(queue: &mut VecDeque<T>, mut send: impl FnMut(T) -> Result<Option<T>, E>) -> Result<(), E> {
    while let Some(next) = queue.pop_front() {
        if let Some(next) = send(next)? {
            queue.push_front(next);
            break;
        }
    }
    Ok(())
}

/// The keeper's part: whom it listens to. Not to a worker that has given out all of an epoch, until all others have: what
/// comes of it is of the next epoch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Gathering {
    workers: Vec<Attention>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Attention {
    Listens,
    Done,
    Gone,
}

impl Gathering {
    /// Of so many workers.
    pub fn new(workers: usize) -> Self {
        Self { workers: vec![Attention::Listens; workers] }
    }

    /// Whether a worker is listened to.
    pub fn listens(&self, worker: usize) -> bool {
        self.workers.get(worker) == Some(&Attention::Listens)
    }

    /// Whether nobody is listened to any more: all are gone.
    pub fn is_over(&self) -> bool {
        !self.workers.contains(&Attention::Listens)
    }

    /// A worker has given out all of its epoch; true if that was the last one, and the epoch is over. None is once a worker
    /// has gone before its end: its rows and its state would be missing.
    pub fn done(&mut self, worker: usize) -> bool {
        self.set(worker, Attention::Done);
        let over = self.is_over() && !self.workers.contains(&Attention::Gone);
        if over {
            self.workers.iter_mut().filter(|worker| **worker == Attention::Done).for_each(|worker| {
                *worker = Attention::Listens;
            });
        }
        over
    }

    /// A worker gives nothing more.
    pub fn gone(&mut self, worker: usize) {
        self.set(worker, Attention::Gone);
    }

    fn set(&mut self, worker: usize, attention: Attention) {
        if let Some(known) = self.workers.get_mut(worker) {
            *known = attention;
        }
    }
}
