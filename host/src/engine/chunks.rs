//! Rows kept for a while, in columns: batches come in whole, single rows are let go of, any rows come out together.
//!
//! A chunk is one batch as it came; a row is named by chunk and index. A chunk goes with its last row. What is kept for
//! long is compacted when most of its rows are gone, so memory follows the rows that live.

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::DataType;
use hashbrown::HashMap;

use super::udf::CallError;

/// Names a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct RowRef {
    chunk: u32,
    row: u32,
}

#[derive(Debug, Default)]
struct Chunk {
    columns: Vec<ArrayRef>,
    rows: usize,
    live: usize,
    bytes: usize,
}

/// Rows of the same columns.
#[derive(Debug)]
pub(super) struct Chunks {
    kinds: Vec<DataType>,
    chunks: Vec<Chunk>,
    free: Vec<u32>,
    live: usize,
    total: usize,
    bytes: usize,
}

impl Chunks {
    /// No rows; `kinds` are the columns' types.
    pub(super) fn new(kinds: Vec<DataType>) -> Self {
        Self { kinds, chunks: Vec::new(), free: Vec::new(), live: 0, total: 0, bytes: 0 }
    }

    /// About how many bytes it holds.
    pub(super) fn weight(&self) -> usize {
        self.bytes + self.chunks.capacity() * size_of::<Chunk>()
    }

    /// How many rows there are.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    /// Takes a batch; its rows are then named by what comes back, one after the other.
    pub(super) fn add(&mut self, columns: &[ArrayRef], rows: usize) -> impl Iterator<Item = RowRef> + use<> {
        let bytes = columns.iter().map(held).sum();
        let chunk = Chunk { columns: columns.to_vec(), rows, live: rows, bytes };
        self.bytes += bytes;
        let number = match self.free.pop() {
            Some(number) => {
                if let Some(slot) = self.chunks.get_mut(number as usize) {
                    *slot = chunk;
                }
                number
            }
            None => {
                self.chunks.push(chunk);
                u32::try_from(self.chunks.len() - 1).expect("fewer than 2^32 batches are held")
            }
        };
        self.live += rows;
        self.total += rows;
        (0..u32::try_from(rows).unwrap_or(u32::MAX)).map(move |row| RowRef { chunk: number, row })
    }

    /// Lets go of a row, which must not be named again.
    pub(super) fn release(&mut self, row: RowRef) {
        let Some(chunk) = self.chunks.get_mut(row.chunk as usize) else { return };
        chunk.live = chunk.live.saturating_sub(1);
        self.live = self.live.saturating_sub(1);
        if chunk.live == 0 {
            let gone = std::mem::take(chunk);
            self.free.push(row.chunk);
            self.total = self.total.saturating_sub(gone.rows);
            self.bytes = self.bytes.saturating_sub(gone.bytes);
        }
    }

    /// The columns of some rows, in the order named; nulls for a row that is none.
    pub(super) fn gather(&self, rows: &[Option<RowRef>]) -> Result<Vec<ArrayRef>, CallError> {
        let mut local: HashMap<u32, usize> = HashMap::new();
        let mut used: Vec<&Chunk> = Vec::new();
        // Place 0 is the row of nulls.
        let mut indices = Vec::with_capacity(rows.len());
        for row in rows {
            let Some(row) = row else {
                indices.push((0, 0));
                continue;
            };
            let chunk = self.chunks.get(row.chunk as usize);
            let chunk = chunk.ok_or_else(|| CallError::Host("a row of a chunk that is gone".into()))?;
            let place = *local.entry(row.chunk).or_insert_with(|| {
                used.push(chunk);
                used.len()
            });
            indices.push((place, row.row as usize));
        }
        let column = |(index, kind): (usize, &DataType)| -> Result<ArrayRef, CallError> {
            let null = new_null_array(kind, 1);
            let mut parts: Vec<&dyn Array> = vec![null.as_ref()];
            for chunk in &used {
                let column = chunk.columns.get(index);
                parts.push(column.ok_or_else(|| CallError::Host("a chunk lacks a column".into()))?.as_ref());
            }
            Ok(interleave(&parts, &indices)?)
        };
        self.kinds.iter().enumerate().map(column).collect()
    }

    /// Whether most rows that are held are gone, so that it is worth while to write the others anew.
    pub(super) fn is_sparse(&self) -> bool {
        self.total > 2 * self.live + 16 * 1024
    }

    /// Writes the rows that live anew, one chunk for all; `rows` are all of them, and are renamed.
    pub(super) fn compact<'a>(&mut self, rows: impl Iterator<Item = &'a mut RowRef>) -> Result<(), CallError> {
        let rows: Vec<&mut RowRef> = rows.collect();
        let named: Vec<Option<RowRef>> = rows.iter().map(|row| Some(**row)).collect();
        let columns = self.gather(&named)?;
        let mut fresh = Self::new(std::mem::take(&mut self.kinds));
        for (row, renamed) in rows.into_iter().zip(fresh.add(&columns, named.len())) {
            *row = renamed;
        }
        *self = fresh;
        Ok(())
    }
}

/// About what a column takes in memory.
pub(crate) fn held(column: &ArrayRef) -> usize {
    /// What an array has beside its values.
    const ARRAY: usize = 128;
    column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_buffer_memory_size()) + ARRAY
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn column(values: std::ops::Range<i64>) -> Vec<ArrayRef> {
        vec![Arc::new(Int64Array::from_iter_values(values))]
    }

    fn values(chunks: &Chunks, rows: &[Option<RowRef>]) -> Vec<Option<i64>> {
        let columns = chunks.gather(rows).unwrap();
        columns.first().unwrap().as_primitive::<Int64Type>().iter().collect()
    }

    #[test]
    fn rows_come_out_in_any_order_and_survive_compaction() {
        let mut chunks = Chunks::new(vec![DataType::Int64]);
        let first: Vec<_> = chunks.add(&column(0..20_000), 20_000).collect();
        let second: Vec<_> = chunks.add(&column(50..53), 3).collect();
        assert_eq!(
            values(&chunks, &[Some(second[1]), None, Some(first[7]), Some(second[1])]),
            [Some(51), None, Some(7), Some(51)]
        );
        assert!(!chunks.is_sparse());
        first.iter().skip(2).for_each(|row| chunks.release(*row));
        assert!(chunks.is_sparse());
        let mut kept = vec![second[2], first[1], second[0], first[0], second[1]];
        chunks.compact(kept.iter_mut()).unwrap();
        assert!(!chunks.is_sparse());
        assert_eq!(chunks.live(), 5);
        let kept: Vec<_> = kept.into_iter().map(Some).collect();
        assert_eq!(values(&chunks, &kept), [Some(52), Some(1), Some(50), Some(0), Some(51)]);
        kept.into_iter().flatten().for_each(|row| chunks.release(row));
        let again: Vec<_> = chunks.add(&column(8..9), 1).collect();
        assert_eq!(values(&chunks, &[Some(again[0])]), [Some(8)]);
    }
}
