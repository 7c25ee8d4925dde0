//! Which rows have changed since they were last kept, each once.

/// Marks of rows that are numbered from 0.
#[derive(Debug, Default)]
pub(super) struct Changed {
    marked: Vec<bool>,
    rows: Vec<u32>,
}

impl Changed {
    /// About how many bytes it holds.
    pub(super) fn weight(&self) -> usize {
        self.marked.capacity() + self.rows.capacity() * size_of::<u32>()
    }

    /// A row has changed.
    pub(super) fn mark(&mut self, row: u32) {
        let at = row as usize;
        if self.marked.len() <= at {
            self.marked.resize(at + 1, false);
        }
        if let Some(marked) = self.marked.get_mut(at)
            && !std::mem::replace(marked, true)
        {
            self.rows.push(row);
        }
    }

    /// The rows that were marked since the last call, in the order in which they first were.
    pub(super) fn take(&mut self) -> Vec<u32> {
        for row in &self.rows {
            if let Some(marked) = self.marked.get_mut(*row as usize) {
                *marked = false;
            }
        }
        std::mem::take(&mut self.rows)
    }
}
