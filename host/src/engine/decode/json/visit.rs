//! What serde calls while sonic-rs reads: a row hands each field's value to its column.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Names;
use super::column::{ColumnBuilder, Unfit};

/// One row being read.
pub(super) struct Row<'a> {
    pub(super) names: &'a Names,
    pub(super) columns: &'a mut [ColumnBuilder],
    /// How many rows there are before it.
    pub(super) rows: usize,
    /// What was wrong with a field; the parser's own error says what was wrong with the text.
    pub(super) problem: &'a mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Row<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        // Asked for a map, sonic-rs would skip whatever else comes, on the stack and without a bound.
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Row<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("one JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut expected = 0;
        while let Some(found) = map.next_key_seed(Key { names: self.names, expected })? {
            match found.and_then(|field| Some((field, self.columns.get_mut(field)?))) {
                Some((field, column)) => {
                    // A field that comes again replaces what it brought before.
                    column.truncate(self.rows);
                    let name = self.names.ordered.get(field).map_or("", |name| name);
                    map.next_value_seed(Cell { column, name, problem: self.problem })?;
                    expected = field + 1;
                }
                None => map.next_value_seed(Skip(LEVELS))?,
            }
        }
        Ok(())
    }
}

/// A field's name: its index, or none for a field that nobody wants.
struct Key<'a> {
    names: &'a Names,
    expected: usize,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a field's name")
    }

    #[inline]
    fn visit_str<E: Error>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.names.find(name, self.expected))
    }
}

/// One value for one column.
struct Cell<'a> {
    column: &'a mut ColumnBuilder,
    name: &'a str,
    problem: &'a mut Option<String>,
}

impl Cell<'_> {
    #[inline]
    fn done<E: Error>(self, appended: Result<(), Unfit>) -> Result<(), E> {
        match appended {
            Ok(()) => Ok(()),
            Err(unfit) => self.refuse(unfit),
        }
    }

    #[cold]
    fn refuse<E: Error>(self, unfit: Unfit) -> Result<(), E> {
        let (name, kind) = (self.name, self.column.kind());
        *self.problem = Some(match unfit {
            Unfit::Type(got) => format!("field {name}: wanted {kind}, got {got}"),
            Unfit::Value(why) => format!("field {name}: {why}"),
        });
        Err(E::custom("a field does not fit"))
    }
}

impl<'de> DeserializeSeed<'de> for Cell<'_> {
    type Value = ();

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Cell<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.column.kind())
    }

    #[inline]
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.column.append_null();
        Ok(())
    }

    #[inline]
    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        let appended = self.column.append_bool(value);
        self.done(appended)
    }

    #[inline]
    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        let appended = self.column.append_integer(value);
        self.done(appended)
    }

    #[inline]
    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        let appended = match i64::try_from(value) {
            Ok(value) => self.column.append_integer(value),
            Err(_) => self.column.append_great_integer(value),
        };
        self.done(appended)
    }

    #[inline]
    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        let appended = self.column.append_float(value);
        self.done(appended)
    }

    #[inline]
    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        let appended = self.column.append_text(value);
        self.done(appended)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Self { column, name, problem } = self;
        let Some(item) = column.items() else {
            return Cell { column, name, problem }.refuse(Unfit::Type("a list".into()));
        };
        while items.next_element_seed(Cell { column: &mut *item, name, problem: &mut *problem })?.is_some() {}
        let appended = column.append_list();
        Cell { column, name, problem }.done(appended)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let Self { column, name, problem } = self;
        if !column.is_map() {
            return Cell { column, name, problem }.refuse(Unfit::Type("an object".into()));
        }
        while entries.next_key_seed(Entry { column: &mut *column, name, problem: &mut *problem })?.is_some() {
            let Some(value) = column.value() else { break };
            entries.next_value_seed(Cell { column: value, name, problem: &mut *problem })?;
        }
        let appended = column.append_map();
        Cell { column, name, problem }.done(appended)
    }
}

/// The key of a map's next entry.
struct Entry<'a> {
    column: &'a mut ColumnBuilder,
    name: &'a str,
    problem: &'a mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Entry<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Entry<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<(), E> {
        let Self { column, name, problem } = self;
        let appended = column.append_key(key);
        Cell { column, name, problem }.done(appended)
    }
}

/// A value that nobody wants, and how many levels it may nest. sonic-rs' own skipping follows nested values on the stack
/// without a bound, so they are visited like any other.
#[derive(Clone, Copy)]
struct Skip(u8);

/// How deep a value that nobody wants may nest.
const LEVELS: u8 = 64;

impl Skip {
    fn inner<E: Error>(self) -> Result<Self, E> {
        self.0.checked_sub(1).map(Self).ok_or_else(|| E::custom(format_args!("nested deeper than {LEVELS} levels")))
    }
}

impl<'de> DeserializeSeed<'de> for Skip {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Skip {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("anything")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        while items.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        // A key is text: there is nothing to follow in it.
        while map.next_key::<IgnoredAny>()?.is_some() {
            map.next_value_seed(inner)?;
        }
        Ok(())
    }
}
