//! A source's `schema` and `event-time`, each checked against the other.

use super::super::diagnostics::{Spanned, nearest, suggestion};
use super::super::project::{EventTime, SchemaField, TimeFormat};
use super::super::section::{Section, Value};
use super::check_reserved;
use crate::record::{ColumnType, EVENT_TIMESTAMP};

/// The schema, which must be there where it is `required`, and the event time.
pub(super) fn read(section: &mut Section<'_>, required: bool) -> (Vec<SchemaField>, Option<EventTime>) {
    let mut fields = Vec::new();
    let schema = if required { section.require("schema") } else { section.get("schema") };
    let schema = schema.and_then(|value| value.section());
    let event = section.require("event-time").and_then(|value| value.section());
    let written = schema.as_ref().map(Section::entries).unwrap_or_default();
    if let Some(schema) = &schema {
        if written.is_empty() {
            schema.reports.error(schema.span, format!("{} has no columns", schema.path()));
        }
        fields = written.iter().filter_map(|(name, value)| field(schema, name.clone(), value)).collect();
    }
    let event_time = event.and_then(|event| event_time(section, event, &written, &mut fields));
    for field in fields.iter_mut().filter(|field| field.kind.value == ColumnType::Timestamp) {
        field.time_format.get_or_insert_with(iso_utc);
    }
    (fields, event_time)
}

fn event_time(
    section: &Section<'_>,
    mut event: Section<'_>,
    written: &[(Spanned<String>, Value<'_>)],
    fields: &mut [SchemaField],
) -> Option<EventTime> {
    let column = event.require("column").and_then(|value| value.string());
    let format = time_format(&mut event);
    event.finish();
    let column = column?;
    if !written.is_empty() && !written.iter().any(|(name, _)| name.value == column.value) {
        let hint = suggestion(&column, written.iter().map(|(name, _)| name.as_str()));
        let message = format!("event-time column `{}` is not in the schema{hint}", column.value);
        section.reports.error(column.span, message);
        return None;
    }
    for field in fields.iter().filter(|field| field.name.value == EVENT_TIMESTAMP && field.name.value != column.value) {
        let message =
            format!("`{EVENT_TIMESTAMP}` is the name of every row's event time: only that column can have it");
        section.reports.error(field.name.span, message);
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
        ColumnType::Timestamp => &["epoch", "text"],
        ColumnType::Int64 | ColumnType::Float64 => &["epoch"],
        ColumnType::Utf8 => &["text"],
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
fn field(schema: &Section<'_>, name: Spanned<String>, value: &Value<'_>) -> Option<SchemaField> {
    check_reserved(schema, &name);
    if name.value.is_empty() || name.value.chars().any(char::is_control) {
        schema.reports.error(name.span, "a column's name is empty or has control characters");
    }
    if value.is_string() {
        return Some(SchemaField { name, kind: value.column_type()?, path: None, time_format: None });
    }
    let mut section = value.section()?;
    let kind = section.require("type").and_then(|value| value.column_type());
    let path = section.get("path").map(|value| member_path(&value));
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
    let path = match path {
        Some(path) => Some(path?),
        None => None,
    };
    Some(SchemaField { name, kind, path, time_format: format.map(|format| format.value) })
}

/// `$.outer.inner`: members alone.
fn member_path(value: &Value<'_>) -> Option<Spanned<Vec<String>>> {
    let text = value.string()?;
    if text.contains(['[', '*', '?']) || text.contains("..") {
        value.not_yet("a path with anything but members, such as `$.outer.inner`, is");
        return None;
    }
    let members: Option<Vec<_>> = text.strip_prefix("$.").map(|rest| rest.split('.').map(str::to_owned).collect());
    match members.filter(|members| members.iter().all(|member| !member.is_empty())) {
        Some(members) => Some(Spanned::new(members, text.span)),
        None => {
            value.error("`path` must be the members from the event's root, such as \"$.outer.inner\"");
            None
        }
    }
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
    if jiff::tz::TimeZone::get(&name).is_err() {
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
