//! Every run of small worlds: two or three workers, one to three lanes, channels of one place, two epochs, rows that lead
//! to rows on later lanes or wait for the clock, and a keeper that may be as slow as it likes.
//!
//! The rules are the real ones ([`Exchange`], [`Gathering`]); only the channels, the rows and who goes first are made up.
//! All states that can be reached are visited once, the nearest first. Checked in each: no row is taken, and none is kept,
//! in another epoch than its own; what is held stays within its bound; whatever can happen no more has happened. The tests
//! below the first spoil one rule each, to see that the model would notice.

use std::cell::Cell;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashSet};
use std::convert::Infallible;
use std::hash::{Hash, Hasher};

use super::*;

/// The last epoch; the workers end behind it.
const EPOCHS: u8 = 2;

/// What a worker reads.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// Goes to a worker, and from there over every lane to all.
    Spread(usize),
    /// Goes to a worker, and from there to one on each lane.
    Wander(usize),
    /// Goes to a worker and waits there for the clock; then as the first.
    Timed(usize),
    /// Is in error: it goes from the worker that reads it, this one, to the keeper at once.
    Dead(usize),
}

/// A world as it begins.
struct Shape {
    lanes: usize,
    /// By worker, what it reads.
    events: Vec<Vec<Event>>,
    /// Whether a worker sends as soon as there is room: else it may take its time. Nothing that can go wrong depends on
    /// it, since what is held and what is in the channel are one queue; there are many times more states without.
    eager: bool,
    /// Which rule is not the real one.
    spoilt: Option<Spoilt>,
}

/// Rules that are wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoilt {
    /// A barrier is sent ahead of rows that are held.
    BarrierOvertakes,
    /// A barrier goes on when the first sender's has come.
    BarrierGoesOnEarly,
    /// Inboxes behind a barrier are read.
    NeverCloses,
    /// One sender's barrier closes the inboxes of all.
    ClosesTheLane,
    /// A lane's inboxes are opened when its barriers are there, not those of all lanes.
    OpensEarly,
    /// Whatever is held, inboxes are read.
    TakesWhileHeld,
    /// While anything is held at all, no inbox is read.
    TakesOnlyWithNothingHeld,
    /// Sources are read though rows are held.
    ReadsWhileHeld,
    /// The clock is looked at while a barrier is on its way through the worker.
    TicksBetweenBarriers,
    /// And when the last barrier has passed.
    TicksAfterTheEnd,
    /// Rows in error go to the keeper while the barrier ahead of them is on its way.
    GivesEarly,
    /// The keeper listens to workers behind their barrier.
    KeeperListensOn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Message {
    Row(Row),
    Barrier(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Output {
    Row(Row),
    Done(u8),
}

/// A row: the event that it comes of, the workers where it was, and the epoch that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Row {
    event: u8,
    /// Four bits a worker, from 1.
    way: u16,
    epoch: u8,
}

impl Row {
    fn at(self, worker: usize) -> Self {
        Self { way: self.way << 4 | (u16::try_from(worker).unwrap() + 1), ..self }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Worker {
    exchange: Exchange<Message, Output>,
    /// How many events it has read.
    read: usize,
    /// The epoch that it is to begin.
    control: Option<u8>,
    /// The epochs that it has begun, and that it has taken all of.
    begun: u8,
    done: u8,
    /// Rows that wait for the clock.
    waiting: Vec<Row>,
    finished: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    workers: Vec<Worker>,
    /// By receiver, lane and sender; each has one place.
    inboxes: Vec<Option<Message>>,
    /// By worker, to the keeper; likewise.
    outputs: Vec<Option<Output>>,
    gathering: Gathering,
    /// The newest epoch that was begun, and the newest that is over.
    begun: u8,
    ended: u8,
    /// What the keeper has got.
    kept: u64,
    /// By event, the epoch that its rows belong to; 0 before it is known.
    epochs: Vec<u8>,
}

/// What does not change.
struct Laws {
    shape: Shape,
    events: Vec<Vec<(u8, Event)>>,
    /// Each row that the keeper is to get, by event and way.
    expected: BTreeMap<(u8, u16), u32>,
}

impl Laws {
    fn new(shape: Shape) -> Self {
        let mut numbers = 0..;
        let events = shape.events.iter();
        let events: Vec<Vec<(u8, Event)>> =
            events.map(|own| own.iter().map(|event| (numbers.next().unwrap(), *event)).collect()).collect();
        let mut laws = Self { shape, events, expected: BTreeMap::new() };
        let mut open: Vec<(Event, usize, usize, Row)> = Vec::new();
        for (number, event) in laws.events.iter().flatten() {
            let (Event::Spread(to) | Event::Wander(to) | Event::Timed(to) | Event::Dead(to)) = *event;
            open.push((*event, 0, to, Row { event: *number, way: 0, epoch: 0 }));
        }
        while let Some((event, lane, worker, row)) = open.pop() {
            let row = row.at(worker);
            laws.expected.insert((row.event, row.way), laws.expected.len().try_into().unwrap());
            open.extend(laws.next(event, lane, worker).into_iter().map(|to| (event, lane + 1, to, row)));
        }
        assert!(laws.expected.len() <= 64);
        laws
    }

    fn workers(&self) -> usize {
        self.events.len()
    }

    fn event(&self, row: Row) -> Event {
        self.events.iter().flatten().find(|(number, _)| *number == row.event).unwrap().1
    }

    /// Where a row that a worker has taken from a lane leads to on the next.
    fn next(&self, event: Event, lane: usize, worker: usize) -> Vec<usize> {
        match event {
            _ if lane + 1 == self.shape.lanes => Vec::new(),
            Event::Dead(_) => Vec::new(),
            Event::Wander(_) => vec![(worker + 1) % self.workers()],
            Event::Spread(_) | Event::Timed(_) => (0..self.workers()).collect(),
        }
    }

    fn begin(&self) -> World {
        let workers = self.workers();
        let worker = Worker {
            exchange: Exchange::new(self.shape.lanes, workers),
            read: 0,
            control: None,
            begun: 0,
            done: 0,
            waiting: Vec::new(),
            finished: false,
        };
        World {
            workers: vec![worker; workers],
            inboxes: vec![None; workers * self.shape.lanes * workers],
            outputs: vec![None; workers],
            gathering: Gathering::new(workers),
            begun: 0,
            ended: 0,
            kept: 0,
            epochs: vec![0; self.events.iter().flatten().count()],
        }
    }

    fn is(&self, spoilt: Spoilt) -> bool {
        self.shape.spoilt == Some(spoilt)
    }

    fn inbox(&self, receiver: usize, lane: usize, sender: usize) -> usize {
        (receiver * self.shape.lanes + lane) * self.workers() + sender
    }

    fn may_read(&self, worker: &Worker) -> bool {
        worker.exchange.may_read() || self.is(Spoilt::ReadsWhileHeld)
    }

    fn may_take_events(&self, worker: &Worker) -> bool {
        worker.exchange.may_take_events() || self.is(Spoilt::ReadsWhileHeld)
    }

    fn may_take(&self, worker: &Worker, lane: usize, sender: usize) -> bool {
        let open = !worker.exchange.is_closed(lane, sender);
        match self.shape.spoilt {
            Some(Spoilt::TakesWhileHeld) => open,
            Some(Spoilt::TakesOnlyWithNothingHeld) => open && worker.exchange.may_read(),
            _ => worker.exchange.may_take(lane, sender),
        }
    }

    /// Every world that may come next.
    fn successors(&self, world: &World) -> Vec<World> {
        let mut next = Vec::new();
        for (number, worker) in world.workers.iter().enumerate().filter(|(_, worker)| !worker.finished) {
            if !self.shape.eager {
                let mut sent = world.clone();
                if self.send(&mut sent, number) {
                    next.push(sent);
                }
            }
            for lane in 0..self.shape.lanes {
                for sender in 0..self.workers() {
                    let inbox = self.inbox(number, lane, sender);
                    if world.inboxes[inbox].is_some() && self.may_take(worker, lane, sender) {
                        let mut taken = world.clone();
                        let message = taken.inboxes[inbox].take().unwrap();
                        self.take(&mut taken, number, lane, sender, message);
                        next.push(taken);
                    }
                }
            }
            let may_tick =
                worker.exchange.may_tick() || self.is(Spoilt::TicksBetweenBarriers) && worker.exchange.may_read();
            let may_tick = may_tick && (worker.done < EPOCHS || self.is(Spoilt::TicksAfterTheEnd));
            for at in 0..if may_tick { worker.waiting.len() } else { 0 } {
                let mut ticked = world.clone();
                let row = ticked.workers[number].waiting.remove(at);
                let row = Row { epoch: worker.done + 1, ..row };
                ticked.epochs[usize::from(row.event)] = row.epoch;
                self.give(&mut ticked.workers[number], number, 0, row);
                next.push(ticked);
            }
            if let Some((event, kind)) = self.events[number].get(worker.read).filter(|_| self.may_take_events(worker)) {
                let mut read = world.clone();
                let reader = &mut read.workers[number];
                reader.read += 1;
                let row = Row { event: *event, way: 0, epoch: reader.begun + 1 };
                let (Event::Spread(to) | Event::Wander(to) | Event::Timed(to) | Event::Dead(to)) = *kind;
                match kind {
                    Event::Dead(_) if self.is(Spoilt::GivesEarly) => reader.exchange.give(Output::Row(row.at(to))),
                    Event::Dead(_) => reader.exchange.give_read(Output::Row(row.at(to))),
                    _ => reader.exchange.hold(0, to, Message::Row(row)),
                }
                if !matches!(kind, Event::Timed(_)) {
                    read.epochs[usize::from(*event)] = row.epoch;
                }
                next.push(read);
            }
            let overtakes = self.is(Spoilt::BarrierOvertakes);
            if let Some(epoch) = worker.control.filter(|_| self.may_read(worker) || overtakes)
                && (epoch < EPOCHS || worker.read == self.events[number].len())
            {
                next.push(self.begun(world, number, epoch));
            }
            if worker.done == EPOCHS && worker.exchange.may_read() {
                let mut finished = world.clone();
                finished.workers[number].finished = true;
                next.push(finished);
            }
        }
        next.extend(self.kept(world));
        if world.begun == world.ended && world.begun < EPOCHS {
            let mut begun = world.clone();
            begun.begun += 1;
            begun.workers.iter_mut().for_each(|worker| worker.control = Some(begun.begun));
            next.push(begun);
        }
        for next in &mut next {
            while self.shape.eager && (0..self.workers()).any(|worker| self.send(next, worker)) {}
            self.check(next);
        }
        next
    }

    /// A worker begins an epoch.
    fn begun(&self, world: &World, number: usize, epoch: u8) -> World {
        let mut begun = world.clone();
        let worker = &mut begun.workers[number];
        (worker.control, worker.begun) = (None, epoch);
        if !self.is(Spoilt::BarrierOvertakes) {
            worker.exchange.begin(|| Message::Barrier(epoch));
            return begun;
        }
        for receiver in 0..self.workers() {
            let inbox = &mut begun.inboxes[self.inbox(receiver, 0, number)];
            if let Some(overtaken) = inbox.replace(Message::Barrier(epoch)) {
                begun.workers[number].exchange.held[0][receiver].push_front(overtaken);
            }
        }
        begun
    }

    /// A worker takes a message from an inbox.
    fn take(&self, world: &mut World, number: usize, lane: usize, sender: usize, message: Message) {
        let worker = &mut world.workers[number];
        let row = match message {
            Message::Row(row) => row,
            Message::Barrier(epoch) => {
                let first = !worker.exchange.closed[lane].contains(&true);
                let mut passed = worker.exchange.barrier(lane, sender, epoch.into());
                let closed = &mut worker.exchange.closed;
                match self.shape.spoilt {
                    Some(Spoilt::NeverCloses) => closed[lane].fill(false),
                    Some(Spoilt::ClosesTheLane) if !passed.done => closed[lane].fill(true),
                    Some(Spoilt::OpensEarly) if !passed.lanes.is_empty() => closed[lane].fill(false),
                    Some(Spoilt::BarrierGoesOnEarly) => {
                        passed.lanes = if first { lane + 1..self.shape.lanes.min(lane + 2) } else { 0..0 };
                    }
                    _ => {}
                }
                passed.lanes.for_each(|lane| worker.exchange.hold_for_all(lane, || Message::Barrier(epoch)));
                if passed.done {
                    worker.exchange.give(Output::Done(epoch));
                    worker.exchange.end();
                    worker.done = epoch;
                }
                return;
            }
        };
        assert_eq!(row.epoch, worker.done + 1, "worker {number} takes a row of another epoch: {row:?}");
        match self.event(row) {
            Event::Timed(_) if lane == 0 => worker.waiting.push(row),
            _ => self.give(worker, number, lane, row),
        }
    }

    /// What a row leads to, at a worker that has it from this lane.
    fn give(&self, worker: &mut Worker, number: usize, lane: usize, row: Row) {
        let row = row.at(number);
        worker.exchange.give(Output::Row(row));
        for receiver in self.next(self.event(row), lane, number) {
            worker.exchange.hold(lane + 1, receiver, Message::Row(row));
        }
    }

    /// Sends what there is room for; false if there was none.
    fn send(&self, world: &mut World, number: usize) -> bool {
        let World { workers, inboxes, outputs, .. } = world;
        let finished: Vec<bool> = workers.iter().map(|worker| worker.finished).collect();
        let sent = Cell::new(false);
        let Ok(()) = workers[number].exchange.send::<Infallible>(
            |output| Ok(put(&mut outputs[number], output, &sent)),
            |lane, receiver, message| {
                assert!(!finished[receiver], "a message for a worker that has ended");
                Ok(put(&mut inboxes[self.inbox(receiver, lane, number)], message, &sent))
            },
        );
        sent.get()
    }

    /// What the keeper may do next: it takes from any worker that it listens to.
    fn kept(&self, world: &World) -> Vec<World> {
        let listens = |worker: &usize| world.gathering.listens(*worker) || self.is(Spoilt::KeeperListensOn);
        let take = |worker: usize| {
            let mut kept = world.clone();
            match kept.outputs[worker].take() {
                Some(Output::Row(row)) => {
                    assert_eq!(row.epoch, world.ended + 1, "the keeper gets a row of another epoch: {row:?}");
                    let bit = 1 << self.expected[&(row.event, row.way)];
                    assert_eq!(kept.kept & bit, 0, "a row comes twice: {row:?}");
                    kept.kept |= bit;
                }
                Some(Output::Done(epoch)) => {
                    if kept.gathering.done(worker) {
                        assert_eq!(epoch, world.ended + 1);
                        kept.ended = epoch;
                        self.has_all(&kept, epoch);
                    }
                }
                None if world.workers[worker].finished && world.gathering.listens(worker) => {
                    kept.gathering.gone(worker)
                }
                None => return None,
            }
            Some(kept)
        };
        (0..self.workers()).filter(listens).filter_map(take).collect()
    }

    /// All rows of an epoch that is over have come.
    fn has_all(&self, world: &World, epoch: u8) {
        for ((event, way), bit) in &self.expected {
            let there = world.kept & 1 << bit != 0;
            let own = (1..=epoch).contains(&world.epochs[usize::from(*event)]);
            assert_eq!(there, own, "of event {event}, way {way:x}, at the end of epoch {epoch}: {world:?}");
        }
    }

    /// What holds in every world.
    fn check(&self, world: &World) {
        for worker in world.workers.iter().filter(|_| !self.is(Spoilt::BarrierOvertakes)) {
            let Exchange { held, outputs, .. } = &worker.exchange;
            // One message leads to one for each inbox, and to a row or a word for the keeper, behind which comes what was
            // read early.
            assert!(held.iter().flatten().all(|held| held.len() <= 1), "too much is held: {worker:?}");
            let read =
                |output: &&Output| matches!(output, Output::Row(row) if matches!(self.event(*row), Event::Dead(_)));
            let of_one_message = outputs.len() - outputs.iter().filter(read).count();
            assert!(of_one_message <= 1 && outputs.len() <= 1 + EARLY, "too much is held: {worker:?}");
        }
    }

    /// The end is as it should be: nothing more happens since everything has.
    fn check_end(&self, world: &World) {
        let over = world.workers.iter().all(|worker| worker.finished) && world.gathering.is_over();
        assert!(over && world.ended == EPOCHS, "stuck: {world:#?}");
        self.has_all(world, EPOCHS);
        assert!(world.inboxes.iter().all(Option::is_none) && world.outputs.iter().all(Option::is_none));
    }
}

fn put<T>(place: &mut Option<T>, what: T, sent: &Cell<bool>) -> Option<T> {
    if place.is_some() {
        return Some(what);
    }
    sent.set(true);
    place.replace(what)
}

/// Visits every world, and says how many there are.
fn visit(shape: Shape) -> usize {
    let laws = Laws::new(shape);
    let known = |world: &World| {
        let mut hasher = DefaultHasher::new();
        world.hash(&mut hasher);
        hasher.finish()
    };
    let first = laws.begin();
    let mut seen = HashSet::from([known(&first)]);
    let mut open = VecDeque::from([first]);
    while let Some(world) = open.pop_front() {
        let next = laws.successors(&world);
        if next.is_empty() {
            laws.check_end(&world);
        }
        open.extend(next.into_iter().filter(|next| seen.insert(known(next))));
    }
    seen.len()
}

use Event::{Dead, Spread, Timed, Wander};

/// Two workers that have rows for each other.
fn two(spoilt: Option<Spoilt>) -> Shape {
    Shape { lanes: 2, events: vec![vec![Spread(1)], vec![Spread(0), Timed(0)]], eager: true, spoilt }
}

#[test]
fn two_workers_on_two_lanes_in_every_order() {
    let worlds = visit(two(None));
    println!("{worlds} worlds");
    assert!(worlds > 10_000, "{worlds}");
}

#[test]
fn workers_that_send_when_they_like() {
    let events = vec![vec![Spread(1)], vec![Wander(0)]];
    let worlds = visit(Shape { lanes: 2, events, eager: false, spoilt: None });
    println!("{worlds} worlds");
    assert!(worlds > 10_000, "{worlds}");
}

#[test]
fn two_workers_on_three_lanes_in_every_order() {
    let events = vec![vec![Wander(1)], vec![Wander(0)]];
    let worlds = visit(Shape { lanes: 3, events, eager: true, spoilt: None });
    println!("{worlds} worlds");
    assert!(worlds > 10_000, "{worlds}");
}

/// Two workers, one of which has rows in error.
fn with_errors(spoilt: Option<Spoilt>) -> Shape {
    Shape { lanes: 2, events: vec![vec![Spread(1)], vec![Dead(1), Dead(1)]], eager: true, spoilt }
}

#[test]
fn rows_in_error_in_every_order() {
    let worlds = visit(with_errors(None));
    println!("{worlds} worlds");
    assert!(worlds > 1_000, "{worlds}");
}

#[test]
#[should_panic(expected = "of another epoch")]
fn rows_in_error_ahead_of_their_epoch_would_be_noticed() {
    visit(with_errors(Some(Spoilt::GivesEarly)));
}

#[test]
fn three_workers_in_every_order() {
    let events = vec![vec![Wander(1)], vec![Wander(0)], vec![]];
    let worlds = visit(Shape { lanes: 1, events, eager: true, spoilt: None });
    println!("{worlds} worlds");
    assert!(worlds > 10_000, "{worlds}");
}

/// Visits a world with a rule that is wrong.
fn spoil(spoilt: Spoilt) {
    visit(two(Some(spoilt)));
}

#[test]
#[should_panic(expected = "of another epoch")]
fn a_barrier_ahead_of_rows_would_be_noticed() {
    spoil(Spoilt::BarrierOvertakes);
}

#[test]
#[should_panic(expected = "of another epoch")]
fn a_barrier_that_goes_on_before_all_have_sent_it_would_be_noticed() {
    spoil(Spoilt::BarrierGoesOnEarly);
}

#[test]
#[should_panic(expected = "of another epoch")]
fn an_inbox_that_is_read_behind_its_barrier_would_be_noticed() {
    spoil(Spoilt::NeverCloses);
}

#[test]
#[should_panic(expected = "stuck")]
fn closing_the_wrong_inboxes_would_be_noticed() {
    spoil(Spoilt::ClosesTheLane);
}

#[test]
#[should_panic(expected = "of another epoch")]
fn opening_a_lane_before_the_others_are_done_would_be_noticed() {
    spoil(Spoilt::OpensEarly);
}

#[test]
#[should_panic(expected = "too much is held")]
fn taking_whatever_is_held_would_be_noticed() {
    spoil(Spoilt::TakesWhileHeld);
}

#[test]
#[should_panic(expected = "stuck")]
fn workers_that_wait_for_each_other_would_be_noticed() {
    spoil(Spoilt::TakesOnlyWithNothingHeld);
}

#[test]
#[should_panic(expected = "too much is held")]
fn reading_whatever_is_held_would_be_noticed() {
    spoil(Spoilt::ReadsWhileHeld);
}

#[test]
#[should_panic(expected = "of another epoch")]
fn letting_the_clock_have_its_way_between_barriers_would_be_noticed() {
    spoil(Spoilt::TicksBetweenBarriers);
}

#[test]
#[should_panic(expected = "for a worker that has ended")]
fn giving_behind_the_last_barrier_would_be_noticed() {
    spoil(Spoilt::TicksAfterTheEnd);
}

#[test]
#[should_panic(expected = "of another epoch")]
fn a_keeper_that_listens_on_would_be_noticed() {
    spoil(Spoilt::KeeperListensOn);
}

/// Whoever is gone before an epoch's end has given neither all its rows nor its state: none ends without it.
#[test]
fn no_epoch_ends_without_a_worker_that_is_gone() {
    let mut gathering = Gathering::new(2);
    assert!(!gathering.done(0) && gathering.done(1), "both have come to the end of the first");
    gathering.gone(0);
    assert!(!gathering.done(1));
    assert!(gathering.is_over(), "nobody is listened to any more");
}

/// A barrier goes on lane by lane, each once what is given there has been given, and inboxes stay closed until its end.
#[test]
fn a_barrier_waits_for_what_comes_before_it() {
    let mut exchange: Exchange<(), ()> = Exchange::new(2, 1);
    exchange.note(0, 0, 7);
    assert_eq!(exchange.awaits(), Some(Awaited { epoch: 7, lanes: 1..2 }));
    assert_eq!(exchange.pass(7), Passed { lanes: 1..2, done: false });
    assert_eq!(exchange.awaits(), None, "it has yet to come on lane 1");
    exchange.note(1, 0, 7);
    assert_eq!(exchange.awaits(), Some(Awaited { epoch: 7, lanes: 2..3 }));
    assert!(!exchange.may_take(0, 0) && !exchange.may_take(1, 0));
    assert_eq!(exchange.pass(7), Passed { lanes: 0..0, done: true });
    assert!(exchange.may_take(0, 0) && exchange.awaits().is_none());
}
