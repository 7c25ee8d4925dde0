//! Cuts what was read of a file into events.
//!
//! Always true: an event is a whole line, or of CSV a whole record, whatever the chunks; one longer than [`MAX_LINE`] is
//! cut short, and reading goes on with the line after it.

use std::ops::Range;

use bytes::Bytes;
use csv_core::{ReadRecordResult, ReaderBuilder};
use memchr::{memchr, memchr_iter, memrchr};

use super::super::lines;
use crate::record::{Beside, Origin, RawBatch};

/// The longest line that is kept whole, in bytes.
pub const MAX_LINE: usize = 1 << 20;

/// Where one event of a file ends and the next begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// At newlines.
    Lines,
    /// At newlines that are not within quotes.
    Csv {
        /// What stands between fields.
        delimiter: u8,
        /// Whether the first record names the columns.
        heading: bool,
    },
}

/// Where in the file the cutting stands.
#[derive(Debug)]
pub(super) struct Cutter {
    origin: Origin,
    rows: usize,
    cut: Cut,
    /// The position of the next buffer's first byte.
    position: i64,
    /// Its line, from 1; none where reading did not begin with the first.
    line: Option<u64>,
    /// The next buffer begins within a line whose rest is not wanted.
    skipping: bool,
    /// The record that names the columns, once it was read.
    heading: Option<Bytes>,
}

impl Cutter {
    pub(super) fn new(origin: Origin, rows: usize, cut: Cut) -> Self {
        Self { origin, rows: rows.max(1), cut, position: 0, line: Some(1), skipping: false, heading: None }
    }

    /// Another file begins.
    pub(super) fn restart(&mut self) {
        self.line = Some(1);
        self.skipping = false;
        self.heading = None;
    }

    /// What follows begins at `position`, within a line that is not wanted, and on a line that nobody has counted.
    pub(super) fn resume(&mut self, position: i64) {
        self.position = position;
        self.line = None;
        self.skipping = true;
    }

    /// What follows begins at `position`, with a file's first line.
    pub(super) fn begin(&mut self, position: i64) {
        self.position = position;
    }

    /// Where the next buffer begins.
    pub(super) fn position(&self) -> i64 {
        self.position
    }

    /// Whether the first record has to be read before any other can be.
    pub(super) fn wants_heading(&self) -> bool {
        matches!(self.cut, Cut::Csv { heading: true, .. }) && self.heading.is_none()
    }

    /// Cuts the whole lines of `buffer` into batches, and leaves the bytes after them in `carried`; at the end of the
    /// file those are a line too.
    pub(super) fn cut(&mut self, buffer: Vec<u8>, at_end: bool, carried: &mut Vec<u8>) -> Vec<RawBatch> {
        let mut begin = 0;
        if self.skipping {
            let newline = memchr(b'\n', &buffer);
            self.skipping = newline.is_none();
            begin = newline.map_or(buffer.len(), |newline| newline + 1);
        }
        let rest = buffer.get(begin..).unwrap_or_default();
        let (mut events, whole) = match self.cut {
            Cut::Lines if at_end => (Vec::new(), Some(rest.len())),
            Cut::Lines => (Vec::new(), memrchr(b'\n', rest).map(|newline| newline + 1)),
            Cut::Csv { delimiter, .. } => records(rest, delimiter, at_end),
        };
        let end = match whole {
            Some(whole) => begin + whole,
            None if rest.len() > MAX_LINE => {
                self.skipping = true;
                events = std::iter::once(0..rest.len()).collect();
                buffer.len()
            }
            None => begin,
        };
        if self.cut == Cut::Lines {
            events = lines::ranges(buffer.get(begin..end).unwrap_or_default()).collect();
        }
        carried.extend_from_slice(buffer.get(end..).unwrap_or_default());
        let buffer = Bytes::from(buffer);
        let batches = self.batches(&buffer, begin, events);
        self.line = self.line.map(|line| line + newlines(&buffer, 0..end));
        self.position += offset(end);
        batches
    }

    /// The events of `buffer`, whose places count from `begin`, in batches.
    fn batches(&mut self, buffer: &Bytes, begin: usize, events: Vec<Range<usize>>) -> Vec<RawBatch> {
        let mut events = events
            .into_iter()
            .map(|event| begin + event.start..begin + event.end.min(event.start + MAX_LINE))
            .peekable();
        if self.wants_heading() {
            self.heading = events.next().map(|event| buffer.slice(event));
        }
        let mut batches = Vec::new();
        let (mut counted, mut line) = (0, self.line);
        while let Some(start) = events.peek().map(|event| event.start) {
            let mut spans = Vec::with_capacity(self.rows);
            let mut offsets = Vec::with_capacity(self.rows);
            let mut numbers = Vec::new();
            let mut end = start;
            for event in events.by_ref().take(self.rows) {
                spans.push((span(event.start - start), span(event.end - start)));
                offsets.push(self.position + offset(event.start));
                end = event.end;
                if self.cut != Cut::Lines
                    && let Some(line) = &mut line
                {
                    *line += newlines(buffer, counted..event.start);
                    counted = event.start;
                    numbers.push(*line);
                }
            }
            let beside = (self.cut != Cut::Lines)
                .then(|| Beside {
                    heading: self.heading.clone().unwrap_or_default(),
                    lines: numbers,
                    ..Beside::default()
                })
                .map(Box::new);
            let data = buffer.slice(start..end);
            batches.push(RawBatch { origin: self.origin, data, spans, offsets, beside, ..RawBatch::default() });
        }
        batches
    }
}

/// Where the records of `data`, which begins with one, are, and where the last whole one ends.
fn records(data: &[u8], delimiter: u8, at_end: bool) -> (Vec<Range<usize>>, Option<usize>) {
    let mut reader = ReaderBuilder::new().delimiter(delimiter).build();
    // Nobody looks at the fields.
    let (mut text, mut ends) = ([0; 4096], [0; 64]);
    let (mut found, mut start, mut at) = (Vec::new(), 0, 0);
    loop {
        let rest = data.get(at..).unwrap_or_default();
        let (result, read, _, _) = reader.read_record(rest, &mut text, &mut ends);
        at += read;
        match result {
            // Asked once more, with nothing, it takes what there is as the last record.
            ReadRecordResult::InputEmpty if !at_end => break,
            ReadRecordResult::InputEmpty | ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {}
            ReadRecordResult::Record => {
                found.push(trim(data, start..at));
                start = at;
            }
            ReadRecordResult::End => break,
        }
    }
    let whole = if at_end { data.len() } else { start };
    (found, (at_end || whole > 0).then_some(whole))
}

/// Without the ends of lines around it.
fn trim(data: &[u8], range: Range<usize>) -> Range<usize> {
    let record = data.get(range.clone()).unwrap_or_default();
    let is_end = |byte: &&u8| matches!(byte, b'\r' | b'\n');
    let before = record.iter().take_while(is_end).count();
    let after = record.iter().rev().take_while(is_end).count();
    range.start + before..(range.end - after).max(range.start + before)
}

fn newlines(data: &[u8], range: Range<usize>) -> u64 {
    memchr_iter(b'\n', data.get(range).unwrap_or_default()).count() as u64
}

#[expect(clippy::cast_possible_truncation, reason = "a buffer holds a chunk and what was carried over: a few MiB")]
fn span(bytes: usize) -> u32 {
    bytes as u32
}

#[expect(clippy::cast_possible_wrap, reason = "a position within a buffer of a few MiB")]
fn offset(bytes: usize) -> i64 {
    bytes as i64
}
