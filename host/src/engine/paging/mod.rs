//! State beyond memory: an operator cut into slices by key, of which only some are in memory.
//!
//! ```text
//!   rows, watermarks ──▶ queue ──── round ────▶ slice after slice: bring in · its rows · the watermark · put away
//!                                                     ▲                                        │
//!                                                     └──────────────── spill ◀────────────────┘
//! ```
//! An operator as a whole costs nothing but memory. Once there is too much of that it is taken apart ([`Paged::split`]):
//! each slice (`directory`) is an operator of its own over some of the keys, and lies in memory or, as the parts that a
//! checkpoint would have of it, in a [`Spill`]. Bringing a slice in for each row would cost a slice a row. So rows wait
//! in a `queue`, and a round brings in one slice after the other, each once, whatever has come for it.
//!
//! Always true: a slice gets the rows that the whole operator would have got, in the same order, and watermarks behind
//! the rows that came before them, never ahead; what a watermark is said to have done, it has done to all slices. So a
//! paged operator gives what the whole one would, as if watermarks had come later. What a checkpoint keeps of it is
//! what the whole one would export: which rows changed is noted when a slice is put away (`kept`, its journal).
//!
//! Decisions are here, and bytes on disk behind the trait. What a spill holds is no durable state: the checkpoint is.

mod directory;
mod kept;
mod paged;
mod queue;
mod sorting;
#[cfg(test)]
mod tests;

use super::state::Part;
use super::udf::CallError;
pub use paged::Paged;
pub use sorting::Sorting;

/// Where parts of slices lie that are not in memory.
pub trait Spill {
    /// Puts parts away; none where that did not work: then they stay in memory, and whoever implements this has said why.
    fn put(&mut self, parts: &[Part]) -> Option<Ticket>;

    /// Hands back the parts of a ticket, in their order.
    ///
    /// # Errors
    /// They do not read as they were written, or `take` failed.
    fn get(&mut self, ticket: &Ticket, take: &mut dyn FnMut(Part) -> Result<(), CallError>) -> Result<(), CallError>;

    /// Forgets a ticket's parts.
    fn release(&mut self, ticket: Ticket);
}

/// Names parts that were put away.
#[derive(Debug, PartialEq, Eq)]
pub struct Ticket {
    /// No other has had it.
    pub number: u64,
    /// How many bytes the parts take where they are.
    pub bytes: u64,
}

/// What a worker's share of the memory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// State in memory and rows that wait, of all stages: where they exceed this, state goes.
    pub state: usize,
    /// Rows that wait for a round for which slices are to be brought in: then it begins. The more rows a round is for,
    /// the less of it is each one's, so that is most of what there is.
    pub queue: usize,
    /// Rows that come while a round is under way, or wait for one that brings nothing in.
    pub behind: usize,
    /// A slice that is heavier is cut in two.
    pub slice: usize,
    /// Parts for a checkpoint that go on together.
    pub piece: usize,
}

impl Shares {
    /// The shares of so many bytes: what is left is for what a slice is read from and written as.
    pub fn of(limit: usize) -> Self {
        let sixteenths = |count: usize| limit / 16 * count;
        Self {
            state: sixteenths(11),
            queue: sixteenths(7),
            behind: sixteenths(1),
            slice: (limit / 48).max(16 << 10),
            piece: (limit / 512).clamp(16 << 10, 256 << 10),
        }
    }
}
