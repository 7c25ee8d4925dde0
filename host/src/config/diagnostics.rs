//! What is wrong with a project file: all of it, each with its place, in plain text.
//!
//! ```text
//! fraud.toml:31:9: unknown key `agregate` in features.num_trans_per_10m; did you mean `aggregate`?
//! ```
//! A place is a span of bytes in a [`SourceText`], which holds the file and, behind it, every `--set` of the command
//! line, so that a wrong override is reported like a wrong line. Parsing, validation and planning report alike.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::error::{Blame, Fault};

/// Bytes of a [`SourceText`]: from `start` up to `end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

/// A value and where it was written.
#[derive(Clone, Debug)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it was written; for a default the place that left it out.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// `value`, written at `span`.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }

    /// Another value of the same place.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Spanned<U> {
        Spanned { value: change(self.value), span: self.span }
    }
}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// The text that spans point into. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SourceText(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The file's path as it was given.
    name: String,
    /// The file's content.
    text: String,
    /// `KEY=VALUE` of each override, behind the text one after the other.
    overrides: Vec<String>,
}

/// The place of a span, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// In the file.
    File {
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
    },
    /// In an override of the command line.
    Override(String),
}

impl SourceText {
    /// A file's path and content, and the command line's overrides as `KEY=VALUE`.
    pub fn new(name: impl Into<String>, text: impl Into<String>, overrides: Vec<String>) -> Self {
        Self(Arc::new(Inner { name: name.into(), text: text.into(), overrides }))
    }

    /// The file's path as it was given.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The file's content.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The span of an override as a whole.
    pub fn override_span(&self, index: usize) -> Span {
        let before: usize = self.0.overrides.iter().take(index).map(|text| text.len() + 1).sum();
        let start = self.0.text.len() + 1 + before;
        Span { start, end: start + self.0.overrides.get(index).map_or(0, String::len) }
    }

    /// Where a span begins.
    pub fn locate(&self, span: Span) -> Location {
        let text = &self.0.text;
        if span.start > text.len() {
            let covers = |index: &usize| span.start <= self.override_span(*index).end;
            if let Some(found) = (0..self.0.overrides.len()).find(covers).and_then(|at| self.0.overrides.get(at)) {
                return Location::Override(found.clone());
            }
        }
        let before = text.get(..text.floor_char_boundary(span.start)).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        Location::File { line, column: before.get(line_start..).unwrap_or_default().chars().count() + 1 }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where; none: the file as a whole.
    pub span: Option<Span>,
    /// What, and what to try.
    pub message: String,
}

/// Everything that is wrong with a project file.
#[derive(Clone, Debug)]
pub struct Diagnostics {
    source: SourceText,
    found: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Nothing wrong yet.
    pub fn new(source: SourceText) -> Self {
        Self { source, found: Vec::new() }
    }

    /// Adds an error at a place.
    pub fn error(&mut self, span: Span, message: impl Into<String>) {
        self.add(Some(span), message.into());
    }

    /// Adds an error of the file as a whole.
    pub fn error_of_file(&mut self, message: impl Into<String>) {
        self.add(None, message.into());
    }

    /// One place and one message are said once, however many ways lead to them (`like` reads a line twice).
    fn add(&mut self, span: Option<Span>, message: String) {
        let diagnostic = Diagnostic { span, message };
        if !self.found.contains(&diagnostic) {
            self.found.push(diagnostic);
        }
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// What is wrong, in the order of the text.
    pub fn sorted(&self) -> Vec<&Diagnostic> {
        let mut sorted: Vec<_> = self.found.iter().collect();
        sorted.sort_by_key(|diagnostic| diagnostic.span);
        sorted
    }

    /// The text that the spans point into.
    pub fn source(&self) -> &SourceText {
        &self.source
    }

    /// `value` if nothing is wrong.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn finish<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.source.name();
        for Diagnostic { span, message } in self.sorted() {
            match span.map(|span| self.source.locate(span)) {
                None => writeln!(out, "{name}: {message}")?,
                Some(Location::File { line, column }) => writeln!(out, "{name}:{line}:{column}: {message}")?,
                Some(Location::Override(text)) => writeln!(out, "--set {text}: {message}")?,
            }
        }
        match self.found.len() {
            1 => write!(out, "1 error"),
            count => write!(out, "{count} errors"),
        }
    }
}

impl std::error::Error for Diagnostics {}

impl Blame for Diagnostics {
    fn fault(&self) -> Fault {
        Fault::User
    }
}

/// The known name nearest to a wrong one, if it is near enough to be what was meant: a third of its letters changed, or
/// more left out at the end.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    let known: Vec<&str> = known.into_iter().collect();
    let near = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&wrong, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance * 3 <= wrong.chars().count().max(name.chars().count()))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| *name);
    near.or_else(|| known.into_iter().find(|name| wrong.len() >= 3 && name.to_lowercase().starts_with(&wrong)))
}

/// The end of a message about an unknown name: the nearest known one, or all where none is near and they are few.
pub fn suggestion<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    /// More names than this help nobody.
    const FEW: usize = 24;
    let known: Vec<&str> = known.into_iter().collect();
    if let Some(name) = nearest(wrong, known.iter().copied()) {
        return format!("; did you mean `{name}`?");
    }
    match known.len() {
        0 => String::new(),
        1..=FEW => format!("; known: {}", known.join(", ")),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span_of(source: &SourceText, text: &str) -> Span {
        let start = source.text().find(text).unwrap();
        Span { start, end: start + text.len() }
    }

    #[test]
    fn errors_print_in_the_order_of_the_text_and_each_once() {
        let source = SourceText::new("a.toml", "x = 1\r\nμ = \"é\" # here\nlast", vec!["a.b=c".into(), "D=e".into()]);
        let mut diagnostics = Diagnostics::new(source.clone());
        assert!(diagnostics.clone().finish(()).is_ok());
        diagnostics.error(source.override_span(1), "fifth");
        diagnostics.error(source.override_span(0), "fourth");
        diagnostics.error(span_of(&source, "last"), "third");
        diagnostics.error(span_of(&source, "# here"), "second");
        diagnostics.error(span_of(&source, "# here"), "second");
        diagnostics.error_of_file("first");
        let text =
            "a.toml: first\na.toml:2:9: second\na.toml:3:1: third\n--set a.b=c: fourth\n--set D=e: fifth\n5 errors";
        assert_eq!(diagnostics.finish(()).unwrap_err().to_string(), text);
    }

    #[test]
    fn a_place_is_found_whatever_the_span() {
        let source = SourceText::new("a.toml", "é\n", Vec::new());
        let at = |start| source.locate(Span { start, end: start });
        assert_eq!(at(0), Location::File { line: 1, column: 1 });
        assert_eq!(at(1), Location::File { line: 1, column: 1 }, "within a character");
        assert_eq!(at(3), Location::File { line: 2, column: 1 }, "at the end");
        assert_eq!(at(99), Location::File { line: 2, column: 1 }, "beyond it");
    }

    #[test]
    fn the_nearest_name_is_near() {
        let known = ["aggregate", "avg", "amount", "num_trans_per_10m"];
        let near = |wrong| nearest(wrong, known);
        assert_eq!(near("agregate"), Some("aggregate"));
        assert_eq!(near("AVG"), Some("avg"));
        assert_eq!(near("amuont"), Some("amount"), "swapped letters are one change");
        assert_eq!(near("num_trans"), Some("num_trans_per_10m"));
        assert_eq!(near("x"), None);
        assert_eq!(suggestion("x", known), "; known: aggregate, avg, amount, num_trans_per_10m");
        assert_eq!(suggestion("x", []), "");
    }
}
