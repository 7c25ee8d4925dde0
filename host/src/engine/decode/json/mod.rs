//! JSON payloads, one object each, into columns.
//!
//! sonic-rs parses, and its serde visitors append straight to the columns: no tree, no string of its own for a value.
//! The fields of a stream mostly come in one order, so the field after the last one is tried first, with one comparison.
//! A column may come from deep within the object ([`Path`]); `shape` says what is wanted where.
//!
//! Always true: a payload that is refused leaves no trace in the columns. What comes is hostile: numbers are checked
//! against the range of their column, text must be UTF-8, nothing that is not wanted nests deeper than 64 levels.
//!
//! A field that is missing or null is null, as is one within something missing or null; a field that the schema does not
//! name is skipped, and of a field that comes twice the last counts. Integers are taken for floats, and floats without a
//! fraction, up to 2^53, for integers; text is never taken for a number. Binary is base64. A list is an array, a map an
//! object: its entries are put into the order of their keys, so that objects that say the same are the same.

mod shape;
mod visit;

use arrow::datatypes::SchemaRef;
use serde::de::DeserializeSeed;
use sonic_rs::Deserializer;

use self::shape::{Node, shapes};
use self::visit::{Reading, Visit};
use super::path::Path;
use super::rows::Rows;
use super::{DecodeField, Decoded, Decoder};
use crate::record::RawBatch;

/// Decodes the payloads of one source.
pub struct JsonDecoder {
    rows: Rows,
    shapes: Vec<Node>,
    /// Where the row is; empty for the event itself.
    row: Path,
}

impl JsonDecoder {
    /// A decoder of objects with these fields.
    pub fn new(fields: Vec<DecodeField>) -> Self {
        Self::of_rows(&fields, Path::default())
    }

    /// A decoder of objects that are at `row` within their event.
    pub fn of_rows(fields: &[DecodeField], row: Path) -> Self {
        let paths: Vec<Path> = fields.iter().map(|field| row.join(&field.path())).collect();
        Self { rows: Rows::new(fields), shapes: shapes(&row, &paths), row }
    }

    /// The schema of every batch that comes out: the fields in the order given, all nullable.
    pub fn schema(&self) -> &SchemaRef {
        self.rows.schema()
    }

    /// Decodes a batch. Events that do not decode are among the errors, and the rest goes on.
    pub fn decode(&mut self, raw: &RawBatch) -> Decoded {
        // One check for all is quicker than one each, and mostly all there is to do.
        let all = std::str::from_utf8(&raw.data).ok();
        let Self { rows, shapes, row } = self;
        rows.decode(raw, |rows, event| {
            let &(start, end) = raw.spans.get(event).unwrap_or(&(0, 0));
            let (start, end) = (start as usize, end as usize);
            let text = all.and_then(|all| all.get(start..end)).map_or_else(|| valid(&raw.data, start, end), Ok)?;
            shapes.iter().try_for_each(|shape| read(text, shape, rows, row))
        })
    }
}

impl Decoder for JsonDecoder {
    fn decode(&mut self, raw: &RawBatch) -> Decoded {
        Self::decode(self, raw)
    }
}

/// Appends what `shape` wants of one event, or says what is wrong with it.
fn read(text: &str, shape: &Node, rows: &mut Rows, row: &Path) -> Result<(), String> {
    let mut json = Deserializer::from_str(text);
    let mut reading =
        Reading { names: &rows.names, columns: &mut rows.columns, rows: rows.rows, problem: None, row: false };
    let read = Visit { node: shape, reading: &mut reading }.deserialize(&mut json).and_then(|()| json.end());
    match read {
        Ok(()) if !reading.row => Err(format!("there is no object at {row}")),
        Ok(()) => Ok(()),
        Err(error) => Err(reading.problem.unwrap_or_else(|| error.to_string())),
    }
}

fn valid(data: &[u8], start: usize, end: usize) -> Result<&str, String> {
    let payload = data.get(start..end).ok_or("the payload lies outside its batch")?;
    std::str::from_utf8(payload).map_err(|error| format!("the payload is not UTF-8: {error}"))
}

#[cfg(test)]
mod tests;
