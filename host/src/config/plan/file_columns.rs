//! The columns of Parquet sources: those of the file where the project file names none, and else checked against it.
//!
//! A file that is not there yet cannot be checked; the source that is to read it will say so.

use crate::config::diagnostics::{Diagnostics, Span, Spanned, suggestion};
use crate::config::project::{EventTime, Format, Project, SchemaField, Source, SourceKind, TimeFormat};
use crate::engine::decode::columns::{check, natural};
use crate::record::{ColumnType, EVENT_TIMESTAMP};
use crate::source::parquet as parquet_file;

/// The project with the columns of all its sources that something reads; none where a file that was to give them cannot
/// be read, since all that names a column would be wrong.
pub(super) fn with_schemas(project: &Project, errors: &mut Diagnostics) -> Option<Project> {
    let mut whole = project.clone();
    let mut complete = true;
    let wanted = |source: &Source| matches!(source.format, Format::Parquet) && project.is_read(&source.name);
    for source in whole.sources.iter_mut().filter(|source| wanted(source)) {
        let SourceKind::File { path, .. } = &source.kind else { continue };
        match parquet_file::schema(path) {
            Err(message) => {
                complete &= !source.schema.is_empty();
                errors.error(path.span, message);
            }
            Ok(schema) if source.schema.is_empty() => take(source, &schema, errors),
            Ok(schema) => agree(source, &schema, errors),
        }
    }
    complete.then_some(whole)
}

/// Takes the file's columns for the source's. A column of a type that nothing here holds is none.
fn take(source: &mut Source, file: &arrow::datatypes::Schema, errors: &mut Diagnostics) {
    let SourceKind::File { path, .. } = &source.kind else { return };
    let at = path.span;
    let field = |field: &arrow::datatypes::FieldRef| {
        let kind = natural(field.data_type())?;
        let time_format = (kind == ColumnType::Timestamp).then(|| TimeFormat::Iso { zone: "UTC".to_owned() });
        let name = Spanned::new(field.name().clone(), at);
        Some(SchemaField { name, kind: Spanned::new(kind, at), path: None, time_format })
    };
    source.schema = file.fields().iter().filter_map(field).collect();
    let column = &source.event_time.column;
    let names = || source.schema.iter().map(|field| field.name.value.as_str());
    // One that is not there is reported where the event time is planned.
    let kind = kind_of(source, column);
    // What a transform gives may be meant; then it is looked for where that is planned.
    if let Some(created) = source.created.as_ref().filter(|_| source.transforms.is_empty()) {
        match kind_of(source, created) {
            Some(ColumnType::Timestamp) => {}
            Some(kind) => {
                errors.error(created.span, format!("`created` column `{}` is {kind} in the file", created.value));
            }
            None => {
                let hint = suggestion(created, names());
                errors.error(created.span, format!("`created` column `{}` is not in the file{hint}", created.value));
            }
        }
    }
    if names().any(|name| name == EVENT_TIMESTAMP) && column.value != EVENT_TIMESTAMP {
        let message = format!("the file has a column `{EVENT_TIMESTAMP}`, and only the event time can have that name");
        errors.error(column.span, message);
    }
    // Of a timestamp, the zone that it may lack.
    let EventTime { column, format } = &source.event_time;
    if kind == Some(ColumnType::Timestamp) {
        let (name, format) = (column.value.clone(), format.value.clone());
        let field = source.schema.iter_mut().find(|field| field.name.value == name);
        field.into_iter().for_each(|field| field.time_format = Some(format.clone()));
    }
}

fn kind_of(source: &Source, name: &str) -> Option<ColumnType> {
    source.schema.iter().find(|field| field.name.value == name).map(|field| field.kind.value.clone())
}

/// Whether the file's columns can become those that the project file names.
fn agree(source: &Source, file: &arrow::datatypes::Schema, errors: &mut Diagnostics) {
    let mut error = |at: Span, message: String| errors.error(at, message);
    for field in &source.schema {
        let name = &field.name;
        match file.column_with_name(&name.value) {
            None => {
                let hint = suggestion(name, file.fields().iter().map(|field| field.name().as_str()));
                error(name.span, format!("column `{}` is not in the file{hint}", name.value));
            }
            Some((_, column)) => {
                if let Err(why) = check(column.data_type(), &field.kind.value) {
                    error(field.kind.span, format!("column `{}`: in the file {why}", name.value));
                }
            }
        }
    }
}
