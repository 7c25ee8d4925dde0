//! Around user code: one bad row costs that row and no other, and code that does nothing but fail is stopped.
//!
//! A call that fails as a whole, by a trap, a time-out, a memory fault, a breach of its contract or an error of its own,
//! is tried again on each half of its rows, until the row at fault fails alone and is refused. Where time was lacking the
//! pieces have a little of it only, so that others wait less; a row that fails for want of time alone is first tried with
//! [`PATIENCE`] times the limit.
//!
//! After [`FAULTS`] rows at fault without a good call between them, or where faults cost more of the worker's time than others
//! can spare (`budget`), the circuit opens: the code is not called again, and the caller keeps its position. Where another
//! version can take its place, that is asked for instead, and what would fold or transform rows refuses them until then: see
//! [`super::verdict`].
//!
//! Always true: the result is that of a run without the refused rows.

mod budget;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::FieldRef;

use budget::Budget;

use super::aggregate::Aggregate;
use super::pieces::{self, PieceState};
use super::transform::{Transform, Transformed};
use super::udf::{CallError, Grant};
use super::verdict::Verdict;
use crate::error::{Blame, Fault};
use crate::record::{Columns, DeadReason, Rejection};
use crate::time::Micros;

/// Rows at fault in a row after which the circuit opens.
pub const FAULTS: u32 = 16;

/// What the time limit is multiplied by for a row that is tried alone.
pub const PATIENCE: u32 = 10;

/// What the time limit is divided by for the pieces of rows that together lacked time: most calls take far less than they may.
const HURRY: u32 = 16;

/// A row of the input that user code did not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The row of the call's input.
    pub row: u32,
    /// [`DeadReason::Rejected`] where the code said so itself, else [`DeadReason::Fault`].
    pub reason: DeadReason,
    /// The code's words, or what it did.
    pub detail: String,
}

/// A guarded call that gave no result. Nothing of its rows was taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// The code failed too often in a row and is not called any more.
    #[error("stopped after {FAULTS} faults in a row, the last of them: {reason}")]
    CircuitOpen {
        /// The last fault.
        reason: String,
    },
    /// The code crashed or ran out of time so often that others had to wait for it, and is not called any more.
    #[error(
        "stopped after its faults took {spent:?} of the worker's time, which other views need too; the last of them: {reason}"
    )]
    TooCostly {
        /// What they took lately.
        spent: Duration,
        /// The last fault.
        reason: String,
    },
    /// The call failed in a way for which no row is to blame.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl From<arrow::error::ArrowError> for GuardError {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::Call(error.into())
    }
}

impl Blame for GuardError {
    fn fault(&self) -> Fault {
        match self {
            Self::CircuitOpen { .. } | Self::TooCostly { .. } => Fault::User,
            Self::Call(error) => error.fault(),
        }
    }
}

/// What was made of a batch: a transform's rows, or an aggregate's values of state rows.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// The output rows, in the signature's columns.
    pub output: Columns,
    /// As [`Transformed::origin`]: none where output row i came from input row i, refused ones among them.
    pub origin: Option<Vec<u32>>,
    /// The rows that were not taken, ascending.
    pub refused: Vec<Refusal>,
}

/// State rows after a fold.
#[derive(Clone, Debug, Default)]
pub struct Folded {
    /// Exactly the rows that were given.
    pub state: Columns,
    /// The rows that folded into nothing, ascending.
    pub refused: Vec<Refusal>,
}

/// A transform under guard.
pub struct GuardedTransform {
    transform: Box<dyn Transform>,
    output: Vec<FieldRef>,
    circuit: Circuit,
    budget: Budget,
}

impl GuardedTransform {
    /// Guards an instance; `output` is its signature's.
    pub fn new(transform: Box<dyn Transform>, output: Vec<FieldRef>) -> Self {
        let budget = Budget::new(transform.meter());
        Self { transform, output, circuit: Circuit::default(), budget }
    }

    /// Asks for another version under this verdict, where there is one, once the circuit opens.
    #[must_use]
    pub fn under(mut self, verdict: Option<&Arc<Verdict>>) -> Self {
        self.circuit.verdict = verdict.cloned();
        self
    }

    /// Applies the transform to all rows that it takes.
    ///
    /// # Errors
    /// The circuit is or becomes open, or the host failed.
    pub fn apply(&mut self, input: &Columns) -> Result<Applied, GuardError> {
        let Self { transform, output, circuit, budget } = self;
        let found = circuit.halve(budget, input.rows, |range, grant| {
            transform.grant_time(grant);
            transform.apply(&pieces::slice(input, range))
        })?;
        found.joined(input.rows, output)
    }
}

/// An aggregate under guard. Each of its functions has a circuit of its own: code that refuses every row is not saved by
/// giving initial state for new keys, or by evaluating what it has. Once one is open nothing is called any more.
pub struct GuardedAggregate {
    aggregate: Box<dyn Aggregate>,
    output: Vec<FieldRef>,
    circuits: Circuits,
    budget: Budget,
}

#[derive(Debug, Default)]
struct Circuits {
    initial: Circuit,
    update: Circuit,
    merge: Circuit,
    evaluate: Circuit,
}

impl Circuits {
    fn check(&self) -> Result<(), GuardError> {
        [&self.initial, &self.update, &self.merge, &self.evaluate].into_iter().try_for_each(Circuit::check)
    }
}

impl GuardedAggregate {
    /// Guards an instance; `output` is its signature's.
    pub fn new(aggregate: Box<dyn Aggregate>, output: Vec<FieldRef>) -> Self {
        let budget = Budget::new(aggregate.meter());
        Self { aggregate, output, circuits: Circuits::default(), budget }
    }

    /// Asks for another version under this verdict, where there is one, once a circuit opens. Rows that cannot be folded
    /// are refused; what was folded is not given up, so a circuit that opens elsewhere stops the view all the same.
    #[must_use]
    pub fn under(mut self, verdict: Option<&Arc<Verdict>>) -> Self {
        self.circuits.update.verdict = verdict.cloned();
        self
    }

    /// [`Aggregate::initial`]. There is no row to blame: a fault counts and is returned.
    ///
    /// # Errors
    /// The circuit is or becomes open, or the call failed.
    pub fn initial(&mut self, rows: usize) -> Result<Columns, GuardError> {
        self.circuits.check()?;
        let start = self.budget.start();
        let result = self.aggregate.initial(rows);
        match &result {
            Ok(_) => self.circuits.initial.good(),
            Err(error) => {
                self.circuits.initial.spend(&mut self.budget, start, error)?;
                self.circuits.initial.fault(error)?;
            }
        }
        result.map_err(GuardError::Call)
    }

    /// [`Aggregate::update`] with all input rows that it takes.
    ///
    /// # Errors
    /// The circuit is or becomes open, or the host failed; no state changed.
    pub fn update(&mut self, state: Columns, groups: &[u32], input: &Columns) -> Result<Folded, GuardError> {
        self.fold(
            |circuits| &mut circuits.update,
            state,
            groups,
            input,
            |aggregate, state, groups, input| {
                aggregate.update(state, groups, input).map(|updated| (updated.state, updated.rejected))
            },
        )
    }

    /// [`Aggregate::merge`] with all partial rows that it takes.
    ///
    /// # Errors
    /// The circuit is or becomes open, or the host failed; no state changed.
    pub fn merge(&mut self, state: Columns, groups: &[u32], partial: &Columns) -> Result<Folded, GuardError> {
        self.fold(
            |circuits| &mut circuits.merge,
            state,
            groups,
            partial,
            |aggregate, state, groups, partial| {
                aggregate.merge(state, groups, partial).map(|state| (state, Vec::new()))
            },
        )
    }

    /// [`Aggregate::evaluate`] of all state rows that it takes.
    ///
    /// # Errors
    /// The circuit is or becomes open, or the host failed.
    pub fn evaluate(&mut self, state: &Columns, since: &[Micros], until: &[Micros]) -> Result<Applied, GuardError> {
        self.circuits.check()?;
        let Self { aggregate, output, circuits, budget } = self;
        let found = circuits.evaluate.halve(budget, state.rows, |range, grant| {
            aggregate.grant_time(grant);
            let (since, until) = (since.get(range.clone()), until.get(range.clone()));
            let part = pieces::slice(state, range);
            let output = aggregate.evaluate(&part, since.unwrap_or_default(), until.unwrap_or_default())?;
            Ok(Transformed { output, ..Transformed::default() })
        })?;
        found.joined(state.rows, output)
    }

    fn fold(
        &mut self,
        circuit: fn(&mut Circuits) -> &mut Circuit,
        state: Columns,
        groups: &[u32],
        rows: &Columns,
        mut fold: impl FnMut(&mut dyn Aggregate, Columns, &[u32], &Columns) -> Result<(Columns, Vec<Rejection>), CallError>,
    ) -> Result<Folded, GuardError> {
        self.circuits.check()?;
        let Self { aggregate, circuits, budget, .. } = self;
        let mut whole = None;
        let mut parts: Option<PieceState> = None;
        let found = circuit(circuits).halve(budget, rows.rows, |range, grant| {
            aggregate.grant_time(grant);
            if range.len() == rows.rows {
                let (after, rejected) = fold(aggregate.as_mut(), state.clone(), groups, rows)?;
                whole = Some(after);
                return Ok(rejected);
            }
            let parts = parts.get_or_insert_with(|| PieceState::new(state.clone()));
            let touched = parts.touch(groups.get(range.clone()).unwrap_or_default())?;
            let part = pieces::slice(rows, range);
            let (after, rejected) = fold(aggregate.as_mut(), touched.state.clone(), &touched.groups, &part)?;
            parts.put(&touched, after);
            Ok(rejected)
        })?;
        let refused = found.refused(|rejected| rejected);
        let state = match (whole, parts) {
            (Some(whole), _) => whole,
            (None, Some(parts)) => parts.finish().map_err(GuardError::Call)?,
            (None, None) => state,
        };
        Ok(Folded { state, refused })
    }
}

/// What the search for bad rows found: the ranges that went well, in order, and the rows that did not.
struct Found<P> {
    good: Vec<(Range<usize>, P)>,
    bad: Vec<Refusal>,
}

impl<P> Found<P> {
    /// All refusals, ascending: those of single rows, and those within the pieces.
    fn refused(&self, rejected: impl Fn(&P) -> &Vec<Rejection>) -> Vec<Refusal> {
        let mut refused = self.bad.clone();
        for (range, piece) in &self.good {
            refused.extend(rejected(piece).iter().map(|one| Refusal {
                row: row(range.start).saturating_add(one.row),
                reason: DeadReason::Rejected,
                detail: one.reason.clone(),
            }));
        }
        refused.sort_by_key(|refusal| refusal.row);
        refused
    }
}

impl Found<Transformed> {
    fn joined(mut self, rows: usize, fields: &[FieldRef]) -> Result<Applied, GuardError> {
        let refused = self.refused(|piece| &piece.rejected);
        let Transformed { output, origin, .. } = match self.good.pop() {
            Some((range, piece)) if range.len() == rows => piece,
            last => {
                self.good.extend(last);
                pieces::join(self.good, rows, fields).map_err(GuardError::Call)?
            }
        };
        Ok(Applied { output, origin, refused })
    }
}

/// Counts faults in a row, and stays open once it is.
#[derive(Debug, Default)]
struct Circuit {
    faults: u32,
    open: Option<GuardError>,
    /// Where another version is asked for; none where there is none.
    verdict: Option<Arc<Verdict>>,
}

impl Circuit {
    fn check(&self) -> Result<(), GuardError> {
        match &self.open {
            Some(why) if self.verdict.is_none() => Err(why.clone()),
            _ => Ok(()),
        }
    }

    fn good(&mut self) {
        self.faults = 0;
    }

    /// Counts a fault; an error that the code returned in good order is none, and neither is the host's.
    fn fault(&mut self, error: &CallError) -> Result<(), GuardError> {
        match error {
            CallError::Refused(_) => self.good(),
            CallError::Host(_) => {}
            _ => self.faults += 1,
        }
        if self.faults >= FAULTS {
            self.open = Some(GuardError::CircuitOpen { reason: error.to_string() });
        }
        self.check()
    }

    /// Puts what a call that failed has cost since `start` on the budget, but for an error in good order; gives the moment
    /// up to which that is done.
    fn spend(&mut self, budget: &mut Budget, start: Duration, error: &CallError) -> Result<Duration, GuardError> {
        if !is_crash(error) {
            return Ok(start);
        }
        let now = budget.spend(start);
        self.afford(budget, 0, error)?;
        Ok(now)
    }

    /// Opens where the budget does not hold so many more time limits.
    fn afford(&mut self, budget: &Budget, limits: u32, error: &CallError) -> Result<(), GuardError> {
        if !budget.holds(limits) {
            self.open = Some(GuardError::TooCostly { spent: budget.level(), reason: error.to_string() });
        }
        self.check()
    }

    /// Refuses all rows while another version is on its way to take them; none where the circuit is closed.
    fn withdrawn(&self, rows: &Range<usize>) -> Option<impl Iterator<Item = Refusal> + use<>> {
        let (reason, verdict) = self.open.as_ref().zip(self.verdict.as_ref())?;
        let detail = format!("this version is withdrawn: {reason}");
        verdict.give(&reason.to_string());
        let refusal = move |at| Refusal { row: row(at), reason: DeadReason::Fault, detail: detail.clone() };
        Some(rows.clone().map(refusal))
    }

    /// Calls for all rows, and where that fails for halves of them, in order, down to single rows. `call` is given the
    /// rows, and how much of the time limit they have.
    fn halve<P>(
        &mut self,
        budget: &mut Budget,
        rows: usize,
        mut call: impl FnMut(&Range<usize>, Grant) -> Result<P, CallError>,
    ) -> Result<Found<P>, GuardError> {
        let mut found = Found { good: Vec::new(), bad: Vec::new() };
        let mut ahead: Vec<_> = std::iter::once(0..rows).collect();
        let mut unpaid = budget.start();
        let mut crashed = None;
        let mut hurried = false;
        while let Some(range) = ahead.pop() {
            self.check()?;
            if let Some(refused) = self.withdrawn(&range) {
                found.bad.extend(refused);
                continue;
            }
            let mut result = call(&range, if hurried { Grant { times: 1, of: HURRY } } else { Grant::WHOLE });
            if let Err(error) = &result {
                unpaid = self.spend(budget, unpaid, error)?;
                hurried |= error.is_time_out();
                crashed = Some(error.clone()).filter(is_crash).or(crashed);
            }
            if range.len() == 1 && hurried && rows > 1 && result.as_ref().is_err_and(CallError::is_time_out) {
                // On a busy machine the little time may have passed without it.
                result = call(&range, Grant::WHOLE);
            }
            if range.len() == 1
                && let Err(error) = &result
                && error.is_time_out()
            {
                self.afford(budget, PATIENCE, error)?;
                if self.open.is_some() {
                    // Another version is to take it.
                    ahead.push(range);
                    continue;
                }
                result = call(&range, Grant { times: PATIENCE, of: 1 });
            }
            match result {
                Ok(piece) => {
                    self.good();
                    found.good.push((range, piece));
                }
                Err(error) if range.is_empty() || !error.halving_helps() => return Err(GuardError::Call(error)),
                Err(error) if range.len() == 1 => {
                    self.fault(&error)?;
                    found.bad.push(refusal(range.start, error));
                }
                Err(_) => {
                    let middle = range.start.midpoint(range.end);
                    ahead.push(middle..range.end);
                    ahead.push(range.start..middle);
                }
            }
        }
        if let Some(error) = crashed {
            // What has been given counts: it is the next call that is not made.
            self.spend(budget, unpaid, &error).ok();
        }
        Ok(found)
    }
}

/// Whether a call failed in a way that costs more than an answer would, through the code's fault.
fn is_crash(error: &CallError) -> bool {
    !matches!(error, CallError::Refused(_) | CallError::Host(_))
}

fn refusal(at: usize, error: CallError) -> Refusal {
    let (reason, detail) = match error {
        CallError::Refused(words) => (DeadReason::Rejected, words),
        fault => (DeadReason::Fault, fault.to_string()),
    };
    Refusal { row: row(at), reason, detail }
}

/// Rows are counted in 32 bits wherever they cross to a UDF; a batch is far below that.
fn row(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
