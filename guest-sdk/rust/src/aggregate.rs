//! Aggregates: a state for each key that rows are folded into, states that are merged, and values that are made of
//! them.
//!
//! The state is the host's: it comes as columns, one row a key of this batch, and goes back as columns. Nothing is kept
//! between two calls.

use crate::options::Options;
use crate::record::{Input, Output, Reject, State, Wanted};
use crate::time::{Timestamp, Window};
use crate::wire::{self, Batch, Field, Rejection, Updated};

/// A fold over the rows of a window, with its state in the host's columns. Write it with `#[aggregate]`, which fills in
/// what the author leaves out.
///
/// Cutting the rows elsewhere must not change a bit of the state: fold row by row, and never by the batch.
pub trait Aggregate: State + Default + 'static {
    /// What it is called in a project file.
    const NAME: &'static str;
    /// Whether rows must come sorted by event time, once the watermark has passed them.
    const ORDERED: bool = false;
    /// What a project may set.
    type Options: Options;
    /// A row that is folded in.
    type Input<'a>: Input<'a>;
    /// The feature, or a struct of several.
    type Output: Output;
    /// What `update` returns: nothing, or a `Result` where it can refuse a row.
    type Verdict: Verdict;

    /// The state that holds nothing yet; evaluated, it gives the value of an empty window.
    fn initial(_options: &Self::Options) -> Self {
        Self::default()
    }

    /// Folds one row in. Where it refuses the row, whatever it did to the state is undone.
    fn update(&mut self, row: Self::Input<'_>, options: &Self::Options) -> Self::Verdict;

    /// Folds in the state of a later stretch of time.
    fn merge(&mut self, later: &Self, options: &Self::Options);

    /// The feature's value for a window.
    fn evaluate(&self, window: Window, options: &Self::Options) -> Self::Output;
}

/// What comes of folding one row in.
pub trait Verdict {
    /// Whether a row can be refused.
    const FALLIBLE: bool;

    /// Why it is, if it is.
    fn refusal(self) -> Option<Reject>;
}

impl Verdict for () {
    const FALLIBLE: bool = false;

    fn refusal(self) -> Option<Reject> {
        None
    }
}

impl<E: Into<Reject>> Verdict for Result<(), E> {
    const FALLIBLE: bool = true;

    fn refusal(self) -> Option<Reject> {
        self.err().map(Into::into)
    }
}

/// The columns that `update` asks for.
pub(crate) fn wanted<A: Aggregate>() -> Vec<Wanted> {
    <A::Input<'_> as Input<'_>>::wanted()
}

/// The columns of the state.
pub(crate) fn state_fields<A: Aggregate>() -> Vec<Field> {
    <A as Output>::fields()
}

/// The columns of the feature.
pub(crate) fn output_fields<A: Aggregate>() -> Vec<Field> {
    <A::Output as Output>::fields()
}

pub(crate) fn initial<A: Aggregate>(options: &A::Options, rows: u32) -> Batch {
    encode((0..rows).map(|_| A::initial(options)).collect::<Vec<_>>())
}

pub(crate) fn update<A: Aggregate>(
    options: &A::Options,
    state: &Batch,
    groups: &[u8],
    input: &Batch,
) -> Result<Updated, String> {
    let mut states = decode::<A>(state)?;
    let rows = input.rows as usize;
    let groups = wire::u32s(groups, rows, "groups")?;
    let reader = <A::Input<'_> as Input<'_>>::reader(&input.columns, rows)?;
    let mut rejected = Vec::new();
    let mut reject = |row, reject: Reject| {
        rejected.push(Rejection { row: wire::row_number(row), reason: reject.into_reason() });
    };
    for (row, group) in groups.enumerate() {
        let state = states.get_mut(group as usize).ok_or_else(|| no_group(group))?;
        let input = match <A::Input<'_> as Input<'_>>::read(&reader, row) {
            Ok(input) => input,
            Err(absent) => {
                reject(row, absent.into());
                continue;
            }
        };
        let before = A::Verdict::FALLIBLE.then(|| state.duplicate());
        if let Some(refusal) = state.update(input, options).refusal() {
            if let Some(before) = before {
                *state = before;
            }
            reject(row, refusal);
        }
    }
    Ok(Updated { state: encode(states), rejected })
}

pub(crate) fn merge<A: Aggregate>(
    options: &A::Options,
    state: &Batch,
    groups: &[u8],
    partial: &Batch,
) -> Result<Batch, String> {
    let mut states = decode::<A>(state)?;
    let partials = decode::<A>(partial)?;
    for (group, partial) in wire::u32s(groups, partials.len(), "groups")?.zip(&partials) {
        states.get_mut(group as usize).ok_or_else(|| no_group(group))?.merge(partial, options);
    }
    Ok(encode(states))
}

pub(crate) fn evaluate<A: Aggregate>(
    options: &A::Options,
    state: &Batch,
    since: &[u8],
    until: &[u8],
) -> Result<Batch, String> {
    let states = decode::<A>(state)?;
    let since = wire::i64s(since, states.len(), "since")?;
    let until = wire::i64s(until, states.len(), "until")?;
    let mut builders = <A::Output as Output>::builders(states.len());
    for (state, (since, until)) in states.iter().zip(since.zip(until)) {
        let window = Window { since: Timestamp::from_micros(since), until: Timestamp::from_micros(until) };
        state.evaluate(window, options).write_row(&mut builders);
    }
    Ok(Batch { rows: state.rows, columns: <A::Output as Output>::finish(builders) })
}

fn no_group(group: u32) -> String {
    format!("group {group} is not among the state's rows")
}

fn decode<S: State>(state: &Batch) -> Result<Vec<S>, String> {
    let rows = state.rows as usize;
    let reader = S::reader(&state.columns, rows).map_err(|error| format!("state: {error}"))?;
    (0..rows)
        .map(|row| S::read(&reader, row).map_err(|absent| format!("state: column `{}` holds a null", absent.0)))
        .collect()
}

fn encode<S: State>(states: Vec<S>) -> Batch {
    let rows = wire::row_number(states.len());
    let mut builders = S::builders(states.len());
    for state in states {
        state.write_row(&mut builders);
    }
    Batch { rows, columns: <S as Output>::finish(builders) }
}
