//! Windows over panes: what a view keeps of its keys, and when it says so.
//!
//! ```text
//!  pane      │ 3 │ 4 │ 5 │ 6 │ 7 │        one state row a key and pane, folded as rows come
//!  window e      └───────────┘            merged from its panes when the watermark passes e
//! ```
//! A pane is as long as the greatest common divisor of size and step, so that windows are whole panes. The idea is
//! Li et al., "No Pane, No Gain" (2005).

mod evaluate;
mod fold;
mod keys;
pub mod operator;
mod pane;
pub mod plan;
pub mod spec;
mod state;

#[cfg(test)]
mod tests;
