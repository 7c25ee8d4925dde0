//! What serde calls while sonic-rs reads: each value is handed to its column, walked for what is in it, or skipped.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::super::column::{ColumnBuilder, Unfit};
use super::super::rows::refusal;
use super::shape::{Array, Inner, Leaf, Node, Object};

/// One event being read.
pub(super) struct Reading<'a> {
    pub(super) names: &'a [Box<str>],
    pub(super) columns: &'a mut [ColumnBuilder],
    /// How many rows there are before it.
    pub(super) rows: usize,
    /// What was wrong with a field; the parser's own error says what was wrong with the text.
    pub(super) problem: Option<String>,
    /// Whether the row was there.
    pub(super) row: bool,
}

impl Reading<'_> {
    /// The place of a value, as a cell that takes it.
    #[inline]
    fn cell(&mut self, leaf: Leaf) -> Option<Cell<'_>> {
        let name = self.names.get(leaf.column).map_or("", |name| name);
        let column = self.columns.get_mut(leaf.column)?;
        let column = if leaf.item { column.items()? } else { column };
        Some(Cell { column, name, problem: &mut self.problem })
    }

    /// Forgets what a field brought before that comes again.
    #[inline]
    fn reset(&mut self, leaf: Leaf) {
        match self.columns.get_mut(leaf.column) {
            Some(column) if leaf.item => column.reset_item(),
            Some(column) => column.truncate(self.rows),
            None => {}
        }
    }

    fn each_list(&mut self, array: &Array, then: impl Fn(&mut ColumnBuilder) -> Result<(), Unfit>) -> Result<(), ()> {
        for list in &array.lists {
            let Some(column) = self.columns.get_mut(*list) else { continue };
            if let Err(unfit) = then(column) {
                let name = self.names.get(*list).map_or("", |name| name);
                self.problem = Some(refusal(name, column, &unfit));
                return Err(());
            }
        }
        Ok(())
    }
}

/// A value and what it is for.
pub(super) struct Visit<'a, 'b> {
    pub(super) node: &'a Node,
    pub(super) reading: &'a mut Reading<'b>,
}

impl<'de> DeserializeSeed<'de> for Visit<'_, '_> {
    type Value = ();

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.node {
            Node::Column(leaf) => match self.reading.cell(*leaf) {
                Some(cell) => cell.deserialize(deserializer),
                None => Skip(LEVELS).deserialize(deserializer),
            },
            Node::Nothing => Skip(LEVELS).deserialize(deserializer),
            // Asked for a map, sonic-rs would skip whatever else comes, on the stack and without a bound.
            Node::Inner(inner) => deserializer.deserialize_any(Within { inner, reading: self.reading }),
        }
    }
}

/// A value in which something is wanted.
struct Within<'a, 'b> {
    inner: &'a Inner,
    reading: &'a mut Reading<'b>,
}

impl Within<'_, '_> {
    fn wanted(&self) -> &'static str {
        match (&self.inner.object, &self.inner.array) {
            (Some(_), Some(_)) => "an object or a list",
            (None, Some(_)) => "a list",
            _ => "an object",
        }
    }

    #[cold]
    fn refuse<E: Error>(self, got: &str) -> Result<(), E> {
        let place = if self.inner.place.is_empty() { "the event" } else { &self.inner.place };
        self.reading.problem = Some(format!("{place}: wanted {}, got {got}", self.wanted()));
        Err(E::custom("a field does not fit"))
    }
}

impl<'de> Visitor<'de> for Within<'_, '_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.wanted())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        match self.inner.place.is_empty() {
            true => self.refuse("null"),
            // What is in it is missing, and so null.
            false => Ok(()),
        }
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.refuse(if value { "true" } else { "false" })
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.refuse(&value.to_string())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.refuse(&value.to_string())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.refuse(&value.to_string())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.refuse("text")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { inner, reading } = self;
        let Some(object) = &inner.object else { return Self { inner, reading }.refuse("an object") };
        reading.row |= inner.row;
        let mut expected = 0;
        while let Some(found) = map.next_key_seed(Key { object, expected })? {
            match found.and_then(|member| Some((member, object.get(member)?))) {
                Some((number, member)) => {
                    // A field that comes again replaces what it brought before.
                    member.below.iter().for_each(|leaf| reading.reset(*leaf));
                    map.next_value_seed(Visit { node: &member.node, reading: &mut *reading })?;
                    expected = number + 1;
                }
                None => map.next_value_seed(Skip(LEVELS))?,
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Self { inner, reading } = self;
        let Some(array) = &inner.array else { return Self { inner, reading }.refuse("a list") };
        let failed = |()| A::Error::custom("a field does not fit");
        let begin = |column: &mut ColumnBuilder| {
            column.begin_item();
            Ok(())
        };
        let end = |column: &mut ColumnBuilder| {
            column.end_item();
            Ok(())
        };
        let mut index = 0;
        loop {
            reading.each_list(array, begin).map_err(failed)?;
            let item = Visit { node: array.node(index), reading: &mut *reading };
            if items.next_element_seed(item)?.is_none() {
                break;
            }
            reading.each_list(array, end).map_err(failed)?;
            index += 1;
        }
        reading.each_list(array, ColumnBuilder::append_list).map_err(failed)
    }
}

/// A member's name: its number, or none for one that nobody wants.
struct Key<'a> {
    object: &'a Object,
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
        Ok(self.object.find(name, self.expected))
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
            Err(unfit) => self.refuse(&unfit),
        }
    }

    #[cold]
    fn refuse<E: Error>(self, unfit: &Unfit) -> Result<(), E> {
        *self.problem = Some(refusal(self.name, self.column, unfit));
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
            return Cell { column, name, problem }.refuse(&Unfit::Type("a list".into()));
        };
        while items.next_element_seed(Cell { column: &mut *item, name, problem: &mut *problem })?.is_some() {}
        let appended = column.append_list();
        Cell { column, name, problem }.done(appended)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let Self { column, name, problem } = self;
        if !column.is_map() {
            return Cell { column, name, problem }.refuse(&Unfit::Type("an object".into()));
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
