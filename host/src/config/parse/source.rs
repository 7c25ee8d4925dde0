//! `[sources.NAME]`, after `like`.

use std::path::Path;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Uri};

use super::super::diagnostics::Spanned;
use super::super::project::{Dedup, Idle, KafkaStart, Source, SourceKind};
use super::super::section::{Section, Value};
use super::{format, schema, view};

/// The keys that only one type of source has.
const KEYS_OF_TYPES: [(&str, &[&str]); 4] = [
    ("kafka", &["brokers", "topic", "start", "bounded", "properties", "group", "metadata-refresh"]),
    ("websocket", &["url", "headers", "send", "listen"]),
    ("push", &[]),
    ("file", &["path", "follow"]),
];

/// Properties of librdkafka that Millrace sets, and what says the same in the project file.
const OWN_PROPERTIES: [(&str, &str); 7] = [
    ("bootstrap.servers", "say `brokers`"),
    ("metadata.broker.list", "say `brokers`"),
    ("group.id", "say `group`"),
    ("auto.offset.reset", "say `start`"),
    ("enable.auto.commit", "positions are committed once their rows are safe"),
    ("enable.auto.offset.store", "positions are committed once their rows are safe"),
    ("isolation.level", "it is always read_committed"),
];

/// `inherits_unknown`: it is like a source that cannot be told, so what it lacks may be there.
pub(super) fn read(
    name: Spanned<String>,
    value: Value<'_>,
    folder: &Path,
    project: &str,
    inherits_unknown: bool,
) -> Option<Source> {
    let mut section = value.section()?;
    let types = KEYS_OF_TYPES.map(|(name, _)| (name, name));
    let kind = section.require("type").and_then(|value| value.choice(&types));
    let written = kind;
    if let Some(kind) = kind {
        refuse_keys_of_other_types(&mut section, kind);
    } else {
        KEYS_OF_TYPES.iter().flat_map(|(_, keys)| *keys).for_each(|key| drop(section.get(key)));
    }
    let kind = kind.and_then(|kind| match kind {
        "kafka" => kafka(&mut section, &name, project),
        "websocket" => websocket(&mut section),
        "push" => Some(SourceKind::Push),
        _ => file(&mut section, folder),
    });
    let follows = matches!(kind, Some(SourceKind::File { follow: true, .. }));
    let format = format::read(&mut section, written, follows, folder);
    let transforms = section.get("transform").map(|value| view::transforms(&value));
    let schema = schema::read(&mut section, format.as_ref(), transforms.is_some());
    let delay = section.get("watermark-delay").and_then(|value| value.duration()).unwrap_or_default();
    let idle = section.get("idle-timeout").and_then(|value| value.duration_or_off());
    let on_idle = section.get("idle").map(|value| (on_idle(&value), value));
    let ahead = section.get("max-ahead").and_then(|value| value.duration_or_off());
    let dedup = section.get("dedup").map(|value| dedup(&value));
    section.not_yet_true("record", "`record` is");
    if inherits_unknown {
        section.finish_as_partial()
    } else {
        section.finish()
    }
    let kind = kind?;
    let default_idle = matches!(kind, SourceKind::Kafka { .. }).then_some(Duration::from_secs(30));
    let idle_timeout = idle.unwrap_or(default_idle);
    let on_idle = on_idle.map_or(Idle::LeaveOut, |(idle, value)| {
        if idle == Idle::Advance && idle_timeout.is_none() {
            value.error(
                "`idle = \"advance\"` needs an `idle-timeout`: after what silence the watermark moves by itself",
            );
        }
        idle
    });
    let default_ahead = (!kind.is_bounded()).then_some(Duration::from_secs(3_600));
    Some(Source {
        name,
        kind,
        format: format?,
        schema: schema.fields,
        transforms: transforms.unwrap_or_default(),
        event_time: schema.event_time?,
        created: schema.created,
        dedup: dedup.flatten(),
        watermark_delay: delay,
        idle_timeout,
        idle: on_idle,
        max_ahead: ahead.unwrap_or(default_ahead),
    })
}

/// What becomes of the watermark of an idle partition.
fn on_idle(value: &Value<'_>) -> Idle {
    value.choice(&[("leave-out", Idle::LeaveOut), ("advance", Idle::Advance)]).unwrap_or(Idle::LeaveOut)
}

/// `dedup = { on = ["id"], within = "10m" }`
fn dedup(value: &Value<'_>) -> Option<Dedup> {
    let mut section = value.section()?;
    let on = section.require("on").map(|value| {
        let items = value.one_or_items();
        if items.is_empty() {
            value.error("`on` is empty: say which columns repeats have in common");
        }
        items.iter().filter_map(Value::string).collect::<Vec<_>>()
    });
    let within = section.require("within").and_then(|value| value.positive_duration());
    section.finish();
    Some(Dedup { on: on.filter(|on| !on.is_empty())?, within: within? })
}

/// A key of another type was meant for another source; one that was inherited only does not apply.
fn refuse_keys_of_other_types(section: &mut Section<'_>, kind: &str) {
    for (other, keys) in KEYS_OF_TYPES.iter().filter(|(other, _)| *other != kind) {
        for key in *keys {
            if let Some(value) = section.refuse(key).filter(|value| !value.inherited) {
                let message = format!("`{key}` is for {other} sources, and this one is of type {kind}");
                section.reports.error(value.key, message);
            }
        }
    }
}

/// How often a topic is asked for new partitions unless the project says otherwise.
const METADATA_REFRESH: Duration = Duration::from_secs(30);

fn kafka(section: &mut Section<'_>, name: &Spanned<String>, project: &str) -> Option<SourceKind> {
    let brokers = section.require("brokers").and_then(|value| value.string());
    let topic = section.require("topic").and_then(|value| value.string());
    let start = section.get("start").map_or(Some(KafkaStart::Earliest), |value| start(&value));
    let bounded = section.get("bounded").map_or(Some(false), |value| value.boolean());
    let group = section
        .get("group")
        .map_or_else(|| Some(format!("{project}-{}", name.value)), |value| value.string().map(|group| group.value));
    let refresh = section.get("metadata-refresh").and_then(|value| value.positive_duration());
    let properties = properties(section, &OWN_PROPERTIES);
    Some(SourceKind::Kafka {
        brokers: brokers?,
        topic: topic?,
        start: start?,
        bounded: bounded?,
        properties,
        group: group?,
        refresh: refresh.unwrap_or(METADATA_REFRESH),
    })
}

/// librdkafka's properties, but for Millrace's `own`, each with what says the same.
pub(super) fn properties(section: &mut Section<'_>, own: &[(&str, &str)]) -> Vec<(Spanned<String>, String)> {
    let mut properties = Vec::new();
    if let Some(table) = section.get("properties").and_then(|value| value.section()) {
        flatten(&table, "", own, &mut properties);
    }
    properties
}

/// `security.protocol = "ssl"` without quotes is a table to TOML, and means the same.
fn flatten(table: &Section<'_>, before: &str, own: &[(&str, &str)], properties: &mut Vec<(Spanned<String>, String)>) {
    for (key, value) in table.entries() {
        let name = format!("{before}{}", key.value);
        if value.is_table() {
            if let Some(inner) = value.section() {
                flatten(&inner, &format!("{name}."), own, properties);
            }
            continue;
        }
        if let Some((_, instead)) = own.iter().find(|(own, _)| *own == name) {
            table.reports.error(key.span, format!("property `{name}` is set by Millrace: {instead}"));
        }
        if let Some(text) = value.scalar_text() {
            properties.push((Spanned::new(name, key.span), text));
        }
    }
}

fn start(value: &Value<'_>) -> Option<KafkaStart> {
    let text = value.string_or_date()?;
    match text.as_str() {
        "earliest" => Some(KafkaStart::Earliest),
        "latest" => Some(KafkaStart::Latest),
        time => match time.parse::<jiff::Timestamp>() {
            Ok(time) => Some(KafkaStart::At(time.as_microsecond())),
            Err(_) => {
                value.error("`start` must be \"earliest\", \"latest\" or a time such as \"2026-01-31T08:00:00Z\"");
                None
            }
        },
    }
}

fn websocket(section: &mut Section<'_>) -> Option<SourceKind> {
    let url = section.get("url");
    let listen = section.get("listen");
    let headers = section.get("headers");
    let send = section.get("send");
    match (url, listen) {
        (Some(_), Some(listen)) => {
            listen.error("`url` connects out and `listen` lets others connect: say one of the two");
            None
        }
        (None, Some(listen)) => {
            let outward = [headers, send].into_iter().flatten().filter(|value| !value.inherited);
            outward.for_each(|value| value.error(format!("`{}` is for WebSockets with a `url`", value.name)));
            let path = listen.string()?;
            let name = path.strip_prefix("/ingest/").unwrap_or_default();
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)) {
                listen.error("`listen` must be a path such as \"/ingest/orders\"");
                return None;
            }
            Some(SourceKind::WebSocketListen { path })
        }
        (Some(url), None) => {
            let headers = headers.map(|value| read_headers(&value)).unwrap_or_default();
            let frames = send.and_then(|value| value.items()).unwrap_or_default();
            let send = frames.iter().filter_map(|frame| frame.string()).map(|frame| frame.value).collect();
            Some(SourceKind::WebSocketConnect { url: websocket_url(&url)?, headers, send })
        }
        (None, None) => {
            section.lacks_both("url", "listen");
            None
        }
    }
}

fn websocket_url(value: &Value<'_>) -> Option<Spanned<String>> {
    let url = value.string()?;
    let parsed: Option<Uri> = url.parse().ok().filter(|url: &Uri| url.host().is_some_and(|host| !host.is_empty()));
    match parsed.as_ref().and_then(Uri::scheme_str) {
        Some("ws") => Some(url),
        Some("wss") => {
            value.not_yet("WebSockets over TLS (`wss://`) are");
            None
        }
        _ => {
            value.error(format!("`{}` must be a WebSocket's URL such as \"ws://127.0.0.1:7001/trades\"", value.name));
            None
        }
    }
}

fn read_headers(value: &Value<'_>) -> Vec<(Spanned<String>, Spanned<String>)> {
    let mut headers = Vec::new();
    for (name, value) in value.section().map(|table| table.entries()).unwrap_or_default() {
        let Some(text) = value.string() else { continue };
        if HeaderName::try_from(name.as_str()).is_err() || HeaderValue::try_from(text.as_str()).is_err() {
            value.error(format!("`{}` and its value cannot be an HTTP header", name.value));
            continue;
        }
        headers.push((name, text));
    }
    headers
}

fn file(section: &mut Section<'_>, folder: &Path) -> Option<SourceKind> {
    let path = section.require("path").and_then(|value| value.string());
    let follow = section.get("follow").map_or(Some(false), |value| value.boolean());
    Some(SourceKind::File { path: path?.map(|path| folder.join(path)), follow: follow? })
}
