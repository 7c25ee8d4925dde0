//! State rows that are bytes: one binary column, in which a state that holds nothing is no bytes at all, and any other
//! begins with the version of its form.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;

use super::state;
use crate::engine::aggregate::{Aggregate, Updated};
use crate::engine::udf::CallError;
use crate::record::Columns;
use crate::time::Micros;

/// The version of all forms so far.
pub(super) const VERSION: u8 = 1;

/// State rows being written one after the other.
#[derive(Default)]
pub(super) struct Rows {
    bytes: Vec<u8>,
    ends: Vec<i32>,
}

impl Rows {
    /// Where the bytes of the row that is being written go.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// How many bytes there are so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets what has been written of the row.
    pub(super) fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    /// Ends the row.
    pub(super) fn end(&mut self) -> Result<(), CallError> {
        let end = i32::try_from(self.bytes.len());
        self.ends.push(end.map_err(|_| CallError::Host("the state of one batch takes more than 2 GiB".into()))?);
        Ok(())
    }

    /// The column.
    pub(super) fn finish(mut self) -> Columns {
        let rows = self.ends.len();
        self.ends.insert(0, 0);
        let column = BinaryArray::new(OffsetBuffer::new(self.ends.into()), self.bytes.into(), None);
        state::close(rows, [Arc::new(column)])
    }
}

/// `rows` rows that hold nothing.
pub(super) fn empty(rows: usize) -> Result<Columns, CallError> {
    let mut out = Rows::default();
    (0..rows).try_for_each(|_| out.end())?;
    Ok(out.finish())
}

/// The state column.
pub(super) fn column(column: &ArrayRef) -> Result<&BinaryArray, CallError> {
    column.as_binary_opt::<i32>().ok_or_else(|| state::wrong_type(column.data_type(), &DataType::Binary))
}

/// What stands behind the version of a row that is not empty.
pub(super) fn body(row: &[u8]) -> Result<&[u8], CallError> {
    match row.split_first() {
        Some((&VERSION, body)) => Ok(body),
        _ => Err(damaged()),
    }
}

/// Bytes that no version of Millrace has written.
pub(super) fn damaged() -> CallError {
    CallError::Host("a state row of a built-in aggregate is damaged".into())
}

/// A sketch that is read whole, changed, and written again.
pub(super) trait Sketch: Clone + Send + Sync + 'static {
    /// A row of it, open.
    type Row;

    /// A row that holds nothing.
    fn empty(&self) -> Self::Row;

    /// Reads what stands behind the version; none where that is damaged.
    fn read(&self, body: &[u8]) -> Option<Self::Row>;

    /// Whether it holds nothing.
    fn is_empty(&self, row: &Self::Row) -> bool;

    /// Writes what stands behind the version.
    fn write(&self, row: &Self::Row, out: &mut Vec<u8>);

    /// Folds the values of `column`, value i into row `groups[i]`.
    fn fold(&self, rows: &mut [Self::Row], groups: &[u32], column: &ArrayRef) -> Result<(), CallError>;

    /// Folds a row into another.
    fn merge(&self, into: &mut Self::Row, from: Self::Row);

    /// The values of rows.
    fn evaluate(&self, rows: &[Self::Row]) -> ArrayRef;
}

/// The aggregate that a sketch is.
#[derive(Clone, Debug)]
pub(super) struct Sketched<S>(pub(super) S);

impl<S: Sketch> Sketched<S> {
    fn open(&self, columns: Columns) -> Result<Vec<S::Row>, CallError> {
        let (_, [bytes]) = state::open(columns)?;
        let bytes = column(&bytes)?;
        let row = |row: usize| match bytes.value(row) {
            [] => Ok(self.0.empty()),
            row => self.0.read(body(row)?).ok_or_else(damaged),
        };
        (0..bytes.len()).map(row).collect()
    }

    fn close(&self, rows: &[S::Row]) -> Result<Columns, CallError> {
        let mut out = Rows::default();
        for row in rows {
            if !self.0.is_empty(row) {
                out.bytes().push(VERSION);
                self.0.write(row, out.bytes());
            }
            out.end()?;
        }
        Ok(out.finish())
    }
}

impl<S: Sketch> Aggregate for Sketched<S> {
    fn initial(&mut self, rows: usize) -> Result<Columns, CallError> {
        empty(rows)
    }

    fn update(&mut self, state: Columns, groups: &[u32], input: &Columns) -> Result<Updated, CallError> {
        let mut rows = self.open(state)?;
        let (input_rows, [column]) = state::open(input.clone())?;
        state::check_groups(groups, input_rows, rows.len())?;
        self.0.fold(&mut rows, groups, &column)?;
        Ok(Updated { state: self.close(&rows)?, rejected: Vec::new() })
    }

    fn merge(&mut self, state: Columns, groups: &[u32], partial: &Columns) -> Result<Columns, CallError> {
        let mut rows = self.open(state)?;
        let partial = self.open(partial.clone())?;
        state::check_groups(groups, partial.len(), rows.len())?;
        for (&group, from) in groups.iter().zip(partial) {
            if let Some(into) = rows.get_mut(group as usize) {
                self.0.merge(into, from);
            }
        }
        self.close(&rows)
    }

    fn evaluate(&mut self, state: &Columns, _: &[Micros], _: &[Micros]) -> Result<Columns, CallError> {
        let rows = self.open(state.clone())?;
        Ok(state::close(rows.len(), [self.0.evaluate(&rows)]))
    }
}
