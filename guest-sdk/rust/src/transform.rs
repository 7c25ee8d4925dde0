//! Transforms: what `#[transform]` implements, and how what a function returns becomes rows with their origins.

use std::fmt;

use crate::bind::Nulls;
use crate::options::Options;
use crate::record::{Output, Reject, Row, Wanted};
use crate::wire::{self, Batch, Column, Field, Rejection, TransformOutput};

/// A map, filter or flat-map over batches. `#[transform]` implements it for a type with the function's name.
pub trait Transform: 'static {
    /// What it is called in a project file.
    const NAME: &'static str;
    /// Whether it works on whole columns, where a null cannot refuse its row.
    const COLUMNS: bool;
    /// What a project may set.
    type Options: Options;

    /// The columns that it asks for.
    fn wanted() -> Vec<Wanted>;

    /// The columns that it returns.
    fn produced() -> Vec<Field>;

    /// Applies it to one batch.
    ///
    /// # Errors
    /// The batch as a whole cannot be transformed.
    fn apply(options: &Self::Options, batch: Batch) -> Result<TransformOutput, String>;
}

/// How nulls fit a transform's columns.
pub(crate) fn nulls<T: Transform>() -> Nulls {
    if T::COLUMNS { Nulls::RefuseColumn } else { Nulls::RefuseRows }
}

/// What a function gives for one row: a row, perhaps none (`Option`), several (`Vec`), or a refusal (`Result`).
pub trait Emit {
    /// The struct of a row.
    type Row: Output;

    /// Puts the rows where they belong.
    ///
    /// # Errors
    /// The row is refused.
    fn emit(self, sink: &mut Sink<Self::Row>, row: usize) -> Result<(), Reject>;
}

impl<R: Row> Emit for R {
    type Row = R;

    #[inline]
    fn emit(self, sink: &mut Sink<R>, row: usize) -> Result<(), Reject> {
        sink.push(row, self);
        Ok(())
    }
}

impl<E: Emit> Emit for Option<E> {
    type Row = E::Row;

    #[inline]
    fn emit(self, sink: &mut Sink<E::Row>, row: usize) -> Result<(), Reject> {
        match self {
            Some(inner) => inner.emit(sink, row),
            None => Ok(()),
        }
    }
}

impl<E: Emit, R: Into<Reject>> Emit for Result<E, R> {
    type Row = E::Row;

    #[inline]
    fn emit(self, sink: &mut Sink<E::Row>, row: usize) -> Result<(), Reject> {
        self.map_err(Into::into)?.emit(sink, row)
    }
}

impl<R: Row> Emit for Vec<R> {
    type Row = R;

    fn emit(self, sink: &mut Sink<R>, row: usize) -> Result<(), Reject> {
        for out in self {
            sink.push(row, out);
        }
        Ok(())
    }
}

/// The columns of the struct that a function gives.
#[doc(hidden)]
pub fn emitted_fields<E: Emit>() -> Vec<Field> {
    E::Row::fields()
}

/// Collects what a function gives, row by row. Origins are kept from the first row that is filtered out, refused, or
/// becomes several; until then output row i is input row i.
#[doc(hidden)]
pub struct Sink<R: Output> {
    builders: R::Builders,
    rows: usize,
    origin: Option<Vec<u8>>,
    rejected: Vec<Rejection>,
}

impl<R: Output> Sink<R> {
    /// An empty one, for a batch of `rows` rows.
    pub fn new(rows: usize) -> Self {
        Self { builders: R::builders(rows), rows: 0, origin: None, rejected: Vec::new() }
    }

    /// Takes what the function gave for input row `row`.
    #[inline]
    pub fn take<E: Emit<Row = R>>(&mut self, row: usize, emitted: E) {
        if let Err(reject) = emitted.emit(self, row) {
            self.reject(row, reject);
        }
    }

    /// Refuses input row `row`.
    #[cold]
    pub fn reject(&mut self, row: usize, reject: impl Into<Reject>) {
        self.rejected.push(Rejection { row: wire::row_number(row), reason: reject.into().into_reason() });
    }

    #[inline]
    fn push(&mut self, row: usize, out: R) {
        if self.origin.is_some() || row != self.rows {
            self.push_origin(row);
        }
        out.write_row(&mut self.builders);
        self.rows += 1;
    }

    fn push_origin(&mut self, row: usize) {
        let before = self.rows;
        self.origin.get_or_insert_with(|| identity(before)).extend_from_slice(&wire::row_number(row).to_le_bytes());
    }

    /// What the contract wants of a batch of `rows` input rows.
    pub fn finish(mut self, rows: usize) -> TransformOutput {
        if self.origin.is_none() && self.rows != rows {
            self.origin = Some(identity(self.rows));
        }
        TransformOutput {
            batch: Batch { rows: wire::row_number(self.rows), columns: R::finish(self.builders) },
            origin: self.origin,
            rejected: self.rejected,
        }
    }
}

/// Origins 0, 1, 2 … below `rows`.
fn identity(rows: usize) -> Vec<u8> {
    (0..rows).flat_map(|row| wire::row_number(row).to_le_bytes()).collect()
}

/// Whole columns in. `#[derive(InputColumns)]` implements it for a struct of [`Column`](crate::Column)s.
pub trait InputColumns<'a>: Sized {
    /// The columns, in the order of the struct's fields.
    fn wanted() -> Vec<Wanted>;

    /// Makes the columns ready.
    ///
    /// # Errors
    /// A column's buffers are not those of its type.
    fn view(columns: &'a [Column], rows: usize) -> Result<Self, String>;
}

/// Whole columns out. `#[derive(OutputColumns)]` implements it for a struct of [`Builder`](crate::Builder)s.
pub trait OutputColumns: Sized {
    /// The columns, in order.
    fn fields() -> Vec<Field>;

    /// The number of values of each column.
    fn lens(&self) -> Vec<usize>;

    /// The columns' buffers.
    fn finish(self) -> Vec<Column>;
}

/// Columns with more to say than one row for each input row: which row each came from, and which rows are refused.
#[derive(Debug)]
pub struct Mapped<O> {
    columns: O,
    origin: Option<Vec<u32>>,
    rejected: Vec<Rejection>,
}

impl<O: OutputColumns> Mapped<O> {
    /// Output row i is input row i.
    pub fn each(columns: O) -> Self {
        Self { columns, origin: None, rejected: Vec::new() }
    }

    /// Output row i came from input row `origin[i]`: never decreasing, no refused row in it. Input rows that are
    /// neither there nor refused are filtered out.
    pub fn from_rows(columns: O, origin: Vec<u32>) -> Self {
        Self { columns, origin: Some(origin), rejected: Vec::new() }
    }

    /// Refuses an input row.
    #[must_use]
    pub fn reject(mut self, row: u32, reason: impl Into<Reject>) -> Self {
        self.rejected.push(Rejection { row, reason: reason.into().into_reason() });
        self
    }
}

/// What a function over columns gives: its columns, [`Mapped`] ones, or a `Result` of either.
pub trait IntoMapped {
    /// The struct of columns.
    type Columns: OutputColumns;

    /// The columns with their origins.
    ///
    /// # Errors
    /// The batch as a whole cannot be transformed.
    fn into_mapped(self) -> Result<Mapped<Self::Columns>, String>;
}

impl<O: OutputColumns> IntoMapped for O {
    type Columns = O;

    fn into_mapped(self) -> Result<Mapped<O>, String> {
        Ok(Mapped::each(self))
    }
}

impl<O: OutputColumns> IntoMapped for Mapped<O> {
    type Columns = O;

    fn into_mapped(self) -> Result<Mapped<O>, String> {
        Ok(self)
    }
}

impl<M: IntoMapped, E: fmt::Display> IntoMapped for Result<M, E> {
    type Columns = M::Columns;

    fn into_mapped(self) -> Result<Mapped<M::Columns>, String> {
        self.map_err(|error| error.to_string())?.into_mapped()
    }
}

/// The columns of the struct that a function over columns gives.
#[doc(hidden)]
pub fn mapped_fields<M: IntoMapped>() -> Vec<Field> {
    M::Columns::fields()
}

/// What a function over columns gave, as the contract wants it.
#[doc(hidden)]
pub fn finish_mapped<M: IntoMapped>(mapped: M, input_rows: usize) -> Result<TransformOutput, String> {
    let Mapped { columns, origin, mut rejected } = mapped.into_mapped()?;
    let rows = origin.as_ref().map_or(input_rows, Vec::len);
    for (field, len) in M::Columns::fields().iter().zip(columns.lens()) {
        if len != rows {
            return Err(format!("column `{}` has {len} values where {rows} rows are returned", field.name));
        }
    }
    rejected.sort_by_key(|rejection| rejection.row);
    rejected.dedup_by_key(|rejection| rejection.row);
    if let Some(last) = rejected.last()
        && last.row as usize >= input_rows
    {
        return Err(format!("row {} is refused, of {input_rows} rows", last.row));
    }
    if let Some(origin) = &origin {
        check_origin(origin, &rejected, input_rows)?;
    }
    Ok(TransformOutput {
        batch: Batch { rows: wire::row_number(rows), columns: columns.finish() },
        origin: origin.map(|origin| origin.into_iter().flat_map(u32::to_le_bytes).collect()),
        rejected,
    })
}

fn check_origin(origin: &[u32], rejected: &[Rejection], input_rows: usize) -> Result<(), String> {
    if let Some(last) = origin.last()
        && *last as usize >= input_rows
    {
        return Err(format!("origin {last}, of {input_rows} rows"));
    }
    if !origin.is_sorted() {
        return Err("origins that decrease".to_owned());
    }
    match rejected.iter().find(|rejection| origin.binary_search(&rejection.row).is_ok()) {
        Some(both) => Err(format!("row {} is both refused and returned", both.row)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
