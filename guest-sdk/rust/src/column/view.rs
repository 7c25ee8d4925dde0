//! Whole columns, for `#[transform(columns)]`: typed views in, typed builders out.

use std::borrow::Cow;

use super::read::{FromColumn, NumberReader, Primitive, Validity};
use super::text::{Offsets, TextBuilder, TextReader};
use super::write::Bits;
use super::{ColumnType, IntoColumn};

/// A column as it arrived: `Column<f64>`, `Column<Option<&str>>`.
pub struct Column<'a, T: FromColumn<'a>> {
    reader: T::Reader,
    rows: usize,
}

impl<'a, T: FromColumn<'a>> Column<'a, T> {
    /// Makes a column's buffers ready; `#[derive(InputColumns)]` calls it.
    ///
    /// # Errors
    /// The buffers are not those of the type.
    #[doc(hidden)]
    pub fn new(buffers: &'a [Vec<u8>], rows: usize) -> Result<Self, String> {
        let reader = T::reader(buffers, rows)?;
        if !T::NULLABLE && !T::is_complete(&reader) {
            return Err("a null in a column that has none".to_owned());
        }
        Ok(Self { reader, rows })
    }

    #[cfg(test)]
    pub(crate) fn from_reader(reader: T::Reader, rows: usize) -> Self {
        Self { reader, rows }
    }

    /// The type that the column must have.
    #[doc(hidden)]
    pub fn column_type() -> ColumnType {
        T::column_type()
    }

    /// Whether it may hold nulls.
    #[doc(hidden)]
    pub const NULLABLE: bool = T::NULLABLE;

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The value of a row; none past the end.
    pub fn get(&self, row: usize) -> Option<T> {
        if row < self.rows { T::read(&self.reader, row) } else { None }
    }

    /// The values, row by row.
    pub fn iter(&self) -> impl Iterator<Item = T> {
        (0..self.rows).filter_map(|row| T::read(&self.reader, row))
    }

    /// Which rows have a value.
    pub fn validity(&self) -> Validity<'a> {
        T::validity(&self.reader)
    }
}

impl<'a, T, P> Column<'a, T>
where
    T: FromColumn<'a, Reader = NumberReader<'a, P::Bytes>> + Number<Primitive = P>,
    P: Primitive,
{
    /// The numbers as a slice; timestamps as their microseconds. What stands at a null means nothing. Borrowed where
    /// the host put them at an address that the type can be read from, which is always so but for empty columns.
    pub fn values(&self) -> Cow<'a, [P::Native]> {
        let bytes: &'a [P::Bytes] = self.reader.values;
        match P::cast(bytes) {
            Some(values) => Cow::Borrowed(values),
            None => Cow::Owned(bytes.iter().map(|bytes| P::from_bytes(*bytes).native()).collect()),
        }
    }
}

/// The number that a column of `T` or `Option<T>` holds.
pub trait Number {
    /// The number itself.
    type Primitive: Primitive;
}

impl<P: Primitive> Number for P {
    type Primitive = P;
}

impl<P: Primitive> Number for Option<P> {
    type Primitive = P;
}

impl<'a, T: FromColumn<'a, Reader = TextReader<'a>>> Column<'a, T> {
    /// The text of all rows, one after the other.
    pub fn text(&self) -> &'a str {
        let text = self.reader.text;
        text.get(..self.reader.offsets.end()).unwrap_or(text)
    }

    /// Where each row begins in [`Column::text`], and where the last one ends.
    pub fn offsets(&self) -> impl ExactSizeIterator<Item = i32> + 'a {
        let offsets: Offsets<'a> = self.reader.offsets;
        offsets.iter()
    }
}

impl<'a> Column<'a, bool> {
    /// The booleans as they lie: one bit a row, least significant first. Bits past the last row mean nothing.
    pub fn bits(&self) -> &'a [u8] {
        self.reader.bits
    }
}

impl Builder<bool> {
    /// A column of the first `rows` bits of a buffer; of fewer, if it is shorter.
    pub fn from_bits(bits: Vec<u8>, rows: usize) -> Self {
        Self(Bits::from_bytes(bits, rows))
    }
}

/// A column being written: `Builder<f64>`, `Builder<Option<String>>`. Collect one from an iterator, or push to it.
pub struct Builder<T: IntoColumn>(T::Builder);

/// Makes `collect` into a [`Builder`] read well: `values.collect::<Builder<_>>()`.
pub trait BuilderIter: Iterator + Sized {
    /// Collects the values into a column.
    fn into_builder(self) -> Builder<Self::Item>
    where
        Self::Item: IntoColumn,
    {
        self.collect()
    }
}

impl<I: Iterator> BuilderIter for I {}

impl<T: IntoColumn> Builder<T> {
    /// An empty column with room for `rows` values.
    pub fn with_capacity(rows: usize) -> Self {
        Self(T::builder(rows))
    }

    /// Appends a value.
    #[inline]
    pub fn push(&mut self, value: T) {
        value.append_to(&mut self.0);
    }

    /// The number of values so far.
    pub fn len(&self) -> usize {
        T::len(&self.0)
    }

    /// Whether it has no value yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type that the column has.
    #[doc(hidden)]
    pub fn column_type() -> ColumnType {
        T::column_type()
    }

    /// Whether it may hold nulls.
    #[doc(hidden)]
    pub const NULLABLE: bool = T::NULLABLE;

    /// The column's buffers.
    #[doc(hidden)]
    pub fn finish(self) -> Vec<Vec<u8>> {
        T::finish(self.0, Vec::new())
    }
}

impl<T: IntoColumn<Builder = TextBuilder>> Builder<T> {
    /// Appends text, which need not be of the type that the builder is named for.
    #[inline]
    pub fn push_str(&mut self, text: &str) {
        text.append_to(&mut self.0);
    }

    /// The builder itself, to write a value into piece by piece.
    pub fn writer(&mut self) -> &mut TextBuilder {
        &mut self.0
    }

    /// A column of text from its buffers: row i is `text[offsets[i]..offsets[i + 1]]`.
    ///
    /// # Errors
    /// The offsets do not lead from 0 to the end of the text between characters, never backwards.
    pub fn from_text(text: String, offsets: impl IntoIterator<Item = i32>) -> Result<Self, String> {
        let offsets = offsets.into_iter();
        let ascii = text.is_ascii();
        let mut bytes = Vec::with_capacity(offsets.size_hint().0);
        let mut last: Option<i32> = None;
        for offset in offsets {
            let fits = usize::try_from(offset).is_ok_and(|at| ascii && at <= text.len() || text.is_char_boundary(at));
            if !fits || offset < last.unwrap_or(0) || (last.is_none() && offset != 0) {
                return Err(format!("offset {offset} is not between characters, or before the one before it"));
            }
            bytes.push(offset.to_le_bytes());
            last = Some(offset);
        }
        match last {
            Some(end) if usize::try_from(end) == Ok(text.len()) => {
                Ok(Self(TextBuilder { offsets: bytes, text: text.into_bytes() }))
            }
            _ => Err(format!("the offsets end at {last:?}, the text at {}", text.len())),
        }
    }
}

impl<T: IntoColumn> Extend<T> for Builder<T> {
    #[inline]
    fn extend<I: IntoIterator<Item = T>>(&mut self, values: I) {
        T::append_all(values.into_iter(), &mut self.0);
    }
}

impl<T: IntoColumn> FromIterator<T> for Builder<T> {
    #[inline]
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let values = values.into_iter();
        let mut builder = Self::with_capacity(values.size_hint().0);
        builder.extend(values);
        builder
    }
}
