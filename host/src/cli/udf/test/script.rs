//! What goes in: the rows of a case as the lines of a file, and where between them the run is ended and begun again.

use std::fs;

use anyhow::{Context, Result};

use super::case::Case;

/// The column that is added where a case has no time of its own: rows a second apart.
pub(super) const TIME: &str = "udf_test_time";

/// The rows of a case.
pub(super) struct Script {
    /// The heading, of CSV.
    heading: String,
    /// What is read from start to start: each line with its newline, and its number in the case's file.
    pub(super) parts: Vec<Vec<(String, usize)>>,
}

impl Script {
    /// Reads the rows of a case.
    pub(super) fn read(case: &Case) -> Result<Self> {
        let text = fs::read_to_string(&case.input).with_context(|| case.input.display().to_string())?;
        let mut heading = case.is_csv().then(String::new);
        let mut parts = vec![Vec::new()];
        let mut rows = 0_i64;
        for (number, line) in (1..).zip(text.lines()) {
            match (line.strip_prefix('#').map(str::trim), &mut heading) {
                (Some("restart"), _) => parts.push(Vec::new()),
                (Some(_), _) => {}
                (None, _) if line.trim().is_empty() => {}
                (None, Some(heading)) if heading.is_empty() => *heading = format!("{line}\n"),
                (None, _) => {
                    let line = if case.written.event_time.is_some() { line.to_owned() } else { timed(line, rows) };
                    rows += 1;
                    if let Some(part) = parts.last_mut() {
                        part.push((line + "\n", number));
                    }
                }
            }
        }
        Ok(Self { heading: heading.unwrap_or_default(), parts })
    }

    /// The same rows, with a new start in their middle, unless there are some already.
    pub(super) fn restarted(&self) -> Option<Self> {
        let [part] = self.parts.as_slice() else { return None };
        if part.len() < 2 {
            return None;
        }
        let (first, second) = part.split_at(part.len() / 2);
        Some(Self { heading: self.heading.clone(), parts: vec![first.to_vec(), second.to_vec()] })
    }

    /// The file as it is until the end of a part.
    pub(super) fn until(&self, part: usize) -> String {
        let lines = self.parts.iter().take(part + 1).flatten().map(|(line, _)| line.as_str());
        std::iter::once(self.heading.as_str()).chain(lines).collect()
    }

    /// The line of the case's file that begins at this byte of ours.
    pub(super) fn line_at(&self, offset: i64) -> Option<usize> {
        let mut at = self.heading.len();
        for (line, number) in self.parts.iter().flatten() {
            if i64::try_from(at) == Ok(offset) {
                return Some(*number);
            }
            at += line.len();
        }
        None
    }
}

/// A JSON object with a time; what is none stays as it is, and is told as a row in error.
fn timed(line: &str, row: i64) -> String {
    let Some(inner) = line.trim_end().strip_suffix('}') else { return line.to_owned() };
    let comma = if inner.trim_end().ends_with('{') { "" } else { "," };
    format!("{inner}{comma}\"{TIME}\":{row}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_added_to_objects() {
        assert_eq!(timed(r#"{"a":1}"#, 7), r#"{"a":1,"udf_test_time":7}"#);
        assert_eq!(timed("{ } ", 0), r#"{ "udf_test_time":0}"#);
        assert_eq!(timed("[1", 0), "[1");
    }

    #[test]
    fn lines_are_found_by_their_bytes() {
        let part = |lines: &[(&str, usize)]| lines.iter().map(|(line, number)| ((*line).to_owned(), *number)).collect();
        let script =
            Script { heading: "h\n".into(), parts: vec![part(&[("a\n", 2), ("bcd\n", 5)]), part(&[("e\n", 7)])] };
        assert_eq!((script.until(0), script.until(1)), ("h\na\nbcd\n".into(), "h\na\nbcd\ne\n".into()));
        assert_eq!([0, 2, 4, 8].map(|at| script.line_at(at)), [None, Some(2), Some(5), Some(7)]);
    }
}
