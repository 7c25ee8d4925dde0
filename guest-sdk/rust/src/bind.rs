//! Fitting the columns that a project gives to those that a UDF wants: all misfits in one message, each with its cure.
//!
//! What fits: the same type; int32 for int64 and float32 for float64, widened; a column without nulls for one that may
//! have them. A column that may have nulls fits a row's field without an `Option` as well: the rows that do have one
//! are refused, one by one. It does not fit whole columns, where no row could be.

use crate::column::ColumnType;
use crate::record::Wanted;
use crate::wire::{Batch, Column, Field};

/// Whether a column that may hold nulls fits one that must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nulls {
    /// It does, and the rows with nulls are refused.
    RefuseRows,
    /// It does not.
    RefuseColumn,
}

/// What to do to a column's numbers before they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Widening {
    None,
    /// int32 to int64.
    Integers,
    /// float32 to float64.
    Floats,
}

/// Finds each wanted column among those given.
///
/// # Errors
/// Every column that does not fit, in one message.
pub(crate) fn fit(wanted: &[Wanted], given: &[Field], nulls: Nulls) -> Result<Vec<Widening>, String> {
    let mut misfits = Vec::new();
    let mut widenings = Vec::with_capacity(wanted.len());
    for column in wanted {
        match fit_one(column, given, nulls) {
            Ok(widening) => widenings.push(widening),
            Err(misfit) => misfits.push(misfit),
        }
    }
    if misfits.is_empty() { Ok(widenings) } else { Err(misfits.join("; ")) }
}

fn fit_one(wanted: &Wanted, given: &[Field], nulls: Nulls) -> Result<Widening, String> {
    let name = wanted.name;
    let Some(field) = given.iter().find(|field| field.name == name) else {
        return Err(missing(wanted, given));
    };
    let Some(column_type) = ColumnType::from_format(&field.format) else {
        return Err(format!("column `{name}` has the format `{}`, which this UDF's SDK does not know", field.format));
    };
    let Some(widening) = widen(&column_type, &wanted.column_type) else {
        return Err(format!(
            "column `{name}` is {column_type}, wanted {}: map an expression of that type to `{name}`",
            wanted.column_type
        ));
    };
    if field.nullable && !wanted.nullable && nulls == Nulls::RefuseColumn {
        return Err(format!(
            "column `{name}` may be null, wanted {} without nulls: map `coalesce({name}, …)` to `{name}`",
            wanted.column_type
        ));
    }
    Ok(widening)
}

fn missing(wanted: &Wanted, given: &[Field]) -> String {
    let (name, column_type) = (wanted.name, &wanted.column_type);
    let nearest =
        given.iter().max_by(|a, b| strsim::jaro_winkler(&a.name, name).total_cmp(&strsim::jaro_winkler(&b.name, name)));
    let Some(nearest) = nearest else {
        return format!("no column `{name}` ({column_type}): none is given");
    };
    let names = given.iter().map(|field| format!("`{}`", field.name)).collect::<Vec<_>>().join(", ");
    format!(
        "no column `{name}` ({column_type}) among {names}: map one to it, as in {{ {name} = \"{}\" }}",
        nearest.name
    )
}

/// How `given` becomes `wanted`; none if it cannot.
fn widen(given: &ColumnType, wanted: &ColumnType) -> Option<Widening> {
    match (given, wanted) {
        (given, wanted) if given == wanted => Some(Widening::None),
        (ColumnType::Int32, ColumnType::Int64) => Some(Widening::Integers),
        (ColumnType::Float32, ColumnType::Float64) => Some(Widening::Floats),
        (ColumnType::List(given), ColumnType::List(wanted)) => widen(given, wanted),
        _ => None,
    }
}

/// Widens the columns of a batch that need it, once a batch, so that reading rows knows one width.
pub(crate) fn widen_batch(batch: &mut Batch, widenings: &[Widening]) {
    for (column, widening) in batch.columns.iter_mut().zip(widenings) {
        widen_column(column, *widening);
    }
}

fn widen_column(column: &mut Column, widening: Widening) {
    // The numbers are the last buffer of a column, and of a list of them too.
    let Some(values) = column.buffers.last_mut() else { return };
    let narrow = values.as_chunks::<4>().0;
    *values = match widening {
        Widening::None => return,
        Widening::Integers => narrow.iter().flat_map(|b| i64::from(i32::from_le_bytes(*b)).to_le_bytes()).collect(),
        Widening::Floats => narrow.iter().flat_map(|b| f64::from(f32::from_le_bytes(*b)).to_le_bytes()).collect(),
    };
}

#[cfg(test)]
mod tests;
