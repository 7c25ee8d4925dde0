//! Values within values, as Avro and Protobuf decode to, into columns.
//!
//! Columns are found by their paths, as in JSON; what is missing, or within something missing or null, is null. Integers
//! are taken for floats, and floats without a fraction for integers; text is never taken for a number. A time goes into
//! a timestamp as the time it is, and into an int64 as the number that was written.

use std::borrow::Cow;

use super::column::{ColumnBuilder, Unfit};
use super::path::{Path, Step};
use super::rows::Rows;

/// What a value is.
pub(super) enum Datum<'a> {
    /// Not there.
    Null,
    Boolean(bool),
    Integer(i64),
    /// An integer that int64 does not hold.
    Great(u64),
    Float(f64),
    Text(Cow<'a, str>),
    Bytes(&'a [u8]),
    /// A time in microseconds, none where it is out of range, and the number that it was written as.
    Time(Option<i64>, i64),
    /// It has items.
    List,
    /// It has members.
    Object,
    /// Something that no column holds.
    Other(&'static str),
}

impl Datum<'_> {
    /// What an error calls it.
    fn described(&self) -> Cow<'static, str> {
        match self {
            Self::Null => "null".into(),
            Self::Boolean(value) => value.to_string().into(),
            Self::Integer(value) => value.to_string().into(),
            Self::Great(value) => value.to_string().into(),
            Self::Float(value) => value.to_string().into(),
            Self::Text(_) => "text".into(),
            Self::Bytes(_) => "bytes".into(),
            Self::Time(..) => "a time".into(),
            Self::List => "a list".into(),
            Self::Object => "an object".into(),
            Self::Other(what) => (*what).into(),
        }
    }
}

/// A value that may hold others.
pub(super) trait Tree: Sized {
    /// What it is.
    fn datum(&self) -> Datum<'_>;

    /// A member of an object; none that is not there.
    fn member(&self, name: &str) -> Option<Self>;

    /// How many items a list has.
    fn items(&self) -> usize;

    /// An item of a list.
    fn item(&self, index: usize) -> Option<Self>;
}

/// Appends to every column what its path leads to from the object that is at `row` within `root`.
pub(super) fn append_row<T: Tree>(root: T, row: &Path, paths: &[Path], rows: &mut Rows) -> Result<(), String> {
    let mut object = Some(root);
    for step in row.steps() {
        object = object.and_then(|value| match step {
            Step::Member(name) => value.member(name),
            Step::Index(index) => value.item(usize::from(*index)),
            Step::Each => None,
        });
    }
    let Some(object) = object.filter(|object| matches!(object.datum(), Datum::Object)) else {
        return Err(format!("there is no object at {row}"));
    };
    for (index, path) in paths.iter().enumerate() {
        let Some(column) = rows.columns.get_mut(index) else { continue };
        if let Err(unfit) = append(&object, path.steps(), column) {
            return Err(rows.refusal(index, &unfit));
        }
    }
    Ok(())
}

/// Appends what `steps` lead to; nothing where nothing is there.
fn append<T: Tree>(value: &T, steps: &[Step], column: &mut ColumnBuilder) -> Result<(), Unfit> {
    let Some((step, rest)) = steps.split_first() else { return append_value(value, column) };
    match (step, value.datum()) {
        (_, Datum::Null) => Ok(()),
        (Step::Member(name), Datum::Object) => {
            value.member(name).map_or(Ok(()), |member| append(&member, rest, column))
        }
        (Step::Index(index), Datum::List) => {
            value.item(usize::from(*index)).map_or(Ok(()), |item| append(&item, rest, column))
        }
        (Step::Each, Datum::List) => {
            for index in 0..value.items() {
                column.begin_item();
                if let (Some(items), Some(item)) = (column.items(), value.item(index)) {
                    append(&item, rest, items)?;
                }
                column.end_item();
            }
            column.append_list()
        }
        (Step::Member(name), other) => {
            Err(Unfit::Value(format!("wanted an object that has {name}, got {}", other.described())))
        }
        (Step::Index(_) | Step::Each, other) => Err(Unfit::Value(format!("wanted a list, got {}", other.described()))),
    }
}

fn append_value<T: Tree>(value: &T, column: &mut ColumnBuilder) -> Result<(), Unfit> {
    match value.datum() {
        Datum::Null => {
            column.append_null();
            Ok(())
        }
        Datum::Boolean(value) => column.append_bool(value),
        Datum::Integer(value) => column.append_integer(value),
        Datum::Great(value) => column.append_great_integer(value),
        Datum::Float(value) => column.append_float(value),
        Datum::Text(value) => column.append_text(&value),
        Datum::Bytes(value) => column.append_bytes(value),
        Datum::Time(micros, number) => column.append_time(micros, number),
        Datum::List => {
            for index in 0..value.items() {
                let Some(items) = column.items() else { return Err(Unfit::Type("a list".into())) };
                if let Some(item) = value.item(index) {
                    append_value(&item, items)?;
                }
            }
            match column.items() {
                Some(_) => column.append_list(),
                None => Err(Unfit::Type("a list".into())),
            }
        }
        other @ (Datum::Object | Datum::Other(_)) => Err(Unfit::Type(other.described())),
    }
}
