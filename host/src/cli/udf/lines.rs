//! Rows as text, JSON lines or CSV, into columns; and columns into JSON lines.

use std::io::{BufRead, Read};

use anyhow::{Context, Result, bail};
use arrow::array::RecordBatch;
use bytes::Bytes;
use millrace::engine::decode::{DecodeField, Decoded, Decoder, Decoding, Format, Path};
use millrace::record::{Beside, RawBatch};
use millrace::sink::json_lines::{RowForm, Rows};

/// The longest line, in bytes, as of a source.
const LONGEST: usize = 1 << 20;

/// Reads lines into columns, some at a time.
pub(super) struct Lines<R> {
    from: R,
    decoder: Box<dyn Decoder>,
    /// The line that names the columns, of CSV.
    heading: Option<Bytes>,
    csv: bool,
    /// How many lines were read.
    line: i64,
}

impl<R: BufRead> Lines<R> {
    /// Lines of `from`, with these columns; of CSV the first names the columns.
    pub(super) fn new(from: R, columns: &[DecodeField], csv: bool) -> Self {
        let format =
            if csv { Format::Csv { delimiter: b',', heading: true } } else { Format::Json { row: Path::default() } };
        let decoder = Decoding { fields: columns.to_vec(), format }.open();
        Self { from, decoder, heading: None, csv, line: 0 }
    }

    /// The next lines, at most so many, with the number of each, from 1; none at the end.
    pub(super) fn next(&mut self, most: usize) -> Result<Option<(Vec<i64>, Decoded)>> {
        let mut raw = RawBatch::default();
        let mut data = Vec::new();
        let mut numbers = Vec::new();
        while numbers.len() < most {
            let start = data.len();
            if (&mut self.from).take(LONGEST as u64).read_until(b'\n', &mut data)? == 0 {
                break;
            }
            self.line += 1;
            if data.len() - start >= LONGEST {
                bail!("line {} is longer than {LONGEST} bytes", self.line);
            }
            while data.len() > start && matches!(data.last(), Some(b'\n' | b'\r')) {
                data.pop();
            }
            if self.csv && self.heading.is_none() {
                self.heading = Some(Bytes::copy_from_slice(data.get(start..).unwrap_or_default()));
                data.truncate(start);
                continue;
            }
            if data.len() == start {
                continue;
            }
            let span = |at: usize| u32::try_from(at).context("too many rows at once");
            raw.spans.push((span(start)?, span(data.len())?));
            raw.offsets.push(self.line);
            raw.arrivals.push(0);
            numbers.push(self.line);
        }
        if numbers.is_empty() {
            return Ok(None);
        }
        raw.data = Bytes::from(data);
        if let Some(heading) = &self.heading {
            let lines = numbers.iter().map(|line| line.unsigned_abs()).collect();
            raw.beside = Some(Box::new(Beside { heading: heading.clone(), lines, ..Beside::default() }));
        }
        let decoded = self.decoder.decode(&raw);
        Ok(Some((numbers, decoded)))
    }
}

/// Adds the rows of a batch to `out`, a line each.
pub(super) fn write(batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
    let form = RowForm::default();
    let mut rows = Rows::of(batch, &form)?;
    for row in 0..batch.num_rows() {
        rows.write(row, out);
        out.push(b'\n');
    }
    Ok(())
}
