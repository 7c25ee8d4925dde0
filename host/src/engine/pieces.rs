//! Batches cut into pieces and put together again: for calls that are bounded in rows, and for the search of a bad row.
//!
//! Always true: working piece by piece, in order, gives what working on the whole gives.

use std::collections::HashMap;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, BooleanArray, new_empty_array};
use arrow::compute::{concat as concat_arrays, filter, interleave};
use arrow::datatypes::FieldRef;
use arrow::error::ArrowError;

use super::transform::Transformed;
use super::udf::CallError;
use crate::record::{Columns, Rejection};

/// The ranges of at most `most` rows that `rows` rows are cut into, in order.
pub fn ranges(rows: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    (0..rows).step_by(most.max(1)).map(move |start| start..rows.min(start + most.max(1)))
}

/// Some of the rows, without a copy.
pub fn slice(columns: &Columns, range: &Range<usize>) -> Columns {
    let columns = columns.columns.iter().map(|column| column.slice(range.start, range.len())).collect();
    Columns { rows: range.len(), columns }
}

/// All rows of `parts`, in order, in the columns of `fields`.
///
/// # Errors
/// The parts differ in type or are too large together.
pub fn concat(mut parts: Vec<Columns>, fields: &[FieldRef]) -> Result<Columns, CallError> {
    if parts.len() == 1 {
        return Ok(parts.swap_remove(0));
    }
    let rows = parts.iter().map(|part| part.rows).sum();
    let columns = fields.iter().enumerate().map(|(index, field)| match of_column(&parts, index).as_slice() {
        [] => Ok(new_empty_array(field.data_type())),
        arrays => concat_arrays(arrays),
    });
    Ok(Columns { rows, columns: columns.collect::<Result<_, _>>().map_err(unjoined)? })
}

/// Puts together what a transform made of each range of `rows` input rows; a range that is missing gave no row.
///
/// # Errors
/// The pieces differ in type or are too large together.
pub fn join(
    mut pieces: Vec<(Range<usize>, Transformed)>,
    rows: usize,
    fields: &[FieldRef],
) -> Result<Transformed, CallError> {
    let covered: usize = pieces.iter().map(|(range, _)| range.len()).sum();
    let plain = covered == rows && pieces.iter().all(|(_, piece)| piece.origin.is_none());
    let mut origin = Vec::new();
    let mut rejected = Vec::new();
    for (range, piece) in &mut pieces {
        let start = number(range.start);
        if !plain {
            // Rejected rows are among the output of a piece without an origin, and not of one with.
            let rows = match piece.origin.take() {
                Some(rows) => rows,
                None => drop_rejected(piece, range.len()).map_err(unjoined)?,
            };
            origin.extend(rows.into_iter().map(|row| start + row));
        }
        rejected.extend(piece.rejected.drain(..).map(|one| Rejection { row: start + one.row, ..one }));
    }
    let output = concat(pieces.into_iter().map(|(_, piece)| piece.output).collect(), fields)?;
    Ok(Transformed { output, origin: (!plain).then_some(origin), rejected })
}

/// Drops the rejected of `rows` rows from the output, and returns which rows are left.
fn drop_rejected(piece: &mut Transformed, rows: usize) -> Result<Vec<u32>, ArrowError> {
    let mut rejected = piece.rejected.iter().map(|one| one.row).peekable();
    let (kept, left): (Vec<bool>, Vec<Option<u32>>) = (0..number(rows))
        .map(|row| {
            let kept = rejected.next_if_eq(&row).is_none();
            (kept, kept.then_some(row))
        })
        .unzip();
    let left: Vec<u32> = left.into_iter().flatten().collect();
    let kept = BooleanArray::from(kept);
    piece.output.rows = left.len();
    for column in &mut piece.output.columns {
        *column = filter(column, &kept)?;
    }
    Ok(left)
}

/// State rows that are folded into piece by piece, each piece seeing only the groups it touches, numbered densely.
///
/// Where each group's newest row is, is kept aside, so that untouched rows are copied once, at the end.
pub struct PieceState {
    states: Vec<Columns>,
    /// Which of `states` a group's row is in, and where.
    newest: Vec<(usize, usize)>,
}

/// The state of the groups that one piece touches.
pub struct Touched {
    /// One row a group.
    pub state: Columns,
    /// The piece's group numbers, in rows of `state`.
    pub groups: Vec<u32>,
    whole: Vec<u32>,
}

impl PieceState {
    /// Starts with one state row a group.
    pub fn new(state: Columns) -> Self {
        Self { newest: (0..state.rows).map(|row| (0, row)).collect(), states: vec![state] }
    }

    /// The state rows of `groups`, each once.
    ///
    /// # Errors
    /// The states differ in type or are too large together.
    pub fn touch(&self, groups: &[u32]) -> Result<Touched, CallError> {
        let mut whole = Vec::new();
        let mut numbers = HashMap::with_capacity(groups.len());
        let groups = groups.iter().map(|group| {
            *numbers.entry(*group).or_insert_with(|| {
                whole.push(*group);
                number(whole.len() - 1)
            })
        });
        let groups = groups.collect();
        let places: Vec<_> = whole.iter().filter_map(|group| self.newest.get(*group as usize).copied()).collect();
        Ok(Touched { state: self.gather(&places)?, groups, whole })
    }

    /// Takes back the rows of `touched`, folded into.
    pub fn put(&mut self, touched: &Touched, after: Columns) {
        for (row, group) in touched.whole.iter().enumerate() {
            if let Some(place) = self.newest.get_mut(*group as usize) {
                *place = (self.states.len(), row);
            }
        }
        self.states.push(after);
    }

    /// The newest state row of every group.
    ///
    /// # Errors
    /// The states differ in type or are too large together.
    pub fn finish(mut self) -> Result<Columns, CallError> {
        if self.states.len() == 1 {
            return Ok(self.states.swap_remove(0));
        }
        self.gather(&self.newest)
    }

    fn gather(&self, places: &[(usize, usize)]) -> Result<Columns, CallError> {
        let width = self.states.first().map_or(0, |state| state.columns.len());
        let columns = (0..width).map(|index| interleave(&of_column(&self.states, index), places));
        Ok(Columns { rows: places.len(), columns: columns.collect::<Result<_, _>>().map_err(unjoined)? })
    }
}

fn of_column(parts: &[Columns], index: usize) -> Vec<&dyn Array> {
    parts.iter().filter_map(|part| part.columns.get(index)).map(ArrayRef::as_ref).collect()
}

/// Rows are counted in 32 bits wherever they cross to a UDF; a batch is far below that.
fn number(row: usize) -> u32 {
    u32::try_from(row).unwrap_or(u32::MAX)
}

fn unjoined(error: ArrowError) -> CallError {
    CallError::Host(format!("pieces of a batch cannot be put together: {error}"))
}
