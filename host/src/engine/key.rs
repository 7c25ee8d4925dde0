//! Keys as canonical bytes, and where a key lives.
//!
//! The bytes are an on-disk and on-wire format: state, key groups and the ownership of shards hang on them, so they
//! never change. A key is its parts in the order of their names, one after the other:
//!
//! ```text
//! boolean            1 byte, 0 or 1
//! int32              4 bytes, little-endian
//! int64, timestamp   8 bytes, little-endian (a timestamp in microseconds)
//! utf8, binary       4 bytes little-endian: the length, then the bytes
//! ```
//! Floats, lists and maps are no keys. The key of a view without an entity is empty. A key's group is `xxh3_64(bytes) % 1024`,
//! and group g belongs to shard `g * shards / 1024`.
//!
//! Always true: two rows have equal bytes exactly if all parts of their keys are equal; equal types give equal lengths
//! or carry them, so no key is the beginning of another of the same types.

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, PrimitiveArray, StringArray};
use arrow::buffer::{Buffer, NullBuffer};
use arrow::datatypes::{ArrowNativeType, DataType, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Blame, Fault};
use crate::record::{ColumnType, Value};

/// How many key groups there are; fixed for ever, since state is filed under them.
pub const KEY_GROUPS: u16 = 1024;

/// A key that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A type that is not compared by its bytes.
    #[error("a key cannot be of type {0}; use boolean, int32, int64, timestamp, utf8 or binary")]
    Type(String),
    /// A part of a key has no value.
    #[error("a part of the key is null")]
    Null,
    /// Columns of one batch that differ in length, or bytes that no key of these types has.
    #[error("{0}")]
    Malformed(&'static str),
}

impl Blame for KeyError {
    fn fault(&self) -> Fault {
        match self {
            Self::Type(_) => Fault::User,
            Self::Null => Fault::Data,
            Self::Malformed(_) => Fault::Internal,
        }
    }
}

/// Whether a column of this type can be part of a key.
///
/// # Errors
/// It cannot, and what can.
pub fn check(kind: &ColumnType) -> Result<(), KeyError> {
    match kind {
        ColumnType::Boolean
        | ColumnType::Int32
        | ColumnType::Int64
        | ColumnType::Timestamp
        | ColumnType::Utf8
        | ColumnType::Binary => Ok(()),
        ColumnType::Float32 | ColumnType::Float64 | ColumnType::List(_) | ColumnType::Map(_) => {
            Err(KeyError::Type(kind.to_string()))
        }
    }
}

/// The hash of a key's bytes, of which its group is the remainder.
#[inline]
pub fn hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// The group of a key with this hash, below [`KEY_GROUPS`].
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "a remainder of 1024 fits 16 bits")]
pub fn group_of_hash(hash: u64) -> u16 {
    (hash % u64::from(KEY_GROUPS)) as u16
}

/// The group of a key, below [`KEY_GROUPS`].
#[inline]
pub fn group(key: &[u8]) -> u16 {
    group_of_hash(hash(key))
}

/// The shard, of `shards`, that owns a group: the groups of one shard are neighbours.
#[inline]
pub fn shard(group: u16, shards: usize) -> usize {
    usize::from(group) * shards / usize::from(KEY_GROUPS)
}

#[derive(Clone, Debug)]
enum Bounds {
    /// All keys have this many bytes.
    Width(usize),
    /// Key i lies from entry i to entry i + 1.
    Offsets(Vec<usize>),
}

/// The canonical keys of a batch's rows.
#[derive(Clone, Debug)]
pub struct EncodedKeys {
    bytes: Buffer,
    bounds: Bounds,
    rows: usize,
    nulls: Option<NullBuffer>,
}

impl EncodedKeys {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The key of row `row`; of no meaning where a part of it is null; empty for a row that does not exist.
    #[inline]
    pub fn get(&self, row: usize) -> &[u8] {
        let range = match &self.bounds {
            Bounds::Width(width) => row * width..row * width + width,
            Bounds::Offsets(offsets) => match (offsets.get(row), offsets.get(row + 1)) {
                (Some(&start), Some(&end)) => start..end,
                _ => 0..0,
            },
        };
        self.bytes.as_slice().get(range).unwrap_or_default()
    }

    /// About how many bytes they take.
    pub(super) fn weight(&self) -> usize {
        let bounds = if let Bounds::Offsets(offsets) = &self.bounds { offsets.len() * size_of::<usize>() } else { 0 };
        self.bytes.len() + bounds
    }

    /// Some of the keys of several batches, in the order named: each with its batch and its row.
    pub(super) fn gather(batches: &[&Self], rows: &[(usize, usize)]) -> Self {
        let of = |(batch, row): &(usize, usize)| batches.get(*batch).map_or(&[][..], |keys| keys.get(*row));
        let fixed = |keys: &&Self| if let Bounds::Width(width) = keys.bounds { Some(width) } else { None };
        let width =
            batches.first().and_then(fixed).filter(|width| batches.iter().all(|keys| fixed(keys) == Some(*width)));
        let bounds = match width {
            Some(width) => Bounds::Width(width),
            None => {
                let ends = rows.iter().scan(0, |end, row| {
                    *end += of(row).len();
                    Some(*end)
                });
                Bounds::Offsets(std::iter::once(0).chain(ends).collect())
            }
        };
        let mut bytes = Vec::with_capacity(width.unwrap_or(16) * rows.len());
        rows.iter().for_each(|row| bytes.extend_from_slice(of(row)));
        let null = |(batch, row): &(usize, usize)| batches.get(*batch).is_some_and(|keys| keys.is_null(*row));
        let nulls = batches.iter().any(|keys| keys.nulls.is_some());
        let nulls = nulls.then(|| rows.iter().map(|row| !null(row)).collect::<NullBuffer>());
        let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
        Self { bytes: Buffer::from_vec(bytes), bounds, rows: rows.len(), nulls }
    }

    /// Which rows have all parts of their key; none where all rows do.
    pub fn nulls(&self) -> Option<&NullBuffer> {
        self.nulls.as_ref()
    }

    /// Whether a part of row `row`'s key is null.
    #[inline]
    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| row < nulls.len() && nulls.is_null(row))
    }

    /// The hash of every row's key, by [`hash`].
    pub fn hashes(&self) -> Vec<u64> {
        match &self.bounds {
            // A constant length lets the compiler take the hash's short path without a branch a row.
            Bounds::Width(8) => self.bytes.as_slice().as_chunks::<8>().0.iter().map(|key| xxh3_64(key)).collect(),
            _ => (0..self.rows).map(|row| hash(self.get(row))).collect(),
        }
    }
}

/// Encodes the keys of `rows` rows whose parts, in the order of their names, are `columns`.
///
/// # Errors
/// A column whose type is no key, or whose length is not `rows`.
pub fn encode(columns: &[ArrayRef], rows: usize) -> Result<EncodedKeys, KeyError> {
    if columns.iter().any(|column| column.len() != rows) {
        return Err(KeyError::Malformed("the columns of a key differ in length"));
    }
    let parts = columns.iter().map(Part::new).collect::<Result<Vec<_>, _>>()?;
    let nulls = columns.iter().fold(None, |nulls, column| NullBuffer::union(nulls.as_ref(), column.nulls()));
    let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
    if let Some(bytes) = single_int64(&parts) {
        return Ok(EncodedKeys { bytes, bounds: Bounds::Width(size_of::<i64>()), rows, nulls });
    }
    let width: usize = parts.iter().map(Part::fixed_width).sum();
    let (mut cursors, bounds, total) = if parts.iter().any(Part::is_variable) {
        let mut offsets = Vec::with_capacity(rows + 1);
        let mut end = 0;
        for row in 0..rows {
            offsets.push(end);
            end += width + parts.iter().map(|part| part.variable_length(row)).sum::<usize>();
        }
        offsets.push(end);
        (offsets.clone(), Bounds::Offsets(offsets), end)
    } else {
        ((0..rows).map(|row| row * width).collect(), Bounds::Width(width), rows * width)
    };
    let mut bytes = vec![0; total];
    for part in &parts {
        part.write(&mut bytes, &mut cursors);
    }
    Ok(EncodedKeys { bytes: Buffer::from_vec(bytes), bounds, rows, nulls })
}

/// The bytes of a lone 64-bit column are its keys already.
fn single_int64(parts: &[Part<'_>]) -> Option<Buffer> {
    let values = match parts {
        [Part::Int64(column)] => column.values(),
        [Part::Timestamp(column)] => column.values(),
        _ => return None,
    };
    cfg!(target_endian = "little").then(|| values.inner().clone())
}

/// Appends the key whose parts, in the order of their names, are `values`.
///
/// # Errors
/// A value is null or of a type that is no key; `out` may then hold a part of the key.
pub fn encode_values(values: &[Value], out: &mut Vec<u8>) -> Result<(), KeyError> {
    for value in values {
        match value {
            Value::Boolean(value) => out.push(u8::from(*value)),
            Value::Int32(value) => out.extend_from_slice(&value.to_le_bytes()),
            Value::Int64(value) | Value::Timestamp(value) => out.extend_from_slice(&value.to_le_bytes()),
            Value::Utf8(value) => put_bytes(value.as_bytes(), out)?,
            Value::Binary(value) => put_bytes(value, out)?,
            Value::Null => return Err(KeyError::Null),
            Value::Float32(_) => return Err(KeyError::Type(ColumnType::Float32.to_string())),
            Value::Float64(_) => return Err(KeyError::Type(ColumnType::Float64.to_string())),
            Value::List(_) => return Err(KeyError::Type("list".into())),
            Value::Map(_) => return Err(KeyError::Type("map".into())),
        }
    }
    Ok(())
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), KeyError> {
    let length = u32::try_from(bytes.len()).map_err(|_| KeyError::Malformed("a part of the key is above 4 GiB"))?;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// Reads keys back into columns of the types that made them, one a part.
///
/// # Errors
/// A type is no key, or a key's bytes are not those of such types.
pub fn decode<'a>(keys: impl Iterator<Item = &'a [u8]>, kinds: &[ColumnType]) -> Result<Vec<ArrayRef>, KeyError> {
    const DAMAGED: KeyError = KeyError::Malformed("bytes that are no key of these types");
    fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N], KeyError> {
        let (head, tail) = rest.split_first_chunk::<N>().ok_or(DAMAGED)?;
        *rest = tail;
        Ok(head)
    }
    fn take_bytes<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], KeyError> {
        let length = usize::try_from(u32::from_le_bytes(*take(rest)?)).map_err(|_| DAMAGED)?;
        let (head, tail) = rest.split_at_checked(length).ok_or(DAMAGED)?;
        *rest = tail;
        Ok(head)
    }
    let mut rests: Vec<&[u8]> = keys.collect();
    let columns = kinds.iter().map(|kind| {
        let rests = rests.iter_mut();
        Ok(match kind {
            ColumnType::Boolean => {
                let values = rests.map(|rest| match take::<1>(rest)? {
                    [0] => Ok(Some(false)),
                    [1] => Ok(Some(true)),
                    _ => Err(DAMAGED),
                });
                Arc::new(values.collect::<Result<BooleanArray, _>>()?) as ArrayRef
            }
            ColumnType::Int32 => {
                let values = rests.map(|rest| take(rest).map(|bytes| i32::from_le_bytes(*bytes)));
                Arc::new(PrimitiveArray::<Int32Type>::from(values.collect::<Result<Vec<_>, _>>()?))
            }
            ColumnType::Int64 | ColumnType::Timestamp => {
                let values = rests.map(|rest| take(rest).map(|bytes| i64::from_le_bytes(*bytes)));
                let values = values.collect::<Result<Vec<_>, _>>()?;
                match kind {
                    ColumnType::Timestamp => crate::record::timestamps(&values.into()),
                    _ => Arc::new(PrimitiveArray::<Int64Type>::from(values)),
                }
            }
            ColumnType::Utf8 => {
                let values =
                    rests.map(|rest| take_bytes(rest).and_then(|b| std::str::from_utf8(b).map_err(|_| DAMAGED)));
                Arc::new(StringArray::from(values.collect::<Result<Vec<_>, _>>()?))
            }
            ColumnType::Binary => Arc::new(BinaryArray::from(rests.map(take_bytes).collect::<Result<Vec<_>, _>>()?)),
            ColumnType::Float32 | ColumnType::Float64 | ColumnType::List(_) | ColumnType::Map(_) => {
                return Err(KeyError::Type(kind.to_string()));
            }
        })
    });
    let columns = columns.collect::<Result<Vec<_>, KeyError>>()?;
    if rests.iter().all(|rest| rest.is_empty()) { Ok(columns) } else { Err(DAMAGED) }
}

/// One part of a key, its type told once a batch.
enum Part<'a> {
    Boolean(&'a BooleanArray),
    Int32(&'a PrimitiveArray<Int32Type>),
    Int64(&'a PrimitiveArray<Int64Type>),
    Timestamp(&'a PrimitiveArray<TimestampMicrosecondType>),
    Utf8(&'a StringArray),
    Binary(&'a BinaryArray),
}

impl<'a> Part<'a> {
    fn new(column: &'a ArrayRef) -> Result<Self, KeyError> {
        Ok(match column.data_type() {
            DataType::Boolean => Self::Boolean(column.as_boolean()),
            DataType::Int32 => Self::Int32(column.as_primitive()),
            DataType::Int64 => Self::Int64(column.as_primitive()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => Self::Timestamp(column.as_primitive()),
            DataType::Utf8 => Self::Utf8(column.as_string()),
            DataType::Binary => Self::Binary(column.as_binary()),
            other => {
                let name = ColumnType::from_arrow(other).map_or_else(|| other.to_string(), |kind| kind.to_string());
                return Err(KeyError::Type(name));
            }
        })
    }

    fn is_variable(&self) -> bool {
        matches!(self, Self::Utf8(_) | Self::Binary(_))
    }

    /// The bytes that it takes in every row.
    fn fixed_width(&self) -> usize {
        match self {
            Self::Boolean(_) => 1,
            Self::Int32(_) | Self::Utf8(_) | Self::Binary(_) => 4,
            Self::Int64(_) | Self::Timestamp(_) => 8,
        }
    }

    /// The bytes that it takes in this row beside those.
    fn variable_length(&self, row: usize) -> usize {
        match self {
            Self::Utf8(column) => column.value_length(row).to_usize().unwrap_or(0),
            Self::Binary(column) => column.value_length(row).to_usize().unwrap_or(0),
            _ => 0,
        }
    }

    /// Writes the part of every row at its cursor, and moves the cursors on.
    fn write(&self, out: &mut [u8], cursors: &mut [usize]) {
        match self {
            Self::Boolean(column) => put(out, cursors, column.values().iter().map(|value| [u8::from(value)])),
            Self::Int32(column) => put(out, cursors, column.values().iter().map(|value| value.to_le_bytes())),
            Self::Int64(column) => put(out, cursors, column.values().iter().map(|value| value.to_le_bytes())),
            Self::Timestamp(column) => put(out, cursors, column.values().iter().map(|value| value.to_le_bytes())),
            Self::Utf8(column) => put_sized(out, cursors, (0..column.len()).map(|row| column.value(row).as_bytes())),
            Self::Binary(column) => put_sized(out, cursors, (0..column.len()).map(|row| column.value(row))),
        }
    }
}

#[expect(clippy::indexing_slicing, reason = "the cursors leave room for the widths that made them")]
fn put<const N: usize>(out: &mut [u8], cursors: &mut [usize], values: impl Iterator<Item = [u8; N]>) {
    for (cursor, value) in cursors.iter_mut().zip(values) {
        out[*cursor..*cursor + N].copy_from_slice(&value);
        *cursor += N;
    }
}

#[expect(clippy::indexing_slicing, reason = "the cursors leave room for the lengths that made them")]
#[expect(clippy::cast_possible_truncation, reason = "Arrow's own offsets are 31 bits")]
fn put_sized<'a>(out: &mut [u8], cursors: &mut [usize], values: impl Iterator<Item = &'a [u8]>) {
    for (cursor, value) in cursors.iter_mut().zip(values) {
        let (start, end) = (*cursor + 4, *cursor + 4 + value.len());
        out[*cursor..start].copy_from_slice(&(value.len() as u32).to_le_bytes());
        out[start..end].copy_from_slice(value);
        *cursor = end;
    }
}

#[cfg(test)]
mod tests;
