//! Columns of the contract as Rust types: which type a column has, how its values are read ([`FromColumn`]) and written
//! ([`IntoColumn`]).
//!
//! Buffers are Arrow's, little-endian, and promise no alignment: numbers are read from arrays of bytes, which costs
//! nothing on WebAssembly and is right everywhere.

mod list;
mod packed;
mod read;
mod text;
mod view;
mod write;

pub use list::List;
pub use packed::Packed;
pub use read::{FromColumn, Primitive, Validity};
pub use text::{Lowercase, Shown, TextBuilder};
pub use view::{Builder, BuilderIter, Column};
pub use write::IntoColumn;

use std::fmt;

/// The types that a column can have, by the names of the project file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// True or false: `bool`.
    Boolean,
    /// `i32`.
    Int32,
    /// `i64`.
    Int64,
    /// `f32`.
    Float32,
    /// `f64`.
    Float64,
    /// Microseconds since 1970 in UTC: [`Timestamp`](crate::Timestamp).
    Timestamp,
    /// Text: `&str`, `String`.
    Utf8,
    /// Bytes: `&[u8]`, `Vec<u8>`.
    Binary,
    /// A list of one type, whose items may be null: `Vec<T>`, [`List<T>`].
    List(Box<ColumnType>),
}

/// Each plain type with its name in the project file and its format string in the contract.
const PLAIN: [(ColumnType, &str, &str); 8] = [
    (ColumnType::Boolean, "boolean", "b"),
    (ColumnType::Int32, "int32", "i"),
    (ColumnType::Int64, "int64", "l"),
    (ColumnType::Float32, "float32", "f"),
    (ColumnType::Float64, "float64", "g"),
    (ColumnType::Timestamp, "timestamp", "tsu:UTC"),
    (ColumnType::Utf8, "utf8", "u"),
    (ColumnType::Binary, "binary", "z"),
];

impl ColumnType {
    /// Reads a format string of the contract; none if it is not one of those above.
    pub fn from_format(format: &str) -> Option<Self> {
        if let Some(item) = format.strip_prefix("+l<").and_then(|rest| rest.strip_suffix('>')) {
            return Self::from_format(item).map(|item| Self::List(Box::new(item)));
        }
        PLAIN.iter().find(|(_, _, known)| *known == format).map(|(kind, _, _)| kind.clone())
    }

    /// The format string of the contract.
    pub fn format(&self) -> String {
        match self {
            Self::List(item) => format!("+l<{}>", item.format()),
            plain => PLAIN.iter().find(|(kind, _, _)| kind == plain).map_or("", |(_, _, format)| format).to_owned(),
        }
    }

    /// Reads a type as the project file writes it: `int64`, `list<utf8>`.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(item) = text.strip_prefix("list<").and_then(|rest| rest.strip_suffix('>')) {
            return Self::parse(item).map(|item| Self::List(Box::new(item)));
        }
        PLAIN.iter().find(|(_, name, _)| *name == text).map(|(kind, _, _)| kind.clone())
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(item) => write!(out, "list<{item}>"),
            plain => out.write_str(PLAIN.iter().find(|(kind, _, _)| kind == plain).map_or("", |(_, name, _)| name)),
        }
    }
}

#[cfg(test)]
mod tests;
