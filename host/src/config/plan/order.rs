//! Views in an order in which each comes after those that it reads.

use crate::config::project::View;

/// The indices of all views, upstream first, else in the order written; views that read each other in a circle, which
/// validation refuses, come last.
pub(super) fn upstream_first(views: &[View]) -> Vec<u16> {
    let reads = |view: &View, other: &View| view.reads().any(|read| read.value == other.name.value);
    let mut left: Vec<(u16, &View)> = (0..).zip(views).collect();
    let mut order = Vec::with_capacity(views.len());
    while !left.is_empty() {
        let free = |view: &View| !left.iter().any(|(_, other)| reads(view, other));
        let (now, later): (Vec<_>, Vec<_>) = left.iter().copied().partition(|(_, view)| free(view));
        let circle = now.is_empty();
        order.extend(if circle { &later } else { &now }.iter().map(|(index, _)| *index));
        left = if circle { Vec::new() } else { later };
    }
    order
}
