//! Protobuf payloads, one message each, into columns.
//!
//! protox compiles `.proto` texts, prost-reflect decodes a payload into a tree of values by the message's type; the
//! columns are found in that by name (see `tree`). An enum is its name, `google.protobuf.Timestamp` a time,
//! and the wrappers of that package are what they wrap. A field without presence that is not there has its default.
//!
//! Always true: nothing nests deeper than 100 messages, which is prost's own bound.

use std::borrow::Cow;

use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MapKey, MessageDescriptor,
    ReflectMessage, Value,
};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

use super::confluent::{Compile, Writers, WrittenWith, message_path};
use super::path::Path;
use super::rows::Rows;
use super::tree::{Datum, Tree, append_row};
use super::{DecodeField, Decoded, Decoder};
use crate::record::{RawBatch, SchemaText};

/// What the text of a registry's schema is called, which has no name.
const MAIN: &str = "schema.proto";

/// How deep a schema's text may nest: its compiler follows it on the stack, without a bound of its own.
const LEVELS: usize = 64;

/// The messages that payloads may be.
#[derive(Clone, Debug)]
pub struct ProtobufSchema {
    file: FileDescriptor,
}

impl ProtobufSchema {
    /// Compiles a schema, and what it imports.
    ///
    /// # Errors
    /// It does not compile.
    pub fn parse(text: &SchemaText) -> Result<Self, String> {
        let mut files = vec![(MAIN.to_owned(), text.text.clone())];
        files.extend(text.references.iter().cloned());
        if let Some((name, _)) = files.iter().find(|(_, text)| depth(text) > LEVELS) {
            return Err(format!("it does not compile: {name} nests deeper than {LEVELS} levels"));
        }
        let mut resolver = ChainFileResolver::new();
        resolver.add(Texts(files));
        resolver.add(GoogleFileResolver::new());
        Self::compiled(protox::Compiler::with_file_resolver(resolver), MAIN)
    }

    /// Compiles a file with a compiler that finds it, and what it imports.
    ///
    /// # Errors
    /// It does not compile.
    pub fn compiled(mut compiler: protox::Compiler, file: &str) -> Result<Self, String> {
        let opened = compiler.include_imports(true).open_file(file);
        opened.map_err(|error| format!("it does not compile: {error}"))?;
        let pool: DescriptorPool = compiler.descriptor_pool();
        let file = pool.get_file_by_name(file).ok_or("it does not compile: the file is not among its own files")?;
        Ok(Self { file })
    }

    /// The message of that full name, here or in what is imported.
    ///
    /// # Errors
    /// There is none, with those that there are.
    pub fn message(&self, name: &str) -> Result<MessageDescriptor, String> {
        self.file.parent_pool().get_message_by_name(name).ok_or_else(|| {
            let known: Vec<_> = self.file.messages().map(|message| message.full_name().to_owned()).collect();
            format!("there is no message {name}; there are {}", known.join(", "))
        })
    }

    /// The message at a path: its number within the file, then within the message before.
    fn at(&self, path: &[usize]) -> Option<MessageDescriptor> {
        let (first, rest) = path.split_first()?;
        let outer = self.file.messages().nth(*first)?;
        rest.iter().try_fold(outer, |outer, number| {
            // Entries of maps are messages to Protobuf, but not to who counts.
            outer.child_messages().filter(|message| !message.is_map_entry()).nth(*number)
        })
    }
}

/// How many brackets of any kind are open at once, at most.
fn depth(text: &str) -> usize {
    let mut open: usize = 0;
    let mut most = 0;
    for byte in text.bytes() {
        match byte {
            b'{' | b'<' | b'[' | b'(' => open += 1,
            b'}' | b'>' | b']' | b')' => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

impl Compile for ProtobufSchema {
    fn compile(text: &SchemaText) -> Result<Self, String> {
        Self::parse(text)
    }
}

/// Files that are texts.
struct Texts(Vec<(String, String)>);

impl FileResolver for Texts {
    fn resolve_path(&self, path: &std::path::Path) -> Option<String> {
        path.to_str().map(ToOwned::to_owned)
    }

    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.0.iter().find(|(known, _)| known == name) {
            Some((name, text)) => File::from_source(name, text),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

/// Decodes the payloads of one source.
pub struct ProtobufDecoder {
    rows: Rows,
    row: Path,
    paths: Vec<Path>,
    message: Option<String>,
    writers: Writers<ProtobufSchema>,
}

impl ProtobufDecoder {
    /// A decoder of messages with these fields, which are at `row` within their events. `message` is the type of all;
    /// without it the payloads say, or it is the first of the schema.
    pub fn new(
        fields: &[DecodeField],
        row: Path,
        message: Option<String>,
        written: WrittenWith<ProtobufSchema>,
    ) -> Self {
        let paths = fields.iter().map(DecodeField::path).collect();
        Self { rows: Rows::new(fields), row, paths, message, writers: Writers::new(written) }
    }
}

impl Decoder for ProtobufDecoder {
    fn decode(&mut self, raw: &RawBatch) -> Decoded {
        let Self { rows, row, paths, message, writers } = self;
        writers.prepare(raw);
        // Mostly all are of one type.
        let mut last: Option<(u32, Vec<usize>, MessageDescriptor)> = None;
        rows.decode(raw, |rows, event| {
            let framed = writers.find(raw, event)?;
            let (path, payload) = match framed.framed {
                true => message_path(framed.payload)?,
                false => (vec![0], framed.payload),
            };
            if last.as_ref().is_none_or(|(id, known, _)| *id != framed.id || *known != path) {
                let found = match message {
                    Some(name) => framed.schema.message(name)?,
                    None => framed.schema.at(&path).ok_or("its schema has no message where it says")?,
                };
                last = Some((framed.id, path, found));
            }
            let Some((_, _, kind)) = &last else { return Err("its message has no type".into()) };
            let message = DynamicMessage::decode(kind.clone(), payload).map_err(|error| error.to_string())?;
            append_row(Node::new(Cow::Borrowed(&Value::Message(message)), None), row, paths, rows)
        })
    }
}

/// A value, and the enum that it is of.
struct Node<'a> {
    value: Cow<'a, Value>,
    names: Option<EnumDescriptor>,
}

impl<'a> Node<'a> {
    fn new(value: Cow<'a, Value>, kind: Option<Kind>) -> Self {
        let names = match kind {
            Some(Kind::Enum(names)) => Some(names),
            _ => None,
        };
        Self { value, names }
    }

    /// The value, if it is held by a message; what is not is a default, in which there is nothing.
    fn held(&self) -> Option<&'a Value> {
        match &self.value {
            Cow::Borrowed(value) => Some(value),
            Cow::Owned(_) => None,
        }
    }
}

/// What a message of `google.protobuf` stands for.
fn well_known(message: &DynamicMessage) -> Option<Datum<'static>> {
    let field = |number| message.get_field_by_number(number).map(Cow::into_owned);
    match message.descriptor().full_name() {
        "google.protobuf.Timestamp" => {
            let seconds = field(1)?.as_i64()?;
            let nanos = i64::from(field(2)?.as_i32()?);
            let micros = seconds.checked_mul(1_000_000).and_then(|micros| micros.checked_add(nanos.div_euclid(1_000)));
            Some(Datum::Time(micros, micros.unwrap_or(seconds)))
        }
        name if name.starts_with("google.protobuf.") && name.ends_with("Value") && name != "google.protobuf.Value" => {
            Some(match field(1)? {
                Value::Bool(value) => Datum::Boolean(value),
                Value::I32(value) => Datum::Integer(value.into()),
                Value::I64(value) => Datum::Integer(value),
                Value::U32(value) => Datum::Integer(value.into()),
                Value::U64(value) => whole(value),
                Value::F32(value) => Datum::Float(value.into()),
                Value::F64(value) => Datum::Float(value),
                Value::String(value) => Datum::Text(Cow::Owned(value)),
                _ => return None,
            })
        }
        _ => None,
    }
}

fn whole(value: u64) -> Datum<'static> {
    i64::try_from(value).map_or(Datum::Great(value), Datum::Integer)
}

impl Tree for Node<'_> {
    fn datum(&self) -> Datum<'_> {
        match &*self.value {
            Value::Bool(value) => Datum::Boolean(*value),
            Value::I32(value) => Datum::Integer((*value).into()),
            Value::I64(value) => Datum::Integer(*value),
            Value::U32(value) => Datum::Integer((*value).into()),
            Value::U64(value) => whole(*value),
            Value::F32(value) => Datum::Float((*value).into()),
            Value::F64(value) => Datum::Float(*value),
            Value::String(value) => Datum::Text(Cow::Borrowed(value)),
            Value::Bytes(value) => Datum::Bytes(value),
            Value::EnumNumber(number) => match self.names.as_ref().and_then(|names| names.get_value(*number)) {
                Some(value) => Datum::Text(Cow::Owned(value.name().to_owned())),
                // A number that the schema has no name for yet.
                None => Datum::Text(Cow::Owned(number.to_string())),
            },
            Value::Message(message) => well_known(message).unwrap_or(Datum::Object),
            Value::List(_) => Datum::List,
            Value::Map(_) => Datum::Object,
        }
    }

    fn member(&self, name: &str) -> Option<Self> {
        match self.held()? {
            Value::Map(members) => {
                let value = members.get(&MapKey::String(name.to_owned()))?;
                Some(Self { value: Cow::Borrowed(value), names: self.names.clone() })
            }
            Value::Message(message) => {
                let field = message.descriptor().get_field_by_name(name)?;
                if field.supports_presence() && !message.has_field(&field) {
                    return None;
                }
                Some(Node::new(message.get_field(&field), Some(kind(&field))))
            }
            _ => None,
        }
    }

    fn items(&self) -> usize {
        self.value.as_list().map_or(0, <[Value]>::len)
    }

    fn item(&self, index: usize) -> Option<Self> {
        let value = self.held()?.as_list()?.get(index)?;
        Some(Self { value: Cow::Borrowed(value), names: self.names.clone() })
    }
}

/// The type of a field's values; of a map's, that of its members.
fn kind(field: &FieldDescriptor) -> Kind {
    match field.kind() {
        Kind::Message(entry) if entry.is_map_entry() => entry.map_entry_value_field().kind(),
        kind => kind,
    }
}

#[cfg(test)]
mod tests;
