//! Dead letters for people: a line each, in columns as wide as what is in the first page.

use std::io::{Result, Write};

use millrace::serve::admin::LetterView;

/// The columns; the detail, which is last, may be of any length.
const HEADING: [&str; 7] = ["ID", "KEPT", "REASON", "SOURCE", "POSITION", "VIEW", "DETAIL"];

/// A table in the making.
#[derive(Default)]
pub(super) struct Table {
    widths: Option<[usize; 7]>,
    letters: usize,
}

impl Table {
    /// Adds a line for each letter.
    pub(super) fn add(&mut self, letters: &[LetterView], out: &mut impl Write) -> Result<()> {
        if letters.is_empty() {
            return Ok(());
        }
        let cells: Vec<[String; 7]> = letters.iter().map(cells).collect();
        if self.widths.is_none() {
            let mut widths = HEADING.map(str::len);
            for row in &cells {
                for (width, cell) in widths.iter_mut().zip(row) {
                    *width = cell.chars().count().max(*width);
                }
            }
            self.widths = Some(widths);
            self.line(&HEADING.map(str::to_owned), out)?;
        }
        self.letters += letters.len();
        cells.iter().try_for_each(|row| self.line(row, out))
    }

    /// Says how many there were.
    pub(super) fn end(&self, out: &mut impl Write) -> Result<()> {
        match self.letters {
            0 => writeln!(out, "no dead letters"),
            1 => writeln!(out, "1 dead letter; in full: millrace dead-letters show PROJECT ID"),
            letters => writeln!(out, "{letters} dead letters; one in full: millrace dead-letters show PROJECT ID"),
        }
    }

    fn line(&self, row: &[String; 7], out: &mut impl Write) -> Result<()> {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(self.widths.unwrap_or_default()) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count()) + 2));
        }
        writeln!(out, "{}", line.trim_end())
    }
}

fn cells(letter: &LetterView) -> [String; 7] {
    let replayed = if letter.replayed.is_some() { " (replayed)" } else { "" };
    [
        letter.id.to_string(),
        letter.kept.clone(),
        format!("{}{replayed}", letter.reason),
        letter.source.clone(),
        format!("{}/{}", letter.partition, letter.offset),
        letter.view.clone().unwrap_or_else(|| "-".into()),
        letter.detail.replace(char::is_control, " "),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(id: u64, view: Option<&str>) -> LetterView {
        LetterView {
            id,
            reason: "late".into(),
            detail: "two\nlines".into(),
            source: "transactions".into(),
            partition: 0,
            offset: 7,
            arrival: String::new(),
            kept: "2026-01-01T00:00:00.000Z".into(),
            view: view.map(str::to_owned),
            udf: None,
            replayed: view.is_none().then(String::new),
            payload: None,
            payload_hex: None,
        }
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let (mut table, mut out) = (Table::default(), Vec::new());
        table.add(&[letter(9, Some("cards")), letter(10, None)], &mut out).unwrap();
        table.end(&mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\
ID  KEPT                      REASON           SOURCE        POSITION  VIEW   DETAIL
9   2026-01-01T00:00:00.000Z  late             transactions  0/7       cards  two lines
10  2026-01-01T00:00:00.000Z  late (replayed)  transactions  0/7       -      two lines
2 dead letters; one in full: millrace dead-letters show PROJECT ID
"
        );
    }
}
