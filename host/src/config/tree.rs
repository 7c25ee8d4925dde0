//! A TOML document as a tree of values that know where they were written, in the order written, with the command line's
//! overrides laid over it and variables put in.
//!
//! The `toml` crate parses and recovers; this tree is its spanned one, owned, because overrides and `like` change it.

use toml::de::{DeTable, DeValue};

use super::diagnostics::{Diagnostics, SourceText, Span, Spanned, suggestion};
use super::interpolate::{interpolate, is_variable};

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) kind: Kind,
}

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// `loose`: it came from a variable or the command line, so it may stand for a number or a boolean too.
    String {
        text: String,
        loose: bool,
    },
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Datetime(String),
    Array(Vec<Node>),
    Table(Table),
    /// A value that could not be made out, which was reported.
    Broken,
}

impl Kind {
    /// What it is, with its article.
    pub(super) fn described(&self) -> &'static str {
        match self {
            Self::String { .. } => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Boolean(_) => "a boolean",
            Self::Datetime(_) => "a date",
            Self::Array(_) => "a list",
            Self::Table(_) => "a table",
            Self::Broken => "unreadable",
        }
    }
}

/// Keys and values in the order written.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) entries: Vec<Entry>,
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: Spanned<String>,
    pub(super) node: Node,
    /// The path of the table that it was taken from by `like`; none where it was written here.
    pub(super) inherited: Option<String>,
}

impl Table {
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key.value == key)
    }
}

/// Reads a document. All syntax errors are reported; none: there are some, and the tree is not whole.
pub(super) fn parse(
    source: &SourceText,
    environment: &dyn Fn(&str) -> Option<String>,
    overrides: &[(String, String)],
    diagnostics: &mut Diagnostics,
) -> Option<Table> {
    let (document, errors) = DeTable::parse_recoverable(source.text());
    // After a repeated key the rest of the tree is as written, so the walk goes on and finds what else is wrong.
    let whole = errors.iter().all(|error| error.message() == DUPLICATE_KEY);
    for error in errors {
        let span = error.span().map_or(Span::default(), |range| Span { start: range.start, end: range.end });
        diagnostics.error(span, syntax_message(&error, source, span));
    }
    if !whole {
        return None;
    }
    let mut root = table(document.get_ref(), None);
    let (variables, paths): (Vec<_>, Vec<_>) = overrides
        .iter()
        .enumerate()
        .partition(|(_, (key, _))| key.chars().all(|c| !c.is_lowercase()) && is_variable(key));
    for (index, (key, value)) in paths {
        let span = source.override_span(index);
        match override_value(value, span).and_then(|node| set(&mut root, key, node)) {
            Ok(()) => {}
            Err(message) => diagnostics.error(span, message),
        }
    }
    let mut read = Vec::new();
    let mut lookup = |name: &str| {
        read.push(name.to_owned());
        let overriding = variables.iter().rev().find(|(_, (key, _))| key == name);
        overriding.map_or_else(|| environment(name), |(_, (_, value))| Some(value.clone()))
    };
    put_in_table(&mut root, &mut lookup, diagnostics);
    for (index, (key, _)) in &variables {
        if !read.contains(key) {
            let hint = suggestion(key, read.iter().map(String::as_str));
            let message = format!("no value of the file reads `${{{key}}}`{hint}");
            diagnostics.error(source.override_span(*index), message);
        }
    }
    Some(root)
}

/// What the parser says of a key written twice: the one error that leaves the tree whole.
const DUPLICATE_KEY: &str = "duplicate key";

/// The parser's message, with the name of a key written twice.
fn syntax_message(error: &toml::de::Error, source: &SourceText, span: Span) -> String {
    let written = source.text().get(span.start..span.end).unwrap_or_default();
    match error.message() {
        DUPLICATE_KEY => format!("key `{}` is written twice", written.trim_matches(['"', '\''])),
        message => message.trim_end_matches(", expected nothing").to_owned(),
    }
}

/// `at` replaces all positions: those of the text of an override mean nothing in the file.
fn table(from: &DeTable<'_>, at: Option<Span>) -> Table {
    let mut entries: Vec<Entry> = from
        .iter()
        .map(|(key, value)| Entry {
            key: Spanned::new(key.get_ref().to_string(), span(key.span(), at)),
            node: node(value, at),
            inherited: None,
        })
        .collect();
    // The parser sorts keys by name: what was written first is what begins first.
    entries.sort_by_key(|entry| entry.key.span);
    Table { entries }
}

fn node(from: &toml::Spanned<DeValue<'_>>, at: Option<Span>) -> Node {
    let kind = match from.get_ref() {
        DeValue::String(text) => Kind::String { text: text.to_string(), loose: false },
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Kind::Integer(number),
            // Beyond 64 bits nothing of a project file is an integer.
            Err(_) => Kind::Float(number.as_str().parse().unwrap_or(f64::INFINITY)),
        },
        // The parser checked the digits; what does not parse is beyond a double.
        DeValue::Float(number) => Kind::Float(number.as_str().parse().unwrap_or(f64::INFINITY)),
        DeValue::Boolean(value) => Kind::Boolean(*value),
        DeValue::Datetime(time) => Kind::Datetime(time.to_string()),
        DeValue::Array(items) => Kind::Array(items.iter().map(|item| node(item, at)).collect()),
        DeValue::Table(entries) => Kind::Table(table(entries, at)),
    };
    Node { span: span(from.span(), at), kind }
}

fn span(range: std::ops::Range<usize>, at: Option<Span>) -> Span {
    at.unwrap_or(Span { start: range.start, end: range.end })
}

type Lookup<'a> = &'a mut dyn FnMut(&str) -> Option<String>;

fn put_in_table(table: &mut Table, lookup: Lookup<'_>, diagnostics: &mut Diagnostics) {
    for entry in &mut table.entries {
        put_in(&mut entry.node, lookup, diagnostics);
    }
}

fn put_in(node: &mut Node, lookup: Lookup<'_>, diagnostics: &mut Diagnostics) {
    match &mut node.kind {
        Kind::String { text, loose } => match interpolate(text, lookup) {
            Ok(None) => {}
            Ok(Some(value)) => (*text, *loose) = (value, true),
            Err(error) => {
                diagnostics.error(node.span, error.to_string());
                node.kind = Kind::Broken;
            }
        },
        Kind::Array(items) => items.iter_mut().for_each(|item| put_in(item, lookup, diagnostics)),
        Kind::Table(table) => put_in_table(table, lookup, diagnostics),
        Kind::Integer(_) | Kind::Float(_) | Kind::Boolean(_) | Kind::Datetime(_) | Kind::Broken => {}
    }
}

/// An override's value: TOML where it is a list, a table or quoted, else the text as it is.
fn override_value(text: &str, span: Span) -> Result<Node, String> {
    if !text.starts_with(['[', '{', '"', '\'']) {
        return Ok(Node { span, kind: Kind::String { text: text.to_owned(), loose: true } });
    }
    let value = DeValue::parse(text).map_err(|error| format!("the value is not TOML: {}", error.message()))?;
    Ok(node(&value, Some(span)))
}

/// Puts a value at a dotted path; tables that are not there are made, so that a wrong path is found as unknown keys.
fn set(root: &mut Table, path: &str, value: Node) -> Result<(), String> {
    let span = value.span;
    let mut table = root;
    let mut keys = path.split('.').peekable();
    while let Some(key) = keys.next() {
        if key.is_empty() {
            return Err(format!("`{path}` is no path: write it as `section.name.key`"));
        }
        let found = table.entries.iter().position(|entry| entry.key.value == key);
        let index = found.unwrap_or(table.entries.len());
        if found.is_none() {
            let node = Node { span, kind: Kind::Table(Table::default()) };
            let key = Spanned::new(key.to_owned(), span);
            table.entries.push(Entry { key, node, inherited: None });
        }
        let Some(entry) = table.entries.get_mut(index) else { return Ok(()) };
        if keys.peek().is_none() {
            entry.node = value;
            return Ok(());
        }
        match &mut entry.node.kind {
            Kind::Table(inner) => table = inner,
            other => return Err(format!("`{key}` in the file is {}, with nothing inside to set", other.described())),
        }
    }
    Ok(())
}
