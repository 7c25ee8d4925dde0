//! Counting rows in error as they arise.

use crate::record::DeadLetter;

/// Adds rows in error to `millrace_dead_letters_total`.
pub(super) fn count(letters: &[DeadLetter]) {
    for letter in letters {
        metrics::counter!("millrace_dead_letters_total", "reason" => letter.reason.name()).increment(1);
    }
}
