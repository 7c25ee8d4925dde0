//! Rows as JSON lines: flat objects whose keys are the columns, in their order.
//!
//! Times are RFC 3339 in UTC with milliseconds, binary is base64, NaN and the infinities are the strings `"NaN"`,
//! `"Infinity"` and `"-Infinity"`, a list is an array, a map an object, and a null is `null`. An output may call the event
//! timestamp otherwise, and write it by a format of its own: its [`RowForm`]. [`Rows`] is the one place that makes this
//! form; files, Kafka, subscribers and what the command line prints all come from it.
//!
//! A column's type is looked at once a batch; a row then is a walk over `Cells`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, ListArray,
    MapArray, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::engine::decode::TimeFormat;
use crate::error::{Blame, Fault};
use crate::failpoint::{self, Point};
use crate::record::EVENT_TIMESTAMP;
use crate::room::Room;
use crate::time::{Micros, SECOND, rfc3339};

/// Rows gather here before they are written to the file, in bytes.
const BUFFER: usize = 256 << 10;

/// Why rows were not written.
#[derive(Debug, thiserror::Error)]
pub enum JsonLinesError {
    /// The column's type has no form in JSON lines.
    #[error("column {column} has the type {kind}, which JSON lines cannot hold")]
    Type {
        /// The column.
        column: String,
        /// Its type, in Arrow's words.
        kind: DataType,
    },
    /// The file cannot be made, written or synced.
    #[error("{path}: {cause}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
}

impl Blame for JsonLinesError {
    fn fault(&self) -> Fault {
        match self {
            Self::Type { .. } => Fault::Internal,
            Self::File { .. } => Fault::External,
        }
    }
}

/// How an output writes its rows.
#[derive(Clone, Debug, PartialEq)]
pub struct RowForm {
    /// What the event timestamp is called.
    pub time_name: String,
    /// How it is written; other times are as everywhere.
    pub time_format: TimeFormat,
}

impl Default for RowForm {
    fn default() -> Self {
        Self { time_name: EVENT_TIMESTAMP.to_owned(), time_format: TimeFormat::iso() }
    }
}

/// A file of JSON lines that is appended to. After an error the file may end within a line: cut it back with
/// [`JsonLinesSink::resume`].
#[derive(Debug)]
pub struct JsonLinesSink {
    path: PathBuf,
    /// What it is known by from run to run.
    name: String,
    file: File,
    form: RowForm,
    buffer: Vec<u8>,
    written: u64,
    room: Option<Room>,
}

impl JsonLinesSink {
    /// An empty file, whatever was there before. Folders that lack are made.
    ///
    /// # Errors
    /// [`JsonLinesError::File`].
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, JsonLinesError> {
        Self::resume(path, 0)
    }

    /// The file cut back to its first `length` bytes, a [`JsonLinesSink::position`] of before; made if it lacks.
    ///
    /// # Errors
    /// [`JsonLinesError::File`], also for a file that is shorter.
    pub fn resume(path: impl Into<PathBuf>, length: u64) -> Result<Self, JsonLinesError> {
        let path = path.into();
        let file = open(&path, length).map_err(|cause| JsonLinesError::File { path: path.clone(), cause })?;
        let form = RowForm::default();
        Ok(Self {
            name: path.display().to_string(),
            path,
            file,
            form,
            buffer: Vec::with_capacity(2 * BUFFER),
            written: length,
            room: None,
        })
    }

    /// The same file, whose rows are written in this form from now on.
    #[must_use]
    pub fn with_form(self, form: RowForm) -> Self {
        Self { form, ..self }
    }

    /// Adds the rows of a batch.
    ///
    /// # Errors
    /// [`JsonLinesError`]; of a batch with a column that cannot be written, no row is.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), JsonLinesError> {
        write_rows(batch, &self.form, &mut self.buffer)?;
        if self.buffer.len() >= BUFFER { self.drain() } else { Ok(()) }
    }

    /// Hands everything to the system and waits until it is on disk.
    ///
    /// # Errors
    /// [`JsonLinesError::File`].
    pub fn flush(&mut self) -> Result<(), JsonLinesError> {
        self.drain()?;
        self.file.sync_data().map_err(|cause| self.failed(cause))
    }

    /// The same file, known by another name than its path.
    #[must_use]
    pub fn known_as(self, name: String) -> Self {
        Self { name, ..self }
    }

    /// The same file, whose rows wait for room on its disk.
    #[must_use]
    pub fn within(self, room: Room) -> Self {
        Self { room: Some(room), ..self }
    }

    /// What it is known by from run to run.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long the file is once everything written so far is in it.
    pub fn position(&self) -> u64 {
        self.written.saturating_add(u64::try_from(self.buffer.len()).unwrap_or(u64::MAX))
    }

    fn drain(&mut self) -> Result<(), JsonLinesError> {
        let written = self.position();
        if let Some(room) = &self.room {
            room.wait_now().map_err(|full| self.failed(io::Error::other(full)))?;
        }
        let mut struck = false;
        while let Err(cause) = self.file.write_all(&self.buffer) {
            let Some(room) = self.room.as_ref().filter(|_| is_full(&cause)) else { return Err(self.failed(cause)) };
            // What of them got there goes, so that the same rows can be written again.
            self.file.set_len(self.written).map_err(|cause| self.failed(cause))?;
            room.wait_longer().map_err(|full| self.failed(io::Error::other(full)))?;
            struck = true;
        }
        if let Some(room) = self.room.as_ref().filter(|_| struck) {
            room.went_on();
        }
        self.buffer.clear();
        self.written = written;
        Ok(())
    }

    fn failed(&self, cause: io::Error) -> JsonLinesError {
        JsonLinesError::File { path: self.path.clone(), cause }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn open(path: &Path, length: u64) -> io::Result<File> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    let new = !path.exists();
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    if new {
        // Its name is to outlive a crash, as its rows do.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
    }
    let found = file.metadata()?.len();
    if found < length {
        return Err(io::Error::other(format!("it has {found} bytes, where {length} were written")));
    }
    // Only what can be cut is: a pipe or a terminal has no length.
    if found > length {
        file.set_len(length)?;
        failpoint::reach(Point::FileCut);
    }
    Ok(file)
}

/// Appends the rows to `out`, a line each with its newline.
///
/// # Errors
/// [`JsonLinesError::Type`], and then `out` is as before.
pub fn write_rows(batch: &RecordBatch, form: &RowForm, out: &mut Vec<u8>) -> Result<(), JsonLinesError> {
    let mut rows = Rows::of(batch, form)?;
    for row in 0..batch.num_rows() {
        rows.write(row, out);
        out.push(b'\n');
    }
    Ok(())
}

/// The rows of a batch, to be written one by one.
pub struct Rows<'a> {
    /// What stands before a column's value, and its cells.
    columns: Vec<(Vec<u8>, Cells<'a>)>,
    times: Times,
}

impl<'a> Rows<'a> {
    /// The rows of `batch` in this form.
    ///
    /// # Errors
    /// [`JsonLinesError::Type`].
    pub fn of(batch: &'a RecordBatch, form: &'a RowForm) -> Result<Self, JsonLinesError> {
        let schema = batch.schema_ref();
        let mut columns = Vec::with_capacity(batch.num_columns());
        for (field, column) in schema.fields().iter().zip(batch.columns()) {
            let cells = Cells::of(column).ok_or_else(|| JsonLinesError::Type {
                column: field.name().clone(),
                kind: field.data_type().clone(),
            })?;
            let (name, cells) = match cells {
                Cells::Timestamp(times) if field.name() == EVENT_TIMESTAMP => {
                    let plain = form.time_format == TimeFormat::iso();
                    let cells = if plain { cells } else { Cells::Formatted(times, &form.time_format) };
                    (&form.time_name, cells)
                }
                _ => (field.name(), cells),
            };
            let mut key = vec![if columns.is_empty() { b'{' } else { b',' }];
            text(name, &mut key);
            key.push(b':');
            columns.push((key, cells));
        }
        Ok(Self { columns, times: Times::default() })
    }

    /// Appends one row to `out`, as an object without a newline.
    ///
    /// # Panics
    /// The batch has no such row.
    pub fn write(&mut self, row: usize, out: &mut Vec<u8>) {
        if self.columns.is_empty() {
            out.push(b'{');
        }
        for (key, cells) in &self.columns {
            out.extend_from_slice(key);
            cells.write(row, out, &mut self.times);
        }
        out.push(b'}');
    }

    /// Appends the first column's value as bare text, without quotes and escapes; false if there is none.
    ///
    /// # Panics
    /// As [`Rows::write`].
    pub fn write_text(&mut self, row: usize, out: &mut Vec<u8>) -> bool {
        let Some((_, cells)) = self.columns.first() else { return false };
        if let Cells::Utf8(cells) = cells {
            out.extend_from_slice(if cells.is_valid(row) { cells.value(row).as_bytes() } else { b"" });
            return cells.is_valid(row);
        }
        let start = out.len();
        cells.write(row, out, &mut self.times);
        if out.get(start) == Some(&b'"') {
            // Texts that are no utf8 columns have nothing to escape.
            out.remove(start);
            out.pop();
        }
        out.get(start..) != Some(b"null")
    }
}

/// A column's cells, downcast.
enum Cells<'a> {
    Boolean(&'a BooleanArray),
    Int32(&'a Int32Array),
    Int64(&'a Int64Array),
    Float32(&'a Float32Array),
    Float64(&'a Float64Array),
    Timestamp(&'a TimestampMicrosecondArray),
    /// Times that are written otherwise.
    Formatted(&'a TimestampMicrosecondArray, &'a TimeFormat),
    Utf8(&'a StringArray),
    Binary(&'a BinaryArray),
    List(&'a ListArray, Box<Cells<'a>>),
    Map(&'a MapArray, &'a StringArray, Box<Cells<'a>>),
    Null,
}

impl<'a> Cells<'a> {
    fn of(column: &'a ArrayRef) -> Option<Self> {
        Some(match column.data_type() {
            DataType::Boolean => Self::Boolean(column.as_boolean()),
            DataType::Int32 => Self::Int32(column.as_primitive::<Int32Type>()),
            DataType::Int64 => Self::Int64(column.as_primitive::<Int64Type>()),
            DataType::Float32 => Self::Float32(column.as_primitive::<Float32Type>()),
            DataType::Float64 => Self::Float64(column.as_primitive::<Float64Type>()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Self::Timestamp(column.as_primitive::<TimestampMicrosecondType>())
            }
            DataType::Utf8 => Self::Utf8(column.as_string()),
            DataType::Binary => Self::Binary(column.as_binary()),
            DataType::List(_) => {
                let list = column.as_list();
                Self::List(list, Box::new(Self::of(list.values())?))
            }
            DataType::Map(..) => {
                let map = column.as_map();
                Self::Map(map, map.keys().as_string_opt()?, Box::new(Self::of(map.values())?))
            }
            DataType::Null => Self::Null,
            _ => return None,
        })
    }

    fn write(&self, row: usize, out: &mut Vec<u8>, times: &mut Times) {
        match self {
            Self::Boolean(cells) if cells.is_valid(row) => {
                out.extend_from_slice(if cells.value(row) { b"true" } else { b"false" });
            }
            Self::Int32(cells) if cells.is_valid(row) => plain(&cells.value(row), out),
            Self::Int64(cells) if cells.is_valid(row) => plain(&cells.value(row), out),
            Self::Float32(cells) if cells.is_valid(row) => {
                let value = cells.value(row);
                if value.is_finite() { plain(&value, out) } else { out.extend_from_slice(unfinite(value.into())) }
            }
            Self::Float64(cells) if cells.is_valid(row) => {
                let value = cells.value(row);
                if value.is_finite() { plain(&value, out) } else { out.extend_from_slice(unfinite(value)) }
            }
            Self::Timestamp(cells) if cells.is_valid(row) => times.write(cells.value(row), out),
            Self::Formatted(cells, format) if cells.is_valid(row) => times.write_as(format, cells.value(row), out),
            Self::Utf8(cells) if cells.is_valid(row) => text(cells.value(row), out),
            Self::Binary(cells) if cells.is_valid(row) => binary(cells.value(row), out),
            Self::List(lists, items) if lists.is_valid(row) => {
                out.push(b'[');
                for (number, item) in item_range(lists.value_offsets(), row).enumerate() {
                    if number > 0 {
                        out.push(b',');
                    }
                    items.write(item, out, times);
                }
                out.push(b']');
            }
            Self::Map(maps, keys, values) if maps.is_valid(row) => {
                out.push(b'{');
                for (number, entry) in item_range(maps.value_offsets(), row).enumerate() {
                    if number > 0 {
                        out.push(b',');
                    }
                    text(keys.value(entry), out);
                    out.push(b':');
                    values.write(entry, out, times);
                }
                out.push(b'}');
            }
            _ => out.extend_from_slice(b"null"),
        }
    }
}

/// Which items belong to the list or the map of a row.
fn item_range(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
    let offset = |at: usize| offsets.get(at).and_then(|&at| usize::try_from(at).ok()).unwrap_or_default();
    offset(row)..offset(row + 1)
}

fn plain<T: serde::Serialize>(value: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("a number or a string always serialises, and a Vec takes every byte");
}

fn text(value: &str, out: &mut Vec<u8>) {
    plain(&value, out);
}

fn unfinite(value: f64) -> &'static [u8] {
    if value.is_nan() {
        b"\"NaN\""
    } else if value > 0.0 {
        b"\"Infinity\""
    } else {
        b"\"-Infinity\""
    }
}

fn binary(value: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + value.len().div_ceil(3) * 4, 0);
    let room = out.get_mut(start..).unwrap_or_default();
    STANDARD.encode_slice(value, room).expect("four characters for every three bytes");
    out.push(b'"');
}

/// Prints times; rows of one window share their second, so its text is kept.
#[derive(Default)]
struct Times {
    second: Micros,
    /// The second's text up to the point before the milliseconds; empty before the first.
    text: Vec<u8>,
    /// The last time of the one column that has a format of its own, and its text.
    formatted: Option<(Micros, Vec<u8>)>,
}

impl Times {
    fn write_as(&mut self, format: &TimeFormat, time: Micros, out: &mut Vec<u8>) {
        match &self.formatted {
            Some((known, text)) if *known == time => out.extend_from_slice(text),
            _ => {
                let printed = format.print(time);
                let mut written = Vec::with_capacity(printed.len() + 2);
                if format.is_epoch() {
                    written.extend_from_slice(printed.as_bytes())
                } else {
                    text(&printed, &mut written)
                }
                out.extend_from_slice(&written);
                self.formatted = Some((time, written));
            }
        }
    }

    fn write(&mut self, time: Micros, out: &mut Vec<u8>) {
        out.push(b'"');
        let second = time.div_euclid(SECOND);
        if self.second != second || self.text.is_empty() {
            let whole = rfc3339(second.saturating_mul(SECOND));
            match whole.strip_suffix("000Z") {
                Some(start) => self.text = start.as_bytes().to_vec(),
                // Beyond the calendar, a number of microseconds stands for the time.
                None => {
                    self.text.clear();
                    out.extend_from_slice(rfc3339(time).as_bytes());
                    out.push(b'"');
                    return;
                }
            }
            self.second = second;
        }
        out.extend_from_slice(&self.text);
        let millis = time.rem_euclid(SECOND) / 1000;
        for digit in [millis / 100, millis / 10 % 10, millis % 10] {
            out.push(b'0' + u8::try_from(digit).unwrap_or_default());
        }
        out.extend_from_slice(b"Z\"");
    }
}

#[cfg(test)]
mod tests;
