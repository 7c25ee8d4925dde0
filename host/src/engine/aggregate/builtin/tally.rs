//! `count_distinct`, `value_counts` and `top_k`: how often each value came, exactly, up to a number of distinct values.
//!
//! ```text
//!  0  1  version, 1
//!  1  1  0: all values are there; 1: there were more than the limit allows, and the row ends here
//!        then the values in ascending order: varint length · bytes · varint count
//! ```
//! The values are text; for `count_distinct` they are the bytes of [`Scalars::put_bytes`], of which those above
//! [`PLAIN`] are known by their SHA-256 and a zero byte.
//!
//! Always true: the bytes depend on the values alone, not on their order, nor on panes. What is beyond the limit once
//! stays so, since a value that was let go could not be told from one that never came.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, Int64Array, Int64Builder, ListBuilder, MapBuilder, MapFieldNames, StringBuilder,
};
use sha2::{Digest, Sha256};

use super::blob::{self, Rows, VERSION, damaged};
use super::scalar::Scalars;
use super::{state, varint};
use crate::engine::aggregate::{Aggregate, Updated};
use crate::engine::udf::CallError;
use crate::record::Columns;
use crate::time::Micros;

/// Above this many bytes a value that is only told apart is known by its hash.
const PLAIN: usize = 32;

/// How many bytes the values of a row may take together, where they are given.
const MAX_BYTES: usize = 1 << 20;

const WHOLE: u8 = 0;
const BEYOND: u8 = 1;

/// What is given of the counts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Give {
    /// How many values there are.
    Distinct,
    /// All of them.
    Counts,
    /// The most frequent ones, so many.
    Top(usize),
}

/// Which of the three.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tally {
    pub(super) give: Give,
    /// How many distinct values there may be.
    pub(super) limit: usize,
}

/// A state row, open.
#[derive(Clone, Copy)]
enum Row<'a> {
    Whole(Entries<'a>),
    Beyond,
}

impl<'a> Row<'a> {
    fn read(row: &'a [u8]) -> Result<Self, CallError> {
        if row.is_empty() {
            return Ok(Self::Whole(Entries(row)));
        }
        match blob::body(row)?.split_first() {
            Some((&WHOLE, entries)) => Ok(Self::Whole(Entries(entries))),
            Some((&BEYOND, [])) => Ok(Self::Beyond),
            _ => Err(damaged()),
        }
    }
}

/// The values and counts that are left of a row.
#[derive(Clone, Copy)]
struct Entries<'a>(&'a [u8]);

impl<'a> Entries<'a> {
    fn next(&mut self) -> Result<Option<(&'a [u8], u64)>, CallError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let taken = (|| {
            let length = usize::try_from(varint::take(&mut self.0)?).ok()?;
            let (value, rest) = self.0.split_at_checked(length)?;
            self.0 = rest;
            Some((value, varint::take(&mut self.0)?))
        })();
        taken.map(Some).ok_or_else(damaged)
    }

    fn all(mut self) -> Result<Vec<(&'a [u8], u64)>, CallError> {
        let mut all = Vec::new();
        while let Some(entry) = self.next()? {
            all.push(entry);
        }
        Ok(all)
    }
}

/// A row being written.
struct Writer<'a> {
    rows: &'a mut Rows,
    start: usize,
    entries: usize,
    bytes: usize,
    tally: Tally,
}

impl<'a> Writer<'a> {
    fn new(rows: &'a mut Rows, tally: Tally) -> Self {
        let start = rows.len();
        Self { rows, start, entries: 0, bytes: 0, tally }
    }

    fn put(&mut self, value: &[u8], count: u64) {
        if count == 0 {
            return;
        }
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(value.len());
        if self.is_beyond() {
            return;
        }
        let out = self.rows.bytes();
        if self.entries == 1 {
            out.extend_from_slice(&[VERSION, WHOLE]);
        }
        varint::put(out, value.len() as u64);
        out.extend_from_slice(value);
        varint::put(out, count);
    }

    fn is_beyond(&self) -> bool {
        // Values that are only told apart have bounded lengths.
        let bounded = matches!(self.tally.give, Give::Distinct);
        self.entries > self.tally.limit || (!bounded && self.bytes > MAX_BYTES)
    }

    fn end(self) -> Result<(), CallError> {
        if self.is_beyond() {
            return put_beyond(self.rows, self.start);
        }
        self.rows.end()
    }
}

fn put_beyond(rows: &mut Rows, start: usize) -> Result<(), CallError> {
    rows.truncate(start);
    rows.bytes().extend_from_slice(&[VERSION, BEYOND]);
    rows.end()
}

/// Two rows of ascending values as one, the counts of equal values as `both` makes them of each other.
fn walk<'a>(
    mut left: impl FnMut() -> Result<Option<(&'a [u8], u64)>, CallError>,
    mut right: impl FnMut() -> Result<Option<(&'a [u8], u64)>, CallError>,
    mut both: impl FnMut(&'a [u8], u64, u64) -> Result<(), CallError>,
) -> Result<(), CallError> {
    let (mut a, mut b) = (left()?, right()?);
    loop {
        let order = match (a, b) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        let (value, of_left, of_right) = match (order, a, b) {
            (Ordering::Less, Some((value, count)), _) => (value, count, 0),
            (Ordering::Greater, _, Some((value, count))) => (value, 0, count),
            (_, Some((value, left)), Some((_, right))) => (value, left, right),
            _ => return Ok(()),
        };
        both(value, of_left, of_right)?;
        if order.is_le() {
            a = left()?;
        }
        if order.is_ge() {
            b = right()?;
        }
    }
}

/// The values of a batch: group, start and end in `bytes`, sorted by group and value.
struct Batch {
    bytes: Vec<u8>,
    values: Vec<(u32, usize, usize)>,
}

impl Batch {
    fn value(&self, (_, start, end): (u32, usize, usize)) -> &[u8] {
        self.bytes.get(start..end).unwrap_or_default()
    }
}

impl Tally {
    fn gather(self, groups: &[u32], column: &ArrayRef) -> Result<Batch, CallError> {
        let scalars = Scalars::new(column)?;
        let mut batch = Batch { bytes: Vec::new(), values: Vec::with_capacity(groups.len()) };
        for (row, &group) in groups.iter().enumerate().filter(|(row, _)| column.is_valid(*row)) {
            let start = batch.bytes.len();
            match self.give {
                Give::Distinct => {
                    scalars.put_bytes(row, &mut batch.bytes);
                    if batch.bytes.len() - start > PLAIN {
                        let hash = Sha256::digest(batch.bytes.get(start..).unwrap_or_default());
                        batch.bytes.truncate(start);
                        batch.bytes.extend_from_slice(&hash);
                        batch.bytes.push(0);
                    }
                }
                Give::Counts | Give::Top(_) => scalars.put_text(row, &mut batch.bytes),
            }
            batch.values.push((group, start, batch.bytes.len()));
        }
        let mut values = std::mem::take(&mut batch.values);
        values.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| batch.value(*a).cmp(batch.value(*b))));
        batch.values = values;
        Ok(batch)
    }

    fn merge_row(self, rows: &mut Rows, into: &[u8], from: &[u8]) -> Result<(), CallError> {
        let start = rows.len();
        let (Row::Whole(mut into), Row::Whole(mut from)) = (Row::read(into)?, Row::read(from)?) else {
            return put_beyond(rows, start);
        };
        let mut writer = Writer::new(rows, self);
        walk(
            || into.next(),
            || from.next(),
            |value, a, b| {
                writer.put(value, a.saturating_add(b));
                Ok(())
            },
        )?;
        writer.end()
    }

    /// Changes each row of `state` by the rows of `partial` that fold into it, in their order.
    fn change(
        state: &BinaryArray,
        groups: &[u32],
        partial: &BinaryArray,
        mut change: impl FnMut(&mut Rows, &[u8], &[u8]) -> Result<(), CallError>,
    ) -> Result<Columns, CallError> {
        let mut order: Vec<usize> = (0..groups.len()).collect();
        order.sort_by_key(|&row| groups.get(row));
        let mut order = order.into_iter().peekable();
        let mut out = Rows::default();
        for row in 0..state.len() {
            let mut held = state.value(row).to_vec();
            while let Some(from) = order.next_if(|&from| groups.get(from).is_some_and(|&group| group as usize == row)) {
                let mut next = Rows::default();
                change(&mut next, &held, partial.value(from))?;
                held = std::mem::take(next.bytes());
            }
            out.bytes().extend_from_slice(&held);
            out.end()?;
        }
        Ok(out.finish())
    }
}

impl Aggregate for Tally {
    fn initial(&mut self, rows: usize) -> Result<Columns, CallError> {
        blob::empty(rows)
    }

    fn update(&mut self, state: Columns, groups: &[u32], input: &Columns) -> Result<Updated, CallError> {
        let (rows, [held]) = state::open(state)?;
        let held = blob::column(&held)?;
        let (input_rows, [column]) = state::open(input.clone())?;
        state::check_groups(groups, input_rows, rows)?;
        let batch = self.gather(groups, &column)?;
        let mut values = batch.values.iter().copied().peekable();
        let mut out = Rows::default();
        for row in 0..rows {
            let group = |value: &(u32, usize, usize)| value.0 as usize == row;
            let start = out.len();
            if values.peek().is_none_or(|value| !group(value)) {
                out.bytes().extend_from_slice(held.value(row));
                out.end()?;
                continue;
            }
            match Row::read(held.value(row))? {
                Row::Beyond => {
                    while values.next_if(group).is_some() {}
                    put_beyond(&mut out, start)?;
                }
                Row::Whole(mut entries) => {
                    let mut writer = Writer::new(&mut out, *self);
                    let next = || {
                        let Some(first) = values.next_if(group) else { return Ok(None) };
                        let value = batch.value(first);
                        let mut count = 1;
                        while values.next_if(|next| group(next) && batch.value(*next) == value).is_some() {
                            count += 1;
                        }
                        Ok(Some((value, count)))
                    };
                    walk(
                        || entries.next(),
                        next,
                        |value, a, b| {
                            writer.put(value, a.saturating_add(b));
                            Ok(())
                        },
                    )?;
                    writer.end()?;
                }
            }
        }
        Ok(Updated { state: out.finish(), rejected: Vec::new() })
    }

    fn merge(&mut self, state: Columns, groups: &[u32], partial: &Columns) -> Result<Columns, CallError> {
        let (rows, [held]) = state::open(state)?;
        let (partial_rows, [partial]) = state::open(partial.clone())?;
        state::check_groups(groups, partial_rows, rows)?;
        Self::change(blob::column(&held)?, groups, blob::column(&partial)?, |out, into, from| {
            self.merge_row(out, into, from)
        })
    }

    fn subtract(&mut self, state: Columns, groups: &[u32], partial: &Columns) -> Result<Option<Columns>, CallError> {
        let (rows, [held]) = state::open(state)?;
        let (partial_rows, [partial]) = state::open(partial.clone())?;
        state::check_groups(groups, partial_rows, rows)?;
        let mut lost = false;
        let changed = Self::change(blob::column(&held)?, groups, blob::column(&partial)?, |out, into, from| {
            let (Row::Whole(mut into), Row::Whole(mut from)) = (Row::read(into)?, Row::read(from)?) else {
                lost = true;
                return out.end();
            };
            let mut writer = Writer::new(out, *self);
            walk(
                || into.next(),
                || from.next(),
                |value, a, b| {
                    let left = a.checked_sub(b).ok_or_else(never_folded)?;
                    writer.put(value, left);
                    Ok(())
                },
            )?;
            writer.end()
        })?;
        Ok((!lost).then_some(changed))
    }

    fn evaluate(&mut self, state: &Columns, _: &[Micros], _: &[Micros]) -> Result<Columns, CallError> {
        let (rows, [held]) = state::open(state.clone())?;
        let held = blob::column(&held)?;
        let states = (0..rows).map(|row| Row::read(held.value(row)));
        let column: ArrayRef = match self.give {
            Give::Distinct => {
                let limit = i64::try_from(self.limit).unwrap_or(i64::MAX);
                let count = |row: Row<'_>| match row {
                    Row::Whole(entries) => Ok(i64::try_from(entries.all()?.len()).unwrap_or(i64::MAX)),
                    Row::Beyond => Ok(limit),
                };
                let counts = states.map(|row| row.and_then(count)).collect::<Result<Vec<_>, CallError>>()?;
                Arc::new(Int64Array::from(counts))
            }
            Give::Counts => {
                let names = MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
                let mut maps = MapBuilder::new(Some(names), StringBuilder::new(), Int64Builder::new());
                for row in states {
                    let entries = match row? {
                        Row::Whole(entries) => entries.all()?,
                        Row::Beyond => Vec::new(),
                    };
                    for (value, count) in &entries {
                        maps.keys().append_value(text(value)?);
                        maps.values().append_value(count.cast_signed());
                    }
                    maps.append(!entries.is_empty())?;
                }
                Arc::new(maps.finish())
            }
            Give::Top(k) => {
                let mut lists = ListBuilder::new(StringBuilder::new());
                for row in states {
                    let mut entries = match row? {
                        Row::Whole(entries) => entries.all()?,
                        Row::Beyond => Vec::new(),
                    };
                    // Stable: equally frequent values stay in their order.
                    entries.sort_by_key(|entry| std::cmp::Reverse(entry.1));
                    for (value, _) in entries.iter().take(k) {
                        lists.values().append_value(text(value)?);
                    }
                    lists.append(!entries.is_empty());
                }
                Arc::new(lists.finish())
            }
        };
        Ok(state::close(rows, [column]))
    }
}

fn text(value: &[u8]) -> Result<&str, CallError> {
    std::str::from_utf8(value).map_err(|_| damaged())
}

/// A partial state that was not merged into the state that it is taken out of.
pub(super) fn never_folded() -> CallError {
    CallError::Host("a state is taken out of one that it was never folded into".into())
}
