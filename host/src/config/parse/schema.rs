//! A source's `schema` and `event-time`, each checked against the other.

use super::super::diagnostics::{Spanned, nearest, suggestion};
use super::super::project::{EventTime, Format, SchemaField, TimeFormat};
use super::super::section::{Section, Value};
use super::check_reserved;
use crate::engine::decode::{Path, raw};
use crate::record::{ColumnType, EVENT_TIMESTAMP};

/// What a source says of its columns.
pub(super) struct Schema {
    pub(super) fields: Vec<SchemaField>,
    pub(super) event_time: Option<EventTime>,
    pub(super) created: Option<Spanned<String>>,
}

/// Reads the columns of events in this format; without one, which has been reported, nothing is asked for. Where the
/// source has transforms, a column that is not among them may be theirs.
pub(super) fn read(section: &mut Section<'_>, format: Option<&Format>, transformed: bool) -> Schema {
    if matches!(format, Some(Format::Raw)) {
        return read_raw(section, transformed);
    }
    // A Parquet file has its own.
    let needed = format.is_some_and(|format| !matches!(format, Format::Parquet));
    let schema = if needed { section.require("schema") } else { section.get("schema") };
    let schema = schema.and_then(|value| value.section());
    let event = section.require("event-time").and_then(|value| value.section());
    let written = schema.as_ref().map(Section::entries).unwrap_or_default();
    let mut fields = Vec::new();
    if let Some(schema) = &schema {
        if written.is_empty() {
            schema.reports.error(schema.span, format!("{} has no columns", schema.path()));
        }
        fields = written.iter().filter_map(|(name, value)| field(schema, name.clone(), value, format)).collect();
    }
    let names: Vec<String> = written.into_iter().map(|(name, _)| name.value).collect();
    let event_time = event.and_then(|event| event_time(section, event, &names, &mut fields, transformed));
    for field in fields.iter_mut().filter(|field| field.kind.value == ColumnType::Timestamp) {
        field.time_format.get_or_insert_with(iso_utc);
    }
    let created = section.get("created").and_then(|value| created(&value, &names, &fields, transformed));
    Schema { fields, event_time, created }
}

/// The columns of `raw` are there already; the event time is `time` unless another is named.
fn read_raw(section: &mut Section<'_>, transformed: bool) -> Schema {
    let columns = raw::COLUMNS.map(|(name, _)| name);
    if let Some(schema) = section.refuse("schema").filter(|value| !value.inherited) {
        let message = format!("the columns of format raw are {}: leave `schema` out", columns.join(", "));
        section.reports.error(schema.key, message);
    }
    let field = |(name, kind): (&str, ColumnType)| {
        let time_format = (kind == ColumnType::Timestamp).then(iso_utc);
        let (name, kind) = (Spanned::new(name.to_owned(), section.span), Spanned::new(kind, section.span));
        SchemaField { name, kind, path: None, time_format }
    };
    let mut fields: Vec<_> = raw::COLUMNS.into_iter().map(field).collect();
    let names: Vec<String> = columns.map(ToOwned::to_owned).into();
    let event_time = match section.get("event-time") {
        Some(value) => value.section().and_then(|event| event_time(section, event, &names, &mut fields, transformed)),
        None => {
            let at = section.span;
            let column = Spanned::new("time".to_owned(), at);
            Some(EventTime { column, format: Spanned::new(iso_utc(), at) })
        }
    };
    let created = section.get("created").and_then(|value| created(&value, &names, &fields, transformed));
    Schema { fields, event_time, created }
}

/// `created`: a timestamp among the columns.
fn created(value: &Value<'_>, names: &[String], fields: &[SchemaField], transformed: bool) -> Option<Spanned<String>> {
    let name = value.string()?;
    if transformed {
        return Some(name);
    }
    if !names.is_empty() && !names.contains(&name.value) {
        let hint = suggestion(&name, names.iter().map(String::as_str));
        value.error(format!("`created` column `{}` is not in the schema{hint}", name.value));
        return None;
    }
    let field = fields.iter().find(|field| field.name.value == name.value);
    if let Some(field) = field.filter(|field| field.kind.value != ColumnType::Timestamp) {
        let kind = &field.kind.value;
        value.error(format!("`created` column `{}` is {kind} in the schema: make it timestamp", name.value));
        return None;
    }
    Some(name)
}

fn event_time(
    section: &Section<'_>,
    mut event: Section<'_>,
    names: &[String],
    fields: &mut [SchemaField],
    transformed: bool,
) -> Option<EventTime> {
    let column = event.require("column").and_then(|value| value.string());
    let format = time_format(&mut event);
    event.finish();
    let column = column?;
    let known = names.contains(&column.value);
    if !transformed && !names.is_empty() && !names.contains(&column.value) {
        let hint = suggestion(&column, names.iter().map(String::as_str));
        let message = format!("event-time column `{}` is not in the schema{hint}", column.value);
        section.reports.error(column.span, message);
        return None;
    }
    for field in fields.iter().filter(|field| field.name.value == EVENT_TIMESTAMP && field.name.value != column.value) {
        let message =
            format!("`{EVENT_TIMESTAMP}` is the name of every row's event time: only that column can have it");
        section.reports.error(field.name.span, message);
    }
    if names.is_empty() || !known {
        // The columns are the file's or a transform's, and so is the column's type.
        let format = format.unwrap_or_else(|| Spanned::new(iso_utc(), column.span));
        return Some(EventTime { column, format });
    }
    let field = fields.iter_mut().find(|field| field.name.value == column.value)?;
    settle_format(section, field, column, format)
}

/// Which format the event-time column has: the event time's, the schema's, or what its type suggests.
fn settle_format(
    section: &Section<'_>,
    field: &mut SchemaField,
    column: Spanned<String>,
    format: Option<Spanned<TimeFormat>>,
) -> Option<EventTime> {
    let span = column.span;
    let kind = &field.kind.value;
    let fits: &[&str] = match kind {
        ColumnType::Timestamp | ColumnType::Utf8 => &["epoch", "text"],
        ColumnType::Int64 | ColumnType::Float64 => &["epoch"],
        _ => {
            let message = format!("event-time column `{}` is {kind}: make it timestamp", column.value);
            section.reports.error(span, message);
            return None;
        }
    };
    if field.name.value == EVENT_TIMESTAMP && *kind != ColumnType::Timestamp {
        section.reports.error(field.kind.span, format!("`{EVENT_TIMESTAMP}` must be timestamp, not {kind}"));
        return None;
    }
    let in_schema = field.time_format.clone();
    if let (Some(format), Some(in_schema)) = (&format, &in_schema)
        && format.value != *in_schema
    {
        let message = format!("`{}` has another format in the schema: say it in one place", column.value);
        section.reports.error(format.span, message);
    }
    let format = match format.or_else(|| in_schema.map(|format| Spanned::new(format, span))) {
        Some(format) => format,
        None if fits.contains(&"text") => Spanned::new(iso_utc(), span),
        None => {
            let message = format!(
                "event-time lacks `format`: `{}` is {kind}, so say epoch-seconds, epoch-millis or epoch-micros",
                column.value
            );
            section.reports.error(span, message);
            return None;
        }
    };
    let written_as = match format.value {
        TimeFormat::EpochSeconds | TimeFormat::EpochMillis | TimeFormat::EpochMicros => "epoch",
        TimeFormat::Iso { .. } | TimeFormat::Strptime { .. } => "text",
    };
    if !fits.contains(&written_as) {
        let message = format!("this format does not fit `{}`, which is {kind} in the schema", column.value);
        section.reports.error(format.span, message);
        return None;
    }
    if *kind == ColumnType::Timestamp {
        field.time_format = Some(format.value.clone());
    }
    Some(EventTime { column, format })
}

/// `name = "type"`, or `name = { type = …, path = …, format = … }`.
fn field(schema: &Section<'_>, name: Spanned<String>, value: &Value<'_>, from: Option<&Format>) -> Option<SchemaField> {
    check_reserved(schema, &name);
    if name.value.is_empty() || name.value.chars().any(char::is_control) {
        schema.reports.error(name.span, "a column's name is empty or has control characters");
    }
    if value.is_string() {
        return Some(SchemaField { name, kind: value.column_type()?, path: None, time_format: None });
    }
    let mut section = value.section()?;
    let kind = section.require("type").and_then(|value| value.column_type());
    let path = section.get("path").map(|value| path(&value, kind.as_ref(), from));
    let format = time_format(&mut section);
    section.finish();
    let kind = kind?;
    if let Some(format) = &format
        && kind.value != ColumnType::Timestamp
    {
        schema
            .reports
            .error(format.span, format!("`format` is for timestamps, and `{}` is {}", name.value, kind.value));
    }
    if let (Some(Format::Csv { .. }), ColumnType::List(_)) = (from, &kind.value) {
        schema.reports.error(kind.span, format!("a record of CSV has no lists, and `{}` is one", name.value));
    }
    let path = match path {
        Some(path) => Some(path?),
        None => None,
    };
    Some(SchemaField { name, kind, path, time_format: format.map(|format| format.value) })
}

/// `$.outer.inner`, `$.bids[0][0]`, or `$.bids[*][1]` for a list.
fn path(value: &Value<'_>, kind: Option<&Spanned<ColumnType>>, format: Option<&Format>) -> Option<Spanned<Path>> {
    let text = value.string()?;
    if let Some(format) = format.filter(|format| !format.nests()) {
        value.error(format!("`path` leads into nested events, and the format is {}", format.name()));
        return None;
    }
    let path = value.checked(Path::parse(&text))?;
    if let Some(kind) = kind.filter(|kind| path.gives_list() && !matches!(kind.value, ColumnType::List(_))) {
        value.error(format!("`{path}` gives a list, and the column is {0}: make it list<{0}>", kind.value));
        return None;
    }
    Some(Spanned::new(path, text.span))
}

/// `format` and `zone` of a time.
pub(super) fn time_format(section: &mut Section<'_>) -> Option<Spanned<TimeFormat>> {
    /// The names that are no pattern; a zone goes with the last two.
    const NAMES: [&str; 5] = ["epoch-seconds", "epoch-millis", "epoch-micros", "iso", "rfc3339"];
    let written = section.get("format");
    let zone = section.get("zone");
    let zone_name = zone.as_ref().and_then(|value| zone_named(value));
    let in_zone = || zone_name.clone().unwrap_or_else(|| "UTC".to_owned());
    let Some(written) = written else {
        return zone.map(|zone| Spanned::new(TimeFormat::Iso { zone: in_zone() }, zone.span()));
    };
    let text = written.string()?;
    let format = match text.as_str() {
        "epoch-seconds" => TimeFormat::EpochSeconds,
        "epoch-millis" => TimeFormat::EpochMillis,
        "epoch-micros" => TimeFormat::EpochMicros,
        "iso" | "rfc3339" => TimeFormat::Iso { zone: in_zone() },
        pattern if pattern.contains('%') => {
            if let Err(error) =
                jiff::fmt::strtime::format(pattern, &jiff::Timestamp::UNIX_EPOCH.to_zoned(jiff::tz::TimeZone::UTC))
            {
                written.error(format!("`{pattern}` is no strptime pattern: {error}"));
                return None;
            }
            TimeFormat::Strptime { pattern: pattern.to_owned(), zone: in_zone() }
        }
        other => {
            let hint = nearest(other, NAMES).map_or_else(
                || format!("; known: {}, or a strptime pattern such as \"%Y-%m-%d %H:%M:%S\"", NAMES.join(", ")),
                |name| format!("; did you mean `{name}`?"),
            );
            written.error(format!("unknown format `{other}`{hint}"));
            return None;
        }
    };
    if let Some(zone) = zone
        && matches!(format, TimeFormat::EpochSeconds | TimeFormat::EpochMillis | TimeFormat::EpochMicros)
    {
        zone.error("an epoch counts from 1970 in UTC: leave `zone` out");
    }
    Some(Spanned::new(format, text.span))
}

fn zone_named(value: &Value<'_>) -> Option<String> {
    let name = value.string()?.value;
    if crate::engine::decode::TimeFormat::iso().with_zone(&name).is_err() {
        let known: Vec<String> = jiff::tz::db().available().map(|zone| zone.to_string()).collect();
        let hint = nearest(&name, known.iter().map(String::as_str));
        let hint = hint.map_or_else(String::new, |zone| format!("; did you mean `{zone}`?"));
        value.error(format!("unknown time zone `{name}`{hint}"));
        return None;
    }
    Some(name)
}

fn iso_utc() -> TimeFormat {
    TimeFormat::Iso { zone: "UTC".to_owned() }
}
