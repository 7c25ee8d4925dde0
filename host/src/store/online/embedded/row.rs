//! How the embedded store lays out a row, in memory and on disk: fixed slots first, so that one feature is found
//! without reading the others, and a row of fixed-width features always has the same length and is replaced in place.
//!
//! ```text
//!  0   8  event time, microseconds, i64          all numbers little-endian
//!  8   8  term, u64
//! 16   8  sequence, u64
//! 24   1  flags: 1 = the key is deleted, and the row ends after this; 2 = it is known when the row was created
//!      8  where that is known: when, microseconds, i64
//!      then the body, where the key is not deleted:
//!      ⌈features / 8⌉  validity, a bit a feature from the lowest: 1 = not null
//!      then a slot a feature, in the order of the schema:
//!        boolean 1 · int32, float32 4 · int64, float64, timestamp 8
//!        utf8, binary, list, map 4: where its bytes end in the tail
//!      then the tail: the bytes of utf8, binary, list and map features one after the other
//! ```
//! A list in the tail, and a list in a list:
//! ```text
//!  0   4  items, u32
//!  4   ⌈items / 8⌉  validity
//!      then the items: fixed-width ones as in a slot; else for each the end of its bytes (u32), then the bytes
//! ```
//! A map in the tail:
//! ```text
//!  0   4  how many bytes its keys take, u32
//!  4      the keys, as a list of utf8; then the values, as a list of as many
//! ```
//! A null's slot is zero (for the kinds in the tail: the end of the one before) and means nothing.

use std::ops::Range;

use arrow::array::StringArray;
use bytes::Buf;

use crate::record::{ColumnType, NEVER_CREATED, Value};
use crate::store::online::NamedType;
use crate::store::online::columns::Cells;
use crate::time::Micros;

/// The length of what every row has.
pub(super) const HEADER: usize = 25;

/// The flags.
const DELETED: u8 = 1;
const CREATED: u8 = 2;

/// What decides between two rows of a key: the greater one stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fence {
    pub(super) event_time: Micros,
    /// [`NEVER_CREATED`] where nobody knows.
    pub(super) created: Micros,
    pub(super) term: u64,
    pub(super) sequence: u64,
}

impl Fence {
    /// The fence that a row starts with.
    pub(super) fn read(mut row: &[u8]) -> Option<Self> {
        let event_time = row.try_get_i64_le().ok()?;
        let (term, sequence) = (row.try_get_u64_le().ok()?, row.try_get_u64_le().ok()?);
        let known = row.try_get_u8().ok()? & CREATED != 0;
        let created = if known { row.try_get_i64_le().ok()? } else { NEVER_CREATED };
        Some(Self { event_time, created, term, sequence })
    }

    /// Writes what stands before the body.
    fn write(self, deleted: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.event_time.to_le_bytes());
        out.extend_from_slice(&self.term.to_le_bytes());
        out.extend_from_slice(&self.sequence.to_le_bytes());
        let known = self.created != NEVER_CREATED;
        out.push(if deleted { DELETED } else { 0 } | if known { CREATED } else { 0 });
        if known {
            out.extend_from_slice(&self.created.to_le_bytes());
        }
    }
}

/// Whether a row says that its key is deleted.
pub(super) fn is_deletion(row: &[u8]) -> bool {
    row.get(HEADER - 1).is_some_and(|flags| flags & DELETED != 0)
}

/// What of a row comes after the fence.
fn body(row: &[u8]) -> Option<&[u8]> {
    let known = row.get(HEADER - 1)? & CREATED != 0;
    row.get(if known { HEADER + size_of::<Micros>() } else { HEADER }..)
}

/// How wide a value of that type is in its slot; none where its bytes are in the tail.
fn width(kind: &ColumnType) -> Option<usize> {
    match kind {
        ColumnType::Boolean => Some(1),
        ColumnType::Int32 | ColumnType::Float32 => Some(4),
        ColumnType::Int64 | ColumnType::Float64 | ColumnType::Timestamp => Some(8),
        ColumnType::Utf8 | ColumnType::Binary | ColumnType::List(_) | ColumnType::Map(_) => None,
    }
}

/// Writes rows into a buffer of its own, so that a row costs no allocation.
#[derive(Default)]
pub(super) struct RowWriter {
    row: Vec<u8>,
    tail: Vec<u8>,
}

impl RowWriter {
    /// The bytes of a deletion.
    pub(super) fn deletion(&mut self, fence: Fence) -> &[u8] {
        self.row.clear();
        fence.write(true, &mut self.row);
        &self.row
    }

    /// The bytes of row `row` of the feature columns.
    pub(super) fn row(&mut self, fence: Fence, features: &[Cells<'_>], row: usize) -> &[u8] {
        let Self { row: out, tail } = self;
        out.clear();
        tail.clear();
        fence.write(false, out);
        put_validity(out, features.iter().map(|cells| cells.array().is_valid(row)));
        for cells in features {
            put_slot(out, tail, cells, row);
        }
        out.extend_from_slice(tail);
        out
    }
}

fn put_validity(out: &mut Vec<u8>, valid: impl Iterator<Item = bool>) {
    let mut byte = 0_u8;
    let mut bit = 1_u8;
    for valid in valid {
        if valid {
            byte |= bit;
        }
        bit = bit.rotate_left(1);
        if bit == 1 {
            out.push(byte);
            byte = 0;
        }
    }
    if bit != 1 {
        out.push(byte);
    }
}

fn put_slot(out: &mut Vec<u8>, tail: &mut Vec<u8>, cells: &Cells<'_>, row: usize) {
    let null = cells.array().is_null(row);
    match cells {
        Cells::Boolean(array) => out.push(u8::from(!null && array.value(row))),
        Cells::Int32(array) => put(out, null, array.value(row).to_le_bytes()),
        Cells::Float32(array) => put(out, null, array.value(row).to_le_bytes()),
        Cells::Int64(array) => put(out, null, array.value(row).to_le_bytes()),
        Cells::Float64(array) => put(out, null, array.value(row).to_le_bytes()),
        Cells::Timestamp(array) => put(out, null, array.value(row).to_le_bytes()),
        Cells::Utf8(_) | Cells::Binary(_) | Cells::List(..) | Cells::Map(..) => {
            if !null {
                put_tail(tail, cells, row);
            }
            put_end(out, tail.len());
        }
    }
}

fn put<const N: usize>(out: &mut Vec<u8>, null: bool, bytes: [u8; N]) {
    out.extend_from_slice(if null { &[0; N] } else { &bytes });
}

/// Ends beyond 4 GiB read as damaged: a batch of Arrow columns cannot hold them in one row.
fn put_end(out: &mut Vec<u8>, end: usize) {
    out.extend_from_slice(&u32::try_from(end).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_tail(out: &mut Vec<u8>, cells: &Cells<'_>, row: usize) {
    match cells {
        Cells::Utf8(array) => out.extend_from_slice(array.value(row).as_bytes()),
        Cells::Binary(array) => out.extend_from_slice(array.value(row)),
        Cells::List(lists, items) => put_list(out, items, Cells::span(lists.value_offsets(), row)),
        Cells::Map(maps, keys, values) => put_map(out, keys, values, Cells::span(maps.value_offsets(), row)),
        _ => {}
    }
}

fn put_map(out: &mut Vec<u8>, keys: &StringArray, values: &Cells<'_>, span: Range<usize>) {
    let mut bytes = Vec::new();
    put_list(&mut bytes, &Cells::Utf8(keys), span.clone());
    put_end(out, bytes.len());
    out.extend_from_slice(&bytes);
    put_list(out, values, span);
}

fn put_list(out: &mut Vec<u8>, items: &Cells<'_>, span: Range<usize>) {
    put_end(out, span.len());
    put_validity(out, span.clone().map(|item| items.array().is_valid(item)));
    let mut tail = Vec::new();
    for item in span {
        put_slot(out, &mut tail, items, item);
    }
    out.extend_from_slice(&tail);
}

/// Where each feature of a schema is in a row's body.
#[derive(Debug)]
pub(super) struct Layout {
    features: Vec<Place>,
    /// Where the tail begins.
    tail: usize,
}

#[derive(Debug)]
struct Place {
    kind: ColumnType,
    slot: usize,
    /// The slot that says where this one's bytes in the tail start; none: at its beginning.
    before: Option<usize>,
}

impl Layout {
    /// The layout of rows with those features.
    pub(super) fn new(features: &[NamedType]) -> Self {
        let mut slot = features.len().div_ceil(8);
        let mut before = None;
        let features = features
            .iter()
            .map(|(_, kind)| {
                let place = Place { kind: kind.clone(), slot, before };
                match width(kind) {
                    Some(width) => slot += width,
                    None => {
                        before = Some(slot);
                        slot += 4;
                    }
                }
                place
            })
            .collect();
        Self { features, tail: slot }
    }

    /// One feature of a row that is no deletion; none where the row is damaged or has no such feature.
    pub(super) fn value(&self, row: &[u8], feature: usize) -> Option<Value> {
        let kind = &self.features.get(feature)?.kind;
        match self.bytes(row, feature)? {
            None => Some(Value::Null),
            Some(bytes) => fixed(kind, bytes).unwrap_or_else(|| variable(kind, bytes)),
        }
    }

    /// The bytes of one feature, in its slot or in the tail; itself none where it is null.
    fn bytes<'a>(&self, row: &'a [u8], feature: usize) -> Option<Option<&'a [u8]>> {
        let place = self.features.get(feature)?;
        let body = body(row)?;
        if !bit(body, feature)? {
            return Some(None);
        }
        let slot = body.get(place.slot..)?;
        match width(&place.kind) {
            Some(width) => slot.get(..width).map(Some),
            None => {
                let start = place.before.map_or(Some(0), |before| end(body.get(before..)?))?;
                body.get(self.tail..)?.get(start..end(slot)?).map(Some)
            }
        }
    }
}

fn bit(bits: &[u8], at: usize) -> Option<bool> {
    bits.get(at / 8).map(|byte| byte >> (at % 8) & 1 == 1)
}

fn end(mut slot: &[u8]) -> Option<usize> {
    slot.try_get_u32_le().ok().map(|end| end as usize)
}

/// The value in a slot, itself none where the slot is short; none for the kinds in the tail.
fn fixed(kind: &ColumnType, mut slot: &[u8]) -> Option<Option<Value>> {
    Some(match kind {
        ColumnType::Boolean => slot.try_get_u8().ok().map(|byte| Value::Boolean(byte != 0)),
        ColumnType::Int32 => slot.try_get_i32_le().ok().map(Value::Int32),
        ColumnType::Int64 => slot.try_get_i64_le().ok().map(Value::Int64),
        ColumnType::Float32 => slot.try_get_f32_le().ok().map(Value::Float32),
        ColumnType::Float64 => slot.try_get_f64_le().ok().map(Value::Float64),
        ColumnType::Timestamp => slot.try_get_i64_le().ok().map(Value::Timestamp),
        ColumnType::Utf8 | ColumnType::Binary | ColumnType::List(_) | ColumnType::Map(_) => return None,
    })
}

fn variable(kind: &ColumnType, bytes: &[u8]) -> Option<Value> {
    match kind {
        ColumnType::Utf8 => std::str::from_utf8(bytes).ok().map(|text| Value::Utf8(text.to_owned())),
        ColumnType::Binary => Some(Value::Binary(bytes.to_vec())),
        ColumnType::List(item) => list(item, bytes).map(Value::List),
        ColumnType::Map(value) => map(value, bytes).map(Value::Map),
        _ => None,
    }
}

fn map(kind: &ColumnType, mut bytes: &[u8]) -> Option<Vec<(String, Value)>> {
    let length = usize::try_from(bytes.try_get_u32_le().ok()?).ok()?;
    let (keys, values) = bytes.split_at_checked(length)?;
    let (keys, values) = (list(&ColumnType::Utf8, keys)?, list(kind, values)?);
    if keys.len() != values.len() {
        return None;
    }
    let entries = keys.into_iter().zip(values).map(|(key, value)| match key {
        Value::Utf8(key) => Some((key, value)),
        _ => None,
    });
    entries.collect()
}

fn list(kind: &ColumnType, mut bytes: &[u8]) -> Option<Vec<Value>> {
    let items = usize::try_from(bytes.try_get_u32_le().ok()?).ok()?;
    let (validity, slots) = bytes.split_at_checked(items.div_ceil(8))?;
    let step = width(kind).unwrap_or(4);
    let (slots, tail) = slots.split_at_checked(items.checked_mul(step)?)?;
    let mut start = 0;
    slots
        .chunks_exact(step)
        .enumerate()
        .map(|(item, slot)| {
            let valid = bit(validity, item)?;
            let value = match fixed(kind, slot) {
                Some(value) => value,
                None => {
                    let from = std::mem::replace(&mut start, end(slot)?);
                    if !valid {
                        return Some(Value::Null);
                    }
                    variable(kind, tail.get(from..start)?)
                }
            };
            if valid { value } else { Some(Value::Null) }
        })
        .collect()
}

/// A row of other features in the layout of `to`: features of the same name and type keep their value, new ones are
/// null. None where the row is damaged.
pub(super) fn carry_over(
    row: &[u8],
    fence: Fence,
    (layout, from): (&Layout, &[NamedType]),
    to: &[NamedType],
) -> Option<Vec<u8>> {
    let kept: Vec<Option<usize>> = to.iter().map(|name| from.iter().position(|old| old == name)).collect();
    let mut out = Vec::with_capacity(row.len());
    let mut tail = Vec::new();
    fence.write(false, &mut out);
    let values = kept
        .iter()
        .map(|place| place.map_or(Some(None), |place| layout.bytes(row, place)))
        .collect::<Option<Vec<_>>>()?;
    put_validity(&mut out, values.iter().map(Option::is_some));
    for (bytes, (_, kind)) in values.iter().zip(to) {
        match (width(kind), bytes) {
            (Some(_), Some(bytes)) => out.extend_from_slice(bytes),
            (Some(width), None) => out.resize(out.len() + width, 0),
            (None, bytes) => {
                tail.extend_from_slice(bytes.unwrap_or_default());
                put_end(&mut out, tail.len());
            }
        }
    }
    out.extend_from_slice(&tail);
    Some(out)
}
