//! What a stage keeps state with, whichever kind it is: rows and watermarks in, rows out, state out and in.
//!
//! Always true: how far an operator has come never goes back, and [`Operator::advance`] may leave out any steps on the
//! way: nothing comes of a watermark that does not come of a later one.

use super::guard::GuardError;
use super::join::{JoinOperator, Wait};
use super::rows::{KeyedBatch, Rows};
use super::state::{Part, Stateful};
use super::udf::CallError;
use super::watermark::BEFORE_ALL;
use super::window::Outcome;
use super::window::operator::WindowOperator;
use super::window::over::OverOperator;
use super::window::session::SessionOperator;
use crate::time::Micros;

/// One of the kinds of operators that keep state.
pub enum Operator {
    /// Rows with what was known at their time.
    Join(Box<JoinOperator>),
    /// Windows over panes.
    Windowed(Box<WindowOperator>),
    /// A row for each row.
    Over(Box<OverOperator>),
    /// Windows that last while rows come.
    Session(Box<SessionOperator>),
}

/// Which side of a join rows are of; all other operators have but the main one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The rows that go on.
    Main,
    /// What they are joined with.
    Other,
}

/// How far an operator's input has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizon {
    /// The watermark, of the main side.
    pub watermark: Micros,
    /// How far the other side of a join is known: see [`super::join::right_until`].
    pub other: Micros,
    /// The greatest event time, once the input has ended.
    pub last_event: Option<Micros>,
}

impl Default for Horizon {
    fn default() -> Self {
        Self { watermark: BEFORE_ALL, other: BEFORE_ALL, last_event: None }
    }
}

/// What comes of rows and watermarks.
#[derive(Debug, Default)]
pub struct Given {
    /// A view's.
    pub outcome: Outcome,
    /// A join's.
    pub rows: Vec<Rows>,
}

/// From when on a horizon has something to do: none where it never has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// From this watermark on.
    pub watermark: Option<Micros>,
    /// From when the other side is known to be this far.
    pub other: Option<Micros>,
}

impl Due {
    /// Whether a horizon has something to do.
    pub fn is_met(&self, horizon: &Horizon) -> bool {
        self.watermark.is_some_and(|due| due <= horizon.watermark) || self.other.is_some_and(|due| due <= horizon.other)
    }
}

impl Operator {
    /// Takes rows that arrive at `now`, which only joins that wait by the clock ask for.
    ///
    /// # Errors
    /// An aggregate failed as a whole, or the batch is not of this plan; the view cannot go on.
    pub fn take(&mut self, side: Side, batch: &KeyedBatch, now: Micros, given: &mut Given) -> Result<(), GuardError> {
        match (self, side) {
            (Self::Join(join), Side::Other) => join.take_right(batch),
            (Self::Join(join), Side::Main) => join.take_left(batch, now, &mut given.rows)?,
            (Self::Windowed(operator), _) => operator.update(batch, &mut given.outcome)?,
            (Self::Over(operator), _) => operator.update(batch, &mut given.outcome)?,
            (Self::Session(operator), _) => operator.update(batch, &mut given.outcome)?,
        }
        Ok(())
    }

    /// Takes how far the input has come.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn advance(&mut self, horizon: &Horizon, given: &mut Given) -> Result<(), GuardError> {
        let watermark = horizon.watermark;
        match self {
            Self::Join(join) => join.advance_to(watermark, horizon.other, &mut given.rows)?,
            Self::Windowed(operator) => operator.advance(watermark, horizon.last_event, &mut given.outcome)?,
            Self::Over(operator) => operator.advance(watermark, &mut given.outcome)?,
            Self::Session(operator) => operator.advance(watermark, &mut given.outcome)?,
        }
        Ok(())
    }

    /// Lets go of rows that have waited for long enough.
    ///
    /// # Errors
    /// The host's fault.
    pub fn tick(&mut self, now: Micros, given: &mut Given) -> Result<(), CallError> {
        if let Self::Join(join) = self { join.tick(now, &mut given.rows) } else { Ok(()) }
    }

    /// From when on a horizon has something to do.
    pub fn due(&self) -> Due {
        let of = |watermark| Due { watermark, other: None };
        match self {
            Self::Join(join) => {
                let (other, watermark) = join.next();
                Due { watermark, other }
            }
            Self::Windowed(operator) => of(operator.due()),
            Self::Over(operator) => of(operator.due()),
            Self::Session(operator) => of(operator.due()),
        }
    }

    /// What a join's rows wait for; none of what is no join.
    pub fn wait(&self) -> Option<Wait> {
        if let Self::Join(join) = self { Some(join.wait()) } else { None }
    }

    /// When a row will have waited for long enough, by the clock.
    pub fn deadline(&self) -> Option<Micros> {
        if let Self::Join(join) = self { join.due() } else { None }
    }

    /// The least time of a row that waits for the other side.
    pub fn least_waiting(&self) -> Option<Micros> {
        if let Self::Join(join) = self { join.least_waiting() } else { None }
    }

    /// How many keys have state.
    pub fn keys(&self) -> usize {
        match self {
            Self::Join(join) => join.keys(),
            Self::Windowed(operator) => operator.keys(),
            Self::Over(operator) => operator.keys(),
            Self::Session(operator) => operator.keys(),
        }
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.keys() == 0 && if let Self::Join(join) = self { join.waiting() == 0 } else { true }
    }

    /// About how many bytes the state takes.
    pub fn weight(&self) -> usize {
        match self {
            Self::Join(join) => join.weight(),
            Self::Windowed(operator) => operator.weight(),
            Self::Over(operator) => operator.weight(),
            Self::Session(operator) => operator.weight(),
        }
    }

    /// One of the same plan without state, and without instances of its aggregates: it works with those of another.
    pub(super) fn bare(&self) -> Self {
        match self {
            Self::Join(join) => Self::Join(Box::new(join.bare())),
            Self::Windowed(operator) => Self::Windowed(Box::new(operator.bare())),
            Self::Over(operator) => Self::Over(Box::new(operator.bare())),
            Self::Session(operator) => Self::Session(Box::new(operator.bare())),
        }
    }

    /// Goes over to the plan of another one, which is of the same shape: alike in all but its UDFs' versions, which take,
    /// keep and give the same. The instances stay.
    pub(super) fn replan(&mut self, other: &Self) {
        match (self, other) {
            (Self::Join(own), Self::Join(other)) => own.replan(other),
            (Self::Windowed(own), Self::Windowed(other)) => own.replan(other),
            (Self::Over(own), Self::Over(other)) => own.replan(other),
            (Self::Session(own), Self::Session(other)) => own.replan(other),
            _ => {}
        }
    }

    /// Goes over to the plan and the instances of another one of the same shape, which keeps this one's instances.
    pub fn go_over(&mut self, other: &mut Self) {
        self.replan(other);
        self.swap_instances(other);
    }

    /// Exchanges the aggregates' instances with another one of the same plan.
    pub(super) fn swap_instances(&mut self, other: &mut Self) {
        match (self, other) {
            (Self::Windowed(own), Self::Windowed(other)) => own.swap_instances(other),
            (Self::Over(own), Self::Over(other)) => own.swap_instances(other),
            (Self::Session(own), Self::Session(other)) => own.swap_instances(other),
            _ => {}
        }
    }
}

impl Stateful for Operator {
    fn export(&mut self, whole: bool, out: &mut Vec<Part>) -> Result<(), CallError> {
        match self {
            Self::Join(join) => join.export(whole, out),
            Self::Windowed(operator) => operator.export(whole, out),
            Self::Over(operator) => operator.export(whole, out),
            Self::Session(operator) => operator.export(whole, out),
        }
    }

    fn import(&mut self, parts: &[Part]) -> Result<(), GuardError> {
        match self {
            Self::Join(join) => join.import(parts),
            Self::Windowed(operator) => operator.import(parts),
            Self::Over(operator) => operator.import(parts),
            Self::Session(operator) => operator.import(parts),
        }
    }
}
