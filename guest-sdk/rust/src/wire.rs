//! The contract's records by short names, and the little-endian numbers that travel in byte buffers.

pub use crate::bindings::aggregate_udf::exports::millrace::feature::aggregate::{
    Signature as AggregateSignature, Updated,
};
pub use crate::bindings::transform_udf::exports::millrace::feature::transform::{
    Output as TransformOutput, Signature as TransformSignature,
};
pub use crate::bindings::transform_udf::millrace::feature::columns::{Batch, Column, Field, Rejection};

/// The u32 numbers in a buffer of the contract: groups, origins.
///
/// # Errors
/// The buffer does not hold exactly `count` of them.
pub(crate) fn u32s<'a>(bytes: &'a [u8], count: usize, what: &str) -> Result<impl Iterator<Item = u32> + 'a, String> {
    let (numbers, rest) = bytes.as_chunks::<4>();
    if numbers.len() != count || !rest.is_empty() {
        return Err(format!("{what}: {} bytes where {count} numbers of 4 bytes belong", bytes.len()));
    }
    Ok(numbers.iter().map(|bytes| u32::from_le_bytes(*bytes)))
}

/// The i64 numbers in a buffer of the contract: window bounds.
///
/// # Errors
/// The buffer does not hold exactly `count` of them.
pub(crate) fn i64s<'a>(bytes: &'a [u8], count: usize, what: &str) -> Result<impl Iterator<Item = i64> + 'a, String> {
    let (numbers, rest) = bytes.as_chunks::<8>();
    if numbers.len() != count || !rest.is_empty() {
        return Err(format!("{what}: {} bytes where {count} numbers of 8 bytes belong", bytes.len()));
    }
    Ok(numbers.iter().map(|bytes| i64::from_le_bytes(*bytes)))
}

/// A row count or row number as the contract's u32. A batch has at most some thousand rows, so this cannot fail on
/// what a host sends; more rows than that can be addressed are the author's flat map gone astray, and a trap.
pub(crate) fn row_number(row: usize) -> u32 {
    u32::try_from(row).expect("a batch has fewer than 2^32 rows")
}
