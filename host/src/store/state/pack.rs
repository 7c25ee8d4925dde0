//! Parts of an operator's state into chunks that are as full as sled takes them: long parts are cut, short ones share a
//! chunk.
//!
//! Always true: the rows come out in the order in which they went in, and none is left out; a part without rows says
//! nothing and is. A chunk exceeds the limit only where a single row does.

use arrow::array::{Array, RecordBatch};
use arrow::error::ArrowError;

use super::format::{self, Place};
use crate::engine::state::Part;
use crate::store::disk::PIECE;

/// A chunk is taken to be full from here on: what is guessed of its length is not exact.
const FULL: usize = PIECE / 8 * 7;

/// About what each run, and each further column of a shape, takes beside its rows.
const RUN: usize = 24;
const COLUMN: usize = 320;

/// Takes a chunk: its number, its bytes, its rows.
pub(in crate::store) type Put<'a, E> = dyn FnMut(u32, &[u8], u64) -> Result<(), E> + 'a;

/// Packs `parts` into chunks numbered from `first` on and hands each to `put`, with its rows.
pub(in crate::store) fn pack<E: From<ArrowError>>(
    parts: &[Part],
    place: Place<'_>,
    chunk: &mut Vec<u8>,
    put: &mut Put<'_, E>,
) -> Result<u32, E> {
    let mut packer = Packer { place, chunk, put, runs: Vec::new(), bytes: 0 };
    for part in parts {
        packer.add(part)?;
    }
    packer.flush()?;
    Ok(packer.place.number)
}

struct Packer<'a, 'p, E> {
    place: Place<'a>,
    chunk: &'a mut Vec<u8>,
    put: &'a mut Put<'p, E>,
    /// What the next chunk holds so far, and about how long it is.
    runs: Vec<Part>,
    bytes: usize,
}

impl<E: From<ArrowError>> Packer<'_, '_, E> {
    fn add(&mut self, part: &Part) -> Result<(), E> {
        let rows = part.rows.num_rows();
        let row = bytes(&part.rows) / rows.max(1) + 1;
        let mut start = 0;
        while start < rows {
            let new = self.runs.last().is_none_or(|last| last.rows.schema_ref() != part.rows.schema_ref());
            let beside = RUN + if new { COLUMN * part.rows.num_columns() } else { 0 };
            let room = FULL.saturating_sub(self.bytes + beside) / row;
            if room == 0 && !self.runs.is_empty() {
                self.flush()?;
                continue;
            }
            let count = room.clamp(1, rows - start);
            self.runs.push(Part { rows: part.rows.slice(start, count), ..*part });
            self.bytes += beside + count * row;
            start += count;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), E> {
        let runs = std::mem::take(&mut self.runs);
        self.bytes = 0;
        if runs.is_empty() { Ok(()) } else { self.write(&runs) }
    }

    /// Writes the runs as one chunk, or, where that is too long after all, as two or more.
    fn write(&mut self, runs: &[Part]) -> Result<(), E> {
        format::encode(self.chunk, self.place, runs)?;
        let rows: usize = runs.iter().map(|run| run.rows.num_rows()).sum();
        if self.chunk.len() <= PIECE || rows <= 1 {
            (self.put)(self.place.number, self.chunk, rows as u64)?;
            self.place.number += 1;
            return Ok(());
        }
        let (mut first, mut second) = (Vec::new(), Vec::new());
        let mut left = rows / 2;
        for run in runs {
            let count = left.min(run.rows.num_rows());
            left -= count;
            let put = |half: &mut Vec<Part>, start: usize, count: usize| {
                if count > 0 {
                    half.push(Part { rows: run.rows.slice(start, count), ..*run });
                }
            };
            put(&mut first, 0, count);
            put(&mut second, count, run.rows.num_rows() - count);
        }
        self.write(&first)?;
        self.write(&second)
    }
}

/// About how many chunks the parts take.
pub(super) fn chunks(parts: &[Part]) -> usize {
    parts.iter().map(|part| bytes(&part.rows) + part.rows.num_rows()).sum::<usize>() / FULL
}

/// About how long the rows are.
fn bytes(rows: &RecordBatch) -> usize {
    let column = |column: &arrow::array::ArrayRef| column.to_data().get_slice_memory_size().unwrap_or(0) + 16;
    rows.columns().iter().map(column).sum()
}
