//! The component's side of the contract: the transforms and aggregates that a crate exports, by name, and the one that
//! this instance was bound to. An instance has one thread and is bound once.

use std::cell::RefCell;

use crate::aggregate::{self, Aggregate};
use crate::bind::Nulls;
use crate::bind::{self, Widening};
use crate::log;
use crate::options;
use crate::transform::{self, Transform};
use crate::wire::{AggregateSignature, Batch, Field, TransformOutput, TransformSignature, Updated};

/// What binding gives: the signature, and the UDF that knows its columns and options. The error says what does not fit.
type Bound<S, B> = Result<(S, Box<B>), String>;

/// A transform that a crate exports.
pub struct TransformEntry {
    name: &'static str,
    bind: fn(&[Field], &str) -> Bound<TransformSignature, dyn BoundTransform>,
}

impl TransformEntry {
    /// The entry of `T`.
    pub const fn of<T: Transform>() -> Self {
        Self { name: T::NAME, bind: bind_transform::<T> }
    }
}

/// A transform that knows its columns and options.
pub trait BoundTransform {
    /// Applies it to one batch.
    ///
    /// # Errors
    /// The batch as a whole cannot be transformed.
    fn apply(&self, input: Batch) -> Result<TransformOutput, String>;
}

struct Transforming<T: Transform> {
    options: T::Options,
    widenings: Vec<Widening>,
}

impl<T: Transform> BoundTransform for Transforming<T> {
    fn apply(&self, mut input: Batch) -> Result<TransformOutput, String> {
        bind::widen_batch(&mut input, &self.widenings);
        T::apply(&self.options, input)
    }
}

pub(crate) fn bind_transform<T: Transform>(
    input: &[Field],
    options: &str,
) -> Bound<TransformSignature, dyn BoundTransform> {
    let wanted = T::wanted();
    let (options, widenings) =
        both(options::parse::<T::Options>(options), bind::fit(&wanted, input, transform::nulls::<T>()))?;
    let signature = TransformSignature {
        input: wanted.iter().map(|column| column.name.to_owned()).collect(),
        output: T::produced(),
    };
    Ok((signature, Box::new(Transforming::<T> { options, widenings })))
}

/// An aggregate that a crate exports.
pub struct AggregateEntry {
    name: &'static str,
    bind: fn(&[Field], &str) -> Bound<AggregateSignature, dyn BoundAggregate>,
}

impl AggregateEntry {
    /// The entry of `A`.
    pub const fn of<A: Aggregate>() -> Self {
        Self { name: A::NAME, bind: bind_aggregate::<A> }
    }
}

/// An aggregate that knows its columns and options.
pub trait BoundAggregate {
    /// State rows that hold nothing yet.
    fn initial(&self, rows: u32) -> Batch;
    /// Folds rows into states.
    ///
    /// # Errors
    /// The buffers are not what the contract says.
    fn update(&self, state: &Batch, groups: &[u8], input: Batch) -> Result<Updated, String>;
    /// Folds states into states.
    ///
    /// # Errors
    /// The buffers are not what the contract says.
    fn merge(&self, state: &Batch, groups: &[u8], partial: &Batch) -> Result<Batch, String>;
    /// The features of states.
    ///
    /// # Errors
    /// The buffers are not what the contract says.
    fn evaluate(&self, state: &Batch, since: &[u8], until: &[u8]) -> Result<Batch, String>;
}

struct Aggregating<A: Aggregate> {
    options: A::Options,
    widenings: Vec<Widening>,
}

impl<A: Aggregate> BoundAggregate for Aggregating<A> {
    fn initial(&self, rows: u32) -> Batch {
        aggregate::initial::<A>(&self.options, rows)
    }

    fn update(&self, state: &Batch, groups: &[u8], mut input: Batch) -> Result<Updated, String> {
        bind::widen_batch(&mut input, &self.widenings);
        aggregate::update::<A>(&self.options, state, groups, &input)
    }

    fn merge(&self, state: &Batch, groups: &[u8], partial: &Batch) -> Result<Batch, String> {
        aggregate::merge::<A>(&self.options, state, groups, partial)
    }

    fn evaluate(&self, state: &Batch, since: &[u8], until: &[u8]) -> Result<Batch, String> {
        aggregate::evaluate::<A>(&self.options, state, since, until)
    }
}

pub(crate) fn bind_aggregate<A: Aggregate>(
    input: &[Field],
    options: &str,
) -> Bound<AggregateSignature, dyn BoundAggregate> {
    let wanted = aggregate::wanted::<A>();
    let (options, widenings) =
        both(options::parse::<A::Options>(options), bind::fit(&wanted, input, Nulls::RefuseRows))?;
    let signature = AggregateSignature {
        input: wanted.iter().map(|column| column.name.to_owned()).collect(),
        state: aggregate::state_fields::<A>(),
        output: aggregate::output_fields::<A>(),
        ordered: A::ORDERED,
    };
    Ok((signature, Box::new(Aggregating::<A> { options, widenings })))
}

/// Both results, or everything that is wrong.
fn both<A, B>(a: Result<A, String>, b: Result<B, String>) -> Result<(A, B), String> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (Err(a), Err(b)) => Err(format!("{b}; {a}")),
        (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
    }
}

thread_local! {
    static TRANSFORM: RefCell<Option<Box<dyn BoundTransform>>> = const { RefCell::new(None) };
    static AGGREGATE: RefCell<Option<Box<dyn BoundAggregate>>> = const { RefCell::new(None) };
}

const UNBOUND: &str = "called before bind";

/// The names of the transforms.
pub fn transform_names(entries: &[TransformEntry]) -> Vec<String> {
    entries.iter().map(|entry| entry.name.to_owned()).collect()
}

/// Makes this instance the transform `name`.
///
/// # Errors
/// There is none of the name, or the columns or options do not fit it.
pub fn bind_transform_by_name(
    entries: &[TransformEntry],
    name: &str,
    input: &[Field],
    options: &str,
) -> Result<TransformSignature, String> {
    log::report_panics();
    let entry = entries.iter().find(|entry| entry.name == name);
    let entry = entry.ok_or_else(|| unknown("transform", name, entries.iter().map(|entry| entry.name)))?;
    let (signature, bound) = (entry.bind)(input, options)?;
    TRANSFORM.set(Some(bound));
    Ok(signature)
}

/// Applies the transform that this instance is.
///
/// # Errors
/// The batch as a whole cannot be transformed.
pub fn apply(input: Batch) -> Result<TransformOutput, String> {
    TRANSFORM.with_borrow(|bound| bound.as_ref().ok_or(UNBOUND)?.apply(input))
}

/// The names of the aggregates.
pub fn aggregate_names(entries: &[AggregateEntry]) -> Vec<String> {
    entries.iter().map(|entry| entry.name.to_owned()).collect()
}

/// Makes this instance the aggregate `name`.
///
/// # Errors
/// There is none of the name, or the columns or options do not fit it.
pub fn bind_aggregate_by_name(
    entries: &[AggregateEntry],
    name: &str,
    input: &[Field],
    options: &str,
) -> Result<AggregateSignature, String> {
    log::report_panics();
    let entry = entries.iter().find(|entry| entry.name == name);
    let entry = entry.ok_or_else(|| unknown("aggregate", name, entries.iter().map(|entry| entry.name)))?;
    let (signature, bound) = (entry.bind)(input, options)?;
    AGGREGATE.set(Some(bound));
    Ok(signature)
}

/// Calls the aggregate that this instance is.
///
/// # Errors
/// The call's own, or that nothing is bound.
pub fn with_aggregate<T>(call: impl FnOnce(&dyn BoundAggregate) -> Result<T, String>) -> Result<T, String> {
    AGGREGATE.with_borrow(|bound| call(bound.as_deref().ok_or(UNBOUND)?))
}

fn unknown<'a>(kind: &str, name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known = known.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    format!("no {kind} `{name}` in this component; it has {known}")
}
