//! The same work without a boundary: what a contributor would write into the engine. Arrow arrays in, Arrow arrays out.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, BooleanBuilder, Float64Array, Float64Builder, Int64Array, StringArray,
    StringBuilder,
};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::datatypes::{Float64Type, Int64Type};
use millrace::record::Columns;

pub(crate) struct In<'a> {
    value: f64,
    flag: bool,
    text: &'a str,
}

pub(crate) struct Out<T> {
    value: f64,
    flag: bool,
    text: T,
}

/// Text that is written in lower case without an allocation of its own, as the SDK's type of this name is.
pub(crate) struct Lowercase<'a>(&'a str);

/// The row closure, as `udfs/bench_transform` has it.
pub(crate) fn work(row: In<'_>) -> Out<Lowercase<'_>> {
    Out { value: row.value * 1.5 + 1.0, flag: !row.flag, text: Lowercase(row.text) }
}

/// The row closure with the standard library's lower case: a `String` a row.
pub(crate) fn allocating_work(row: In<'_>) -> Out<String> {
    Out { value: row.value * 1.5 + 1.0, flag: !row.flag, text: row.text.to_lowercase() }
}

/// Where a closure's text goes.
pub(crate) trait Push {
    fn push(self, scratch: &mut String, texts: &mut StringBuilder);
}

impl Push for Lowercase<'_> {
    fn push(self, scratch: &mut String, texts: &mut StringBuilder) {
        scratch.clear();
        if self.0.is_ascii() {
            scratch.push_str(self.0);
            scratch.make_ascii_lowercase();
        } else {
            scratch.push_str(&self.0.to_lowercase());
        }
        texts.append_value(scratch);
    }
}

impl Push for String {
    fn push(self, _: &mut String, texts: &mut StringBuilder) {
        texts.append_value(self);
    }
}

fn parts(input: &Columns) -> Option<(&Float64Array, &BooleanArray, &StringArray)> {
    let [value, flag, text] = input.columns.as_slice() else { return None };
    Some((value.as_primitive::<Float64Type>(), flag.as_boolean(), text.as_string::<i32>()))
}

/// Calls a closure for every row.
pub(crate) fn by_row<'a, T: Push>(input: &'a Columns, work: impl Fn(In<'a>) -> Out<T>) -> Option<Columns> {
    let (value, flag, text) = parts(input)?;
    let mut values = Float64Builder::with_capacity(input.rows);
    let mut flags = BooleanBuilder::with_capacity(input.rows);
    let mut texts = StringBuilder::with_capacity(input.rows, text.values().len());
    let mut scratch = String::new();
    for row in 0..input.rows {
        let out = work(In { value: value.value(row), flag: flag.value(row), text: text.value(row) });
        values.append_value(out.value);
        flags.append_value(out.flag);
        out.text.push(&mut scratch, &mut texts);
    }
    let columns: Vec<ArrayRef> = vec![Arc::new(values.finish()), Arc::new(flags.finish()), Arc::new(texts.finish())];
    Some(Columns { rows: input.rows, columns })
}

/// The same over whole columns, of text that is ASCII.
pub(crate) fn by_column(input: &Columns) -> Option<Columns> {
    let (value, flag, text) = parts(input)?;
    if !text.values().is_ascii() {
        return by_row(input, work);
    }
    let value = value.unary::<_, Float64Type>(|value| value * 1.5 + 1.0);
    let flag = BooleanArray::new(!flag.values(), None);
    let offsets = OffsetBuffer::clone(text.offsets());
    let text = StringArray::try_new(offsets, Buffer::from(text.values().to_ascii_lowercase()), None).ok()?;
    Some(Columns { rows: input.rows, columns: vec![Arc::new(value), Arc::new(flag), Arc::new(text)] })
}

/// The aggregate `mean` of those guests: folds a value into the sum and the count of its group.
pub(crate) fn fold(state: &Columns, groups: &[u32], input: &Columns) -> Option<Columns> {
    let ([sum, count], [value]) = (state.columns.as_slice(), input.columns.as_slice()) else { return None };
    let mut sums = sum.as_primitive::<Float64Type>().values().to_vec();
    let mut counts = count.as_primitive::<Int64Type>().values().to_vec();
    for (group, value) in groups.iter().zip(value.as_primitive::<Float64Type>().values()) {
        *sums.get_mut(*group as usize)? += value;
        *counts.get_mut(*group as usize)? += 1;
    }
    let columns: Vec<ArrayRef> = vec![Arc::new(Float64Array::from(sums)), Arc::new(Int64Array::from(counts))];
    Some(Columns { rows: state.rows, columns })
}
