//! Counting rows in error as they arise.

use super::board::Board;
use crate::record::{DeadLetter, DeadReason};

/// Adds rows in error to `millrace_dead_letters_total`, and those that came too late to their partition and view.
pub(super) fn count(letters: &[DeadLetter], board: &Board) {
    for letter in letters {
        metrics::counter!("millrace_dead_letters_total", "reason" => letter.reason.name()).increment(1);
        if letter.reason == DeadReason::Late {
            board.late(letter.origin, letter.view);
        }
    }
}
