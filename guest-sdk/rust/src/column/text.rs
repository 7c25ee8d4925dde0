//! Text and bytes: offsets into one long buffer. Text is checked for UTF-8 once a column.

use std::borrow::Cow;
use std::fmt::{self, Write};

use super::read::{FromColumn, Validity, buffer};
use super::{ColumnType, IntoColumn};

/// Where each value of a column of text, bytes or lists begins and ends in what it indexes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offsets<'a>(&'a [[u8; 4]]);

impl<'a> Offsets<'a> {
    /// # Errors
    /// Fewer offsets than rows + 1. That they ascend within bounds is the contract's promise: a slice by them is
    /// checked when it is taken, and traps if the promise is broken.
    pub(crate) fn new(bytes: &'a [u8], rows: usize) -> Result<Self, String> {
        let offsets = bytes.as_chunks::<4>().0;
        match offsets.get(..=rows) {
            Some(offsets) => Ok(Self(offsets)),
            None if rows == 0 => Ok(Self(&[])),
            None => Err(format!("{} offsets for {rows} rows", offsets.len())),
        }
    }

    #[inline]
    pub(crate) fn get(self, row: usize) -> Option<(usize, usize)> {
        let start = u32::from_le_bytes(*self.0.get(row)?);
        let end = u32::from_le_bytes(*self.0.get(row + 1)?);
        Some((start as usize, end as usize))
    }

    /// What the last one is, the length of what they index.
    pub(crate) fn end(self) -> usize {
        self.0.last().map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize)
    }

    pub(crate) fn iter(self) -> impl ExactSizeIterator<Item = i32> + 'a {
        self.0.iter().map(|bytes| i32::from_le_bytes(*bytes))
    }
}

/// A column of text.
#[derive(Clone, Copy, Debug)]
pub struct TextReader<'a> {
    validity: Validity<'a>,
    pub(crate) offsets: Offsets<'a>,
    pub(crate) text: &'a str,
}

impl<'a> FromColumn<'a> for &'a str {
    type Reader = TextReader<'a>;

    fn column_type() -> ColumnType {
        ColumnType::Utf8
    }

    fn reader(buffers: &'a [Vec<u8>], rows: usize) -> Result<Self::Reader, String> {
        let text = buffer(buffers, 2)?;
        Ok(TextReader {
            validity: Validity::new(buffer(buffers, 0)?, rows)?,
            offsets: Offsets::new(buffer(buffers, 1)?, rows)?,
            text: std::str::from_utf8(text).map_err(|error| format!("text that is not UTF-8: {error}"))?,
        })
    }

    #[inline]
    fn validity(reader: &Self::Reader) -> Validity<'a> {
        reader.validity
    }

    #[inline]
    fn value(reader: &Self::Reader, row: usize) -> Option<Self> {
        let (start, end) = reader.offsets.get(row)?;
        Some(reader.text.get(start..end).expect("the host's offsets cut its text between characters"))
    }
}

/// A column of bytes.
#[derive(Clone, Copy, Debug)]
pub struct BytesReader<'a> {
    validity: Validity<'a>,
    offsets: Offsets<'a>,
    bytes: &'a [u8],
}

impl<'a> FromColumn<'a> for &'a [u8] {
    type Reader = BytesReader<'a>;

    fn column_type() -> ColumnType {
        ColumnType::Binary
    }

    fn reader(buffers: &'a [Vec<u8>], rows: usize) -> Result<Self::Reader, String> {
        Ok(BytesReader {
            validity: Validity::new(buffer(buffers, 0)?, rows)?,
            offsets: Offsets::new(buffer(buffers, 1)?, rows)?,
            bytes: buffer(buffers, 2)?,
        })
    }

    #[inline]
    fn validity(reader: &Self::Reader) -> Validity<'a> {
        reader.validity
    }

    #[inline]
    fn value(reader: &Self::Reader, row: usize) -> Option<Self> {
        let (start, end) = reader.offsets.get(row)?;
        Some(reader.bytes.get(start..end).expect("the host's offsets are within its bytes"))
    }
}

/// Reads `$owned` as `$borrowed`, then copies it.
macro_rules! read_owned {
    ($($owned:ty, $borrowed:ty;)*) => {$(
        impl<'a> FromColumn<'a> for $owned {
            type Reader = <$borrowed as FromColumn<'a>>::Reader;

            fn column_type() -> ColumnType {
                <$borrowed as FromColumn<'a>>::column_type()
            }

            fn reader(buffers: &'a [Vec<u8>], rows: usize) -> Result<Self::Reader, String> {
                <$borrowed as FromColumn<'a>>::reader(buffers, rows)
            }

            #[inline]
            fn validity(reader: &Self::Reader) -> Validity<'a> {
                <$borrowed as FromColumn<'a>>::validity(reader)
            }

            #[inline]
            fn value(reader: &Self::Reader, row: usize) -> Option<Self> {
                <$borrowed as FromColumn<'a>>::value(reader, row).map(Self::from)
            }
        }
    )*};
}
read_owned! { String, &'a str; Cow<'a, str>, &'a str; Vec<u8>, &'a [u8]; Cow<'a, [u8]>, &'a [u8]; }

/// A column of bytes being written.
#[derive(Clone, Debug)]
pub struct BytesBuilder {
    offsets: Vec<[u8; 4]>,
    bytes: Vec<u8>,
}

/// Arrow's offsets are signed 32-bit.
fn offset(len: usize) -> [u8; 4] {
    i32::try_from(len).expect("a column holds less than 2 GiB").to_le_bytes()
}

/// A column of offsets that has no value yet.
pub(crate) fn new_offsets(rows: usize) -> Vec<[u8; 4]> {
    let mut offsets = Vec::with_capacity(rows + 1);
    offsets.push([0; 4]);
    offsets
}

/// Ends a value at `len`.
#[inline]
pub(crate) fn push_offset(offsets: &mut Vec<[u8; 4]>, len: usize) {
    offsets.push(offset(len));
}

/// The number of values that the offsets hold.
pub(crate) fn values(offsets: &[[u8; 4]]) -> usize {
    offsets.len() - 1
}

/// A column of text being written. A type of one's own writes a value piece by piece, through [`fmt::Write`], then ends
/// it.
#[derive(Clone, Debug)]
pub struct TextBuilder {
    pub(crate) offsets: Vec<[u8; 4]>,
    /// UTF-8, for only whole characters go in.
    pub(crate) text: Vec<u8>,
}

impl TextBuilder {
    /// Appends to the value of this row.
    #[inline]
    pub fn push_str(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
    }

    /// Ends the value of this row.
    #[inline]
    pub fn end(&mut self) {
        push_offset(&mut self.offsets, self.text.len());
    }
}

impl Write for TextBuilder {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push_str(text);
        Ok(())
    }
}

/// A guess at the bytes of a text, to make room for a column of them.
const TEXT_BYTES: usize = 16;

impl IntoColumn for &str {
    type Builder = TextBuilder;

    fn column_type() -> ColumnType {
        ColumnType::Utf8
    }

    fn builder(rows: usize) -> Self::Builder {
        TextBuilder { offsets: new_offsets(rows), text: Vec::with_capacity(rows * TEXT_BYTES) }
    }

    #[inline]
    fn append_to(self, builder: &mut Self::Builder) {
        builder.push_str(self);
        builder.end();
    }

    fn push_empty(builder: &mut Self::Builder) {
        builder.end();
    }

    fn len(builder: &Self::Builder) -> usize {
        values(&builder.offsets)
    }

    fn finish(builder: Self::Builder, validity: Vec<u8>) -> Vec<Vec<u8>> {
        vec![validity, builder.offsets.into_flattened(), builder.text]
    }
}

impl IntoColumn for &[u8] {
    type Builder = BytesBuilder;

    fn column_type() -> ColumnType {
        ColumnType::Binary
    }

    fn builder(rows: usize) -> Self::Builder {
        BytesBuilder { offsets: new_offsets(rows), bytes: Vec::with_capacity(rows * TEXT_BYTES) }
    }

    #[inline]
    fn append_to(self, builder: &mut Self::Builder) {
        builder.bytes.extend_from_slice(self);
        push_offset(&mut builder.offsets, builder.bytes.len());
    }

    fn push_empty(builder: &mut Self::Builder) {
        push_offset(&mut builder.offsets, builder.bytes.len());
    }

    fn len(builder: &Self::Builder) -> usize {
        values(&builder.offsets)
    }

    fn finish(builder: Self::Builder, validity: Vec<u8>) -> Vec<Vec<u8>> {
        vec![validity, builder.offsets.into_flattened(), builder.bytes]
    }
}

/// Writes `$owned` the way that `$borrowed` is written.
macro_rules! write_as {
    ($($owned:ty, $borrowed:ty, $how:expr;)*) => {$(
        impl IntoColumn for $owned {
            type Builder = <$borrowed as IntoColumn>::Builder;

            fn column_type() -> ColumnType {
                <$borrowed as IntoColumn>::column_type()
            }

            fn builder(rows: usize) -> Self::Builder {
                <$borrowed as IntoColumn>::builder(rows)
            }

            #[inline]
            fn append_to(self, builder: &mut Self::Builder) {
                let write: fn(Self, &mut Self::Builder) = $how;
                write(self, builder);
            }

            fn push_empty(builder: &mut Self::Builder) {
                <$borrowed as IntoColumn>::push_empty(builder);
            }

            fn len(builder: &Self::Builder) -> usize {
                <$borrowed as IntoColumn>::len(builder)
            }

            fn finish(builder: Self::Builder, validity: Vec<u8>) -> Vec<Vec<u8>> {
                <$borrowed as IntoColumn>::finish(builder, validity)
            }
        }
    )*};
}
write_as! {
    String, &'static str, |text, builder| text.as_str().append_to(builder);
    Cow<'_, str>, &'static str, |text, builder| (&*text).append_to(builder);
    Vec<u8>, &'static [u8], |bytes, builder| bytes.as_slice().append_to(builder);
    Cow<'_, [u8]>, &'static [u8], |bytes, builder| (&*bytes).append_to(builder);
    Lowercase<'_>, &'static str, |text, builder| text.push_to(builder);
}

/// Text that is written in lower case, straight into the column: what `to_lowercase` gives, without its allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lowercase<'a>(pub &'a str);

/// The bit that no ASCII byte has, in each of eight bytes.
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// Eight ASCII letters at once: a byte from `A` to `Z` gets the bit that makes it lower case.
#[inline]
fn lowercase_word(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    // The high bit of a byte, after the addition, says whether it was at least `A`, or past `Z`.
    let low = word & !HIGH_BITS;
    let from_a = low + (0x80 - b'A' as u64) * EACH;
    let past_z = low + (0x7f - b'Z' as u64) * EACH;
    word | ((from_a & !past_z & !word & HIGH_BITS) >> 2)
}

impl Lowercase<'_> {
    #[inline]
    fn push_to(self, builder: &mut TextBuilder) {
        // One pass for ASCII; whatever else shows on the way makes it go back.
        let start = builder.text.len();
        let (words, rest) = self.0.as_bytes().as_chunks::<8>();
        let (mut seen, mut seen_in_rest) = (0, 0);
        builder.text.reserve(self.0.len());
        for word in words {
            let word = u64::from_le_bytes(*word);
            seen |= word;
            builder.text.extend_from_slice(&lowercase_word(word).to_le_bytes());
        }
        for byte in rest {
            seen_in_rest |= byte;
            builder.text.push(byte.to_ascii_lowercase());
        }
        if seen & HIGH_BITS != 0 || !seen_in_rest.is_ascii() {
            builder.text.truncate(start);
            builder.push_str(&self.0.to_lowercase());
        }
        builder.end();
    }
}

/// Anything that can be shown with `{}`, written straight into a column of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown<T>(pub T);

impl<T: fmt::Display> IntoColumn for Shown<T> {
    type Builder = TextBuilder;

    fn column_type() -> ColumnType {
        ColumnType::Utf8
    }

    fn builder(rows: usize) -> Self::Builder {
        <&str>::builder(rows)
    }

    #[inline]
    fn append_to(self, builder: &mut Self::Builder) {
        write!(builder, "{}", self.0).expect("a Display that fails has no text to give");
        builder.end();
    }

    fn push_empty(builder: &mut Self::Builder) {
        <&str>::push_empty(builder);
    }

    fn len(builder: &Self::Builder) -> usize {
        <&str>::len(builder)
    }

    fn finish(builder: Self::Builder, validity: Vec<u8>) -> Vec<Vec<u8>> {
        <&str>::finish(builder, validity)
    }
}
