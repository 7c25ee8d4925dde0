//! `output` of a view or a service: one table, or a list of them.

use std::path::Path;

use super::super::diagnostics::Spanned;
use super::super::project::{Delivery, Output, OutputTarget, TimeFormat};
use super::super::section::{Section, Value};
use super::{check_name, schema, source};

/// The keys that only one type of output has.
const KEYS_OF_TYPES: [(&str, &[&str]); 3] = [
    ("file", &["path"]),
    ("kafka", &["brokers", "topic", "key", "properties", "delivery", "marker-topic"]),
    ("websocket", &[]),
];

/// Properties of librdkafka that Millrace sets, and what says the same in the project file.
const OWN_PROPERTIES: [(&str, &str); 10] = [
    ("bootstrap.servers", "say `brokers`"),
    ("metadata.broker.list", "say `brokers`"),
    ("enable.idempotence", "it is always true"),
    ("acks", "it is always all"),
    ("request.required.acks", "it is always all"),
    ("partitioner", "it is always murmur2_random, as Java's clients partition"),
    ("message.timeout.ms", "rows wait until the brokers take them"),
    ("delivery.timeout.ms", "rows wait until the brokers take them"),
    ("transaction.timeout.ms", "transactions are short"),
    ("transactional.id", "it is made of the project's and the output's names"),
];

/// Where it is said how far outputs have been published, unless the project names another topic.
const MARKER_TOPIC: &str = "millrace-markers";

/// The outputs of the section.
pub(super) fn read(section: &mut Section<'_>, folder: &Path) -> Vec<Output> {
    let outputs = section.get("output").map(|value| value.one_or_items()).unwrap_or_default();
    outputs.iter().filter_map(|value| output(value, folder)).collect()
}

fn output(value: &Value<'_>, folder: &Path) -> Option<Output> {
    let mut section = value.section()?;
    let types = KEYS_OF_TYPES.map(|(name, _)| (name, name));
    let kind = section.require("type").and_then(|value| value.choice(&types));
    match kind {
        Some(kind) => refuse_keys_of_other_types(&mut section, kind),
        None => KEYS_OF_TYPES.iter().flat_map(|(_, keys)| *keys).for_each(|key| drop(section.get(key))),
    }
    let target = match kind {
        None => None,
        Some("file") => file(&mut section, folder),
        Some("kafka") => kafka(&mut section),
        Some(_) => Some(OutputTarget::WebSocket),
    };
    format(&mut section);
    let (time_name, time_format) = match section.get("timestamp").and_then(|value| value.section()) {
        Some(timestamp) => timestamp_form(timestamp),
        None => (None, None),
    };
    section.finish();
    Some(Output { target: target?, place: value.span(), time_name, time_format })
}

/// A key of another type was meant for another output.
fn refuse_keys_of_other_types(section: &mut Section<'_>, kind: &str) {
    for (other, keys) in KEYS_OF_TYPES.iter().filter(|(other, _)| *other != kind) {
        for key in *keys {
            if let Some(value) = section.refuse(key) {
                let message = format!("`{key}` is for outputs of type {other}, and this one is of type {kind}");
                section.reports.error(value.key, message);
            }
        }
    }
}

fn file(section: &mut Section<'_>, folder: &Path) -> Option<OutputTarget> {
    let path = section.require("path").and_then(|value| value.string());
    Some(OutputTarget::File { path: path?.map(|path| folder.join(path)) })
}

fn kafka(section: &mut Section<'_>) -> Option<OutputTarget> {
    let brokers = section.get("brokers").and_then(|value| value.string());
    let topic = section.require("topic").and_then(|value| value.string());
    // An empty list is no key at all.
    let key = section.get("key").map(|value| value.one_or_items().iter().filter_map(Value::string).collect());
    let properties = source::properties(section, &OWN_PROPERTIES);
    let delivery = delivery(section);
    Some(OutputTarget::Kafka { brokers, topic: topic?, key, properties, delivery })
}

fn delivery(section: &mut Section<'_>) -> Delivery {
    let choices = [("exactly-once", true), ("at-least-once", false)];
    let exactly = section.get("delivery").and_then(|value| value.choice(&choices)).unwrap_or(true);
    let marker_topic = section.get("marker-topic");
    if exactly {
        let marker_topic = marker_topic.and_then(|value| value.string()).map(|topic| topic.value);
        return Delivery::ExactlyOnce { marker_topic: marker_topic.unwrap_or_else(|| MARKER_TOPIC.to_owned()) };
    }
    if let Some(value) = marker_topic {
        value.error("`marker-topic` is for `delivery = \"exactly-once\"`: at-least-once needs no markers");
    }
    Delivery::AtLeastOnce
}

/// Rows are JSON; other forms of sources may come for outputs too.
fn format(section: &mut Section<'_>) {
    let Some(value) = section.get("format") else { return };
    let formats = ["json", "csv", "avro", "protobuf", "parquet"].map(|name| (name, name));
    if let Some(other) = value.choice(&formats).filter(|format| *format != "json") {
        value.not_yet(&format!("format `{other}` of an output is"));
    }
}

/// What the event timestamp is called, and how it is written.
type TimestampForm = (Option<Spanned<String>>, Option<Spanned<TimeFormat>>);

fn timestamp_form(mut section: Section<'_>) -> TimestampForm {
    let name = section.get("name").and_then(|value| value.string());
    if let Some(name) = &name {
        check_name(&section, name, "a column's name");
    }
    let format = schema::time_format(&mut section);
    section.finish();
    (name, format)
}
