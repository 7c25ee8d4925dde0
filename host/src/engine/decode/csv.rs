//! CSV payloads, one record each, into columns.
//!
//! csv-core splits and unquotes; the fields are read as text of their columns' types. With a heading the columns are
//! found by name, and fields that the schema does not name are skipped; without one they are the columns in their order.
//! An empty field is null, whatever the type. Binary is base64.
//!
//! Always true: a payload gives one row or one error; a record has as many fields as the heading, or as there are
//! columns.

use bytes::Bytes;
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::rows::Rows;
use super::{DecodeField, Decoded, Decoder};
use crate::record::RawBatch;

/// What some programs write before the first line.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// Decodes the payloads of one source.
pub struct CsvDecoder {
    rows: Rows,
    record: Record,
    /// The heading that `places` was read from.
    heading: Bytes,
    /// For each field of a record its column; or why the heading does not do.
    places: Result<Vec<Option<usize>>, String>,
}

impl CsvDecoder {
    /// A decoder of records with these fields.
    pub fn new(fields: &[DecodeField], delimiter: u8) -> Self {
        Self {
            rows: Rows::new(fields),
            record: Record::new(delimiter),
            heading: Bytes::new(),
            places: Ok((0..fields.len()).map(Some).collect()),
        }
    }

    /// Finds the columns anew where the heading is another one.
    fn read_heading(&mut self, heading: &Bytes) {
        if self.heading == *heading {
            return;
        }
        self.heading = heading.clone();
        self.places = match heading.is_empty() {
            true => Ok((0..self.rows.names.len()).map(Some).collect()),
            false => self.record.read(heading).and_then(|()| self.find()),
        };
    }

    /// For each field of the heading, which is in `record`, the column of that name.
    fn find(&self) -> Result<Vec<Option<usize>>, String> {
        let fields: Vec<&str> =
            self.record.fields().map(|name| name.trim_start_matches(BYTE_ORDER_MARK).trim()).collect();
        let mut names = self.rows.names.iter().map(|name| &**name);
        match names.find(|name| !fields.contains(name)) {
            Some(name) => {
                Err(format!("the file's first line does not name column {name}; it has {}", fields.join(", ")))
            }
            None => Ok(fields.iter().map(|field| self.rows.names.iter().position(|name| **name == **field)).collect()),
        }
    }
}

impl Decoder for CsvDecoder {
    fn decode(&mut self, raw: &RawBatch) -> Decoded {
        let beside = raw.beside.as_deref();
        self.read_heading(beside.map_or(&Bytes::new(), |beside| &beside.heading));
        let Self { rows, record, places, .. } = self;
        rows.decode(raw, |rows, event| {
            let read = match places {
                Ok(places) => {
                    let payload = raw.payload_slice(event);
                    record.read(payload).and_then(|()| append(record, places, rows))
                }
                Err(error) => Err(error.clone()),
            };
            read.map_err(|detail| match beside.and_then(|beside| beside.lines.get(event)) {
                Some(line) => format!("line {line}: {detail}"),
                None => detail,
            })
        })
    }
}

fn append(record: &Record, places: &[Option<usize>], rows: &mut Rows) -> Result<(), String> {
    if record.ended != places.len() {
        return Err(format!("{} fields instead of {}", record.ended, places.len()));
    }
    for (field, place) in record.fields().zip(places) {
        let Some(place) = place else { continue };
        let Some(column) = rows.columns.get_mut(*place) else { continue };
        // Of two fields with one name the last counts.
        column.truncate(rows.rows);
        if field.is_empty() {
            continue;
        }
        if let Err(unfit) = column.append_written(field) {
            return Err(rows.refusal(*place, &unfit));
        }
    }
    Ok(())
}

/// One record, split into fields.
struct Record {
    reader: Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
    /// How many fields there are.
    ended: usize,
}

impl Record {
    fn new(delimiter: u8) -> Self {
        let reader = ReaderBuilder::new().delimiter(delimiter).build();
        Self { reader, text: vec![0; 1024], ends: vec![0; 32], ended: 0 }
    }

    /// Splits `payload`, which must be one record in UTF-8.
    fn read(&mut self, mut payload: &[u8]) -> Result<(), String> {
        self.reader.reset();
        let mut written = 0;
        self.ended = 0;
        loop {
            let text = self.text.get_mut(written..).unwrap_or_default();
            let ends = self.ends.get_mut(self.ended..).unwrap_or_default();
            let (result, read, out, ended) = self.reader.read_record(payload, text, ends);
            payload = payload.get(read..).unwrap_or_default();
            written += out;
            self.ended += ended;
            match result {
                // Once more, with nothing: that is the end.
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.text.resize(2 * self.text.len(), 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len(), 0),
                ReadRecordResult::Record => break,
                ReadRecordResult::End => return Err("there is no record".into()),
            }
        }
        if payload.iter().any(|byte| !byte.is_ascii_whitespace()) {
            return Err("there is more than one record".into());
        }
        let text = self.text.get(..written).unwrap_or_default();
        let text = std::str::from_utf8(text).map_err(|error| format!("the payload is not UTF-8: {error}"))?;
        // Two halves of a letter may meet where the delimiter was.
        let mut ends = self.ends.iter().take(self.ended);
        match ends.all(|end| text.is_char_boundary(*end)) {
            true => Ok(()),
            false => Err("the payload is not UTF-8: a field ends within a letter".into()),
        }
    }

    /// The fields' texts.
    fn fields(&self) -> impl Iterator<Item = &str> {
        let mut start = 0;
        self.ends.iter().take(self.ended).map(move |end| {
            let field = self.text.get(start..*end).unwrap_or_default();
            start = *end;
            std::str::from_utf8(field).unwrap_or_default()
        })
    }
}

#[cfg(test)]
mod tests;
