//! Which partitions may be read on, so that those that meet stay close together in event time.
//!
//! Rows that are ahead wait in windows and joins for the watermark, which is the slowest partition's: reading them early
//! only fills memory. So a partition more than the greatest skew ahead of the slowest one that it meets is not read on.
//! That decides only what is read next: watermarks, and with them all results, are the same.
//!
//! Always true: the slowest partition is read, hence of those that are waited for never all stand still; a partition
//! that goes on, becomes quiet or ends holds nobody up that was not held up before. Waited for is a partition that can go
//! on by being read; not one that is idle, has ended, or has nothing to give (Flink's alignment waits for that one until
//! it is idle). A source that ends by itself can always be read on until it has ended.

use super::watermark::BEFORE_ALL;
use crate::time::{Micros, SECOND};

/// How long a reader waits for events before its partition counts as one that has nothing to give.
pub const PATIENCE: Micros = SECOND;

/// What is known of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Its greatest event time; [`BEFORE_ALL`] before its first row.
    pub newest: Micros,
    /// Whether its source ends by itself.
    pub bounded: bool,
    /// Whether it is idle, or has ended.
    pub out: bool,
    /// Since when its reading has been tried.
    pub begun: Micros,
    /// Since when its reader has been waiting for events, with all that it gave taken; none while it has some.
    pub waiting_since: Option<Micros>,
}

impl Reach {
    /// The event time at which others wait for it at `now`; none if nobody does.
    pub fn waited_for(&self, now: Micros) -> Option<Micros> {
        let long = |since: Micros| now.saturating_sub(since) >= PATIENCE;
        let quiet = self.waiting_since.is_some_and(long);
        // One that was given nothing but rows in error may go on so for ever.
        let silent = self.newest == BEFORE_ALL && long(self.begun);
        let out = self.out || (!self.bounded && (quiet || silent));
        (!out).then_some(self.newest)
    }
}

/// Whether a partition that has come to `newest` is not to be read on, `slowest` being the least time at which one that
/// it meets is waited for.
pub fn is_ahead(newest: Micros, slowest: Option<Micros>, max_skew: Micros) -> bool {
    slowest.is_some_and(|slowest| newest > slowest.saturating_add(max_skew))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Micros = 1_000 * SECOND;

    fn reach(newest: Micros) -> Reach {
        Reach { newest, bounded: false, out: false, begun: 0, waiting_since: None }
    }

    #[test]
    fn who_is_waited_for() {
        let waiting = |since: Micros| Reach { waiting_since: Some(since), ..reach(5) };
        assert_eq!(reach(5).waited_for(NOW), Some(5));
        assert_eq!(waiting(NOW - PATIENCE + 1).waited_for(NOW), Some(5));
        assert_eq!(waiting(NOW - PATIENCE).waited_for(NOW), None, "it has nothing to give");
        assert_eq!(Reach { bounded: true, ..waiting(0) }.waited_for(NOW), Some(5), "it ends some time");
        assert_eq!(Reach { out: true, bounded: true, ..waiting(0) }.waited_for(NOW), None);
        let new = Reach { begun: NOW - 1, ..reach(BEFORE_ALL) };
        assert_eq!(new.waited_for(NOW), Some(BEFORE_ALL), "its first rows may be on their way");
        assert_eq!(new.waited_for(NOW + PATIENCE), None, "but nobody waits for ever");
        assert_eq!(Reach { bounded: true, ..new }.waited_for(NOW + PATIENCE), Some(BEFORE_ALL));
    }

    #[test]
    fn ahead_is_beyond_the_skew() {
        assert!(!is_ahead(10, Some(0), 10));
        assert!(is_ahead(11, Some(0), 10));
        assert!(!is_ahead(11, None, 10));
        assert!(is_ahead(-5, Some(BEFORE_ALL), 10), "whoever has begun waits for those that have not");
        assert!(!is_ahead(BEFORE_ALL, Some(BEFORE_ALL), 0));
    }

    fn any_reach() -> impl Strategy<Value = Reach> {
        let newest = prop_oneof![1 => Just(BEFORE_ALL), 6 => 0..100 * SECOND];
        let waiting = prop::option::of(NOW - 2 * PATIENCE..NOW);
        (newest, any::<bool>(), prop::bool::weighted(0.2), NOW - 2 * PATIENCE..NOW, waiting).prop_map(
            |(newest, bounded, out, begun, waiting_since)| Reach { newest, bounded, out, begun, waiting_since },
        )
    }

    /// For each partition whether it stands still, `meets` saying who meets whom.
    fn held(reaches: &[Reach], meets: &[Vec<bool>], skew: Micros) -> Vec<bool> {
        let met = |at: usize| {
            let others = reaches.iter().enumerate().filter(move |(other, _)| *other == at || meets[at][*other]);
            others.filter_map(|(_, other)| other.waited_for(NOW)).min()
        };
        reaches.iter().enumerate().map(|(at, own)| is_ahead(own.newest, met(at), skew)).collect()
    }

    prop_compose! {
        fn partitions()(count in 1_usize..7)(
            reaches in prop::collection::vec(any_reach(), count),
            met in prop::collection::vec(prop::collection::vec(any::<bool>(), count), count),
        ) -> (Vec<Reach>, Vec<Vec<bool>>) {
            // Who meets somebody is met by them.
            let both = |one: usize, other: usize| met[one.min(other)][one.max(other)];
            let meets = (0..reaches.len()).map(|one| (0..reaches.len()).map(|other| both(one, other)).collect());
            let meets = meets.collect();
            (reaches, meets)
        }
    }

    proptest! {
        #[test]
        fn the_slowest_is_read_and_so_never_do_all_stand_still(
            (reaches, meets) in partitions(), skew in 0..50 * SECOND,
        ) {
            let held = held(&reaches, &meets, skew);
            let waited = |at: &usize| reaches[*at].waited_for(NOW).is_some();
            let slowest = (0..reaches.len()).filter(waited).min_by_key(|at| reaches[*at].newest);
            if let Some(slowest) = slowest {
                prop_assert!(!held[slowest]);
            } else {
                prop_assert!(held.iter().all(|held| !held), "nobody is waited for");
            }
        }

        #[test]
        fn what_helps_one_holds_no_other_up(
            (reaches, meets) in partitions(), skew in 0..50 * SECOND, which in any::<prop::sample::Index>(), by in 0..SECOND,
        ) {
            let before = held(&reaches, &meets, skew);
            let which = which.index(reaches.len());
            let own = reaches[which];
            let further = own.newest.max(0) + by;
            for after in [Reach { newest: further, ..own }, Reach { out: true, ..own }] {
                // One that nobody waited for may of course hold others up once it has come back.
                if own.waited_for(NOW).is_none() {
                    continue;
                }
                let mut reaches = reaches.clone();
                reaches[which] = after;
                let now = held(&reaches, &meets, skew);
                for at in (0..reaches.len()).filter(|at| *at != which) {
                    prop_assert!(before[at] || !now[at], "{at} is held up since {which} went on");
                }
            }
            let mut wider = held(&reaches, &meets, skew + by);
            wider.iter_mut().zip(&before).for_each(|(wider, before)| *wider &= !before);
            prop_assert!(wider.iter().all(|held| !held), "a greater skew holds fewer up");
        }
    }
}
