//! Avro payloads, one record each, into columns.
//!
//! apache-avro decodes a payload into a tree of values by the schema that it was written with; the columns are found in
//! that by name (see `tree`). A union is what it holds, an enum its symbol, a decimal a float.
//!
//! Always true: a payload is decoded whole, no byte too few and none too many. A schema that contains itself, or that says
//! much in no bytes, is not used: a payload could nest as deep, or grow as large, as its author likes.

use std::borrow::Cow;
use std::io::Read;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use hashbrown::HashMap;

use super::confluent::{Compile, Writers, WrittenWith};
use super::path::Path;
use super::rows::Rows;
use super::tree::{Datum, Tree, append_row};
use super::{DecodeField, Decoded, Decoder};
use crate::record::{RawBatch, SchemaText};

/// The longest text or list that a payload may announce, which is made room for before it is read.
const LONGEST: usize = 16 << 20;

/// How many values a record may hold, not counting the items of lists and maps.
const VALUES: u64 = 1 << 16;

/// The schema that payloads were written with.
#[derive(Clone, Debug)]
pub struct AvroSchema {
    main: Schema,
    references: Vec<Schema>,
}

impl AvroSchema {
    /// Reads a schema, and what it refers to.
    ///
    /// # Errors
    /// It is no schema, or none that is used here.
    pub fn parse(text: &SchemaText) -> Result<Self, String> {
        let references: Vec<&str> = text.references.iter().map(|(_, text)| text.as_str()).collect();
        let parsed = match references.is_empty() {
            true => Schema::parse_str(&text.text).map(|main| (main, Vec::new())),
            false => Schema::parse_str_with_list(&text.text, references),
        };
        let (main, references) = parsed.map_err(|error| format!("it is no Avro schema: {error}"))?;
        let schema = Self { main, references };
        let names = schema.names();
        let values = Extent { names: &names, known: HashMap::new(), within: Vec::new() }.of(&schema.main)?;
        if values > VALUES {
            return Err(format!("a record holds {values} values, and {VALUES} are allowed"));
        }
        let is_record = matches!(names.resolve(&schema.main), Some(Schema::Record(_)));
        drop(names);
        if is_record { Ok(schema) } else { Err("it is not the schema of a record".into()) }
    }

    fn names(&self) -> Names<'_> {
        let mut names = Names::default();
        [&self.main].into_iter().chain(&self.references).for_each(|schema| names.add(schema));
        names
    }
}

impl Compile for AvroSchema {
    fn compile(text: &SchemaText) -> Result<Self, String> {
        Self::parse(text)
    }
}

/// The schemas that have names.
#[derive(Default)]
struct Names<'s>(HashMap<String, &'s Schema>);

impl<'s> Names<'s> {
    fn add(&mut self, schema: &'s Schema) {
        if let Some(name) = schema.name()
            && !matches!(schema, Schema::Ref { .. })
        {
            self.0.insert(name.fullname(None), schema);
        }
        children(schema).into_iter().for_each(|child| self.add(child));
    }

    /// The schema that a name stands for.
    fn resolve(&self, schema: &'s Schema) -> Option<&'s Schema> {
        match schema {
            Schema::Ref { name } => self.0.get(&name.fullname(None)).copied(),
            schema => Some(schema),
        }
    }
}

/// The schemas within a schema.
fn children(schema: &Schema) -> Vec<&Schema> {
    match schema {
        Schema::Array(array) => vec![&array.items],
        Schema::Map(map) => vec![&map.types],
        Schema::Union(union) => union.variants().iter().collect(),
        Schema::Record(record) => record.fields.iter().map(|field| &field.schema).collect(),
        _ => Vec::new(),
    }
}

/// Finds how much a schema's values may hold.
struct Extent<'a> {
    names: &'a Names<'a>,
    known: HashMap<String, u64>,
    within: Vec<String>,
}

impl<'a> Extent<'a> {
    /// How many values one of this schema holds at most, an item of each list among them.
    fn of(&mut self, schema: &'a Schema) -> Result<u64, String> {
        let name = schema.name().map(|name| name.fullname(None));
        if let Some(name) = &name {
            if self.within.contains(name) {
                return Err(format!("schemas that contain themselves are not supported, and {name} does"));
            }
            if let Some(known) = self.known.get(name) {
                return Ok(*known);
            }
        }
        let schema = self.names.resolve(schema).ok_or_else(|| format!("nothing says what {name:?} is"))?;
        self.within.extend(name.clone());
        let mut values: u64 = 1;
        for child in children(schema) {
            let within = self.of(child)?;
            values = match schema {
                Schema::Union(_) => values.max(within.saturating_add(1)),
                _ => values.saturating_add(within),
            };
        }
        if let Schema::Array(array) = schema
            && self.least(&array.items) == 0
        {
            return Err("lists of values that take no bytes are not supported".into());
        }
        if let Some(name) = name {
            self.within.pop();
            self.known.insert(name, values);
        }
        Ok(values)
    }

    /// How many bytes a value takes at least: 0 or more. Only for schemas that do not contain themselves.
    fn least(&self, schema: &'a Schema) -> usize {
        match self.names.resolve(schema) {
            Some(Schema::Null) => 0,
            Some(Schema::Fixed(fixed)) => fixed.size,
            Some(Schema::Record(record)) => {
                usize::from(record.fields.iter().any(|field| self.least(&field.schema) > 0))
            }
            _ => 1,
        }
    }
}

/// Decodes the payloads of one source.
pub struct AvroDecoder {
    rows: Rows,
    row: Path,
    paths: Vec<Path>,
    writers: Writers<AvroSchema>,
}

impl AvroDecoder {
    /// A decoder of records with these fields, which are at `row` within their events.
    pub fn new(fields: &[DecodeField], row: Path, written: WrittenWith<AvroSchema>) -> Self {
        apache_avro::util::max_allocation_bytes(LONGEST);
        let paths = fields.iter().map(DecodeField::path).collect();
        Self { rows: Rows::new(fields), row, paths, writers: Writers::new(written) }
    }
}

impl Decoder for AvroDecoder {
    fn decode(&mut self, raw: &RawBatch) -> Decoded {
        let Self { rows, row, paths, writers } = self;
        writers.prepare(raw);
        let mut readers: HashMap<u32, Result<Reader<'_>, String>> = HashMap::new();
        rows.decode(raw, |rows, event| {
            let framed = writers.find(raw, event)?;
            let reader = readers.entry(framed.id).or_insert_with(|| Reader::new(framed.schema));
            let reader = reader.as_ref().map_err(Clone::clone)?;
            let value = reader.read(framed.payload)?;
            append_row(Node::new(&value, Some(&framed.schema.main), &reader.names), row, paths, rows)
        })
    }
}

/// Reads payloads of one schema.
struct Reader<'s> {
    datum: GenericDatumReader<'s>,
    names: Names<'s>,
}

impl<'s> Reader<'s> {
    fn new(schema: &'s AvroSchema) -> Result<Self, String> {
        // A schema is looked for among those before it.
        let all = schema.references.iter().chain([&schema.main]).collect();
        let datum = GenericDatumReader::builder(&schema.main).writer_schemata(all).and_then(|builder| builder.build());
        Ok(Self { datum: datum.map_err(|error| error.to_string())?, names: schema.names() })
    }

    fn read(&self, payload: &[u8]) -> Result<Value, String> {
        let mut bytes = Whole { rest: payload, ended: false };
        let value = self.datum.read_value(&mut bytes);
        if bytes.ended {
            return Err("it ends before its record does".into());
        }
        let value = value.map_err(|error| error.to_string())?;
        match bytes.rest.len() {
            0 => Ok(value),
            more => Err(format!("{more} bytes follow its record: was it written with another schema?")),
        }
    }
}

/// Notices that more was asked for than there is, which apache-avro takes for a null here and there.
struct Whole<'a> {
    rest: &'a [u8],
    ended: bool,
}

impl Read for Whole<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.ended |= buffer.len() > self.rest.len();
        self.rest.read(buffer)
    }
}

/// A value and its schema.
struct Node<'a> {
    value: &'a Value,
    schema: Option<&'a Schema>,
    names: &'a Names<'a>,
}

impl<'a> Node<'a> {
    fn new(mut value: &'a Value, schema: Option<&'a Schema>, names: &'a Names<'a>) -> Self {
        let mut schema = schema.and_then(|schema| names.resolve(schema));
        while let Value::Union(variant, inner) = value {
            value = inner;
            schema = match schema {
                Some(Schema::Union(union)) => union.variants().get(*variant as usize),
                _ => None,
            };
            schema = schema.and_then(|schema| names.resolve(schema));
        }
        Self { value, schema, names }
    }

    fn scale(&self) -> Option<usize> {
        match self.schema {
            Some(Schema::Decimal(decimal)) => Some(decimal.scale),
            _ => None,
        }
    }
}

impl Tree for Node<'_> {
    fn datum(&self) -> Datum<'_> {
        let days = |days: i32| Datum::Time(i64::from(days).checked_mul(86_400_000_000), i64::from(days));
        match self.value {
            Value::Null => Datum::Null,
            Value::Boolean(value) => Datum::Boolean(*value),
            Value::Int(value) | Value::TimeMillis(value) => Datum::Integer((*value).into()),
            Value::Long(value) | Value::TimeMicros(value) => Datum::Integer(*value),
            Value::Float(value) => Datum::Float((*value).into()),
            Value::Double(value) => Datum::Float(*value),
            Value::String(value) | Value::Enum(_, value) => Datum::Text(Cow::Borrowed(value)),
            Value::Bytes(value) | Value::Fixed(_, value) => Datum::Bytes(value),
            Value::Uuid(value) => Datum::Text(Cow::Owned(value.to_string())),
            Value::Date(value) => days(*value),
            Value::TimestampMillis(value) | Value::LocalTimestampMillis(value) => {
                Datum::Time(value.checked_mul(1_000), *value)
            }
            Value::TimestampMicros(value) | Value::LocalTimestampMicros(value) => Datum::Time(Some(*value), *value),
            Value::TimestampNanos(value) | Value::LocalTimestampNanos(value) => {
                Datum::Time(Some(value.div_euclid(1_000)), *value)
            }
            Value::Decimal(value) => match (self.scale(), Vec::<u8>::try_from(value)) {
                (Some(scale), Ok(digits)) => Datum::Float(decimal(&digits, scale)),
                _ => Datum::Other("a decimal"),
            },
            Value::BigDecimal(value) => value.to_string().parse().map_or(Datum::Other("a decimal"), Datum::Float),
            Value::Array(_) => Datum::List,
            Value::Record(_) | Value::Map(_) => Datum::Object,
            Value::Duration(_) => Datum::Other("a duration"),
            // Gone through by `new`.
            Value::Union(..) => Datum::Other("a union"),
        }
    }

    fn member(&self, name: &str) -> Option<Self> {
        let (value, schema) = match (self.value, self.schema) {
            (Value::Record(fields), schema) => {
                let index = fields.iter().position(|(field, _)| field == name)?;
                let schema = match schema {
                    Some(Schema::Record(record)) => record.fields.get(index).map(|field| &field.schema),
                    _ => None,
                };
                (&fields.get(index)?.1, schema)
            }
            (Value::Map(members), Some(Schema::Map(map))) => (members.get(name)?, Some(&*map.types)),
            _ => return None,
        };
        Some(Node::new(value, schema, self.names))
    }

    fn items(&self) -> usize {
        if let Value::Array(items) = self.value { items.len() } else { 0 }
    }

    fn item(&self, index: usize) -> Option<Self> {
        let (Value::Array(items), Some(Schema::Array(array))) = (self.value, self.schema) else { return None };
        Some(Node::new(items.get(index)?, Some(&array.items), self.names))
    }
}

/// A number of which the digits are an integer, the most significant byte first, in two's complement.
#[expect(clippy::cast_precision_loss, reason = "a float is what is wanted")]
fn decimal(digits: &[u8], scale: usize) -> f64 {
    // Up to 38 digits exactly, then rounded once by the division; of longer ones the highest count.
    let negative = digits.first().is_some_and(|byte| byte & 0x80 != 0);
    let mut number: i128 = if negative { -1 } else { 0 };
    let (high, rest) = digits.split_at(digits.len().min(16));
    for byte in high {
        number = (number << 8) | i128::from(*byte);
    }
    let scaled = number as f64 * 256_f64.powf(rest.len() as f64);
    scaled / 10_f64.powf(scale as f64)
}

#[cfg(test)]
mod tests;
