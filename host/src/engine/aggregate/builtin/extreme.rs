//! `min` and `max`. Of floats −0 is below 0 and NaN above everything, so that the result does not depend on the order
//! of the rows; text and bytes compare byte by byte.

use std::cmp::Ordering;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BooleanArray, PrimitiveArray, StringArray,
    new_null_array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::interleave;
use arrow::datatypes::DataType;

use super::state;
use crate::engine::aggregate::{Aggregate, Updated};
use crate::engine::udf::CallError;
use crate::record::Columns;
use crate::time::Micros;

/// Which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The least value.
    Least,
    /// The greatest value.
    Greatest,
}

impl End {
    fn prefers(self, new: Ordering) -> bool {
        new == if self == Self::Least { Ordering::Less } else { Ordering::Greater }
    }
}

/// Of fixed-width values, in place. State: the value, null before the first.
#[derive(Debug)]
pub(super) struct FixedExtreme<T> {
    end: End,
    kind: DataType,
    native: PhantomData<fn() -> T>,
}

impl<T> Clone for FixedExtreme<T> {
    fn clone(&self) -> Self {
        Self { end: self.end, kind: self.kind.clone(), native: PhantomData }
    }
}

impl<T: ArrowPrimitiveType> FixedExtreme<T>
where
    T::Native: Ordered,
{
    pub(super) fn new(end: End, kind: DataType) -> Self {
        Self { end, kind, native: PhantomData }
    }

    fn column(&self, values: Vec<T::Native>, nulls: Option<NullBuffer>) -> ArrayRef {
        Arc::new(PrimitiveArray::<T>::new(values.into(), nulls).with_data_type(self.kind.clone()))
    }

    /// Rows and partial states are alike: a value or none.
    fn fold(&self, state: Columns, groups: &[u32], input: &Columns) -> Result<Columns, CallError> {
        let (rows, [column]) = state::open(state)?;
        let (input_rows, [input]) = state::open(input.clone())?;
        state::check_groups(groups, input_rows, rows)?;
        let (mut values, nulls) = state::into_values::<T>(column)?;
        let mut held = state::validity(rows, nulls.as_ref());
        drop(nulls);
        let input = state::primitive::<T>(&input)?;
        let nulls = input.nulls();
        for (row, (&group, &new)) in groups.iter().zip(input.values()).enumerate() {
            if nulls.is_some_and(|nulls| nulls.is_null(row)) {
                continue;
            }
            let group = group as usize;
            let Some(value) = values.get_mut(group) else { continue };
            let new = new.canonical();
            if !held.is_valid(group) {
                held.set_bit(group, true);
                *value = new;
            } else if self.end.prefers(new.order(*value)) {
                *value = new;
            }
        }
        Ok(state::close(rows, [self.column(values, held.build())]))
    }
}

impl<T: ArrowPrimitiveType> Aggregate for FixedExtreme<T>
where
    T::Native: Ordered,
{
    fn initial(&mut self, rows: usize) -> Result<Columns, CallError> {
        Ok(state::close(rows, [new_null_array(&self.kind, rows)]))
    }

    fn update(&mut self, state: Columns, groups: &[u32], input: &Columns) -> Result<Updated, CallError> {
        Ok(Updated { state: self.fold(state, groups, input)?, rejected: Vec::new() })
    }

    fn merge(&mut self, state: Columns, groups: &[u32], partial: &Columns) -> Result<Columns, CallError> {
        self.fold(state, groups, partial)
    }

    fn evaluate(&mut self, state: &Columns, _: &[Micros], _: &[Micros]) -> Result<Columns, CallError> {
        Ok(state.clone())
    }
}

/// Of booleans, text and bytes: the winners are found first, then gathered at once. State: the value, null before the
/// first.
#[derive(Clone, Debug)]
pub(super) struct GatheredExtreme {
    pub(super) end: End,
    pub(super) kind: DataType,
}

impl GatheredExtreme {
    fn fold(&self, state: Columns, groups: &[u32], input: &Columns) -> Result<Columns, CallError> {
        let (rows, [held]) = state::open(state)?;
        let (input_rows, [input]) = state::open(input.clone())?;
        state::check_groups(groups, input_rows, rows)?;
        let values = (Bytes::new(&held)?, Bytes::new(&input)?);
        let value = |(array, row): (usize, usize)| if array == 0 { values.0.get(row) } else { values.1.get(row) };
        let mut winners: Vec<(usize, usize)> = (0..rows).map(|row| (0, row)).collect();
        let mut changed = false;
        for (row, &group) in groups.iter().enumerate() {
            let (Some(new), Some(winner)) = (value((1, row)), winners.get_mut(group as usize)) else { continue };
            if value(*winner).is_none_or(|old| self.end.prefers(new.cmp(old))) {
                *winner = (1, row);
                changed = true;
            }
        }
        if !changed {
            return Ok(state::close(rows, [held]));
        }
        let column = interleave(&[&held, &input], &winners).map_err(|error| CallError::Host(error.to_string()))?;
        Ok(state::close(rows, [column]))
    }
}

impl Aggregate for GatheredExtreme {
    fn initial(&mut self, rows: usize) -> Result<Columns, CallError> {
        Ok(state::close(rows, [new_null_array(&self.kind, rows)]))
    }

    fn update(&mut self, state: Columns, groups: &[u32], input: &Columns) -> Result<Updated, CallError> {
        Ok(Updated { state: self.fold(state, groups, input)?, rejected: Vec::new() })
    }

    fn merge(&mut self, state: Columns, groups: &[u32], partial: &Columns) -> Result<Columns, CallError> {
        self.fold(state, groups, partial)
    }

    fn evaluate(&mut self, state: &Columns, _: &[Micros], _: &[Micros]) -> Result<Columns, CallError> {
        Ok(state.clone())
    }
}

/// The values of a column as bytes that compare as they do.
enum Bytes<'a> {
    Boolean(&'a BooleanArray),
    Utf8(&'a StringArray),
    Binary(&'a BinaryArray),
}

impl<'a> Bytes<'a> {
    fn new(column: &'a ArrayRef) -> Result<Self, CallError> {
        match column.data_type() {
            DataType::Boolean => Ok(Self::Boolean(column.as_boolean())),
            DataType::Utf8 => Ok(Self::Utf8(column.as_string())),
            DataType::Binary => Ok(Self::Binary(column.as_binary())),
            other => Err(state::wrong_type(other, &DataType::Utf8)),
        }
    }

    fn get(&self, row: usize) -> Option<&'a [u8]> {
        match self {
            Self::Boolean(column) => column.is_valid(row).then(|| if column.value(row) { &[1u8][..] } else { &[0] }),
            Self::Utf8(column) => column.is_valid(row).then(|| column.value(row).as_bytes()),
            Self::Binary(column) => column.is_valid(row).then(|| column.value(row)),
        }
    }
}

/// Values with one order for all of them.
pub(super) trait Ordered: Copy {
    /// The one of equal values that stands for them.
    fn canonical(self) -> Self;

    /// The order of canonical values.
    fn order(self, other: Self) -> Ordering;
}

macro_rules! ordered {
    (integers $($integer:ty)*) => {$(
        impl Ordered for $integer {
            fn canonical(self) -> Self {
                self
            }

            fn order(self, other: Self) -> Ordering {
                self.cmp(&other)
            }
        }
    )*};
    (floats $($float:ident)*) => {$(
        impl Ordered for $float {
            fn canonical(self) -> Self {
                if self.is_nan() { $float::NAN } else { self }
            }

            /// IEEE 754's total order, in which the positive NaN is the greatest of all.
            fn order(self, other: Self) -> Ordering {
                self.total_cmp(&other)
            }
        }
    )*};
}

ordered!(integers i32 i64);
ordered!(floats f32 f64);
