//! Which letters are meant.

use super::StoredLetter;
use crate::time::Micros;

/// Chooses letters; what is not said chooses all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only these; empty for all.
    pub ids: Vec<u64>,
    /// Only those of this reason: [`crate::record::DeadReason::name`].
    pub reason: Option<String>,
    /// Only those of this source.
    pub source: Option<String>,
    /// Only those that this view refused.
    pub view: Option<String>,
    /// Only those that were kept at this time or later.
    pub since: Option<Micros>,
}

impl Selection {
    /// Whether a letter is meant.
    pub fn takes(&self, letter: &StoredLetter) -> bool {
        (self.ids.is_empty() || self.ids.contains(&letter.sequence))
            && self.reason.as_ref().is_none_or(|reason| *reason == letter.reason)
            && self.source.as_ref().is_none_or(|source| *source == letter.source)
            && self.view.as_ref().is_none_or(|view| Some(view) == letter.view.as_ref())
            && self.since.is_none_or(|since| letter.written_at >= since)
    }

    /// Whether it says anything at all.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// The first sequence that can be meant.
    pub fn first(&self) -> u64 {
        self.ids.iter().min().copied().unwrap_or(0)
    }
}
