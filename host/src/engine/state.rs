//! State on its way out of an operator and into another: what a checkpoint keeps.
//!
//! ```text
//!   operator ── export(what changed) ──▶ parts ──▶ store        epoch after epoch
//!   operator ◀── import(all parts, oldest epoch first) ──────   on start, whatever the number of shards then
//! ```
//! A part is rows of one table of an operator's state. Its first column is the key that a row belongs to, so that the
//! rows find their shard again; the tables named [`SHARD`] have no key and say how far a shard has come.
//!
//! Always true: an operator that imports the parts that another one exported, all of them and in their order, gives out
//! from then on what the other one would have given; a later row of the same key and part replaces an earlier one,
//! unless the table says that its rows add up.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, Int64Array, PrimitiveArray, RecordBatch, UInt32Array,
};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Int64Type, Schema};

use super::guard::GuardError;
use super::key;
use super::udf::CallError;
use crate::time::Micros;

/// The table of what is not by key.
pub const SHARD: u16 = u16::MAX;

/// The table of what a shard says anew with every export, by key: behind the [`SHARD`] of its last export is all it has.
pub(super) const OF_SHARD: u16 = u16::MAX - 1;

/// The name of the first column of a part with keys.
const KEY: &str = "key";

/// An operator whose state outlives it.
pub trait Stateful {
    /// Gives out what has changed since the last call, or `whole` all there is.
    ///
    /// # Errors
    /// The host's fault.
    fn export(&mut self, whole: bool, out: &mut Vec<Part>) -> Result<(), CallError>;

    /// Takes all that was exported since and with the last whole export, oldest first, by an operator that has taken
    /// nothing yet; of every part only the rows of this one's shard.
    ///
    /// # Errors
    /// The parts are of another plan, or user code gave no initial state.
    fn import(&mut self, parts: &[Part]) -> Result<(), GuardError>;
}

/// Rows of one table of an operator's state.
#[derive(Clone, Debug)]
pub struct Part {
    /// Which table; [`SHARD`] has no keys.
    pub table: u16,
    /// What of the table: a pane's number, say; where [`Part::is_of_one_shard`] says so which shard.
    pub number: i64,
    /// The rows; but for [`SHARD`], the first column holds the keys' canonical bytes.
    pub rows: RecordBatch,
}

impl Part {
    /// Rows of a table, one a key.
    ///
    /// # Errors
    /// The columns are of different lengths: the host's fault.
    pub(super) fn keyed<'a>(
        table: u16,
        number: i64,
        keys: impl Iterator<Item = &'a [u8]>,
        columns: &[ArrayRef],
    ) -> Result<Self, CallError> {
        let keys: ArrayRef = Arc::new(BinaryArray::from_iter_values(keys));
        Self::of(table, number, std::iter::once((KEY.to_owned(), keys)).chain(named(columns)))
    }

    /// How far a shard has come.
    ///
    /// # Errors
    /// The host's fault.
    pub(super) fn shared(marks: &[Micros]) -> Result<Self, CallError> {
        let columns: Vec<ArrayRef> = marks.iter().map(|mark| Arc::new(Int64Array::from(vec![*mark])) as _).collect();
        Self::of(SHARD, 0, named(&columns))
    }

    fn of(table: u16, number: i64, columns: impl Iterator<Item = (String, ArrayRef)>) -> Result<Self, CallError> {
        let (fields, columns): (Vec<Field>, Vec<ArrayRef>) =
            columns.map(|(name, column)| (Field::new(name, column.data_type().clone(), true), column)).unzip();
        Ok(Self { table, number, rows: RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)? })
    }

    /// Whether the number is the shard's.
    pub fn is_of_one_shard(&self) -> bool {
        self.table == SHARD || self.table == OF_SHARD
    }

    /// The key of each row; none for what is not by key.
    pub fn keys(&self) -> Option<&BinaryArray> {
        let keys = self.rows.columns().first().filter(|_| self.table != SHARD)?;
        (*keys.data_type() == DataType::Binary).then(|| keys.as_binary())
    }

    /// The columns behind the keys.
    pub(super) fn columns(&self) -> &[ArrayRef] {
        let keys = usize::from(self.table != SHARD);
        self.rows.columns().get(keys..).unwrap_or_default()
    }

    /// The rows whose keys a shard owns; none where it owns none of them. What is not by key is kept.
    ///
    /// # Errors
    /// The host's fault.
    pub fn of_shard(&self, shard: usize, shards: usize) -> Result<Option<Self>, CallError> {
        let Some(keys) = self.keys() else { return Ok(Some(self.clone())) };
        let owned = |row: &u32| key::shard(key::group(keys.value(*row as usize)), shards) == shard;
        let rows: Vec<u32> = (0_u32..).take(keys.len()).filter(owned).collect();
        if rows.len() == keys.len() {
            return Ok(Some(self.clone()));
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let rows = take_record_batch(&self.rows, &UInt32Array::from(rows))?;
        Ok(Some(Self { rows, ..*self }))
    }
}

/// What the tables [`SHARD`] of all shards say: of each shard its last word, and of those the least. Shards agree on it
/// but where a partition was idle at the time; then what one of them has given may be given again, and nothing lacks.
pub(super) fn marks(parts: &[Part]) -> Result<Option<Vec<Micros>>, CallError> {
    let mut last: BTreeMap<i64, Vec<Micros>> = BTreeMap::new();
    for part in parts.iter().filter(|part| part.table == SHARD) {
        let first =
            |column: &ArrayRef| numbers::<Int64Type>(Some(column))?.values().first().copied().ok_or_else(foreign);
        last.insert(part.number, part.columns().iter().map(first).collect::<Result<_, _>>()?);
    }
    let least = |a: Vec<Micros>, b: Vec<Micros>| a.into_iter().zip(b).map(|(a, b)| a.min(b)).collect();
    Ok(last.into_values().reduce(least))
}

/// The parts without what a shard has said anew since: of `OF_SHARD` those alone that come behind the last [`SHARD`]
/// of their shard.
pub fn last_words(parts: &[Part]) -> impl Iterator<Item = &Part> {
    let of_shard = parts.iter().zip(0_usize..).filter(|(part, _)| part.table == SHARD);
    let begins: BTreeMap<i64, usize> = of_shard.map(|(part, at)| (part.number, at)).collect();
    let counts = move |part: &Part, at: usize| {
        part.table != OF_SHARD || begins.get(&part.number).is_none_or(|begins| at > *begins)
    };
    parts.iter().zip(0_usize..).filter(move |(part, at)| counts(part, *at)).map(|(part, _)| part)
}

/// A column of fixed-width values.
pub(super) fn numbers<T: ArrowPrimitiveType>(column: Option<&ArrayRef>) -> Result<&PrimitiveArray<T>, CallError> {
    column.and_then(|column| column.as_primitive_opt::<T>()).ok_or_else(foreign)
}

/// State that is not of the plan that reads it: versions keep them apart, so it is the host's fault.
pub(super) fn foreign() -> CallError {
    CallError::Host("state of another plan".into())
}

fn named(columns: &[ArrayRef]) -> impl Iterator<Item = (String, ArrayRef)> {
    columns.iter().enumerate().map(|(index, column)| (format!("c{index}"), column.clone()))
}

/// Crashes for property tests: what operators exported, and operators that go on from it.
#[cfg(test)]
pub(super) mod testing {
    use super::{Part, Stateful};

    /// A part as it comes back from where it is kept: cut anywhere.
    pub(in crate::engine) fn cut(part: &Part) -> impl Iterator<Item = Part> {
        let (rows, middle) = (part.rows.num_rows(), part.rows.num_rows() / 2);
        let cut = |start: usize, end: usize| Part { rows: part.rows.slice(start, end - start), ..*part };
        [cut(0, middle), cut(middle, rows)].into_iter().filter(|part| part.rows.num_rows() > 0)
    }

    /// All parts since the last whole export.
    #[derive(Default)]
    pub(in crate::engine) struct Journal {
        parts: Vec<Part>,
        exports: usize,
    }

    impl Journal {
        /// Keeps what changed, at times all; and where `crash` says so puts an operator in the place of this one that
        /// knows no more than what was kept.
        pub(in crate::engine) fn keep<T: Stateful>(
            &mut self,
            operator: &mut T,
            crash: bool,
            fresh: impl FnOnce() -> T,
        ) {
            let whole = self.exports.is_multiple_of(4);
            self.exports += 1;
            if whole {
                self.parts.clear();
            }
            let mut parts = Vec::new();
            operator.export(whole, &mut parts).unwrap();
            self.parts.extend(parts.iter().flat_map(cut));
            if crash {
                *operator = fresh();
                operator.import(&self.parts).unwrap();
            }
        }
    }
}
