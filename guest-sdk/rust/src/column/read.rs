//! Reading values out of columns, without a copy and without an allocation.

use super::ColumnType;
use crate::time::Timestamp;

/// Which rows have a value: one bit a row, least significant first, 1 = present.
#[derive(Clone, Copy, Debug)]
pub struct Validity<'a>(Option<&'a [u8]>);

impl<'a> Validity<'a> {
    /// # Errors
    /// The bitmap is shorter than the rows.
    pub(crate) fn new(bits: &'a [u8], rows: usize) -> Result<Self, String> {
        if bits.is_empty() {
            return Ok(Self(None));
        }
        match bits.get(..rows.div_ceil(8)) {
            Some(bits) => Ok(Self(Some(bits))),
            None => Err(format!("a validity bitmap of {} bytes for {rows} rows", bits.len())),
        }
    }

    /// Whether there is no null at all.
    pub fn is_complete(self) -> bool {
        self.0.is_none()
    }

    /// Whether `row` has a value; rows past the end do not.
    #[inline]
    pub fn is_valid(self, row: usize) -> bool {
        self.0.is_none_or(|bits| bit(bits, row))
    }
}

/// The bit of `row`; false past the end.
#[inline]
pub(crate) fn bit(bits: &[u8], row: usize) -> bool {
    bits.get(row / 8).is_some_and(|byte| byte >> (row % 8) & 1 == 1)
}

/// The next buffer of a column.
pub(crate) fn buffer(buffers: &[Vec<u8>], index: usize) -> Result<&[u8], String> {
    match buffers.get(index) {
        Some(buffer) => Ok(buffer),
        None => Err(format!("{} buffers where more than {index} belong", buffers.len())),
    }
}

/// A Rust type that the values of a column are read as, borrowed for `'a` where the type borrows.
pub trait FromColumn<'a>: Sized {
    /// A column made ready to read rows from.
    type Reader: Copy;
    /// Whether the type can hold a null.
    const NULLABLE: bool = false;

    /// The type that the column must have.
    fn column_type() -> ColumnType;

    /// Makes a column's buffers ready.
    ///
    /// # Errors
    /// The buffers are not those of the type, or shorter than the rows.
    fn reader(buffers: &'a [Vec<u8>], rows: usize) -> Result<Self::Reader, String>;

    /// Which rows have a value.
    fn validity(reader: &Self::Reader) -> Validity<'a>;

    /// The value of a row that has one; none if something in it is null that cannot be.
    fn value(reader: &Self::Reader, row: usize) -> Option<Self>;

    /// Whether no row holds a null, in itself or in an item.
    fn is_complete(reader: &Self::Reader) -> bool {
        Self::validity(reader).is_complete()
    }

    /// The value of a row; none if it is null and the type cannot hold that.
    #[inline]
    fn read(reader: &Self::Reader, row: usize) -> Option<Self> {
        if Self::validity(reader).is_valid(row) { Self::value(reader, row) } else { None }
    }
}

impl<'a, T: FromColumn<'a>> FromColumn<'a> for Option<T> {
    type Reader = T::Reader;
    const NULLABLE: bool = true;

    fn column_type() -> ColumnType {
        T::column_type()
    }

    fn reader(buffers: &'a [Vec<u8>], rows: usize) -> Result<Self::Reader, String> {
        T::reader(buffers, rows)
    }

    #[inline]
    fn validity(reader: &Self::Reader) -> Validity<'a> {
        T::validity(reader)
    }

    #[inline]
    fn value(reader: &Self::Reader, row: usize) -> Option<Self> {
        T::value(reader, row).map(Some)
    }

    #[inline]
    fn read(reader: &Self::Reader, row: usize) -> Option<Self> {
        if T::validity(reader).is_valid(row) { Self::value(reader, row) } else { Some(None) }
    }
}

/// A number of fixed width: its bytes in a buffer and back.
pub trait Primitive: Copy {
    /// The bytes of one value.
    type Bytes: Copy + AsRef<[u8]> + 'static;
    /// What a slice of the values is a slice of: the type itself, or the number in it.
    type Native: bytemuck::Pod;
    /// The type of the column.
    const TYPE: ColumnType;

    /// A buffer as values, what is left at its end aside.
    fn chunks(bytes: &[u8]) -> &[Self::Bytes];
    /// A value from its bytes.
    fn from_bytes(bytes: Self::Bytes) -> Self;
    /// The bytes of a value.
    fn to_bytes(self) -> Self::Bytes;
    /// The number in it.
    fn native(self) -> Self::Native;
    /// Values as one buffer.
    fn flatten(values: Vec<Self::Bytes>) -> Vec<u8>;
    /// The numbers in place, where their address and this machine's byte order allow it.
    fn cast(bytes: &[Self::Bytes]) -> Option<&[Self::Native]>;
}

fn cast<T: bytemuck::Pod>(bytes: &[u8]) -> Option<&[T]> {
    if cfg!(target_endian = "little") { bytemuck::try_cast_slice(bytes).ok() } else { None }
}

macro_rules! primitive {
    ($($rust:ty, $width:literal, $kind:ident;)*) => {$(
        impl Primitive for $rust {
            type Bytes = [u8; $width];
            type Native = $rust;
            const TYPE: ColumnType = ColumnType::$kind;
            #[inline]
            fn chunks(bytes: &[u8]) -> &[Self::Bytes] {
                bytes.as_chunks::<$width>().0
            }
            #[inline]
            fn from_bytes(bytes: Self::Bytes) -> Self {
                Self::from_le_bytes(bytes)
            }
            #[inline]
            fn to_bytes(self) -> Self::Bytes {
                self.to_le_bytes()
            }
            #[inline]
            fn native(self) -> Self {
                self
            }
            fn flatten(values: Vec<Self::Bytes>) -> Vec<u8> {
                values.into_flattened()
            }
            fn cast(bytes: &[Self::Bytes]) -> Option<&[Self::Native]> {
                cast(bytes.as_flattened())
            }
        }
    )*};
}
primitive! { i32, 4, Int32; i64, 8, Int64; f32, 4, Float32; f64, 8, Float64; }

impl Primitive for Timestamp {
    type Bytes = [u8; 8];
    type Native = i64;
    const TYPE: ColumnType = ColumnType::Timestamp;
    #[inline]
    fn chunks(bytes: &[u8]) -> &[Self::Bytes] {
        bytes.as_chunks::<8>().0
    }
    #[inline]
    fn from_bytes(bytes: Self::Bytes) -> Self {
        Self::from_micros(i64::from_le_bytes(bytes))
    }
    #[inline]
    fn to_bytes(self) -> Self::Bytes {
        self.micros().to_le_bytes()
    }
    #[inline]
    fn native(self) -> i64 {
        self.micros()
    }
    fn flatten(values: Vec<Self::Bytes>) -> Vec<u8> {
        values.into_flattened()
    }
    fn cast(bytes: &[Self::Bytes]) -> Option<&[Self::Native]> {
        cast(bytes.as_flattened())
    }
}

/// A column of numbers.
#[derive(Clone, Copy, Debug)]
pub struct NumberReader<'a, B> {
    pub(crate) validity: Validity<'a>,
    pub(crate) values: &'a [B],
}

macro_rules! read_numbers {
    ($($rust:ty),*) => {$(
        impl<'a> FromColumn<'a> for $rust {
            type Reader = NumberReader<'a, <$rust as Primitive>::Bytes>;

            fn column_type() -> ColumnType {
                <$rust as Primitive>::TYPE
            }

            fn reader(buffers: &'a [Vec<u8>], rows: usize) -> Result<Self::Reader, String> {
                let values = <$rust as Primitive>::chunks(buffer(buffers, 1)?);
                let Some(values) = values.get(..rows) else {
                    return Err(format!("{} values for {rows} rows", values.len()));
                };
                Ok(NumberReader { validity: Validity::new(buffer(buffers, 0)?, rows)?, values })
            }

            #[inline]
            fn validity(reader: &Self::Reader) -> Validity<'a> {
                reader.validity
            }

            #[inline]
            fn value(reader: &Self::Reader, row: usize) -> Option<Self> {
                reader.values.get(row).map(|bytes| <$rust as Primitive>::from_bytes(*bytes))
            }
        }
    )*};
}
read_numbers!(i32, i64, f32, f64, Timestamp);

/// A column of booleans.
#[derive(Clone, Copy, Debug)]
pub struct BooleanReader<'a> {
    pub(crate) validity: Validity<'a>,
    pub(crate) bits: &'a [u8],
}

impl<'a> FromColumn<'a> for bool {
    type Reader = BooleanReader<'a>;

    fn column_type() -> ColumnType {
        ColumnType::Boolean
    }

    fn reader(buffers: &'a [Vec<u8>], rows: usize) -> Result<Self::Reader, String> {
        let bits = buffer(buffers, 1)?;
        let Some(bits) = bits.get(..rows.div_ceil(8)) else {
            return Err(format!("{} bytes of booleans for {rows} rows", bits.len()));
        };
        Ok(BooleanReader { validity: Validity::new(buffer(buffers, 0)?, rows)?, bits })
    }

    #[inline]
    fn validity(reader: &Self::Reader) -> Validity<'a> {
        reader.validity
    }

    #[inline]
    fn value(reader: &Self::Reader, row: usize) -> Option<Self> {
        Some(bit(reader.bits, row))
    }
}
