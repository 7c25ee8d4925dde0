//! A source, planned: from its events to rows with an event time.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};

use super::components::Components;
use super::steps::{Steps, display};
use super::{SourcePlan, format};
use crate::config::diagnostics::{Diagnostics, Span, Spanned, suggestion};
use crate::config::project;
use crate::engine::aggregate::builtin::Ties;
use crate::engine::decode::{DecodeField, Decoding, EventTime, TimeFormat};
use crate::engine::dedup::DedupPlan;
use crate::engine::key;
use crate::record::{ColumnType, EVENT_TIMESTAMP, event_timestamp_field};
use crate::time::micros;

/// Plans a source; none where something is wrong, which has been said.
pub(super) fn plan(
    source: &project::Source,
    folder: &Path,
    components: &Components<'_>,
    errors: &mut Diagnostics,
) -> Option<SourcePlan> {
    let mut fields = Vec::new();
    for field in &source.schema {
        let time = field.time_format.as_ref().map(|format| time_format(format, field.name.span, errors));
        fields.push(DecodeField {
            name: field.name.value.clone(),
            kind: field.kind.value.clone(),
            time: time.flatten(),
            path: field.path.as_ref().map(|path| path.value.clone()),
        });
    }
    let (format, registry) = format::of(source, errors)?;
    let decoding = Decoding { fields, format };
    let mut steps = Steps {
        components,
        errors,
        schema: decoding.schema(),
        used: BTreeSet::new(),
        event_times: &[],
        ties: Ties::Position,
    };
    let transforms = steps.transforms(&source.transforms)?;
    let columns = steps.schema.clone();
    let format = time_format(&source.event_time.format, source.event_time.format.span, errors)?;
    let event_time = EventTime::new(&source.event_time.column, Some(&format), &columns);
    let event_time = event_time.map_err(|message| errors.error(source.event_time.column.span, message)).ok()?;
    if let Some(transform) = source.transforms.last().filter(|_| columns.column_with_name(EVENT_TIMESTAMP).is_some())
        && source.event_time.column.value != EVENT_TIMESTAMP
    {
        let message = format!("`{EVENT_TIMESTAMP}` is the name of every row's event time: give this output another");
        errors.error(transform.udf.span, message);
        return None;
    }
    let created = match &source.created {
        None => None,
        Some(name) => Some(created(name, &columns, errors)?),
    };
    let dedup = match &source.dedup {
        None => None,
        Some(written) => Some(dedup(written, &columns, errors)?),
    };
    Some(SourcePlan {
        name: source.name.value.clone(),
        identity: source.kind.identity(folder),
        kind: source.kind.clone(),
        decoding,
        registry,
        transforms: transforms.into(),
        schema: with_event_timestamp(&columns),
        event_time,
        created,
        dedup,
        delay: micros(source.watermark_delay),
        idle_timeout: source.idle_timeout.map(micros),
        idle_advances: source.idle == project::Idle::Advance,
        max_ahead: source.max_ahead.map(micros),
        fronts: Vec::new(),
    })
}

/// Which column says when a row was created: a timestamp.
fn created(name: &Spanned<String>, columns: &SchemaRef, errors: &mut Diagnostics) -> Option<usize> {
    let Some((index, field)) = columns.column_with_name(name) else {
        let hint = suggestion(name, columns.fields().iter().map(|field| field.name().as_str()));
        errors.error(name.span, format!("`created` column `{}` is not a column of the source{hint}", name.value));
        return None;
    };
    if ColumnType::from_arrow(field.data_type()) != Some(ColumnType::Timestamp) {
        let kind = display(field.data_type());
        errors.error(name.span, format!("`created` column `{}` is {kind}: make it timestamp", name.value));
        return None;
    }
    Some(index)
}

/// What makes a row a repeat: columns that can be compared as keys are.
fn dedup(written: &project::Dedup, columns: &SchemaRef, errors: &mut Diagnostics) -> Option<DedupPlan> {
    let mut found = Vec::new();
    for name in &written.on {
        let Some((index, field)) = columns.column_with_name(name) else {
            let hint = suggestion(name, columns.fields().iter().map(|field| field.name().as_str()));
            errors.error(name.span, format!("`{}` is not a column of the source{hint}", name.value));
            continue;
        };
        match ColumnType::from_arrow(field.data_type()).map(|kind| key::check(&kind)) {
            Some(Err(_)) => {
                let kind = display(field.data_type());
                let message = format!("`{}` is {kind}, which is not compared: name columns of other types", name.value);
                errors.error(name.span, message);
            }
            _ => found.push(index),
        }
    }
    (found.len() == written.on.len()).then(|| DedupPlan { columns: found, within: micros(written.within) })
}

fn with_event_timestamp(columns: &SchemaRef) -> SchemaRef {
    let own = columns.fields().iter().filter(|field| field.name() != EVENT_TIMESTAMP);
    let fields: Vec<FieldRef> = own.cloned().chain([event_timestamp_field()]).collect();
    Arc::new(Schema::new(fields))
}

/// The engine's form of a written time format; none where it does not read, which is said at `place`.
pub(super) fn time_format(format: &project::TimeFormat, place: Span, errors: &mut Diagnostics) -> Option<TimeFormat> {
    let read = match format {
        project::TimeFormat::EpochSeconds => Ok(TimeFormat::EpochSeconds),
        project::TimeFormat::EpochMillis => Ok(TimeFormat::EpochMillis),
        project::TimeFormat::EpochMicros => Ok(TimeFormat::EpochMicros),
        project::TimeFormat::Iso { zone } => TimeFormat::iso().with_zone(zone),
        project::TimeFormat::Strptime { pattern, zone } => {
            TimeFormat::parse_config(pattern).and_then(|format| format.with_zone(zone))
        }
    };
    read.map_err(|message| errors.error(place, message)).ok()
}
