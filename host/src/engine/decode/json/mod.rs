//! JSON payloads, one object each, into columns.
//!
//! sonic-rs parses, and its serde visitors append straight to the columns: no tree, no string of its own for a value.
//! The fields of a stream mostly come in one order, so the field after the last one is tried first, with one comparison.
//!
//! Always true: a payload that is refused leaves no trace in the columns. What comes is hostile: numbers are checked
//! against the range of their column, text must be UTF-8, nothing nests deeper than 65 levels.
//!
//! A field that is missing or null is null, a field that the schema does not name is skipped, and of a field that comes
//! twice the last counts. Integers are taken for floats, and floats without a fraction, up to 2^53, for integers; text is
//! never taken for a number. Binary is base64. A list is an array, a map an object: its entries are put into the order of
//! their keys, so that objects that say the same are the same.

mod column;
mod visit;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use hashbrown::HashMap;
use serde::de::DeserializeSeed;
use sonic_rs::Deserializer;

use self::column::ColumnBuilder;
use self::visit::Row;
use super::{DecodeField, Decoded};
use crate::record::RawBatch;

/// Decodes the payloads of one source.
pub struct JsonDecoder {
    schema: SchemaRef,
    names: Names,
    columns: Vec<ColumnBuilder>,
}

/// The fields by name.
struct Names {
    ordered: Vec<Box<str>>,
    index: HashMap<Box<str>, usize>,
}

impl Names {
    /// The field `name`, which is probably number `expected`.
    #[inline]
    fn find(&self, name: &str, expected: usize) -> Option<usize> {
        match self.ordered.get(expected) {
            Some(next) if **next == *name => Some(expected),
            _ => self.index.get(name).copied(),
        }
    }
}

impl JsonDecoder {
    /// A decoder of objects with these fields; of fields with the same name the last counts.
    pub fn new(fields: Vec<DecodeField>) -> Self {
        let schema = fields.iter().map(|field| Field::new(&field.name, field.kind.arrow(), true)).collect::<Vec<_>>();
        let ordered: Vec<Box<str>> = fields.iter().map(|field| field.name.as_str().into()).collect();
        let index = ordered.iter().cloned().zip(0..).collect();
        let columns = fields.into_iter().map(|field| ColumnBuilder::new(&field.kind, field.time)).collect();
        Self { schema: Arc::new(Schema::new(schema)), names: Names { ordered, index }, columns }
    }

    /// The schema of every batch that comes out: the fields in the order given, all nullable.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Decodes a batch. Events that do not decode are among the errors, and the rest goes on.
    pub fn decode(&mut self, raw: &RawBatch) -> Decoded {
        let mut events = Vec::with_capacity(raw.len());
        let mut errors = Vec::new();
        for column in &mut self.columns {
            column.reserve(raw.len());
        }
        // One check for all is quicker than one each, and mostly all there is to do.
        let all = std::str::from_utf8(&raw.data).ok();
        for (event, &(start, end)) in (0u32..).zip(&raw.spans) {
            let (start, end) = (start as usize, end as usize);
            let text = all.and_then(|all| all.get(start..end)).map_or_else(|| valid(&raw.data, start, end), Ok);
            match text.and_then(|text| self.decode_one(text, events.len())) {
                Ok(()) => events.push(event),
                Err(detail) => errors.push((event, detail)),
            }
        }
        let columns: Vec<ArrayRef> = self.columns.iter_mut().map(ColumnBuilder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(events.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options);
        Decoded { batch: batch.expect("every column has one value for every event that decoded"), events, errors }
    }

    /// Appends one row after `rows` rows, or says why not and leaves them alone.
    fn decode_one(&mut self, text: &str, rows: usize) -> Result<(), String> {
        let mut problem = None;
        let mut json = Deserializer::from_str(text);
        let row = Row { names: &self.names, columns: &mut self.columns, rows, problem: &mut problem };
        let read = row.deserialize(&mut json).and_then(|()| json.end());
        for column in &mut self.columns {
            match read {
                Ok(()) => column.fill_to(rows + 1),
                Err(_) => column.roll_back(rows),
            }
        }
        read.map_err(|error| first_line(problem.unwrap_or_else(|| error.to_string())))
    }
}

/// What was wrong, without the piece of the text that sonic-rs shows in further lines, and without a long value.
fn first_line(detail: String) -> String {
    detail.lines().next().unwrap_or_default().chars().take(300).collect()
}

fn valid(data: &[u8], start: usize, end: usize) -> Result<&str, String> {
    let payload = data.get(start..end).ok_or("the payload lies outside its batch")?;
    std::str::from_utf8(payload).map_err(|error| format!("the payload is not UTF-8: {error}"))
}

#[cfg(test)]
mod tests;
