//! `feast.types.Value` and `google.protobuf.Timestamp`, as far as Millrace writes and reads them.
//!
//! The messages are Feast's `protos/feast/types/Value.proto`, reduced to the fields of our types. A null is a value
//! with nothing set; Feast's `null_val` reads as null too. A list with a null in it, and a list of lists, is a
//! `list_val`, whose items are values; a map is a `map_val`, with its entries in the order of their keys. Times have whole seconds in Feast: what is finer is cut off.

use std::collections::BTreeMap;

use prost::{Message, Oneof};

use crate::record::{ColumnType, Value};
use crate::time::{Micros, SECOND};

/// A point in time.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl Timestamp {
    pub(super) fn from_micros(time: Micros) -> Self {
        let nanos = i32::try_from(time.rem_euclid(SECOND) * 1_000);
        Self { seconds: seconds(time), nanos: nanos.expect("less than a second") }
    }

    pub(super) fn micros(self) -> Micros {
        self.seconds.saturating_mul(SECOND).saturating_add(i64::from(self.nanos) / 1_000)
    }
}

/// The whole seconds of a time, as Feast keeps times.
pub(super) fn seconds(time: Micros) -> i64 {
    time.div_euclid(SECOND)
}

/// A value of a feature.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FeastValue {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 42")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Kind {
    #[prost(bytes, tag = "1")]
    Bytes(Vec<u8>),
    #[prost(string, tag = "2")]
    String(String),
    #[prost(int32, tag = "3")]
    Int32(i32),
    #[prost(int64, tag = "4")]
    Int64(i64),
    #[prost(double, tag = "5")]
    Double(f64),
    #[prost(float, tag = "6")]
    Float(f32),
    #[prost(bool, tag = "7")]
    Bool(bool),
    #[prost(int64, tag = "8")]
    UnixTimestamp(i64),
    #[prost(message, tag = "11")]
    BytesList(BytesList),
    #[prost(message, tag = "12")]
    StringList(StringList),
    #[prost(message, tag = "13")]
    Int32List(Int32List),
    #[prost(message, tag = "14")]
    Int64List(Int64List),
    #[prost(message, tag = "15")]
    DoubleList(DoubleList),
    #[prost(message, tag = "16")]
    FloatList(FloatList),
    #[prost(message, tag = "17")]
    BoolList(BoolList),
    #[prost(message, tag = "18")]
    UnixTimestampList(Int64List),
    #[prost(int32, tag = "19")]
    Null(i32),
    #[prost(message, tag = "20")]
    Map(FeastMap),
    #[prost(message, tag = "42")]
    List(RepeatedValue),
}

#[derive(Clone, PartialEq, Message)]
struct BytesList {
    #[prost(bytes, repeated, tag = "1")]
    val: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct StringList {
    #[prost(string, repeated, tag = "1")]
    val: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Int32List {
    #[prost(int32, repeated, tag = "1")]
    val: Vec<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct Int64List {
    #[prost(int64, repeated, tag = "1")]
    val: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct DoubleList {
    #[prost(double, repeated, tag = "1")]
    val: Vec<f64>,
}

#[derive(Clone, PartialEq, Message)]
struct FloatList {
    #[prost(float, repeated, tag = "1")]
    val: Vec<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct BoolList {
    #[prost(bool, repeated, tag = "1")]
    val: Vec<bool>,
}

#[derive(Clone, PartialEq, Message)]
struct FeastMap {
    #[prost(btree_map = "string, message", tag = "1")]
    val: BTreeMap<String, FeastValue>,
}

#[derive(Clone, PartialEq, Message)]
struct RepeatedValue {
    #[prost(message, repeated, tag = "1")]
    val: Vec<FeastValue>,
}

impl FeastValue {
    /// `value` of type `kind` in Feast's form.
    pub(super) fn new(value: Value, kind: &ColumnType) -> Self {
        let kind = match value {
            Value::Null => None,
            Value::Boolean(value) => Some(Kind::Bool(value)),
            Value::Int32(value) => Some(Kind::Int32(value)),
            Value::Int64(value) => Some(Kind::Int64(value)),
            Value::Float32(value) => Some(Kind::Float(value)),
            Value::Float64(value) => Some(Kind::Double(value)),
            Value::Timestamp(time) => Some(Kind::UnixTimestamp(seconds(time))),
            Value::Utf8(value) => Some(Kind::String(value)),
            Value::Binary(value) => Some(Kind::Bytes(value)),
            Value::List(items) => Some(list(items, kind)),
            Value::Map(entries) => Some(map(entries, kind)),
        };
        Self { kind }
    }

    /// The value as `kind`; what Feast keeps in a narrower or wider number is converted where nothing is lost. None
    /// where it is something else.
    pub(super) fn into_value(self, kind: &ColumnType) -> Option<Value> {
        let Some(held) = self.kind else { return Some(Value::Null) };
        if matches!(held, Kind::Null(_)) {
            return Some(Value::Null);
        }
        match (kind, held) {
            (ColumnType::Boolean, Kind::Bool(value)) => Some(Value::Boolean(value)),
            (ColumnType::Int32, Kind::Int32(value)) => Some(Value::Int32(value)),
            (ColumnType::Int32, Kind::Int64(value)) => i32::try_from(value).ok().map(Value::Int32),
            (ColumnType::Int64, Kind::Int64(value)) => Some(Value::Int64(value)),
            (ColumnType::Int64, Kind::Int32(value)) => Some(Value::Int64(value.into())),
            (ColumnType::Float32, Kind::Float(value)) => Some(Value::Float32(value)),
            (ColumnType::Float64, Kind::Double(value)) => Some(Value::Float64(value)),
            (ColumnType::Float64, Kind::Float(value)) => Some(Value::Float64(value.into())),
            (ColumnType::Timestamp, Kind::UnixTimestamp(seconds)) => seconds.checked_mul(SECOND).map(Value::Timestamp),
            (ColumnType::Utf8, Kind::String(value)) => Some(Value::Utf8(value)),
            (ColumnType::Binary, Kind::Bytes(value)) => Some(Value::Binary(value)),
            (ColumnType::Map(value), Kind::Map(map)) => {
                let entries = map.val.into_iter().map(|(key, held)| Some((key, held.into_value(value)?)));
                entries.collect::<Option<Vec<_>>>().map(Value::Map)
            }
            (ColumnType::List(item), held) => items(held, item).map(Value::List),
            _ => None,
        }
    }
}

fn map(entries: Vec<(String, Value)>, kind: &ColumnType) -> Kind {
    let ColumnType::Map(of) = kind else { return Kind::Map(FeastMap::default()) };
    Kind::Map(FeastMap { val: entries.into_iter().map(|(key, value)| (key, FeastValue::new(value, of))).collect() })
}

fn list(items: Vec<Value>, kind: &ColumnType) -> Kind {
    let ColumnType::List(item) = kind else { return Kind::List(RepeatedValue::default()) };
    if items.contains(&Value::Null) || !item.is_scalar() {
        let val = items.into_iter().map(|value| FeastValue::new(value, item)).collect();
        return Kind::List(RepeatedValue { val });
    }
    /// The items that are of the list's kind: all of them.
    macro_rules! of {
        ($kind:ident) => {
            items.into_iter().filter_map(|item| if let Value::$kind(item) = item { Some(item) } else { None })
        };
    }
    match **item {
        ColumnType::Boolean => Kind::BoolList(BoolList { val: of!(Boolean).collect() }),
        ColumnType::Int32 => Kind::Int32List(Int32List { val: of!(Int32).collect() }),
        ColumnType::Int64 => Kind::Int64List(Int64List { val: of!(Int64).collect() }),
        ColumnType::Float32 => Kind::FloatList(FloatList { val: of!(Float32).collect() }),
        ColumnType::Float64 => Kind::DoubleList(DoubleList { val: of!(Float64).collect() }),
        ColumnType::Timestamp => Kind::UnixTimestampList(Int64List { val: of!(Timestamp).map(seconds).collect() }),
        ColumnType::Utf8 => Kind::StringList(StringList { val: of!(Utf8).collect() }),
        ColumnType::Binary => Kind::BytesList(BytesList { val: of!(Binary).collect() }),
        ColumnType::List(_) | ColumnType::Map(_) => Kind::List(RepeatedValue::default()),
    }
}

fn items(held: Kind, item: &ColumnType) -> Option<Vec<Value>> {
    fn each<T>(items: Vec<T>, kind: fn(T) -> Kind, item: &ColumnType) -> Option<Vec<Value>> {
        items.into_iter().map(|value| FeastValue { kind: Some(kind(value)) }.into_value(item)).collect()
    }
    match held {
        Kind::BytesList(list) => each(list.val, Kind::Bytes, item),
        Kind::StringList(list) => each(list.val, Kind::String, item),
        Kind::Int32List(list) => each(list.val, Kind::Int32, item),
        Kind::Int64List(list) => each(list.val, Kind::Int64, item),
        Kind::DoubleList(list) => each(list.val, Kind::Double, item),
        Kind::FloatList(list) => each(list.val, Kind::Float, item),
        Kind::BoolList(list) => each(list.val, Kind::Bool, item),
        Kind::UnixTimestampList(list) => each(list.val, Kind::UnixTimestamp, item),
        Kind::List(list) => list.val.into_iter().map(|value| value.into_value(item)).collect(),
        _ => None,
    }
}
