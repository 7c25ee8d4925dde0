//! Typed reading of the tree: each read gives a value or reports what is wrong and goes on, so that one pass finds
//! everything.
//!
//! A [`Section`] remembers which keys were asked for; what is left over at its end is unknown, and the keys asked for
//! are what it is compared with.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::diagnostics::{Diagnostics, Span, Spanned, nearest, suggestion};
use super::project::JsonObject;
use super::tree::{Entry, Kind, Node, Table};
use super::units::{format_size, parse_duration, parse_size};
use crate::record::ColumnType;

/// Where reading reports what is wrong.
pub(super) struct Reports(RefCell<Diagnostics>);

impl Reports {
    pub(super) fn new(diagnostics: Diagnostics) -> Self {
        Self(RefCell::new(diagnostics))
    }

    pub(super) fn error(&self, span: Span, message: impl Into<String>) {
        self.0.borrow_mut().error(span, message);
    }

    pub(super) fn into_inner(self) -> Diagnostics {
        self.0.into_inner()
    }
}

/// A value, with the name that messages call it by.
#[derive(Clone)]
pub(super) struct Value<'a> {
    node: &'a Node,
    /// The last part of the path, or what stands for it.
    pub(super) name: String,
    path: String,
    /// Where the key is written; for an item of a list the item.
    pub(super) key: Span,
    pub(super) inherited: bool,
    reports: &'a Reports,
}

impl<'a> Value<'a> {
    pub(super) fn span(&self) -> Span {
        self.node.span
    }

    pub(super) fn error(&self, message: impl Into<String>) {
        self.reports.error(self.node.span, message);
    }

    /// Reports `error`, about this value, and gives what was read otherwise.
    pub(super) fn checked<T>(&self, read: Result<T, impl Display>) -> Option<T> {
        read.map_err(|error| self.error(format!("`{}`: {error}", self.name))).ok()
    }

    fn wrong_type<T>(&self, expected: &str) -> Option<T> {
        if matches!(self.node.kind, Kind::Broken) {
            return None;
        }
        self.error(format!("`{}` must be {expected}, not {}", self.name, self.node.kind.described()));
        None
    }

    /// Says that it is not supported yet: `what` with its verb, such as "joins are".
    pub(super) fn not_yet(&self, what: &str) {
        self.reports.error(self.key, format!("{what} not supported yet"));
    }

    pub(super) fn is_string(&self) -> bool {
        matches!(self.node.kind, Kind::String { .. })
    }

    pub(super) fn is_table(&self) -> bool {
        matches!(self.node.kind, Kind::Table(_))
    }

    /// A text that says something.
    pub(super) fn string(&self) -> Option<Spanned<String>> {
        match &self.node.kind {
            Kind::String { text, .. } if text.trim().is_empty() => {
                self.error(format!("`{}` is empty", self.name));
                None
            }
            Kind::String { text, .. } => Some(Spanned::new(text.clone(), self.node.span)),
            _ => self.wrong_type("a string"),
        }
    }

    /// A text, perhaps empty, or a scalar as text.
    pub(super) fn scalar_text(&self) -> Option<String> {
        match &self.node.kind {
            Kind::String { text, .. } => Some(text.clone()),
            Kind::Integer(number) => Some(number.to_string()),
            Kind::Float(number) => Some(number.to_string()),
            Kind::Boolean(value) => Some(value.to_string()),
            Kind::Datetime(_) | Kind::Array(_) | Kind::Table(_) | Kind::Broken => {
                self.wrong_type("a string, a number or a boolean")
            }
        }
    }

    /// A text, or a date as text.
    pub(super) fn string_or_date(&self) -> Option<Spanned<String>> {
        match &self.node.kind {
            Kind::Datetime(text) => Some(Spanned::new(text.clone(), self.node.span)),
            _ => self.string(),
        }
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        match &self.node.kind {
            Kind::Boolean(value) => Some(*value),
            Kind::String { text, loose: true } if text == "true" => Some(true),
            Kind::String { text, loose: true } if text == "false" => Some(false),
            _ => self.wrong_type("true or false"),
        }
    }

    pub(super) fn integer<T: TryFrom<i64>>(&self, range: RangeInclusive<i64>) -> Option<T> {
        let number = match &self.node.kind {
            Kind::Integer(number) => *number,
            Kind::String { text, loose: true } => match text.parse() {
                Ok(number) => number,
                Err(_) => return self.wrong_type("an integer"),
            },
            _ => return self.wrong_type("an integer"),
        };
        match T::try_from(number) {
            Ok(value) if range.contains(&number) => Some(value),
            _ => {
                let (least, most) = range.into_inner();
                self.error(format!("`{}` must be from {least} to {most}, not {number}", self.name));
                None
            }
        }
    }

    /// A number from `least` to `most`.
    pub(super) fn number(&self, least: f64, most: f64) -> Option<f64> {
        let number = match &self.node.kind {
            #[expect(
                clippy::cast_precision_loss,
                reason = "an integer beyond 2^53 is in no range that anybody asks for"
            )]
            Kind::Integer(number) => *number as f64,
            Kind::Float(number) => *number,
            Kind::String { text, loose: true } => match text.parse() {
                Ok(number) => number,
                Err(_) => return self.wrong_type("a number"),
            },
            _ => return self.wrong_type("a number"),
        };
        if !(least..=most).contains(&number) {
            self.error(format!("`{}` must be from {least} to {most}, not {number}", self.name));
            return None;
        }
        Some(number)
    }

    pub(super) fn duration(&self) -> Option<Duration> {
        match &self.node.kind {
            Kind::String { text, .. } => self.checked(parse_duration(text)),
            _ => self.wrong_type("a duration such as \"10s\""),
        }
    }

    /// A duration above zero.
    pub(super) fn positive_duration(&self) -> Option<Duration> {
        let duration = self.duration()?;
        if duration.is_zero() {
            self.error(format!("`{}` must be above 0", self.name));
            return None;
        }
        Some(duration)
    }

    /// A duration, or "off".
    pub(super) fn duration_or_off(&self) -> Option<Option<Duration>> {
        match &self.node.kind {
            Kind::String { text, .. } if text == "off" => Some(None),
            _ => self.positive_duration().map(Some),
        }
    }

    /// A size in bytes.
    pub(super) fn size(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let size = match &self.node.kind {
            Kind::String { text, .. } => self.checked(parse_size(text))?,
            Kind::Integer(bytes) if *bytes >= 0 => bytes.unsigned_abs(),
            _ => return self.wrong_type("a size such as \"64MiB\""),
        };
        if !range.contains(&size) {
            let (least, most) = (format_size(*range.start()), format_size(*range.end()));
            self.error(format!("`{}` must be from {least} to {most}, not {}", self.name, format_size(size)));
            return None;
        }
        Some(size)
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let word = self.string()?;
        let found = choices.iter().find(|(name, _)| *name == word.value).map(|(_, value)| *value);
        if found.is_none() {
            let hint = suggestion(&word, choices.iter().map(|(name, _)| *name));
            self.error(format!("unknown {} `{}`{hint}", self.name, word.value));
        }
        found
    }

    /// A column's type.
    pub(super) fn column_type(&self) -> Option<Spanned<ColumnType>> {
        let text = self.string()?;
        let kind = ColumnType::parse(&text);
        match &kind {
            None if text.starts_with("map<") => {
                self.error(format!("`{}` must be a map from utf8 to a scalar, such as map<utf8,float64>", text.value));
            }
            None => self.error(format!("unknown type `{}`{}", text.value, suggestion(&text, ColumnType::names()))),
            Some(ColumnType::List(item)) if !item.is_scalar() => {
                self.error(format!("`{}`: a list holds scalars, such as list<float64>", text.value));
                return None;
            }
            Some(_) => {}
        }
        kind.map(|kind| Spanned::new(kind, self.node.span))
    }

    /// A table.
    pub(super) fn section(&self) -> Option<Section<'a>> {
        match &self.node.kind {
            Kind::Table(table) => Some(Section {
                table,
                path: self.path.clone(),
                span: self.key,
                reports: self.reports,
                known: Vec::new(),
                refused: Vec::new(),
                missing: Vec::new(),
            }),
            _ => self.wrong_type("a table"),
        }
    }

    /// A list.
    pub(super) fn items(&self) -> Option<Vec<Value<'a>>> {
        match &self.node.kind {
            Kind::Array(items) => Some(items.iter().map(|item| self.item(item)).collect()),
            _ => self.wrong_type("a list"),
        }
    }

    /// A list, or one value that stands for a list of it.
    pub(super) fn one_or_items(&self) -> Vec<Value<'a>> {
        match &self.node.kind {
            Kind::Array(items) => items.iter().map(|item| self.item(item)).collect(),
            _ => vec![self.clone()],
        }
    }

    fn item(&self, node: &'a Node) -> Value<'a> {
        Value { node, key: node.span, ..self.clone() }
    }

    /// A table as a JSON object.
    pub(super) fn json_object(&self) -> Option<Spanned<JsonObject>> {
        match (&self.node.kind, self.json(self.node)?) {
            (Kind::Table(_), serde_json::Value::Object(object)) => Some(Spanned::new(object, self.node.span)),
            _ => self.wrong_type("a table"),
        }
    }

    fn json(&self, node: &Node) -> Option<serde_json::Value> {
        Some(match &node.kind {
            Kind::String { text, .. } | Kind::Datetime(text) => text.clone().into(),
            Kind::Integer(number) => (*number).into(),
            Kind::Boolean(value) => (*value).into(),
            Kind::Float(number) => match serde_json::Number::from_f64(*number) {
                Some(number) => number.into(),
                None => {
                    self.reports.error(node.span, format!("`{}`: {number} cannot be written in JSON", self.name));
                    return None;
                }
            },
            Kind::Broken => return None,
            Kind::Array(items) => items.iter().map(|item| self.json(item)).collect::<Option<Vec<_>>>()?.into(),
            Kind::Table(table) => {
                let member = |entry: &Entry| Some((entry.key.value.clone(), self.json(&entry.node)?));
                table.entries.iter().map(member).collect::<Option<JsonObject>>()?.into()
            }
        })
    }
}

/// A table that is read key by key.
pub(super) struct Section<'a> {
    table: &'a Table,
    path: String,
    /// Where its name is written.
    pub(super) span: Span,
    pub(super) reports: &'a Reports,
    known: Vec<&'static str>,
    /// Keys that were looked at, but should not be proposed.
    refused: Vec<&'static str>,
    /// Keys that should be there, and what a message calls them.
    missing: Vec<(&'static str, String)>,
}

impl<'a> Section<'a> {
    /// The document as a whole.
    pub(super) fn root(table: &'a Table, reports: &'a Reports) -> Self {
        Self {
            table,
            path: String::new(),
            span: Span::default(),
            reports,
            known: Vec::new(),
            refused: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// What messages call it.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The value of a key, if it is there.
    pub(super) fn get(&mut self, key: &'static str) -> Option<Value<'a>> {
        self.known.push(key);
        self.table.get(key).map(|entry| self.value(entry))
    }

    /// The value of a key that must be there.
    pub(super) fn require(&mut self, key: &'static str) -> Option<Value<'a>> {
        let value = self.get(key);
        if value.is_none() {
            self.missing.push((key, format!("`{key}`")));
        }
        value
    }

    /// Reports that neither of two keys is there.
    pub(super) fn lacks_both(&mut self, one: &'static str, other: &'static str) {
        self.missing.push((one, format!("`{one}` or `{other}`")));
    }

    /// A key that is known, but whose value is for a later release: `what` with its verb, such as "joins are".
    pub(super) fn not_yet(&mut self, key: &'static str, what: &str) {
        if let Some(value) = self.refuse(key) {
            value.not_yet(what);
        }
    }

    /// The value of a key that the caller refuses, so that it is not reported as unknown too, nor proposed.
    pub(super) fn refuse(&mut self, key: &'static str) -> Option<Value<'a>> {
        self.refused.push(key);
        self.table.get(key).map(|entry| self.value(entry))
    }

    /// As [`Section::not_yet`], but `false` is what this release does.
    pub(super) fn not_yet_true(&mut self, key: &'static str, what: &str) {
        if let Some(value) = self.get(key)
            && value.boolean() == Some(true)
        {
            value.not_yet(what);
        }
    }

    /// All keys and values, in the order written, whose names the file gives.
    pub(super) fn entries(&self) -> Vec<(Spanned<String>, Value<'a>)> {
        self.table.entries.iter().map(|entry| (entry.key.clone(), self.value(entry))).collect()
    }

    /// Reports the keys that nobody asked for, and those that were required and are not there. A required key that
    /// seems to be there, some letters off, is reported once: as an unknown key, with what was meant.
    pub(super) fn finish(self) {
        let mut meant = Vec::new();
        for entry in &self.table.entries {
            let key = &entry.key.as_str();
            // What was inherited is reported where it is written.
            if entry.inherited.is_some() || self.known.contains(key) || self.refused.contains(key) {
                continue;
            }
            meant.extend(nearest(key, self.known.iter().copied()));
            let hint = suggestion(key, self.known.iter().copied());
            let place = if self.path.is_empty() { String::new() } else { format!(" in {}", self.path) };
            self.reports.error(entry.key.span, format!("unknown key `{key}`{place}{hint}"));
        }
        for (_, text) in self.missing.iter().filter(|(key, _)| !meant.contains(key)) {
            self.reports.error(self.span, format!("{} lacks {text}", self.named()));
        }
    }

    /// As [`Section::finish`], where what is missing may be in a part that could not be read.
    pub(super) fn finish_as_partial(mut self) {
        self.missing.clear();
        self.finish();
    }

    fn named(&self) -> &str {
        if self.path.is_empty() { "the project file" } else { &self.path }
    }

    fn value(&self, entry: &'a Entry) -> Value<'a> {
        let home = entry.inherited.as_deref().unwrap_or(&self.path);
        let path = if home.is_empty() { entry.key.value.clone() } else { format!("{home}.{}", entry.key.value) };
        Value {
            node: &entry.node,
            name: entry.key.value.clone(),
            path,
            key: entry.key.span,
            inherited: entry.inherited.is_some(),
            reports: self.reports,
        }
    }
}
