//! Rows that wait for a round, as they came; and, once it begins, which of them are of which slice.

use super::directory::Directory;
use crate::engine::guard::GuardError;
use crate::engine::operator::Side;
use crate::engine::rows::KeyedBatch;
use crate::time::Micros;

/// How many rows a slice gets in a call at most: what the time limit of user code is made for.
const CALL_ROWS: usize = 8 * 1024;

/// Rows that came together.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) side: Side,
    pub(super) batch: Box<KeyedBatch>,
    /// When they came.
    pub(super) now: Micros,
}

/// Rows, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: Vec<Entry>,
    bytes: usize,
    /// When the first of those came that wait for a time.
    first: Option<Micros>,
}

impl Queue {
    pub(super) fn add(&mut self, entry: Entry) {
        self.bytes += entry.batch.weight();
        if entry.side == Side::Main {
            self.first.get_or_insert(entry.now);
        }
        self.entries.push(entry);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// About how many bytes wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the first of those came that wait for a time.
    pub(super) fn first(&self) -> Option<Micros> {
        self.first
    }

    /// All of it, told apart by slice.
    pub(super) fn sorted(self, directory: &Directory) -> Sorted {
        let places: Vec<(u32, u32)> = (0_u32..)
            .zip(&self.entries)
            .flat_map(|(entry, queued)| (0_u32..).take(queued.batch.len()).map(move |row| (entry, row)))
            .collect();
        let hashes = self.entries.iter().flat_map(|entry| &entry.batch.hashes);
        let slices: Vec<usize> = hashes.map(|hash| directory.slice(*hash)).collect();
        let order = Order::of(&slices, directory.len());
        Sorted { entries: self.entries, places, order, bytes: self.bytes }
    }
}

/// The rows of a list, those of one slice together, else as they were.
#[derive(Debug, Default)]
struct Order {
    rows: Vec<u32>,
    /// Where those of each slice end.
    ends: Vec<u32>,
}

impl Order {
    /// Sorts by counting: `slices` is the slice of each row.
    fn of(slices: &[usize], count: usize) -> Self {
        let mut ends = vec![0_u32; count];
        for slice in slices {
            if let Some(end) = ends.get_mut(*slice) {
                *end += 1;
            }
        }
        let mut start = 0;
        for end in &mut ends {
            // Where the slice's next row belongs, until all have their places; then that is its end.
            start += std::mem::replace(end, start);
        }
        let mut rows = vec![0_u32; slices.len()];
        for (row, slice) in (0_u32..).zip(slices) {
            if let Some(next) = ends.get_mut(*slice) {
                if let Some(place) = rows.get_mut(*next as usize) {
                    *place = row;
                }
                *next += 1;
            }
        }
        Self { rows, ends }
    }

    fn of_slice(&self, slice: usize) -> &[u32] {
        let end = |slice: usize| self.ends.get(slice).map_or(0, |end| *end as usize);
        let start = slice.checked_sub(1).map_or(0, end);
        self.rows.get(start..end(slice)).unwrap_or_default()
    }
}

/// For each slice the rows of a list that are its own: `slices` is the slice of each row.
pub(super) fn by_slice(slices: &[usize], count: usize) -> impl Iterator<Item = (usize, Vec<u32>)> {
    let sorted = Order::of(slices, count);
    (0..count).map(move |slice| (slice, sorted.of_slice(slice).to_vec())).filter(|(_, rows)| !rows.is_empty())
}

/// A queue whose round has begun.
#[derive(Debug)]
pub(super) struct Sorted {
    entries: Vec<Entry>,
    /// Of each row its entry, and which of that one's it is.
    places: Vec<(u32, u32)>,
    order: Order,
    pub(super) bytes: usize,
}

impl Sorted {
    /// Whether there are rows of a slice.
    pub(super) fn has(&self, slice: usize) -> bool {
        !self.order.of_slice(slice).is_empty()
    }

    /// Hands the rows of a slice on in their order, as few batches as that allows.
    pub(super) fn hand_on(
        &self,
        slice: usize,
        mut take: impl FnMut(Side, &KeyedBatch, Micros) -> Result<(), GuardError>,
    ) -> Result<(), GuardError> {
        let place = |row: &u32| {
            let (entry, row) = self.places.get(*row as usize)?;
            Some((*entry, self.entries.get(*entry as usize)?, *row as usize))
        };
        let mut own = self.order.of_slice(slice).iter().filter_map(place).peekable();
        while let Some((mut last, first, row)) = own.next() {
            let mut batches: Vec<&KeyedBatch> = vec![&first.batch];
            let mut picked: Vec<(usize, usize)> = vec![(0, row)];
            let goes_along = |entry: &Entry| entry.side == first.side && entry.now == first.now;
            while picked.len() < CALL_ROWS
                && let Some((number, entry, row)) = own.next_if(|(_, entry, _)| goes_along(entry))
            {
                if number != last {
                    batches.push(&entry.batch);
                    last = number;
                }
                picked.push((batches.len() - 1, row));
            }
            if batches.len() == 1 && picked.len() == first.batch.len() {
                take(first.side, &first.batch, first.now)?;
            } else {
                take(first.side, &KeyedBatch::gather(&batches, &picked)?, first.now)?;
            }
        }
        Ok(())
    }
}
