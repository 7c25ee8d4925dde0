//! `first` and `last`: the non-null value of the least or the greatest event time, equal times told apart by when rows
//! were created, where that is known, then by source, partition, offset and row, so that the result does not depend on
//! the order in which rows arrive.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray, new_null_array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimestampMicrosecondType};
use std::ops::Deref;

use super::state;
use crate::engine::aggregate::{Aggregate, Updated};
use crate::engine::udf::CallError;
use crate::record::{Columns, timestamps};
use crate::time::Micros;

/// Which end.
///
/// Input and state alike: the value, then its event time, where `created` says so its creation (int64), source (int32),
/// partition and offset (int64). Where the value is null there is none yet, and the rest is 0.
#[derive(Clone, Debug)]
pub(super) struct Position {
    /// The greatest position; else the least.
    pub(super) last: bool,
    /// The type of the value.
    pub(super) kind: DataType,
    /// Whether it is known when rows were created.
    pub(super) created: bool,
}

/// Where a value comes from, in the order that decides.
type Place = (Micros, Micros, i32, i64, i64);

/// The places of some rows.
struct Places<A, B> {
    times: A,
    creations: Option<A>,
    sources: B,
    partitions: A,
    offsets: A,
}

impl<A: Deref<Target = [i64]>, B: Deref<Target = [i32]>> Places<A, B> {
    fn get(&self, row: usize) -> Option<Place> {
        let (time, source) = (self.times.get(row)?, self.sources.get(row)?);
        let created = self.creations.as_ref().and_then(|creations| creations.get(row)).copied().unwrap_or(0);
        Some((*time, created, *source, *self.partitions.get(row)?, *self.offsets.get(row)?))
    }
}

impl Places<Vec<i64>, Vec<i32>> {
    fn set(&mut self, row: usize, (time, created, source, partition, offset): Place) {
        fn put<T>(column: &mut [T], row: usize, value: T) {
            if let Some(slot) = column.get_mut(row) {
                *slot = value;
            }
        }
        put(&mut self.times, row, time);
        if let Some(creations) = &mut self.creations {
            put(creations, row, created);
        }
        put(&mut self.sources, row, source);
        put(&mut self.partitions, row, partition);
        put(&mut self.offsets, row, offset);
    }
}

fn values<T: ArrowPrimitiveType>(column: &ArrayRef) -> Result<ScalarBuffer<T::Native>, CallError> {
    state::primitive::<T>(column).map(PrimitiveArray::values).cloned()
}

impl Position {
    /// The rows, the value, the place, and the creation where that is known.
    fn open(&self, columns: Columns) -> Result<(usize, ArrayRef, [ArrayRef; 4], Option<ArrayRef>), CallError> {
        if !self.created {
            let (rows, [value, place @ ..]) = state::open::<5>(columns)?;
            return Ok((rows, value, place, None));
        }
        let (rows, [value, times, created, sources, partitions, offsets]) = state::open(columns)?;
        Ok((rows, value, [times, sources, partitions, offsets], Some(created)))
    }

    /// Rows and partial states are alike: a value with its place, or none.
    fn fold(&self, state: Columns, groups: &[u32], input: &Columns) -> Result<Columns, CallError> {
        let (rows, held, [times, sources, partitions, offsets], creations) = self.open(state)?;
        let mut places = Places {
            times: state::into_values::<TimestampMicrosecondType>(times)?.0,
            creations: creations
                .map(|column| Ok::<_, CallError>(state::into_values::<Int64Type>(column)?.0))
                .transpose()?,
            sources: state::into_values::<Int32Type>(sources)?.0,
            partitions: state::into_values::<Int64Type>(partitions)?.0,
            offsets: state::into_values::<Int64Type>(offsets)?.0,
        };
        let (input_rows, input, [times, sources, partitions, offsets], creations) = self.open(input.clone())?;
        state::check_groups(groups, input_rows, rows)?;
        let new_places = Places {
            times: values::<TimestampMicrosecondType>(&times)?,
            creations: creations.map(|column| values::<Int64Type>(&column)).transpose()?,
            sources: values::<Int32Type>(&sources)?,
            partitions: values::<Int64Type>(&partitions)?,
            offsets: values::<Int64Type>(&offsets)?,
        };
        let mut winners: Vec<(usize, usize)> = (0..rows).map(|row| (0, row)).collect();
        let mut changed = false;
        for (row, &group) in groups.iter().enumerate() {
            let group = group as usize;
            let (Some(winner), Some(new), Some(old)) = (winners.get_mut(group), new_places.get(row), places.get(group))
            else {
                continue;
            };
            let empty = winner.0 == 0 && held.is_null(group);
            // Rows of one event share their place: the later of them is the last.
            if input.is_valid(row) && (empty || if self.last { new >= old } else { new < old }) {
                *winner = (1, row);
                places.set(group, new);
                changed = true;
            }
        }
        let value = match changed {
            true => interleave(&[&held, &input], &winners).map_err(|error| CallError::Host(error.to_string()))?,
            false => held,
        };
        Ok(close(rows, value, places))
    }
}

fn close(rows: usize, value: ArrayRef, places: Places<Vec<i64>, Vec<i32>>) -> Columns {
    let mut columns = vec![value, timestamps(&places.times.into())];
    columns.extend(places.creations.map(state::column::<Int64Type>));
    columns.push(state::column::<Int32Type>(places.sources));
    columns.push(state::column::<Int64Type>(places.partitions));
    columns.push(state::column::<Int64Type>(places.offsets));
    Columns { rows, columns }
}

impl Aggregate for Position {
    fn initial(&mut self, rows: usize) -> Result<Columns, CallError> {
        let places = Places {
            times: vec![0; rows],
            creations: self.created.then(|| vec![0; rows]),
            sources: vec![0; rows],
            partitions: vec![0; rows],
            offsets: vec![0; rows],
        };
        Ok(close(rows, new_null_array(&self.kind, rows), places))
    }

    fn update(&mut self, state: Columns, groups: &[u32], input: &Columns) -> Result<Updated, CallError> {
        Ok(Updated { state: self.fold(state, groups, input)?, rejected: Vec::new() })
    }

    fn merge(&mut self, state: Columns, groups: &[u32], partial: &Columns) -> Result<Columns, CallError> {
        self.fold(state, groups, partial)
    }

    fn evaluate(&mut self, state: &Columns, _: &[Micros], _: &[Micros]) -> Result<Columns, CallError> {
        let (rows, value, ..) = self.open(state.clone())?;
        Ok(state::close(rows, [value]))
    }
}
