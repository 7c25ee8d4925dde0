//! Columns across the boundary: Arrow arrays to the contract's buffers and back.
//!
//! On the way in ([`lower`]) the guest is handed Arrow's own buffers; only what a slice has moved off its start is copied
//! (offsets that do not begin at 0, bitmaps that do not begin at a byte). On the way back ([`lift()`]) Arrow adopts the
//! bytes that came, after every length, offset, bitmap and text has been checked: a guest is not trusted to know its
//! own contract.
//!
//! The layout is that of the Arrow columnar format, the type names those of its C Data Interface, see `wit/feature.wit`.

#[cfg(fuzzing)]
pub mod fuzzing;
mod lift;
mod lower;
mod size;
#[cfg(test)]
mod tests;

use arrow::datatypes::FieldRef;

pub(super) use lift::{lift, lift_origin, lift_rejected};
pub(super) use lower::{numbers, with_batch};
pub(super) use size::{check_row_bytes, row_bytes};

use crate::record::ColumnType;

#[cfg(target_endian = "big")]
compile_error!("columns cross to guests as little-endian bytes, straight from memory");

/// How deep lists may be nested.
const MAX_DEPTH: usize = 8;

/// What a guest returned that its contract does not allow, in words for its author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Breach(pub(super) String);

/// A column of a schema that was agreed on when the guest was bound.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) field: FieldRef,
    pub(super) kind: ColumnType,
}

/// Whether a column of this type can be handed to a guest and back: the contract has no maps.
pub(super) fn crosses(kind: &ColumnType) -> bool {
    match kind {
        ColumnType::Map(_) => false,
        ColumnType::List(item) => crosses(item),
        _ => true,
    }
}

/// The contract's format string for a type that [`crosses`].
pub(super) fn format(kind: &ColumnType) -> String {
    match kind {
        ColumnType::Boolean => "b".into(),
        ColumnType::Int32 => "i".into(),
        ColumnType::Int64 => "l".into(),
        ColumnType::Float32 => "f".into(),
        ColumnType::Float64 => "g".into(),
        ColumnType::Timestamp => "tsu:UTC".into(),
        ColumnType::Utf8 => "u".into(),
        ColumnType::Binary => "z".into(),
        ColumnType::List(item) => format!("+l<{}>", format(item)),
        // Arrow's own; nobody is given one.
        ColumnType::Map(_) => "+m".into(),
    }
}

/// The type that a format string names, with lists nested up to [`MAX_DEPTH`].
pub(super) fn parse_format(text: &str) -> Option<ColumnType> {
    let mut inner = text;
    let mut depth = 0;
    while let Some(item) = inner.strip_prefix("+l<").and_then(|rest| rest.strip_suffix('>')) {
        inner = item;
        depth += 1;
        if depth > MAX_DEPTH {
            return None;
        }
    }
    let kind = match inner {
        "b" => ColumnType::Boolean,
        "i" => ColumnType::Int32,
        "l" => ColumnType::Int64,
        "f" => ColumnType::Float32,
        "g" => ColumnType::Float64,
        "tsu:UTC" => ColumnType::Timestamp,
        "u" => ColumnType::Utf8,
        "z" => ColumnType::Binary,
        _ => return None,
    };
    Some((0..depth).fold(kind, |item, _| ColumnType::List(Box::new(item))))
}
