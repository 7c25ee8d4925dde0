//! A batch's columns as typed cells: one look at a column's type a batch, none a cell; and what a batch must be before
//! any store writes it.

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, ListArray,
    MapArray, StringArray, TimestampMicrosecondArray,
};

use super::{NamedType, OnlineBatch, OnlineView};
use crate::record::{ColumnType, Value};
use crate::store::StoreError;

/// A column whose type is known.
pub(super) enum Cells<'a> {
    Boolean(&'a BooleanArray),
    Int32(&'a Int32Array),
    Int64(&'a Int64Array),
    Float32(&'a Float32Array),
    Float64(&'a Float64Array),
    Timestamp(&'a TimestampMicrosecondArray),
    Utf8(&'a StringArray),
    Binary(&'a BinaryArray),
    /// The lists, and the items of all of them.
    List(&'a ListArray, Box<Cells<'a>>),
    /// The maps, and the keys and the values of all of them.
    Map(&'a MapArray, &'a StringArray, Box<Cells<'a>>),
}

impl<'a> Cells<'a> {
    /// The cells of `array` where it is of that type.
    pub(super) fn new(array: &'a ArrayRef, kind: &ColumnType) -> Option<Self> {
        let any = array.as_any();
        match kind {
            ColumnType::Boolean => any.downcast_ref().map(Self::Boolean),
            ColumnType::Int32 => any.downcast_ref().map(Self::Int32),
            ColumnType::Int64 => any.downcast_ref().map(Self::Int64),
            ColumnType::Float32 => any.downcast_ref().map(Self::Float32),
            ColumnType::Float64 => any.downcast_ref().map(Self::Float64),
            ColumnType::Timestamp => any.downcast_ref().map(Self::Timestamp),
            ColumnType::Utf8 => any.downcast_ref().map(Self::Utf8),
            ColumnType::Binary => any.downcast_ref().map(Self::Binary),
            ColumnType::List(item) => {
                let lists: &ListArray = any.downcast_ref()?;
                Self::new(lists.values(), item).map(|items| Self::List(lists, Box::new(items)))
            }
            ColumnType::Map(value) => {
                let maps: &MapArray = any.downcast_ref()?;
                let keys = maps.keys().as_any().downcast_ref()?;
                Self::new(maps.values(), value).map(|values| Self::Map(maps, keys, Box::new(values)))
            }
        }
    }

    /// The column behind the cells.
    pub(super) fn array(&self) -> &'a dyn Array {
        match self {
            Self::Boolean(array) => *array,
            Self::Int32(array) => *array,
            Self::Int64(array) => *array,
            Self::Float32(array) => *array,
            Self::Float64(array) => *array,
            Self::Timestamp(array) => *array,
            Self::Utf8(array) => *array,
            Self::Binary(array) => *array,
            Self::List(array, _) => *array,
            Self::Map(array, ..) => *array,
        }
    }

    /// Where the items of the list or map `row` start and end; empty for what is none.
    pub(super) fn span(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
        let offset = |at: usize| offsets.get(at).and_then(|offset| usize::try_from(*offset).ok());
        match (offset(row), offset(row + 1)) {
            (Some(start), Some(end)) => start..end,
            _ => 0..0,
        }
    }

    /// One cell by itself.
    pub(super) fn value(&self, row: usize) -> Value {
        if self.array().is_null(row) {
            return Value::Null;
        }
        match self {
            Self::Boolean(array) => Value::Boolean(array.value(row)),
            Self::Int32(array) => Value::Int32(array.value(row)),
            Self::Int64(array) => Value::Int64(array.value(row)),
            Self::Float32(array) => Value::Float32(array.value(row)),
            Self::Float64(array) => Value::Float64(array.value(row)),
            Self::Timestamp(array) => Value::Timestamp(array.value(row)),
            Self::Utf8(array) => Value::Utf8(array.value(row).to_owned()),
            Self::Binary(array) => Value::Binary(array.value(row).to_owned()),
            Self::List(lists, items) => {
                Value::List(Self::span(lists.value_offsets(), row).map(|item| items.value(item)).collect())
            }
            Self::Map(maps, keys, values) => {
                let entries = Self::span(maps.value_offsets(), row);
                Value::Map(entries.map(|entry| (keys.value(entry).to_owned(), values.value(entry))).collect())
            }
        }
    }
}

/// A batch's columns, checked against its view.
pub(super) struct Typed<'a> {
    pub(super) keys: Vec<Cells<'a>>,
    pub(super) features: Vec<Cells<'a>>,
}

impl<'a> Typed<'a> {
    /// Checks a batch: as many columns as the view has, of its types, as long as the times, no null in a key. Where
    /// that does not hold it says what is wrong.
    pub(super) fn new(batch: &'a OnlineBatch) -> Result<Self, String> {
        let rows = batch.times.len();
        let columns = |columns: &'a [ArrayRef], kinds: &[(String, ColumnType)]| -> Result<Vec<Cells<'a>>, String> {
            if columns.len() != kinds.len() {
                return Err(format!("{} columns were given for {}", columns.len(), kinds.len()));
            }
            columns
                .iter()
                .zip(kinds)
                .map(|(array, (name, kind))| {
                    if array.len() != rows {
                        return Err(format!("column {name} has {} rows, the batch {rows}", array.len()));
                    }
                    Cells::new(array, kind)
                        .ok_or_else(|| format!("column {name} is {} instead of {kind}", array.data_type()))
                })
                .collect()
        };
        let keys = columns(&batch.keys, &batch.view.keys)?;
        for (cells, (name, _)) in keys.iter().zip(&batch.view.keys) {
            if cells.array().null_count() > 0 {
                return Err(format!("key {name} is null in a row"));
            }
        }
        if batch.deleted.as_ref().is_some_and(|deleted| deleted.len() != rows) {
            return Err("the deletions are not as many as the rows".into());
        }
        Ok(Self { keys, features: columns(&batch.features, &batch.view.features)? })
    }
}

/// Checks that a key's types can be told apart byte by byte.
pub(super) fn check_keys(store: &str, view: &OnlineView) -> Result<(), StoreError> {
    let wrong = view
        .keys
        .iter()
        .find(|(_, kind)| matches!(kind, ColumnType::Float32 | ColumnType::Float64) || !kind.is_scalar());
    match wrong {
        None => Ok(()),
        Some((name, kind)) => Err(StoreError::Refused {
            store: store.into(),
            cause: format!("view {}: key {name} is {kind}; use an integer, utf8 or binary", view.name),
        }),
    }
}

/// Checks that a key's values are of its types, and says what is wrong with them; false where one is null, and the key
/// so nobody's.
pub(super) fn check_key(kinds: &[NamedType], key: &[Value]) -> Result<bool, String> {
    if key.len() != kinds.len() {
        return Err(format!("a key of {} parts for {}", key.len(), kinds.len()));
    }
    for (value, (name, kind)) in key.iter().zip(kinds) {
        let fits = match value {
            Value::Null => return Ok(false),
            Value::Boolean(_) => *kind == ColumnType::Boolean,
            Value::Int32(_) => *kind == ColumnType::Int32,
            Value::Int64(_) => *kind == ColumnType::Int64,
            Value::Timestamp(_) => *kind == ColumnType::Timestamp,
            Value::Utf8(_) => *kind == ColumnType::Utf8,
            Value::Binary(_) => *kind == ColumnType::Binary,
            Value::Float32(_) | Value::Float64(_) | Value::List(_) | Value::Map(_) => false,
        };
        if !fits {
            return Err(format!("key {name} is not a {kind}"));
        }
    }
    Ok(true)
}

/// Whether row `row` of a batch deletes its key.
pub(super) fn is_deleted(deleted: Option<&BooleanArray>, row: usize) -> bool {
    deleted.is_some_and(|deleted| deleted.is_valid(row) && deleted.value(row))
}
