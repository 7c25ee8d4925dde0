//! Values one by one, for the aggregates that tell them apart: as text, as the JSON that Millrace prints shows them, or
//! as bytes of which equal values have equal ones.
//!
//! −0 is 0, and all NaN are one value.

use std::io::Write as _;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, PrimitiveArray, StringArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;

use super::state;
use crate::engine::udf::CallError;
use crate::time::Micros;

/// A column of scalars.
pub(super) enum Scalars<'a> {
    Boolean(&'a BooleanArray),
    Int32(&'a PrimitiveArray<Int32Type>),
    Int64(&'a PrimitiveArray<Int64Type>),
    Float32(&'a PrimitiveArray<Float32Type>),
    Float64(&'a PrimitiveArray<Float64Type>),
    Timestamp(&'a PrimitiveArray<TimestampMicrosecondType>),
    Utf8(&'a StringArray),
    Binary(&'a BinaryArray),
}

impl<'a> Scalars<'a> {
    pub(super) fn new(column: &'a ArrayRef) -> Result<Self, CallError> {
        fn of<T: ArrowPrimitiveType>(column: &ArrayRef) -> Option<&PrimitiveArray<T>> {
            column.as_any().downcast_ref()
        }
        let any = column.as_any();
        let scalars = match column.data_type() {
            DataType::Boolean => any.downcast_ref().map(Self::Boolean),
            DataType::Int32 => of(column).map(Self::Int32),
            DataType::Int64 => of(column).map(Self::Int64),
            DataType::Float32 => of(column).map(Self::Float32),
            DataType::Float64 => of(column).map(Self::Float64),
            DataType::Timestamp(TimeUnit::Microsecond, _) => of(column).map(Self::Timestamp),
            DataType::Utf8 => any.downcast_ref().map(Self::Utf8),
            DataType::Binary => any.downcast_ref().map(Self::Binary),
            _ => None,
        };
        scalars.ok_or_else(|| state::wrong_type(column.data_type(), &DataType::Utf8))
    }

    /// Appends the value of `row`, which is not null, as text.
    pub(super) fn put_text(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Self::Boolean(column) => out.extend_from_slice(if column.value(row) { b"true" } else { b"false" }),
            Self::Int32(column) => print(out, format_args!("{}", column.value(row))),
            Self::Int64(column) => print(out, format_args!("{}", column.value(row))),
            Self::Float32(column) => match column.value(row) {
                value if value.is_finite() => json(out, &(value + 0.0)),
                value => out.extend_from_slice(unfinite(value.into())),
            },
            Self::Float64(column) => match column.value(row) {
                value if value.is_finite() => json(out, &(value + 0.0)),
                value => out.extend_from_slice(unfinite(value)),
            },
            Self::Timestamp(column) => time(out, column.value(row)),
            Self::Utf8(column) => out.extend_from_slice(column.value(row).as_bytes()),
            Self::Binary(column) => {
                print(out, format_args!("{}", Base64Display::new(column.value(row), &STANDARD)));
            }
        }
    }

    /// Appends the value of `row`, which is not null, as bytes.
    pub(super) fn put_bytes(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Self::Boolean(column) => out.push(u8::from(column.value(row))),
            Self::Int32(column) => out.extend_from_slice(&column.value(row).to_le_bytes()),
            Self::Int64(column) => out.extend_from_slice(&column.value(row).to_le_bytes()),
            Self::Float32(column) => {
                let value = column.value(row);
                let value = if value.is_nan() { f32::NAN } else { value + 0.0 };
                out.extend_from_slice(&value.to_bits().to_le_bytes());
            }
            Self::Float64(column) => {
                let value = column.value(row);
                let value = if value.is_nan() { f64::NAN } else { value + 0.0 };
                out.extend_from_slice(&value.to_bits().to_le_bytes());
            }
            Self::Timestamp(column) => out.extend_from_slice(&column.value(row).to_le_bytes()),
            Self::Utf8(column) => out.extend_from_slice(column.value(row).as_bytes()),
            Self::Binary(column) => out.extend_from_slice(column.value(row)),
        }
    }
}

fn print(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a Vec takes every byte");
}

fn json<T: serde::Serialize>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("a number always serialises, and a Vec takes every byte");
}

fn unfinite(value: f64) -> &'static [u8] {
    if value.is_nan() {
        b"NaN"
    } else if value > 0.0 {
        b"Infinity"
    } else {
        b"-Infinity"
    }
}

/// With as many digits as tell it apart, at least milliseconds.
fn time(out: &mut Vec<u8>, time: Micros) {
    match jiff::Timestamp::from_microsecond(time) {
        Ok(stamp) if time % 1_000 == 0 => print(out, format_args!("{stamp:.3}")),
        Ok(stamp) => print(out, format_args!("{stamp:.6}")),
        Err(_) => print(out, format_args!("{time}")),
    }
}
