//! State rows in growable columns: rows are taken out for a call of an aggregate and put back after it.
//!
//! ```text
//!   table   ── gather(rows) ──▶ Arrow arrays ── update | merge ──▶ Arrow arrays ── scatter(rows) ──▶ table
//! ```
//! Arrow arrays do not grow, and a call touches few of a table's rows; so a table keeps plain vectors, and a batch
//! costs by the groups that it touches and not by those there are.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, GenericByteArray, PrimitiveArray, StringArray, UInt32Array,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::{concat, take};
use arrow::datatypes::{
    ArrowPrimitiveType, ByteArrayType, DataType, Float32Type, Float64Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType,
};

use crate::engine::aggregate::AggregateFactory;
use crate::engine::keys::allocated;
use crate::engine::state::foreign;
use crate::engine::udf::CallError;
use crate::record::Columns;

/// Rows of state, all of one aggregate.
#[derive(Clone, Debug)]
pub(super) struct StateTable {
    columns: Vec<StateColumn>,
    rows: usize,
}

#[derive(Clone, Debug)]
struct StateColumn {
    kind: DataType,
    values: Values,
    /// One a row; none while no row is null.
    valid: Option<Vec<bool>>,
    /// What the values take on the heap beside their places.
    heap: usize,
}

#[derive(Clone, Debug)]
enum Values {
    Boolean(Vec<bool>),
    Fixed4(Vec<u32>),
    Fixed8(Vec<u64>),
    Bytes(Vec<Box<[u8]>>),
    /// Lists and maps: each row an array of one row.
    Other(Vec<ArrayRef>),
}

/// The state broke the aggregate's own signature; adapters check that, so it is the host's fault.
fn mismatch(wanted: &DataType, got: &DataType) -> CallError {
    CallError::Host(format!("a state column is {got} where its signature says {wanted}"))
}

impl StateTable {
    /// An empty table of state rows of the given types.
    pub(super) fn new(types: &[DataType]) -> Self {
        Self { columns: types.iter().map(|kind| StateColumn::new(kind.clone())).collect(), rows: 0 }
    }

    /// An empty table for the state of an aggregate.
    pub(super) fn of(factory: &dyn AggregateFactory) -> Self {
        let kinds: Vec<_> = factory.signature().state.iter().map(|field| field.data_type().clone()).collect();
        Self::new(&kinds)
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.rows
    }

    /// About how many bytes it holds.
    pub(super) fn weight(&self) -> usize {
        self.columns.iter().map(StateColumn::weight).sum()
    }

    /// Takes out copies of rows, in the order named; every row must exist.
    pub(super) fn gather(&self, rows: &[u32]) -> Columns {
        Columns { rows: rows.len(), columns: self.columns.iter().map(|column| column.gather(rows)).collect() }
    }

    /// Puts rows back where they were taken from.
    ///
    /// # Errors
    /// The columns are not of this table's types.
    pub(super) fn scatter(&mut self, rows: &[u32], state: &Columns) -> Result<(), CallError> {
        self.check(state, rows.len())?;
        self.columns.iter_mut().zip(&state.columns).try_for_each(|(column, array)| column.scatter(rows, array))
    }

    /// Adds rows at the end.
    ///
    /// # Errors
    /// The columns are not of this table's types.
    pub(super) fn append(&mut self, state: &Columns) -> Result<(), CallError> {
        let start = u32::try_from(self.rows).map_err(|_| CallError::Host("a pane holds 2^32 keys".into()))?;
        let end =
            u32::try_from(self.rows + state.rows).map_err(|_| CallError::Host("a pane holds 2^32 keys".into()))?;
        self.check(state, state.rows)?;
        let rows: Vec<u32> = (start..end).collect();
        self.columns.iter_mut().zip(&state.columns).try_for_each(|(column, array)| {
            column.grow(end as usize);
            column.scatter(&rows, array)
        })?;
        self.rows = end as usize;
        Ok(())
    }

    /// Puts rows in, some of them behind what there is; the table then has `rows_then` rows, all of which have been put
    /// in by then or will be.
    ///
    /// # Errors
    /// The columns are not of this table's types.
    fn put(&mut self, rows: &[u32], rows_then: usize, state: &Columns) -> Result<(), CallError> {
        if rows_then > self.rows {
            self.columns.iter_mut().for_each(|column| column.grow(rows_then));
            self.rows = rows_then;
        }
        self.scatter(rows, state)
    }

    fn check(&self, state: &Columns, rows: usize) -> Result<(), CallError> {
        let fits = state.columns.len() == self.columns.len()
            && state.rows == rows
            && state.columns.iter().all(|column| column.len() == rows);
        if fits { Ok(()) } else { Err(CallError::Host(format!("{} state rows where {rows} were wanted", state.rows))) }
    }
}

/// Puts the columns of all tables' rows, one table's after the other's, in: [`StateTable::put`].
///
/// # Errors
/// The columns are not those of the tables.
pub(super) fn put_all<'a>(
    tables: impl Iterator<Item = &'a mut StateTable>,
    rows: &[u32],
    rows_then: usize,
    columns: &[ArrayRef],
) -> Result<(), CallError> {
    let mut rest = columns;
    for table in tables {
        let (own, others) = rest.split_at_checked(table.columns.len()).ok_or_else(foreign)?;
        table.put(rows, rows_then, &Columns { rows: rows.len(), columns: own.to_vec() })?;
        rest = others;
    }
    if rest.is_empty() { Ok(()) } else { Err(foreign()) }
}

impl StateColumn {
    fn new(kind: DataType) -> Self {
        let values = match &kind {
            DataType::Boolean => Values::Boolean(Vec::new()),
            DataType::Int32 | DataType::Float32 => Values::Fixed4(Vec::new()),
            DataType::Int64 | DataType::Float64 | DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Values::Fixed8(Vec::new())
            }
            DataType::Utf8 | DataType::Binary => Values::Bytes(Vec::new()),
            _ => Values::Other(Vec::new()),
        };
        Self { kind, values, valid: None, heap: 0 }
    }

    fn grow(&mut self, rows: usize) {
        match &mut self.values {
            Values::Boolean(values) => values.resize(rows, false),
            Values::Fixed4(values) => values.resize(rows, 0),
            Values::Fixed8(values) => values.resize(rows, 0),
            Values::Bytes(values) => values.resize(rows, Box::default()),
            Values::Other(values) => values.resize(rows, arrow::array::new_null_array(&self.kind, 1)),
        }
        if let Some(valid) = &mut self.valid {
            valid.resize(rows, true);
        }
    }

    #[expect(clippy::indexing_slicing, reason = "rows are numbers that this table gave out")]
    fn gather(&self, rows: &[u32]) -> ArrayRef {
        let nulls =
            self.valid.as_ref().map(|valid| rows.iter().map(|&row| valid[row as usize]).collect::<NullBuffer>());
        let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
        match &self.values {
            Values::Boolean(values) => {
                let bits = rows.iter().map(|&row| values[row as usize]).collect();
                Arc::new(BooleanArray::new(bits, nulls))
            }
            Values::Fixed4(values) => {
                let taken: Vec<u32> = rows.iter().map(|&row| values[row as usize]).collect();
                fixed(&self.kind, Buffer::from_vec(taken), nulls)
            }
            Values::Fixed8(values) => {
                let taken: Vec<u64> = rows.iter().map(|&row| values[row as usize]).collect();
                fixed(&self.kind, Buffer::from_vec(taken), nulls)
            }
            Values::Bytes(values) => {
                let offsets = OffsetBuffer::from_lengths(rows.iter().map(|&row| values[row as usize].len()));
                let mut bytes = Vec::with_capacity(offsets.last().map_or(0, |end| usize::try_from(*end).unwrap_or(0)));
                for &row in rows {
                    bytes.extend_from_slice(&values[row as usize]);
                }
                let bytes = BinaryArray::new(offsets, Buffer::from_vec(bytes), nulls);
                if self.kind == DataType::Utf8 {
                    let text = StringArray::try_from_binary(bytes).expect("only text was put into this column");
                    return Arc::new(text);
                }
                Arc::new(bytes)
            }
            Values::Other(values) => {
                let parts: Vec<&dyn Array> = rows.iter().map(|&row| values[row as usize].as_ref()).collect();
                if parts.is_empty() {
                    return arrow::array::new_empty_array(&self.kind);
                }
                concat(&parts).expect("all parts are of this column's type")
            }
        }
    }

    #[expect(clippy::indexing_slicing, reason = "rows are numbers that this table gave out, one an array row")]
    fn scatter(&mut self, rows: &[u32], array: &ArrayRef) -> Result<(), CallError> {
        if *array.data_type() != self.kind {
            return Err(mismatch(&self.kind, array.data_type()));
        }
        match &mut self.values {
            Values::Boolean(values) => {
                for (&row, bit) in rows.iter().zip(array.as_boolean().values()) {
                    values[row as usize] = bit;
                }
            }
            Values::Fixed4(values) => {
                for (&row, &value) in rows.iter().zip(bits::<u32>(array)) {
                    values[row as usize] = value;
                }
            }
            Values::Fixed8(values) => {
                for (&row, &value) in rows.iter().zip(bits::<u64>(array)) {
                    values[row as usize] = value;
                }
            }
            Values::Bytes(values) => match self.kind {
                DataType::Utf8 => scatter_bytes(values, &mut self.heap, rows, array.as_string::<i32>()),
                _ => scatter_bytes(values, &mut self.heap, rows, array.as_binary::<i32>()),
            },
            Values::Other(values) => {
                // Copies: a slice would keep the whole batch's items for the sake of one row's.
                for (index, &row) in (0_u32..).zip(rows) {
                    let value = take(array, &UInt32Array::from(vec![index]), None)?;
                    let before = std::mem::replace(&mut values[row as usize], value);
                    self.heap = (self.heap + nested(&values[row as usize])).saturating_sub(nested(&before));
                }
            }
        }
        if array.null_count() > 0 && self.valid.is_none() {
            self.valid = Some(vec![true; self.rows()]);
        }
        if let Some(valid) = &mut self.valid {
            for (index, &row) in rows.iter().enumerate() {
                valid[row as usize] = array.is_valid(index);
            }
        }
        Ok(())
    }

    fn weight(&self) -> usize {
        let places = match &self.values {
            Values::Boolean(values) => values.capacity(),
            Values::Fixed4(values) => values.capacity() * 4,
            Values::Fixed8(values) => values.capacity() * 8,
            Values::Bytes(values) => values.capacity() * size_of::<Box<[u8]>>(),
            Values::Other(values) => values.capacity() * size_of::<ArrayRef>(),
        };
        places + self.valid.as_ref().map_or(0, Vec::capacity) + self.heap
    }

    fn rows(&self) -> usize {
        match &self.values {
            Values::Boolean(values) => values.len(),
            Values::Fixed4(values) => values.len(),
            Values::Fixed8(values) => values.len(),
            Values::Bytes(values) => values.len(),
            Values::Other(values) => values.len(),
        }
    }
}

#[expect(clippy::indexing_slicing, reason = "rows are numbers that this table gave out")]
fn scatter_bytes<T: ByteArrayType>(
    values: &mut [Box<[u8]>],
    heap: &mut usize,
    rows: &[u32],
    array: &GenericByteArray<T>,
) {
    for (index, &row) in rows.iter().enumerate() {
        let value: &[u8] = array.value(index).as_ref();
        let known = &mut values[row as usize];
        if **known != *value {
            *heap = (*heap + allocated(value.len())).saturating_sub(allocated(known.len()));
            *known = value.into();
        }
    }
}

/// About what a value that is an array of its own takes; those that are null share one.
fn nested(value: &ArrayRef) -> usize {
    /// What an array has beside its values.
    const ARRAY: usize = 200;
    if value.null_count() > 0 { 0 } else { value.get_buffer_memory_size() + ARRAY }
}

/// The values of a fixed-width array as bits of that width.
fn bits<T: arrow::datatypes::ArrowNativeType>(array: &ArrayRef) -> &[T] {
    fn inner<T: ArrowPrimitiveType>(array: &ArrayRef) -> &Buffer {
        array.as_primitive::<T>().values().inner()
    }
    let buffer = match array.data_type() {
        DataType::Int32 => inner::<Int32Type>(array),
        DataType::Float32 => inner::<Float32Type>(array),
        DataType::Int64 => inner::<Int64Type>(array),
        DataType::Float64 => inner::<Float64Type>(array),
        _ => inner::<TimestampMicrosecondType>(array),
    };
    buffer.typed_data::<T>()
}

fn fixed(kind: &DataType, values: Buffer, nulls: Option<NullBuffer>) -> ArrayRef {
    fn array<T: ArrowPrimitiveType>(values: Buffer, nulls: Option<NullBuffer>) -> PrimitiveArray<T> {
        PrimitiveArray::new(ScalarBuffer::from(values), nulls)
    }
    match kind {
        DataType::Int32 => Arc::new(array::<Int32Type>(values, nulls)),
        DataType::Float32 => Arc::new(array::<Float32Type>(values, nulls)),
        DataType::Int64 => Arc::new(array::<Int64Type>(values, nulls)),
        DataType::Float64 => Arc::new(array::<Float64Type>(values, nulls)),
        _ => Arc::new(array::<TimestampMicrosecondType>(values, nulls).with_data_type(kind.clone())),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array, ListArray};

    use super::*;

    fn sample() -> Columns {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Float64Array::from(vec![Some(1.5), None, Some(f64::NAN)])),
            Arc::new(Int64Array::from(vec![1, 2, 3])),
            Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
            Arc::new(StringArray::from(vec![Some("a"), None, Some("käse")])),
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(vec![
                Some(vec![Some(1), None]),
                None,
                Some(vec![]),
            ])),
        ];
        Columns { rows: 3, columns }
    }

    #[test]
    fn what_goes_in_comes_out() {
        let state = sample();
        let types: Vec<_> = state.columns.iter().map(|column| column.data_type().clone()).collect();
        let mut table = StateTable::new(&types);
        table.append(&state).unwrap();
        table.append(&state).unwrap();
        assert_eq!(format!("{:?}", table.gather(&[3, 4, 5]).columns), format!("{:?}", state.columns));

        let swapped = table.gather(&[2, 1, 0]);
        table.scatter(&[3, 4, 5], &swapped).unwrap();
        assert_eq!(format!("{:?}", table.gather(&[5, 4, 3]).columns), format!("{:?}", state.columns));
        assert_eq!(format!("{:?}", table.gather(&[0, 1, 2]).columns), format!("{:?}", state.columns));
    }

    #[test]
    fn other_types_are_refused() {
        let mut table = StateTable::new(&[DataType::Int64]);
        let floats = Columns { rows: 1, columns: vec![Arc::new(Float64Array::from(vec![1.0]))] };
        assert!(table.append(&floats).is_err());
        assert!(table.append(&Columns { rows: 1, columns: vec![] }).is_err());
    }
}
