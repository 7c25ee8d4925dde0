//! Parts of a whole operator, told apart by slice and put away: where it is taken apart, and at a start from a
//! checkpoint that does not fit into memory.

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};

use super::Spill;
use super::directory::Directory;
use super::kept::{Kept, weight};
use super::queue::by_slice;
use crate::engine::key;
use crate::engine::state::{Part, SHARD};
use crate::engine::udf::CallError;

/// How many rows are told apart together at most: few slices have many rows of a short part.
const ROWS: usize = 64 * 1024;

/// Parts on their way to their slices.
pub struct Sorting {
    pub(super) directory: Directory,
    /// How far the operator had come: what each slice begins with.
    marks: Vec<Part>,
    /// Parts of one table and number that are told apart together.
    waiting: Vec<Part>,
    rows: usize,
    /// By slice, what is to be put away, and what has been.
    slices: Vec<(Vec<Part>, Vec<Kept>)>,
    /// About how many bytes wait, and how many may.
    bytes: usize,
    most: usize,
    /// The slice that all are of, or of the last one: rows without a key are anybody's.
    of: Option<usize>,
}

impl Sorting {
    /// Begins with `2^bits` slices of an operator that had come as far as `marks` say; about `most` bytes stay in
    /// memory on their way.
    pub(super) fn new(bits: u32, marks: Vec<Part>, most: usize) -> Self {
        Self::begin(Directory::new(bits), marks, most)
    }

    /// The same, for a slice of a directory that has been cut in two: itself and the last one.
    pub(super) fn in_two(directory: Directory, slice: usize, marks: Vec<Part>) -> Self {
        Self { of: Some(slice), ..Self::begin(directory, marks, usize::MAX) }
    }

    fn begin(directory: Directory, marks: Vec<Part>, most: usize) -> Self {
        let slices = (0..directory.len()).map(|_| Default::default()).collect();
        Self { directory, marks, waiting: Vec::new(), rows: 0, slices, bytes: 0, most, of: None }
    }

    /// Takes the next part.
    ///
    /// # Errors
    /// It is none of an operator's: the host's fault.
    pub fn add(&mut self, part: Part, spill: &mut dyn Spill) -> Result<(), CallError> {
        if part.table == SHARD {
            return Ok(());
        }
        let alike = |last: &Part| {
            (last.table, last.number) == (part.table, part.number) && last.rows.schema_ref() == part.rows.schema_ref()
        };
        if !self.waiting.last().is_none_or(alike) || self.rows + part.rows.num_rows() > ROWS {
            self.cut(spill)?;
        }
        self.rows += part.rows.num_rows();
        self.waiting.push(part);
        Ok(())
    }

    fn cut(&mut self, spill: &mut dyn Spill) -> Result<(), CallError> {
        self.rows = 0;
        let parts = std::mem::take(&mut self.waiting);
        let Some(first) = parts.first() else { return Ok(()) };
        let rows: RecordBatch = match parts.as_slice() {
            [only] => only.rows.clone(),
            all => concat_batches(first.rows.schema_ref(), all.iter().map(|part| &part.rows))?,
        };
        let whole = Part { rows, ..*first };
        let keys = whole.keys().ok_or_else(|| CallError::Host("a part without keys".into()))?;
        let last = self.directory.len() - 1;
        let slice = |row: usize| {
            let slice = self.directory.slice(key::hash(keys.value(row)));
            self.of.filter(|_| slice != last).unwrap_or(slice)
        };
        let slices: Vec<usize> = (0..whole.rows.num_rows()).map(slice).collect();
        for (slice, rows) in by_slice(&slices, self.directory.len()) {
            let part = Part { rows: take_record_batch(&whole.rows, &UInt32Array::from(rows))?, ..whole };
            self.bytes += weight(std::slice::from_ref(&part));
            if let Some((parts, _)) = self.slices.get_mut(slice) {
                parts.push(part);
            }
        }
        if self.bytes > self.most {
            self.put_away(spill);
        }
        Ok(())
    }

    fn put_away(&mut self, spill: &mut dyn Spill) {
        self.bytes = 0;
        for (parts, kept) in &mut self.slices {
            if parts.is_empty() {
                continue;
            }
            let mut parts = std::mem::take(parts);
            if kept.is_empty() {
                parts.splice(0..0, self.marks.iter().cloned());
            }
            kept.push(Kept::put(parts, spill));
        }
    }

    /// All have come: what there is of each slice.
    pub(super) fn done(mut self, spill: &mut dyn Spill) -> Result<(Directory, Vec<Vec<Kept>>), CallError> {
        self.cut(spill)?;
        self.put_away(spill);
        Ok((self.directory, self.slices.into_iter().map(|(_, kept)| kept).collect()))
    }
}
