//! A paged operator against the whole one: the same rows whatever is in memory, put away, checkpointed or lost.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;
use proptest::prelude::*;

use super::*;
use crate::engine::aggregate::builtin::Ties;
use crate::engine::guard::GuardError;
use crate::engine::join::tests as join;
use crate::engine::join::{JoinOperator, Miss, Wait};
use crate::engine::operator::{Given, Horizon, Operator, Side};
use crate::engine::rows::KeyedBatch;
use crate::engine::state::Stateful;
use crate::engine::state::testing::cut;
use crate::engine::watermark::{AFTER_ALL, BEFORE_ALL};
use crate::engine::window::operator::WindowOperator;
use crate::engine::window::over::{Frame, OverOperator};
use crate::engine::window::plan::WindowPlan;
use crate::engine::window::session::SessionOperator;
use crate::engine::window::spec::WindowSpec;
use crate::engine::window::tests as window;
use crate::engine::window::{over, session};
use crate::time::{MILLISECOND, Micros};

const UNIT: Micros = MILLISECOND;

/// How far behind the newest row others come.
const DELAY: Micros = 10 * UNIT;

/// Parts in memory, which at times it does not take.
#[derive(Default)]
struct Shelf {
    parts: BTreeMap<u64, Vec<Part>>,
    next: u64,
    refuses: bool,
}

impl Spill for Shelf {
    fn put(&mut self, parts: &[Part]) -> Option<Ticket> {
        self.next += 1;
        if self.refuses && self.next.is_multiple_of(3) {
            return None;
        }
        self.parts.insert(self.next, parts.to_vec());
        Some(Ticket { number: self.next, bytes: 100 })
    }

    fn get(&mut self, ticket: &Ticket, take: &mut dyn FnMut(Part) -> Result<(), CallError>) -> Result<(), CallError> {
        self.parts[&ticket.number].iter().cloned().try_for_each(take)
    }

    fn release(&mut self, ticket: Ticket) {
        self.parts.remove(&ticket.number).expect("it is there, and released once");
    }
}

/// Key, time and value.
type Row = (i64, Micros, i64);

/// A kind of operator.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Whether it gives provisional rows, and whether every step of a living key.
    Windowed {
        update: bool,
        every: bool,
    },
    Over([Frame; 3]),
    Session,
    Join(Wait),
}

impl Kind {
    fn operator(self) -> Operator {
        let spec = |size: i64, step: i64| WindowSpec { size: size * UNIT, step: step * UNIT, offset: 0 };
        match self {
            Self::Windowed { update, every } => {
                let plan = window::plan_of([spec(12, 4), spec(12, 4), spec(18, 12)], spec(12, 4), 0, true);
                let plan = WindowPlan { update, skip_unchanged: !every, ..plan.as_ref().clone() };
                Operator::Windowed(Box::new(WindowOperator::new(plan.into()).unwrap()))
            }
            Self::Over(frames) => {
                let plan = over::tests::plan(frames, false, Ties::Position);
                Operator::Over(Box::new(OverOperator::new(plan).unwrap()))
            }
            Self::Session => Operator::Session(Box::new(SessionOperator::new(session::tests::plan(6 * UNIT)).unwrap())),
            Self::Join(wait) => {
                Operator::Join(Box::new(JoinOperator::new(join::waiting(wait, Miss::Null, Some(40 * UNIT), 0))))
            }
        }
    }

    fn batch(self, rows: &[Row], side: Side, first: i64) -> KeyedBatch {
        match self {
            Self::Windowed { .. } => window::batch(rows),
            Self::Over(_) => over::tests::batch(rows, first, Ties::Position),
            Self::Session => session::tests::batch(rows),
            Self::Join(_) => {
                // A key of none meets nothing.
                let key = |key: i64| (key != 9 || side == Side::Other).then_some(key);
                let rows: Vec<_> = rows.iter().map(|row| (key(row.0), row.1, row.2)).collect();
                join::batch(&rows, u16::from(side == Side::Other), first)
            }
        }
    }

    fn sides(self) -> usize {
        if matches!(self, Self::Join(_)) { 2 } else { 1 }
    }
}

/// The columns of each row, as text.
fn texts(batch: &RecordBatch) -> impl Iterator<Item = Vec<String>> {
    let text = |row: usize| batch.columns().iter().map(move |column| format!("{:?}", column.slice(row, 1))).collect();
    (0..batch.num_rows()).map(text)
}

/// All rows, how often each; of windows, where rows come again, the last one for each key and time.
fn rows(kind: Kind, given: &Given) -> BTreeMap<Vec<String>, (usize, Vec<String>)> {
    let mut all: BTreeMap<Vec<String>, (usize, Vec<String>)> = BTreeMap::new();
    let emitted = given.outcome.emissions.iter().map(|emission| &emission.batch);
    for row in emitted.chain(given.rows.iter().map(|rows| &rows.batch)).flat_map(texts) {
        let place = if matches!(kind, Kind::Windowed { .. }) { row[..2].to_vec() } else { row.clone() };
        let known = all.entry(place).or_default();
        *known = (known.0 + 1, row);
    }
    all
}

/// A paged operator with all that it needs.
struct Small {
    paged: Paged,
    shelf: Shelf,
    shares: Shares,
    used: u64,
}

impl Small {
    fn new(kind: Kind, shares: Shares, refuses: bool) -> Self {
        let mut shelf = Shelf { refuses, ..Shelf::default() };
        let paged = Paged::split(kind.operator(), Horizon::default(), shares, true, &mut shelf).unwrap();
        Self { paged, shelf, shares, used: 0 }
    }

    /// Works on so many slices, in a round that is under way or begins; and puts away what is too much.
    fn steps(&mut self, count: usize, now: Micros, given: &mut Given) -> Result<(), GuardError> {
        for _ in 0..count {
            if !self.paged.is_busy() {
                if self.paged.is_settled() {
                    break;
                }
                self.paged.begin_round(now);
            }
            self.used += 1;
            self.paged.step(self.used, &mut self.shelf, given)?;
            while self.paged.weight() > self.shares.state {
                let Some((_, at)) = self.paged.oldest() else { break };
                self.paged.put_away(at, &mut self.shelf)?;
            }
        }
        Ok(())
    }

    fn settle(&mut self, now: Micros, given: &mut Given) {
        self.steps(usize::MAX, now, given).unwrap();
        assert!(self.paged.is_settled());
    }

    fn export(&mut self, whole: bool, out: &mut Vec<Part>) {
        let mut parts = Vec::new();
        self.paged.begin_export(whole, &mut self.shelf);
        while !self.paged.export_step(&mut self.shelf, &mut parts).unwrap() {}
        out.extend(parts.iter().flat_map(cut));
    }

    /// Another one that goes on from what was kept.
    fn resumed(kind: Kind, parts: &[Part], shares: Shares, streamed: bool, refuses: bool) -> Self {
        let mut shelf = Shelf { refuses, ..Shelf::default() };
        let mut operator = kind.operator();
        let paged = if streamed {
            let mut sorting = Paged::begin(&mut operator, 2_000, parts, &shares).unwrap();
            for part in crate::engine::state::last_words(parts) {
                sorting.add(part.clone(), &mut shelf).unwrap();
            }
            Paged::resumed(operator, sorting, shares, true, &mut shelf).unwrap()
        } else {
            operator.import(parts).unwrap();
            Paged::split(operator, Horizon::default(), shares, true, &mut shelf).unwrap()
        };
        Self { paged, shelf, shares, used: 0 }
    }
}

/// What happens beside rows and watermarks.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Steps(usize),
    /// A checkpoint; and whether it is gone back to, as a stream or as a whole, paged again or not.
    Checkpoint(Option<(bool, bool)>),
    Nothing,
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        3 => (0_usize..20).prop_map(Turn::Steps),
        2 => prop::option::of(any::<(bool, bool)>()).prop_map(Turn::Checkpoint),
        1 => Just(Turn::Nothing),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    let frame = || (prop::option::of(0_i64..30), prop::option::of(1_u32..5));
    let frame = move || frame().prop_map(|(range, rows)| Frame { range: range.map(|range| range * UNIT), rows });
    prop_oneof![
        any::<(bool, bool)>().prop_map(|(update, every)| Kind::Windowed { update, every }),
        prop::array::uniform3(frame()).prop_map(Kind::Over),
        Just(Kind::Session),
        Just(Kind::Join(Wait::Watermark)),
        Just(Kind::Join(Wait::AtMost(Micros::MAX))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn it_gives_what_the_whole_one_gives(
        kind in kind(),
        events in prop::collection::vec((0_i64..10, 0_i64..9, 0_i64..10, -3_i64..9, any::<bool>()), 1..140),
        cuts in prop::collection::vec((1_usize..12, turn()), 1..20),
        (state, slice) in (0_usize..12_000, 200_usize..6_000),
        refuses in any::<bool>(),
    ) {
        let shares = Shares { state, queue: 2_000, behind: 500, slice, piece: 300 };
        let (mut whole, mut small) = (kind.operator(), Small::new(kind, shares, refuses));
        let (mut wanted, mut came) = (Given::default(), Given::default());
        let (mut kept, mut exports) = (Vec::new(), 0_usize);
        let mut clock = 0;
        let mut rows_of = [Vec::new(), Vec::new()];
        for (key, step, back, value, other) in events {
            clock += step;
            rows_of[usize::from(other) % kind.sides()].push((key, (clock - back) * UNIT, value));
        }
        let (mut from, mut newest) = ([0, 0], [BEFORE_ALL, BEFORE_ALL]);
        for (cut, turn) in cuts.into_iter().cycle() {
            for (at, side) in [(0, Side::Main), (1, Side::Other)] {
                let part: Vec<Row> = rows_of[at].iter().skip(from[at]).take(cut).copied().collect();
                if part.is_empty() {
                    continue;
                }
                newest[at] = part.iter().map(|row| row.1).max().unwrap().max(newest[at]);
                let batch = kind.batch(&part, side, from[at] as i64);
                from[at] += part.len();
                whole.take(side, &batch, 0, &mut wanted).unwrap();
                small.paged.take(side, Box::new(batch), 0);
            }
            let [watermark, other] = newest.map(|newest| newest.saturating_sub(DELAY));
            let horizon = Horizon { watermark, other, last_event: None };
            whole.advance(&horizon, &mut wanted).unwrap();
            small.paged.advance(horizon);
            match turn {
                Turn::Nothing => {}
                Turn::Steps(count) => small.steps(count, 0, &mut came).unwrap(),
                Turn::Checkpoint(crash) => {
                    small.settle(0, &mut came);
                    prop_assert_eq!(small.paged.reached(), &horizon);
                    let all = exports.is_multiple_of(4);
                    exports += 1;
                    if all {
                        kept.clear();
                    }
                    small.export(all, &mut kept);
                    if let Some((streamed, refuses)) = crash {
                        small = Small::resumed(kind, &kept, shares, streamed, refuses);
                        small.paged.advance(horizon);
                    }
                }
            }
            if from[0] == rows_of[0].len() && from[1] == rows_of[1].len() {
                break;
            }
        }
        let end = Horizon { watermark: AFTER_ALL, other: AFTER_ALL, last_event: Some(newest[0]) };
        whole.advance(&end, &mut wanted).unwrap();
        small.paged.advance(end);
        small.settle(0, &mut came);
        let (wanted, came) = (rows(kind, &wanted), rows(kind, &came));
        // Provisional rows are of a batch, and batches are not the same.
        if !matches!(kind, Kind::Windowed { update: true, .. }) {
            let places = |rows: &BTreeMap<Vec<String>, _>| rows.keys().cloned().collect::<BTreeSet<_>>();
            prop_assert_eq!(places(&came), places(&wanted));
            prop_assert_eq!(came, wanted);
        }
        if whole.is_empty() {
            prop_assert_eq!((small.paged.keys(), small.paged.cold()), (0, 0), "nothing is kept at the end");
        }
        small.paged.forget_changes(&mut small.shelf);
        prop_assert_eq!(small.shelf.parts.len() as u64 * 100, small.paged.away(), "what is not needed is released");
    }
}

/// Rows that wait by the clock go once they have waited for long enough, also of slices that are put away.
#[test]
fn what_waits_by_the_clock_goes_in_time() {
    let kind = Kind::Join(Wait::AtMost(5));
    let shares = Shares { state: 0, queue: 0, behind: 0, slice: 1_000, piece: 0 };
    let (mut small, mut given) = (Small::new(kind, shares, false), Given::default());
    small.settle(0, &mut given);
    for (key, now) in [(1, 10), (2, 12)] {
        small.paged.take(Side::Main, Box::new(kind.batch(&[(key, 1_000, key)], Side::Main, key)), now);
        assert_eq!(small.paged.deadline(), Some(15), "also of what waits for a round");
        small.settle(now, &mut given);
    }
    assert_eq!((small.paged.cold(), small.paged.least_waiting(), given.rows.len()), (2, Some(1_000), 0));
    for (now, left) in [(15, Some(17)), (17, None)] {
        small.paged.tick();
        small.settle(now, &mut given);
        assert_eq!(small.paged.deadline(), left);
    }
    assert_eq!((small.paged.cold(), given.rows.len()), (0, 2));
}

/// A slice that grows is cut in two, again and again, and none is much heavier than it may be.
#[test]
fn slices_stay_small() {
    let (kind, mut given) = (Kind::Session, Given::default());
    let shares = Shares { state: usize::MAX, queue: 0, behind: 0, slice: 20_000, piece: 0 };
    let mut small = Small::new(kind, shares, false);
    for first in (0..4_000).step_by(100) {
        let rows: Vec<Row> = (first..first + 100).map(|key| (key, 1_000 * UNIT, 1)).collect();
        small.paged.take(Side::Main, Box::new(kind.batch(&rows, Side::Main, first)), 0);
        small.settle(0, &mut given);
    }
    // What has just been cut is looked at in the next round.
    for _ in 0..3 {
        small.paged.tick();
        small.settle(0, &mut given);
    }
    assert_eq!(small.paged.keys(), 4_000);
    assert!(small.paged.heaviest() < 2 * shares.slice, "{}", small.paged.heaviest());
}
