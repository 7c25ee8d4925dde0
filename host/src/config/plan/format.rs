//! How a source's events are decoded: the project file's format, with schema files read.

use crate::config::diagnostics::{Diagnostics, Spanned};
use crate::config::project::{Format, SchemaAt, Source};
use crate::engine::decode;
use crate::engine::decode::avro::AvroSchema;
use crate::engine::decode::confluent::WrittenWith;
use crate::engine::decode::protobuf::ProtobufSchema;
use crate::record::SchemaText;
use crate::source::registry;

/// The format, and the registry that its schemas are in; none where something is wrong, which has been said.
pub(super) fn of(source: &Source, errors: &mut Diagnostics) -> Option<(decode::Format, Option<registry::Options>)> {
    let row = |row: &Option<decode::Path>| row.clone().unwrap_or_default();
    Some(match &source.format {
        Format::Json { row: at } => (decode::Format::Json { row: row(at) }, None),
        Format::Csv { delimiter, header } => (decode::Format::Csv { delimiter: *delimiter, heading: *header }, None),
        Format::Parquet => (decode::Format::Columns, None),
        Format::Raw => (decode::Format::Raw, None),
        Format::Avro { schema: at, row: within } => {
            let (written, registry) = written(at, "AVRO", errors, avro)?;
            (decode::Format::Avro { written, row: row(within) }, registry)
        }
        Format::Protobuf { schema: at, message, row: within } => {
            let (written, registry) = written(at, "PROTOBUF", errors, protobuf)?;
            if let (WrittenWith::Local { schema, .. }, Some(message)) = (&written, message)
                && let Err(why) = schema.message(message)
            {
                errors.error(message.span, why);
                return None;
            }
            let message = message.as_ref().map(|message| message.value.clone());
            (decode::Format::Protobuf { written, message, row: row(within) }, registry)
        }
    })
}

fn written<S>(
    at: &SchemaAt,
    kind: &'static str,
    errors: &mut Diagnostics,
    read: impl FnOnce(&std::path::Path) -> Result<S, String>,
) -> Option<(WrittenWith<S>, Option<registry::Options>)> {
    match at {
        SchemaAt::Registry { url: Spanned { value: url, .. } } => {
            Some((WrittenWith::Registry, Some(registry::Options { url: url.clone(), kind })))
        }
        SchemaAt::File { path, framed } => match read(path) {
            Ok(schema) => Some((WrittenWith::Local { schema, framed: *framed }, None)),
            Err(why) => {
                errors.error(path.span, format!("{}: {why}", path.display()));
                None
            }
        },
    }
}

fn avro(path: &std::path::Path) -> Result<AvroSchema, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    AvroSchema::parse(&SchemaText { text, references: Vec::new() })
}

/// What the file imports is looked for from its own folder.
fn protobuf(path: &std::path::Path) -> Result<ProtobufSchema, String> {
    let folder = path.parent().ok_or("it is no file")?;
    let name = path.file_name().and_then(|name| name.to_str()).ok_or("its name is no text")?;
    let compiler = protox::Compiler::new([folder]).map_err(|error| error.to_string())?;
    ProtobufSchema::compiled(compiler, name)
}
