//! Writing values into columns: each value is appended to the column's buffers, so a row allocates nothing of its own.

use super::{ColumnType, Primitive};
use crate::time::Timestamp;

/// A Rust type whose values a column is written from.
pub trait IntoColumn {
    /// A column being written.
    type Builder;
    /// Whether the type can hold a null.
    const NULLABLE: bool = false;

    /// The type that the column has.
    fn column_type() -> ColumnType;

    /// An empty column with room for `rows` values.
    fn builder(rows: usize) -> Self::Builder;

    /// Appends a value.
    fn append_to(self, builder: &mut Self::Builder);

    /// Appends many values.
    #[inline]
    fn append_all(values: impl Iterator<Item = Self>, builder: &mut Self::Builder)
    where
        Self: Sized,
    {
        for value in values {
            value.append_to(builder);
        }
    }

    /// Appends a place without a value, for the null of an `Option`.
    fn push_empty(builder: &mut Self::Builder);

    /// The number of values so far.
    fn len(builder: &Self::Builder) -> usize;

    /// The column's buffers, with this validity where the type has none of its own.
    fn finish(builder: Self::Builder, validity: Vec<u8>) -> Vec<Vec<u8>>;
}

/// Bits, least significant first.
#[derive(Clone, Debug, Default)]
pub struct Bits {
    bytes: Vec<u8>,
    len: usize,
}

impl Bits {
    pub(crate) fn with_capacity(bits: usize) -> Self {
        Self { bytes: Vec::with_capacity(bits.div_ceil(8)), len: 0 }
    }

    /// The bits of a buffer.
    pub(crate) fn from_bytes(mut bytes: Vec<u8>, len: usize) -> Self {
        bytes.truncate(len.div_ceil(8));
        let len = len.min(bytes.len() * 8);
        Self { bytes, len }
    }

    /// As many bits that are set.
    fn set(bits: usize) -> Self {
        let mut bytes = vec![0xff; bits.div_ceil(8)];
        if let Some(last) = bytes.last_mut()
            && !bits.is_multiple_of(8)
        {
            *last = (1 << (bits % 8)) - 1;
        }
        Self { bytes, len: bits }
    }

    /// Appends a bit, without a branch on it: flags are often as good as random.
    #[inline]
    pub(crate) fn push(&mut self, bit: bool) {
        let place = self.len % 8;
        if place == 0 {
            self.bytes.push(0);
        }
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << place;
        }
        self.len += 1;
    }
}

/// A column that may hold nulls; it has a bitmap from its first null on.
#[derive(Clone, Debug)]
pub struct Nullable<B> {
    values: B,
    validity: Option<Bits>,
}

impl<T: IntoColumn> IntoColumn for Option<T> {
    type Builder = Nullable<T::Builder>;
    const NULLABLE: bool = true;

    fn column_type() -> ColumnType {
        T::column_type()
    }

    fn builder(rows: usize) -> Self::Builder {
        Nullable { values: T::builder(rows), validity: None }
    }

    #[inline]
    fn append_to(self, builder: &mut Self::Builder) {
        let Some(value) = self else { return Self::push_empty(builder) };
        if let Some(bits) = &mut builder.validity {
            bits.push(true);
        }
        value.append_to(&mut builder.values);
    }

    fn push_empty(builder: &mut Self::Builder) {
        let before = T::len(&builder.values);
        builder.validity.get_or_insert_with(|| Bits::set(before)).push(false);
        T::push_empty(&mut builder.values);
    }

    fn len(builder: &Self::Builder) -> usize {
        T::len(&builder.values)
    }

    fn finish(builder: Self::Builder, _: Vec<u8>) -> Vec<Vec<u8>> {
        T::finish(builder.values, builder.validity.map(|bits| bits.bytes).unwrap_or_default())
    }
}

/// A column of numbers being written.
#[derive(Clone, Debug, Default)]
pub struct NumberBuilder<B> {
    values: Vec<B>,
}

macro_rules! write_numbers {
    ($($rust:ty),*) => {$(
        impl IntoColumn for $rust {
            type Builder = NumberBuilder<<$rust as Primitive>::Bytes>;

            fn column_type() -> ColumnType {
                <$rust as Primitive>::TYPE
            }

            fn builder(rows: usize) -> Self::Builder {
                NumberBuilder { values: Vec::with_capacity(rows) }
            }

            #[inline]
            fn append_to(self, builder: &mut Self::Builder) {
                builder.values.push(<$rust as Primitive>::to_bytes(self));
            }

            #[inline]
            fn append_all(values: impl Iterator<Item = Self>, builder: &mut Self::Builder) {
                builder.values.extend(values.map(<$rust as Primitive>::to_bytes));
            }

            fn push_empty(builder: &mut Self::Builder) {
                Self::default().append_to(builder);
            }

            fn len(builder: &Self::Builder) -> usize {
                builder.values.len()
            }

            fn finish(builder: Self::Builder, validity: Vec<u8>) -> Vec<Vec<u8>> {
                vec![validity, <$rust as Primitive>::flatten(builder.values)]
            }
        }
    )*};
}
write_numbers!(i32, i64, f32, f64, Timestamp);

impl IntoColumn for bool {
    type Builder = Bits;

    fn column_type() -> ColumnType {
        ColumnType::Boolean
    }

    fn builder(rows: usize) -> Self::Builder {
        Bits::with_capacity(rows)
    }

    #[inline]
    fn append_to(self, builder: &mut Self::Builder) {
        builder.push(self);
    }

    fn push_empty(builder: &mut Self::Builder) {
        builder.push(false);
    }

    fn len(builder: &Self::Builder) -> usize {
        builder.len
    }

    fn finish(builder: Self::Builder, validity: Vec<u8>) -> Vec<Vec<u8>> {
        vec![validity, builder.bytes]
    }
}
