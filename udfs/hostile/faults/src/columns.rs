//! Buffers by hand, and when a fault is to show.

use crate::bindings::millrace::feature::columns::{Batch, Column, Field};

/// The row that brings out a fault.
const POISON: &[u8] = b"poison";

/// What `bind` was told.
#[derive(Clone, Default)]
pub(crate) struct Bound {
    pub(crate) name: String,
    always: bool,
    /// The turns of `slow`.
    pub(crate) turns: u64,
}

impl Bound {
    /// Reads the options without a JSON parser: the word `always`, and the first number.
    pub(crate) fn new(name: String, options: &str) -> Self {
        let digits = options.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit);
        let turns = digits.collect::<String>().parse().unwrap_or(1_000_000_000);
        Self { name, always: options.contains("\"always\""), turns }
    }

    /// Whether the fault is to show in a call with this input.
    pub(crate) fn shows_in(&self, input: &Batch) -> bool {
        self.always || texts(input).any(|text| text == POISON)
    }

    /// Whether the fault is to show in a call with these states.
    pub(crate) fn shows_in_any(&self, poisoned: &[bool]) -> bool {
        self.always || poisoned.contains(&true)
    }
}

/// The values of the first column, which is text.
pub(crate) fn texts(input: &Batch) -> impl Iterator<Item = &[u8]> {
    let buffers = input.columns.first().map_or(&[][..], |column| &column.buffers);
    let offsets: Vec<usize> = buffers.get(1).map(|bytes| u32s(bytes)).unwrap_or_default();
    let text = buffers.get(2).map_or(&[][..], Vec::as_slice);
    (0..input.rows as usize).map(move |row| {
        let bounds = offsets.get(row).zip(offsets.get(row + 1));
        bounds.and_then(|(start, end)| text.get(*start..*end)).unwrap_or_default()
    })
}

/// The numbers in a buffer of u32.
pub(crate) fn u32s(bytes: &[u8]) -> Vec<usize> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes) as usize).collect()
}

/// The numbers in a buffer of i64.
pub(crate) fn i64s(bytes: &[u8]) -> Vec<i64> {
    bytes.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()
}

/// The first `rows` bits of a buffer.
pub(crate) fn bits(bytes: &[u8], rows: usize) -> Vec<bool> {
    (0..rows).map(|row| bytes.get(row / 8).is_some_and(|byte| byte >> (row % 8) & 1 == 1)).collect()
}

/// A buffer of u32.
pub(crate) fn from_u32s(numbers: impl IntoIterator<Item = u32>) -> Vec<u8> {
    numbers.into_iter().flat_map(u32::to_le_bytes).collect()
}

/// A column of int64 without nulls.
pub(crate) fn int64(values: &[i64]) -> Column {
    Column { buffers: vec![Vec::new(), values.iter().flat_map(|value| value.to_le_bytes()).collect()] }
}

/// A column of booleans without nulls.
pub(crate) fn boolean(values: &[bool]) -> Column {
    let mut bytes = vec![0_u8; values.len().div_ceil(8)];
    for (row, _) in values.iter().enumerate().filter(|(_, value)| **value) {
        if let Some(byte) = bytes.get_mut(row / 8) {
            *byte |= 1 << (row % 8);
        }
    }
    Column { buffers: vec![Vec::new(), bytes] }
}

/// A column of text without nulls.
pub(crate) fn utf8(values: &[Vec<u8>]) -> Column {
    let mut end = 0_u32;
    let ends = values.iter().map(|value| {
        end = end.saturating_add(u32::try_from(value.len()).unwrap_or(u32::MAX));
        end
    });
    Column { buffers: vec![Vec::new(), from_u32s(std::iter::once(0).chain(ends)), values.concat()] }
}

/// A field of the contract.
pub(crate) fn field(name: &str, format: &str, nullable: bool) -> Field {
    Field { name: name.to_owned(), format: format.to_owned(), nullable }
}

/// The column that every fault asks for.
pub(crate) fn check_input(input: &[Field]) -> Result<Vec<String>, String> {
    match input.iter().find(|field| field.name == "value" && field.format == "u") {
        Some(field) => Ok(vec![field.name.clone()]),
        None => Err("no column `value` of type utf8".to_owned()),
    }
}
