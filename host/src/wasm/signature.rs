//! What a guest says of itself when it is bound, checked against what it was given.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef};

use super::bindings::millrace::feature::columns::FieldResult;
use super::convert::{self, Column};
use super::error::BindError;
use crate::record::ColumnType;

/// The most columns that a schema may have.
const MAX_COLUMNS: usize = 1_024;

/// A column as `bind` is given it.
pub(super) struct Format {
    pub(super) name: String,
    pub(super) format: String,
    pub(super) nullable: bool,
}

/// The columns that a guest is given, in the contract's words.
pub(super) fn formats(input: &[FieldRef]) -> Result<Vec<Format>, BindError> {
    input
        .iter()
        .map(|field| {
            Ok(Format {
                name: field.name().clone(),
                format: convert::format(&kind(field)?),
                nullable: field.is_nullable(),
            })
        })
        .collect()
}

/// The types of the columns that it wants, which must be among those it is given.
pub(super) fn wanted(names: &[String], given: &[FieldRef]) -> Result<Vec<ColumnType>, BindError> {
    at_most(names.len(), "input")?;
    names
        .iter()
        .map(|name| match given.iter().find(|field| field.name() == name) {
            Some(field) => kind(field),
            None => Err(BindError::MissingInput {
                column: name.clone(),
                given: given.iter().map(|field| field.name().clone()).collect(),
            }),
        })
        .collect()
}

/// The columns of its output or state: known types, and each name once.
pub(super) fn columns(fields: &[FieldResult], what: &str) -> Result<Vec<Column>, BindError> {
    at_most(fields.len(), what)?;
    let mut columns: Vec<Column> = Vec::with_capacity(fields.len());
    for FieldResult { name, format, nullable } in fields {
        let wrong = |reason: String| BindError::Signature(format!("{what} column `{name}` {reason}"));
        if name.is_empty() {
            return Err(BindError::Signature(format!("its {what} has a column without a name")));
        }
        if columns.iter().any(|column| column.field.name() == name) {
            return Err(wrong("is there twice".into()));
        }
        let kind = convert::parse_format(format).ok_or_else(|| wrong(format!("has an unknown format `{format}`")))?;
        columns.push(Column { field: Arc::new(Field::new(name, kind.arrow(), *nullable)), kind });
    }
    Ok(columns)
}

fn at_most(count: usize, what: &str) -> Result<(), BindError> {
    if count > MAX_COLUMNS {
        return Err(BindError::Signature(format!("its {what} has {count} columns, more than {MAX_COLUMNS}")));
    }
    Ok(())
}

fn kind(field: &FieldRef) -> Result<ColumnType, BindError> {
    ColumnType::from_arrow(field.data_type())
        .filter(convert::crosses)
        .ok_or_else(|| BindError::ColumnType { column: field.name().clone(), kind: field.data_type().clone() })
}
