//! The rows of a batch being built, whatever their format.
//!
//! Always true: an event that is refused leaves no trace in the columns, and every column has a value, or a null, for
//! every event that was not.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use super::column::{ColumnBuilder, Unfit};
use super::{DecodeField, Decoded, schema_of};
use crate::record::RawBatch;

/// The columns of a source, with the rows that were decoded so far.
pub(super) struct Rows {
    schema: SchemaRef,
    /// The columns' names, for messages.
    pub(super) names: Vec<Box<str>>,
    pub(super) columns: Vec<ColumnBuilder>,
    /// How many rows are whole.
    pub(super) rows: usize,
}

impl Rows {
    pub(super) fn new(fields: &[DecodeField]) -> Self {
        Self {
            schema: schema_of(fields),
            names: fields.iter().map(|field| field.name.as_str().into()).collect(),
            columns: fields.iter().map(|field| ColumnBuilder::new(&field.kind, field.time.clone())).collect(),
            rows: 0,
        }
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Decodes every event with `one`, which appends to the columns it has a value for, or says why it cannot.
    pub(super) fn decode(
        &mut self,
        raw: &RawBatch,
        mut one: impl FnMut(&mut Self, usize) -> Result<(), String>,
    ) -> Decoded {
        let mut events = Vec::with_capacity(raw.len());
        let mut errors = Vec::new();
        self.columns.iter_mut().for_each(|column| column.reserve(raw.len()));
        for event in (0_u32..).take(raw.len()) {
            match one(self, event as usize) {
                Ok(()) => {
                    self.rows += 1;
                    self.columns.iter_mut().for_each(|column| column.fill_to(self.rows));
                    events.push(event);
                }
                Err(detail) => {
                    self.columns.iter_mut().for_each(|column| column.roll_back(self.rows));
                    errors.push((event, short(&detail)));
                }
            }
        }
        self.rows = 0;
        let columns: Vec<ArrayRef> = self.columns.iter_mut().map(ColumnBuilder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(events.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options);
        Decoded { batch: batch.expect("every column has one value for every event that decoded"), events, errors }
    }

    /// What is wrong with the value of a column.
    #[cold]
    pub(super) fn refusal(&self, column: usize, unfit: &Unfit) -> String {
        let name = self.names.get(column).map_or("", |name| name);
        self.columns.get(column).map_or_else(String::new, |column| refusal(name, column, unfit))
    }
}

/// What is wrong with a value for `column`, which is called `name`.
#[cold]
pub(super) fn refusal(name: &str, column: &ColumnBuilder, unfit: &Unfit) -> String {
    match unfit {
        Unfit::Type(got) => format!("field {name}: wanted {}, got {got}", column.kind()),
        Unfit::Value(why) => format!("field {name}: {why}"),
    }
}

/// The first line, since parsers show a piece of the text in further ones, and without a long value.
fn short(detail: &str) -> String {
    detail.lines().next().unwrap_or_default().chars().take(300).collect()
}
