//! A column being built, which can forget its newest rows.

use std::borrow::Cow;
use std::mem::take;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, ListArray, MapArray, NullBufferBuilder,
    PrimitiveArray, StringArray, StructArray, UInt32Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::take as take_rows;
use arrow::datatypes::{
    DataType, Field, Fields, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::time_format::{TimeFormat, in_range};
use crate::record::{ColumnType, map_entries};

/// Why a value does not go into a column.
pub(super) enum Unfit {
    /// It is of another type: what it is.
    Type(Cow<'static, str>),
    /// It is of the type, and what is wrong with it.
    Value(String),
}

/// Values and which of them are there.
pub(super) struct ColumnBuilder {
    kind: ColumnType,
    values: Values,
    nulls: NullBufferBuilder,
    rows: usize,
    /// Of the items of lists: how many there were before the one that is being read.
    mark: usize,
}

enum Values {
    Boolean(BooleanBufferBuilder),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Timestamp(Vec<i64>, TimeFormat),
    Utf8(Bytes),
    Binary(Bytes),
    List(Vec<i32>, Box<ColumnBuilder>),
    Map(Box<Map>),
}

/// Entries with the end of each map's.
struct Map {
    ends: Vec<i32>,
    keys: Bytes,
    values: ColumnBuilder,
    /// Whether every map's keys have come in ascending order, each once.
    sorted: bool,
}

/// Bytes with the end of each value; the first begins at 0.
#[derive(Default)]
struct Bytes {
    ends: Vec<i32>,
    bytes: Vec<u8>,
    /// How many bytes the last batch had: probably as many as the next will have.
    expected: usize,
}

/// Above this many rows a batch is not believed beforehand.
const RESERVED_ROWS: usize = 64 * 1024;
/// Above this many bytes neither.
const RESERVED_BYTES: usize = 16 * 1024 * 1024;

impl Bytes {
    fn truncate(&mut self, rows: usize) {
        self.ends.truncate(rows);
        self.bytes.truncate(position(self.ends.last()));
    }

    /// Ends the value whose bytes have been appended.
    fn end(&mut self) -> Result<(), Unfit> {
        self.ends.push(end(self.bytes.len())?);
        Ok(())
    }

    /// Whether the values from number `start` on ascend, none twice.
    fn ascending(&self, start: usize) -> bool {
        let ends = self.ends.get(start..).unwrap_or_default();
        let mut from = position(start.checked_sub(1).and_then(|last| self.ends.get(last)));
        let mut before: Option<&[u8]> = None;
        ends.iter().all(|end| {
            let to = position(Some(end));
            let value = self.bytes.get(from..to);
            from = to;
            let ascends = before < value;
            before = value;
            ascends
        })
    }

    fn take(&mut self) -> (OffsetBuffer<i32>, Vec<u8>) {
        self.expected = self.bytes.len().min(RESERVED_BYTES);
        (offsets(take(&mut self.ends)), take(&mut self.bytes))
    }
}

fn position(end: Option<&i32>) -> usize {
    end.and_then(|end| usize::try_from(*end).ok()).unwrap_or(0)
}

fn end(length: usize) -> Result<i32, Unfit> {
    i32::try_from(length).map_err(|_| Unfit::Value("the batch holds more than 2 GiB of it".into()))
}

fn offsets(mut ends: Vec<i32>) -> OffsetBuffer<i32> {
    // Cheaper once a batch than a case of its own for the first row of each.
    ends.insert(0, 0);
    OffsetBuffer::new(ends.into())
}

impl ColumnBuilder {
    /// A column without rows. `time` says how a timestamp is written.
    pub(super) fn new(kind: &ColumnType, time: Option<TimeFormat>) -> Self {
        let values = match kind {
            ColumnType::Boolean => Values::Boolean(BooleanBufferBuilder::new(0)),
            ColumnType::Int32 => Values::Int32(Vec::new()),
            ColumnType::Int64 => Values::Int64(Vec::new()),
            ColumnType::Float32 => Values::Float32(Vec::new()),
            ColumnType::Float64 => Values::Float64(Vec::new()),
            ColumnType::Timestamp => Values::Timestamp(Vec::new(), time.unwrap_or_else(TimeFormat::iso)),
            ColumnType::Utf8 => Values::Utf8(Bytes::default()),
            ColumnType::Binary => Values::Binary(Bytes::default()),
            ColumnType::List(item) => Values::List(Vec::new(), Box::new(Self::new(item, time))),
            ColumnType::Map(value) => Values::Map(Box::new(Map {
                ends: Vec::new(),
                keys: Bytes::default(),
                values: Self::new(value, time),
                sorted: true,
            })),
        };
        Self { kind: kind.clone(), values, nulls: NullBufferBuilder::new(0), rows: 0, mark: 0 }
    }

    pub(super) fn kind(&self) -> &ColumnType {
        &self.kind
    }

    /// Makes room for about `rows` rows.
    pub(super) fn reserve(&mut self, rows: usize) {
        let rows = rows.min(RESERVED_ROWS);
        match &mut self.values {
            Values::Boolean(values) => values.reserve(rows),
            Values::Int32(values) => values.reserve(rows),
            Values::Int64(values) | Values::Timestamp(values, _) => values.reserve(rows),
            Values::Float32(values) => values.reserve(rows),
            Values::Float64(values) => values.reserve(rows),
            Values::Utf8(values) | Values::Binary(values) => {
                values.ends.reserve(rows + 1);
                values.bytes.reserve(values.expected);
            }
            Values::List(ends, _) => ends.reserve(rows + 1),
            Values::Map(map) => map.ends.reserve(rows + 1),
        }
    }

    /// Forgets all but the first `rows` rows.
    #[inline]
    pub(super) fn truncate(&mut self, rows: usize) {
        if self.rows > rows {
            self.roll_back(rows);
        }
    }

    /// Forgets all but the first `rows` rows, and what was begun of another.
    #[cold]
    pub(super) fn roll_back(&mut self, rows: usize) {
        match &mut self.values {
            Values::Boolean(values) => values.truncate(rows),
            Values::Int32(values) => values.truncate(rows),
            Values::Int64(values) | Values::Timestamp(values, _) => values.truncate(rows),
            Values::Float32(values) => values.truncate(rows),
            Values::Float64(values) => values.truncate(rows),
            Values::Utf8(values) | Values::Binary(values) => values.truncate(rows),
            Values::List(ends, item) => {
                ends.truncate(rows);
                item.roll_back(position(ends.last()));
            }
            Values::Map(map) => {
                map.ends.truncate(rows);
                let entries = position(map.ends.last());
                map.keys.truncate(entries);
                map.values.roll_back(entries);
            }
        }
        self.nulls.truncate(rows);
        self.rows = self.rows.min(rows);
    }

    /// Appends a null if there are fewer than `rows` rows.
    #[inline]
    pub(super) fn fill_to(&mut self, rows: usize) {
        if self.rows < rows {
            self.append_null();
        }
    }

    pub(super) fn append_null(&mut self) {
        match &mut self.values {
            Values::Boolean(values) => values.append(false),
            Values::Int32(values) => values.push(0),
            Values::Int64(values) | Values::Timestamp(values, _) => values.push(0),
            Values::Float32(values) => values.push(0.0),
            Values::Float64(values) => values.push(0.0),
            Values::Utf8(Bytes { ends, .. }) | Values::Binary(Bytes { ends, .. }) | Values::List(ends, _) => {
                ends.push(ends.last().copied().unwrap_or(0));
            }
            Values::Map(map) => map.ends.push(map.ends.last().copied().unwrap_or(0)),
        }
        self.nulls.append_null();
        self.rows += 1;
    }

    #[inline]
    fn appended(&mut self) {
        self.nulls.append_non_null();
        self.rows += 1;
    }

    pub(super) fn append_bool(&mut self, value: bool) -> Result<(), Unfit> {
        let Values::Boolean(values) = &mut self.values else {
            return Err(Unfit::Type(value.to_string().into()));
        };
        values.append(value);
        self.appended();
        Ok(())
    }

    #[inline]
    #[expect(clippy::cast_precision_loss, reason = "an integer for a float column is its nearest float")]
    pub(super) fn append_integer(&mut self, value: i64) -> Result<(), Unfit> {
        match &mut self.values {
            Values::Int64(values) => values.push(value),
            Values::Float64(values) => values.push(value as f64),
            Values::Timestamp(values, format) => values.push(format.from_integer(value).map_err(Unfit::Value)?),
            Values::Int32(values) => values.push(i32::try_from(value).map_err(|_| out_of_range(&self.kind, value))?),
            Values::Float32(values) => values.push(value as f32),
            Values::Boolean(_) | Values::Utf8(_) | Values::Binary(_) | Values::List(..) | Values::Map(_) => {
                return Err(Unfit::Type(value.to_string().into()));
            }
        }
        self.appended();
        Ok(())
    }

    /// An integer that int64 does not hold.
    #[expect(clippy::cast_precision_loss, reason = "an integer for a float column is its nearest float")]
    pub(super) fn append_great_integer(&mut self, value: u64) -> Result<(), Unfit> {
        match &mut self.values {
            Values::Float64(_) | Values::Float32(_) => self.append_float(value as f64),
            Values::Int32(_) | Values::Int64(_) => Err(out_of_range(&self.kind, value)),
            Values::Timestamp(_, format) => format.from_float(value as f64).map(|_| ()).map_err(Unfit::Value),
            _ => Err(Unfit::Type(value.to_string().into())),
        }
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked before, and for float32 after")]
    pub(super) fn append_float(&mut self, value: f64) -> Result<(), Unfit> {
        /// Up to here a float that looks like an integer is the integer that was written.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        let whole = || match value.fract() == 0.0 {
            true if value.abs() <= EXACT => Ok(value as i64),
            true => Err(out_of_range(&ColumnType::Int64, value)),
            false => Err(Unfit::Type(value.to_string().into())),
        };
        match &mut self.values {
            Values::Float64(values) => values.push(value),
            Values::Float32(values) => match value as f32 {
                narrow if narrow.is_finite() || !value.is_finite() => values.push(narrow),
                _ => return Err(out_of_range(&self.kind, value)),
            },
            Values::Timestamp(values, format) => values.push(format.from_float(value).map_err(Unfit::Value)?),
            Values::Int64(_) | Values::Int32(_) => return whole().and_then(|value| self.append_integer(value)),
            Values::Boolean(_) | Values::Utf8(_) | Values::Binary(_) | Values::List(..) | Values::Map(_) => {
                return Err(Unfit::Type(value.to_string().into()));
            }
        }
        self.appended();
        Ok(())
    }

    #[inline]
    pub(super) fn append_text(&mut self, value: &str) -> Result<(), Unfit> {
        match &mut self.values {
            Values::Utf8(values) => {
                values.bytes.extend_from_slice(value.as_bytes());
                values.end()?;
            }
            Values::Timestamp(values, format) => values.push(format.parse(value).map_err(Unfit::Value)?),
            Values::Binary(values) => {
                let decoded = STANDARD.decode_vec(value, &mut values.bytes);
                decoded.map_err(|error| Unfit::Value(format!("it is not base64: {error}")))?;
                values.end()?;
            }
            _ => return Err(Unfit::Type("text".into())),
        }
        self.appended();
        Ok(())
    }

    pub(super) fn append_bytes(&mut self, value: &[u8]) -> Result<(), Unfit> {
        let Values::Binary(values) = &mut self.values else { return Err(Unfit::Type("bytes".into())) };
        values.bytes.extend_from_slice(value);
        values.end()?;
        self.appended();
        Ok(())
    }

    /// A time in microseconds, none where it is out of range, which was written as `number`.
    pub(super) fn append_time(&mut self, micros: Option<i64>, number: i64) -> Result<(), Unfit> {
        match &mut self.values {
            Values::Timestamp(values, _) => {
                let time = micros.filter(|micros| in_range(*micros));
                values.push(time.ok_or_else(|| Unfit::Value(format!("{number} is beyond the year 9999")))?);
            }
            Values::Int64(values) => values.push(number),
            _ => return Err(Unfit::Type("a time".into())),
        }
        self.appended();
        Ok(())
    }

    /// A value that is written as text whatever its type, as in CSV.
    pub(super) fn append_written(&mut self, text: &str) -> Result<(), Unfit> {
        match &self.values {
            Values::Utf8(_) => self.append_text(text),
            Values::Timestamp(..) | Values::Binary(_) => self.append_text(text.trim()),
            Values::Boolean(_) => match text.trim() {
                "1" => self.append_bool(true),
                "0" => self.append_bool(false),
                word if word.eq_ignore_ascii_case("true") => self.append_bool(true),
                word if word.eq_ignore_ascii_case("false") => self.append_bool(false),
                _ => Err(unread(text)),
            },
            Values::Int32(_) | Values::Int64(_) => match (text.trim().parse(), text.trim().parse()) {
                (Ok(whole), _) => self.append_integer(whole),
                (_, Ok(number)) => self.append_float(number),
                _ => Err(unread(text)),
            },
            Values::Float32(_) | Values::Float64(_) => {
                self.append_float(text.trim().parse().map_err(|_| unread(text))?)
            }
            Values::List(..) | Values::Map(_) => Err(Unfit::Type("text".into())),
        }
    }

    /// Where the items of the next list go; none if this is no column of lists.
    pub(super) fn items(&mut self) -> Option<&mut Self> {
        match &mut self.values {
            Values::List(_, item) => Some(item),
            _ => None,
        }
    }

    /// Begins an item of the next list, which is appended to [`ColumnBuilder::items`] or left out.
    pub(super) fn begin_item(&mut self) {
        if let Some(items) = self.items() {
            items.mark = items.rows;
        }
    }

    /// Forgets what was appended for the item that was begun.
    pub(super) fn reset_item(&mut self) {
        if let Some(items) = self.items() {
            items.truncate(items.mark);
        }
    }

    /// Ends the item that was begun: null where nothing was appended.
    pub(super) fn end_item(&mut self) {
        if let Some(items) = self.items() {
            items.fill_to(items.mark + 1);
        }
    }

    /// Ends the list whose items have been appended.
    pub(super) fn append_list(&mut self) -> Result<(), Unfit> {
        if let Values::List(ends, item) = &mut self.values {
            ends.push(end(item.rows)?);
            self.appended();
        }
        Ok(())
    }

    /// Whether this is a column of maps.
    pub(super) fn is_map(&self) -> bool {
        matches!(self.values, Values::Map(_))
    }

    /// Appends the key of a map's next entry.
    pub(super) fn append_key(&mut self, key: &str) -> Result<(), Unfit> {
        if let Values::Map(map) = &mut self.values {
            map.keys.bytes.extend_from_slice(key.as_bytes());
            map.keys.end()?;
        }
        Ok(())
    }

    /// Where the value of that entry goes; none if this is no column of maps.
    pub(super) fn value(&mut self) -> Option<&mut Self> {
        match &mut self.values {
            Values::Map(map) => Some(&mut map.values),
            _ => None,
        }
    }

    /// Ends the map whose entries have been appended.
    pub(super) fn append_map(&mut self) -> Result<(), Unfit> {
        if let Values::Map(map) = &mut self.values {
            let start = position(map.ends.last());
            map.sorted &= map.keys.ascending(start);
            map.ends.push(end(map.values.rows)?);
            self.appended();
        }
        Ok(())
    }

    /// The column; then it is empty.
    pub(super) fn finish(&mut self) -> ArrayRef {
        self.rows = 0;
        let nulls = self.nulls.finish();
        match &mut self.values {
            Values::Boolean(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int32(values) => Arc::new(PrimitiveArray::<Int32Type>::new(take(values).into(), nulls)),
            Values::Int64(values) => Arc::new(PrimitiveArray::<Int64Type>::new(take(values).into(), nulls)),
            Values::Float32(values) => Arc::new(PrimitiveArray::<Float32Type>::new(take(values).into(), nulls)),
            Values::Float64(values) => Arc::new(PrimitiveArray::<Float64Type>::new(take(values).into(), nulls)),
            Values::Timestamp(values, _) => {
                let column = PrimitiveArray::<TimestampMicrosecondType>::new(take(values).into(), nulls);
                Arc::new(column.with_timezone("UTC"))
            }
            Values::Utf8(values) => {
                let (offsets, bytes) = values.take();
                Arc::new(StringArray::new(offsets, bytes.into(), nulls))
            }
            Values::Binary(values) => {
                let (offsets, bytes) = values.take();
                Arc::new(BinaryArray::new(offsets, bytes.into(), nulls))
            }
            Values::List(ends, item) => {
                let ends = offsets(take(ends));
                let items = item.finish();
                let field = match self.kind.arrow() {
                    DataType::List(field) => field,
                    other => Arc::new(Field::new_list_field(other, true)),
                };
                Arc::new(ListArray::new(field, ends, items, nulls))
            }
            Values::Map(map) => {
                let (kind, sorted) = (map.values.kind.clone(), std::mem::replace(&mut map.sorted, true));
                let (key_offsets, key_bytes) = map.keys.take();
                let keys = StringArray::new(key_offsets, key_bytes.into(), None);
                let (ends, values) = (offsets(take(&mut map.ends)), map.values.finish());
                let (ends, keys, values) = if sorted { (ends, keys, values) } else { in_order(&ends, &keys, &values) };
                let field = map_entries(&kind);
                let fields = match field.data_type() {
                    DataType::Struct(fields) => fields.clone(),
                    _ => Fields::empty(),
                };
                let entries = StructArray::new(fields, vec![Arc::new(keys), values], None);
                Arc::new(MapArray::new(field, ends, entries, nulls, false))
            }
        }
    }
}

/// The entries of each map in the order of their keys; of a key that came twice the last.
fn in_order(
    ends: &OffsetBuffer<i32>,
    keys: &StringArray,
    values: &ArrayRef,
) -> (OffsetBuffer<i32>, StringArray, ArrayRef) {
    let mut kept: Vec<u32> = Vec::with_capacity(keys.len());
    let mut new_ends = Vec::with_capacity(ends.len());
    for (start, end) in ends.iter().zip(ends.iter().skip(1)) {
        let mut entries: Vec<u32> = (start.unsigned_abs()..end.unsigned_abs()).collect();
        let key = |entry: &u32| keys.value(*entry as usize);
        entries.sort_by(|a, b| key(a).cmp(key(b)).then(b.cmp(a)));
        entries.dedup_by(|later, kept| key(later) == key(kept));
        kept.extend(entries);
        new_ends.push(i32::try_from(kept.len()).unwrap_or(i32::MAX));
    }
    let rows = UInt32Array::from(kept);
    let taken = |column: &dyn Array| take_rows(column, &rows, None).expect("the rows are the column's own");
    let keys = taken(keys);
    let keys = keys.as_any().downcast_ref::<StringArray>().cloned().expect("what is taken of text is text");
    (offsets(new_ends), keys, taken(values))
}

fn out_of_range(kind: &ColumnType, value: impl std::fmt::Display) -> Unfit {
    Unfit::Value(format!("{value} does not fit {kind}"))
}

/// A text that is no value of the column's type.
fn unread(text: &str) -> Unfit {
    Unfit::Type(format!("{:?}", text.chars().take(40).collect::<String>()).into())
}
