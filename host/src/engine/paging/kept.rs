//! Parts that are put away, or stay in memory where that does not work; and those that a checkpoint has yet to keep.

use std::collections::VecDeque;

use super::{Spill, Ticket};
use crate::engine::chunks::held;
use crate::engine::state::Part;
use crate::engine::udf::CallError;

/// Parts, wherever they are.
#[derive(Debug)]
pub(super) enum Kept {
    There(Ticket),
    /// With about how many bytes they take.
    Here(Vec<Part>, usize),
}

impl Kept {
    pub(super) fn put(parts: Vec<Part>, spill: &mut dyn Spill) -> Self {
        match spill.put(&parts) {
            Some(ticket) => Self::There(ticket),
            None => {
                let bytes = weight(&parts);
                Self::Here(parts, bytes)
            }
        }
    }

    pub(super) fn get(&self, spill: &mut dyn Spill, out: &mut Vec<Part>) -> Result<(), CallError> {
        match self {
            Self::There(ticket) => spill.get(ticket, &mut |part| {
                out.push(part);
                Ok(())
            }),
            Self::Here(parts, _) => {
                out.extend(parts.iter().cloned());
                Ok(())
            }
        }
    }

    pub(super) fn release(self, spill: &mut dyn Spill) {
        if let Self::There(ticket) = self {
            spill.release(ticket);
        }
    }

    /// About how many bytes it has in memory.
    pub(super) fn held(&self) -> usize {
        if let Self::Here(_, bytes) = self { *bytes } else { 0 }
    }

    /// How many bytes it has elsewhere.
    pub(super) fn away(&self) -> u64 {
        if let Self::There(ticket) = self { ticket.bytes } else { 0 }
    }
}

/// About how many bytes parts take in memory.
pub(super) fn weight(parts: &[Part]) -> usize {
    parts.iter().flat_map(|part| part.rows.columns()).map(held).sum()
}

/// What has changed of slices that were put away since the last checkpoint, in the order in which it did.
#[derive(Debug, Default)]
pub(super) struct Journal {
    away: VecDeque<Kept>,
    /// What goes there next, with about how many bytes it takes.
    last: Vec<Part>,
    held: usize,
}

impl Journal {
    /// Notes what has changed; more than `most` bytes together do not stay in memory.
    pub(super) fn add(&mut self, parts: Vec<Part>, most: usize, spill: &mut dyn Spill) {
        self.held += weight(&parts);
        self.last.extend(parts);
        if self.held > most {
            self.held = 0;
            self.away.push_back(Kept::put(std::mem::take(&mut self.last), spill));
        }
    }

    /// The oldest that is left, and with it forgotten here; none once there is no more.
    pub(super) fn take(&mut self, spill: &mut dyn Spill) -> Result<Option<Vec<Part>>, CallError> {
        let Some(kept) = self.away.pop_front() else {
            self.held = 0;
            let last = std::mem::take(&mut self.last);
            return Ok((!last.is_empty()).then_some(last));
        };
        let mut parts = Vec::new();
        kept.get(spill, &mut parts)?;
        kept.release(spill);
        Ok(Some(parts))
    }

    pub(super) fn clear(&mut self, spill: &mut dyn Spill) {
        self.away.drain(..).for_each(|kept| kept.release(spill));
        self.last.clear();
        self.held = 0;
    }

    /// About how many bytes it has in memory.
    pub(super) fn held(&self) -> usize {
        self.held + self.away.iter().map(Kept::held).sum::<usize>()
    }

    /// How many bytes it has elsewhere.
    pub(super) fn away(&self) -> u64 {
        self.away.iter().map(Kept::away).sum()
    }
}
