//! Feast's serialised entity keys, version 3 and 2, and its hash fields.
//!
//! ```text
//! version 3: number of keys, u32 · for each key name, sorted: 2 (STRING), u32; length, u32; name
//! version 2:                       for each key name, sorted: 2 (STRING), u32;              name
//! both:      for each value, in the order of the names: its type (feast.types.ValueType.Enum), u32; length, u32; bytes
//!            then the project's name
//! ```
//! Numbers are little-endian, those of values too. A view without keys has Feast's dummy entity: `__dummy_id` = "".

use crate::record::Value;
use crate::store::online::NamedType;
use crate::store::online::columns::Cells;

const BYTES: u32 = 1;
const STRING: u32 = 2;
const INT32: u32 = 3;
const INT64: u32 = 4;
const BOOL: u32 = 7;
const UNIX_TIMESTAMP: u32 = 8;

/// The name of the key of views without one.
const DUMMY: &str = "__dummy_id";

/// Feast's `entity_key_serialization_version`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyVersion {
    /// Of repositories from before Feast 0.50.
    V2,
    /// Today's.
    #[default]
    V3,
}

/// The hash field of a feature.
pub(super) fn field(view: &str, feature: &str) -> [u8; 4] {
    let name = format!("{view}:{feature}");
    let hash = murmur3::murmur3_32(&mut name.as_bytes(), 0);
    hash.expect("reading from memory does not fail").to_le_bytes()
}

/// Writes the keys of one view.
pub(super) struct KeyWriter {
    /// All that stands before the values.
    names: Vec<u8>,
    /// The place of each value among the view's keys, in the order of the names; none for the dummy.
    order: Option<Vec<usize>>,
    project: String,
}

impl KeyWriter {
    pub(super) fn new(version: KeyVersion, project: &str, keys: &[NamedType]) -> Self {
        let mut order: Vec<(usize, &str)> =
            keys.iter().enumerate().map(|(at, (name, _))| (at, name.as_str())).collect();
        order.sort_by_key(|(_, name)| *name);
        let mut sorted: Vec<&str> = order.iter().map(|(_, name)| *name).collect();
        if sorted.is_empty() {
            sorted.push(DUMMY);
        }
        let mut names = Vec::new();
        if version == KeyVersion::V3 {
            put_length(&mut names, sorted.len());
        }
        for name in sorted {
            names.extend_from_slice(&STRING.to_le_bytes());
            if version == KeyVersion::V3 {
                put_length(&mut names, name.len());
            }
            names.extend_from_slice(name.as_bytes());
        }
        let order = (!keys.is_empty()).then(|| order.into_iter().map(|(at, _)| at).collect());
        Self { names, order, project: project.into() }
    }

    /// Writes the key of row `row`.
    pub(super) fn row(&self, out: &mut Vec<u8>, keys: &[Cells<'_>], row: usize) {
        self.write(out, |out, at| {
            let Some(cells) = keys.get(at) else { return };
            match cells {
                Cells::Boolean(array) => put(out, BOOL, &[u8::from(array.value(row))]),
                Cells::Int32(array) => put(out, INT32, &array.value(row).to_le_bytes()),
                Cells::Int64(array) => put(out, INT64, &array.value(row).to_le_bytes()),
                Cells::Timestamp(array) => {
                    put(out, UNIX_TIMESTAMP, &super::value::seconds(array.value(row)).to_le_bytes())
                }
                Cells::Utf8(array) => put(out, STRING, array.value(row).as_bytes()),
                Cells::Binary(array) => put(out, BYTES, array.value(row)),
                // Refused when the store opens.
                Cells::Float32(_) | Cells::Float64(_) | Cells::List(..) | Cells::Map(..) => {}
            }
        });
    }

    /// Writes a key that is given by its values, in the order of the view's keys, of their types.
    pub(super) fn values(&self, out: &mut Vec<u8>, key: &[Value]) {
        self.write(out, |out, at| match key.get(at) {
            Some(Value::Boolean(value)) => put(out, BOOL, &[u8::from(*value)]),
            Some(Value::Int32(value)) => put(out, INT32, &value.to_le_bytes()),
            Some(Value::Int64(value)) => put(out, INT64, &value.to_le_bytes()),
            Some(Value::Timestamp(value)) => put(out, UNIX_TIMESTAMP, &super::value::seconds(*value).to_le_bytes()),
            Some(Value::Utf8(value)) => put(out, STRING, value.as_bytes()),
            Some(Value::Binary(value)) => put(out, BYTES, value),
            Some(Value::Null | Value::Float32(_) | Value::Float64(_) | Value::List(_) | Value::Map(_)) | None => {}
        });
    }

    fn write(&self, out: &mut Vec<u8>, mut part: impl FnMut(&mut Vec<u8>, usize)) {
        out.clear();
        out.extend_from_slice(&self.names);
        match &self.order {
            Some(order) => order.iter().for_each(|at| part(out, *at)),
            None => put(out, STRING, &[]),
        }
        out.extend_from_slice(self.project.as_bytes());
    }
}

fn put(out: &mut Vec<u8>, kind: u32, bytes: &[u8]) {
    out.extend_from_slice(&kind.to_le_bytes());
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Lengths of 4 GiB do not occur: Redis takes no longer key than 512 MiB.
fn put_length(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}
