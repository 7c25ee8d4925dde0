//! The arithmetic of aligned windows: sizes, steps, panes, and which of them holds what.
//!
//! Windows are half-open and aligned to the epoch plus `offset`. A window is named by its end, a pane by its number:
//! pane p is `[offset + p·pane, offset + (p + 1)·pane)`.

use std::ops::Range;

use crate::time::Micros;

/// A sliding window; tumbling is the case of step = size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSpec {
    /// How long a window is.
    pub size: Micros,
    /// How far apart the ends of two windows are; at most `size`.
    pub step: Micros,
    /// Where the grid begins, relative to the epoch.
    pub offset: Micros,
}

impl WindowSpec {
    /// How long a pane is.
    pub fn pane(&self) -> Micros {
        let (mut a, mut b) = (self.size, self.step);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a.max(1)
    }

    /// The pane that holds `time`.
    pub fn pane_of(&self, time: Micros) -> i64 {
        time.saturating_sub(self.offset).div_euclid(self.pane())
    }

    /// Where a pane ends.
    pub fn pane_end(&self, pane: i64) -> Micros {
        pane.saturating_add(1).saturating_mul(self.pane()).saturating_add(self.offset)
    }

    /// The least window end at or after `time`.
    pub fn end_at_or_after(&self, time: Micros) -> Micros {
        let shifted = time.saturating_sub(self.offset);
        let below = shifted.div_euclid(self.step);
        let steps = if shifted.rem_euclid(self.step) == 0 { below } else { below.saturating_add(1) };
        steps.saturating_mul(self.step).saturating_add(self.offset)
    }

    /// The greatest window end at or before `time`.
    pub fn end_at_or_before(&self, time: Micros) -> Micros {
        let shifted = time.saturating_sub(self.offset);
        shifted.div_euclid(self.step).saturating_mul(self.step).saturating_add(self.offset)
    }

    /// The end of the first window that holds a pane.
    pub fn enters(&self, pane: i64) -> Micros {
        self.end_at_or_after(self.pane_end(pane))
    }

    /// The end of the first window after those that hold a pane: the one that it has left.
    pub fn leaves(&self, pane: i64) -> Micros {
        self.end_at_or_after(self.pane_end(pane).saturating_add(self.size))
    }

    /// The panes of the window that ends at `end`.
    pub fn panes(&self, end: Micros) -> Range<i64> {
        self.pane_of(end.saturating_sub(self.size))..self.pane_of(end)
    }

    /// The end of the first window that holds `time`.
    pub fn first_end(&self, time: Micros) -> Micros {
        self.end_at_or_before(time).saturating_add(self.step)
    }

    /// The end of the last window that holds `time`: once the watermark is there, a row of that time is late.
    pub fn last_end(&self, time: Micros) -> Micros {
        self.end_at_or_before(time.saturating_add(self.size))
    }
}

/// Splits a range of panes into the fewest nodes `(level, index)` of the binary tree over pane numbers, from left to
/// right; node `(l, i)` holds the panes `i·2^l .. (i+1)·2^l`. Merging along this tree makes a window's bits depend
/// on its panes alone, not on which window was merged before it.
pub fn nodes(panes: Range<i64>) -> Vec<(u32, i64)> {
    let mut nodes = Vec::new();
    let mut at = panes.start;
    while at < panes.end {
        let aligned = if at == 0 { 62 } else { at.trailing_zeros() };
        let fitting = (panes.end - at).ilog2();
        let level = aligned.min(fitting);
        nodes.push((level, at >> level));
        at += 1_i64 << level;
    }
    nodes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ten_minutes_every_minute() {
        let window = WindowSpec { size: 600, step: 60, offset: 0 };
        assert_eq!(window.pane(), 60);
        assert_eq!(window.enters(window.pane_of(0)), 60);
        assert_eq!(window.leaves(window.pane_of(0)), 660);
        assert_eq!(window.panes(660), 1..11);
        assert_eq!((window.first_end(59), window.first_end(60)), (60, 120));
        assert_eq!(window.last_end(59), 600);
        assert_eq!(window.last_end(60), 660);
    }

    proptest! {
        #[test]
        fn a_pane_is_in_exactly_the_windows_from_enters_to_leaves(
            size in 1_i64..40, step in 1_i64..40, offset in -50_i64..50, time in -500_i64..500
        ) {
            let window = WindowSpec { size: size.max(step), step, offset };
            let pane = window.pane_of(time);
            let mut end = window.end_at_or_after(window.enters(pane) - 3 * step);
            while end < window.leaves(pane) + 3 * step {
                let holds = window.panes(end).contains(&pane);
                prop_assert_eq!(holds, (window.enters(pane)..window.leaves(pane)).contains(&end));
                prop_assert_eq!(holds, (end - window.size..end).contains(&time));
                end += step;
            }
            prop_assert_eq!(window.last_end(time) , window.leaves(pane) - step);
            prop_assert_eq!(window.first_end(time), window.enters(pane));
        }

        #[test]
        fn nodes_cover_the_range_in_order(start in -300_i64..300, length in 0_i64..300) {
            let mut at = start;
            let nodes = nodes(start..start + length);
            for &(level, index) in &nodes {
                prop_assert_eq!(index << level, at);
                at += 1 << level;
            }
            prop_assert_eq!(at, start + length);
            prop_assert!(nodes.len() <= 2 * (length.max(1).ilog2() as usize + 1));
        }
    }
}
