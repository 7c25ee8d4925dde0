//! `format` of a source, and the keys that only some formats have.

use std::path::Path;

use super::super::project::{Format, SchemaAt};
use super::super::section::{Section, Value};
use crate::engine::decode::Path as Steps;
use crate::source::registry::{Options, Registry};

/// The formats, and the types of sources that give them.
const FORMATS: [(&str, &[&str]); 6] = [
    ("json", &["kafka", "websocket", "push", "file"]),
    ("csv", &["kafka", "websocket", "file"]),
    ("parquet", &["file"]),
    ("avro", &["kafka", "websocket"]),
    ("protobuf", &["kafka", "websocket"]),
    ("raw", &["kafka", "websocket"]),
];

/// Keys that only some formats have.
const KEYS: [(&str, &[&str]); 7] = [
    ("row", &["json", "avro", "protobuf"]),
    ("delimiter", &["csv"]),
    ("header", &["csv"]),
    ("registry", &["avro", "protobuf"]),
    ("schema-file", &["avro", "protobuf"]),
    ("framing", &["avro", "protobuf"]),
    ("message", &["protobuf"]),
];

/// The format of a source of type `kind`; none where something about it is wrong, which has been reported.
pub(super) fn read(section: &mut Section<'_>, kind: Option<&str>, follows: bool, folder: &Path) -> Option<Format> {
    let name = match section.get("format") {
        Some(value) => named(&value, kind, follows),
        None => Some("json"),
    };
    let Some(name) = name else {
        KEYS.iter().for_each(|(key, _)| drop(section.get(key)));
        return None;
    };
    for (key, formats) in KEYS.iter().filter(|(_, formats)| !formats.contains(&name)) {
        // One that was inherited only does not apply.
        if let Some(value) = section.refuse(key).filter(|value| !value.inherited) {
            let message = format!("`{key}` is for format {}, and this one is {name}", formats.join(" or "));
            section.reports.error(value.key, message);
        }
    }
    match name {
        "csv" => csv(section, kind == Some("file")),
        "parquet" => Some(Format::Parquet),
        "raw" => Some(Format::Raw),
        "avro" => {
            let (schema, row) = (schema_at(section, folder), row(section));
            Some(Format::Avro { schema: schema?, row: row? })
        }
        "protobuf" => {
            let (schema, row) = (schema_at(section, folder), row(section));
            let message = match section.get("message").map(|value| value.string()) {
                Some(message) => Some(message?),
                None => None,
            };
            Some(Format::Protobuf { schema: schema?, message, row: row? })
        }
        _ => Some(Format::Json { row: row(section)? }),
    }
}

fn named(value: &Value<'_>, kind: Option<&str>, follows: bool) -> Option<&'static str> {
    let (name, kinds) = value.choice(&FORMATS.map(|(name, kinds)| (name, (name, kinds))))?;
    if let Some(kind) = kind.filter(|kind| !kinds.contains(kind)) {
        value.error(format!("format {name} is for {} sources, and this one is of type {kind}", kinds.join(", ")));
        return None;
    }
    if follows && name == "parquet" {
        value.error("a Parquet file ends with its footer and does not grow: leave `follow` out");
        return None;
    }
    Some(name)
}

/// `row`: where the row is within an event.
fn row(section: &mut Section<'_>) -> Option<Option<Steps>> {
    let Some(value) = section.get("row") else { return Some(None) };
    let path = value.checked(Steps::parse(&value.string()?))?;
    if path.gives_list() {
        value.error("`row` must lead to one object, and `[*]` leads to many");
        return None;
    }
    Some(Some(path))
}

fn csv(section: &mut Section<'_>, in_file: bool) -> Option<Format> {
    let delimiter = section.get("delimiter").map_or(Some(b','), |value| delimiter(&value));
    let header = section.get("header").map_or(Some(in_file), |value| {
        let header = value.boolean()?;
        if header && !in_file {
            value.error("only a file has a first line: events of other sources are in the order of the schema");
            return None;
        }
        Some(header)
    });
    Some(Format::Csv { delimiter: delimiter?, header: header? })
}

fn delimiter(value: &Value<'_>) -> Option<u8> {
    // A tab is white space alone.
    let text = value.scalar_text()?;
    match text.as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => Some(*byte),
        _ => {
            value.error("`delimiter` must be one ASCII character such as \";\" or \"\\t\", and no quote");
            None
        }
    }
}

/// `registry`, or `schema-file` with `framing`.
fn schema_at(section: &mut Section<'_>, folder: &Path) -> Option<SchemaAt> {
    let mut registry = section.get("registry");
    let mut file = section.get("schema-file");
    // What is said here stands in for the other that is inherited.
    match (&registry, &file) {
        (Some(one), Some(other)) if one.inherited && !other.inherited => registry = None,
        (Some(one), Some(other)) if !one.inherited && other.inherited => file = None,
        _ => {}
    }
    let framing = section.get("framing");
    let framed = framing.as_ref().map(|value| value.choice(&[("none", false), ("confluent", true)]));
    match (registry, file) {
        (Some(_), Some(file)) => {
            file.error("`registry` and `schema-file` both say what the schema is: say one of the two");
            None
        }
        (Some(registry), None) => {
            if framed == Some(Some(false)) {
                framing?.error("with a `registry` every payload begins with its schema's id: leave `framing` out");
                return None;
            }
            let url = registry.string()?;
            let usable = Registry::new(&Options { url: url.value.clone(), kind: "AVRO" });
            registry.checked(usable.map(drop))?;
            Some(SchemaAt::Registry { url })
        }
        (None, Some(file)) => {
            let framed = match framed {
                Some(framed) => framed?,
                None => false,
            };
            Some(SchemaAt::File { path: file.string()?.map(|path| folder.join(path)), framed })
        }
        (None, None) => {
            section.lacks_both("registry", "schema-file");
            None
        }
    }
}
